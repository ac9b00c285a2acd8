package dialect_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/edge/dialect"
	"github.com/arcp-nats/arcp/envelope"
)

// BenchmarkDecode reads what asks for a job.
func BenchmarkDecode(b *testing.B) {
	texts := map[string]string{
		"open": `{"arcp":"1.1","id":"msg_%d","timestamp":"2026-01-01T00:00:00Z","type":"tool.invoke","session_id":"sess_1",` +
			`"payload":{"tool":"echo","arguments":{"n":1,"text":"some text that is not long"}}}`,
		"hello": `{"arcp":"1.1","id":"msg_%d","type":"job.submit","session_id":"sess_1","payload":{"agent":"echo","input":{"n":1,"text":"some text that is not long"}}}`,
	}
	for name, text := range texts {
		b.Run(name, func(b *testing.B) {
			codec := opened(b)
			if name == "open" {
				codec = dialect.Open.NewCodec(dialect.Settings{})
			}
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				_, err := codec.Decode(fmt.Appendf(nil, text, n), envelope.DefaultLimits(), nil)
				require.NoError(b, err)
				codec.Repeated() // nothing waits for an answer here
			}
		})
	}
}

// BenchmarkRender writes what is said of a job that echoes.
func BenchmarkRender(b *testing.B) {
	payloads := map[envelope.Type]string{
		envelope.TypeJobStarted:   `{"description":"invoking echo","attempt":1}`,
		envelope.TypeJobProgress:  `{"current":3,"total":40,"units":"files","message":"m"}`,
		envelope.TypeLog:          `{"level":"info","message":"line 3 of 40"}`,
		envelope.TypeJobCompleted: `{"value":{"n":1,"text":"some text that is not long"}}`,
	}
	for typ, payload := range payloads {
		e := envelope.Envelope{ID: "msg_1", Timestamp: envelope.Now(), Type: typ, SessionID: "sess_1", JobID: "job_1", CorrelationID: "msg_0", Payload: json.RawMessage(payload)}
		line := stored(b, &e)
		for name, codec := range map[string]dialect.Codec{"open": dialect.Open.NewCodec(dialect.Settings{}), "hello": opened(b)} {
			b.Run(fmt.Sprint(typ, " ", name), func(b *testing.B) {
				var room []dialect.Text
				b.ReportAllocs()
				for b.Loop() {
					n := codec.Dialect().Count(typ, line, false)
					room = codec.Render(room[:0], dialect.Frame{Type: typ, Line: line, Count: n, Seq: 9}, 0)
				}
				require.Len(b, room, 1)
			})
		}
	}
}
