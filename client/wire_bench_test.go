package client

import (
	"testing"

	"github.com/arcp-nats/arcp/envelope"
)

// BenchmarkHear reads the messages of a job in both dialects.
func BenchmarkHear(b *testing.B) {
	frames := map[string][2]string{
		"accepted": {
			`{"event_seq":1,"arcp":"1.1","id":"msg_1","timestamp":"2026-01-01T00:00:00Z","type":"job.accepted","session_id":"sess_1","job_id":"job_1","correlation_id":"msg_0","payload":{"job_id":"job_1"}}`,
			`{"arcp":"1.1","id":"msg_1","type":"job.accepted","session_id":"sess_1","job_id":"job_1","trace_id":"0af7651916cd43dd8448eb211c80319c","payload":{"job_id":"job_1","agent":"echo@1","lease":{},"accepted_at":"2026-01-01T00:00:00Z","trace_id":"0af7651916cd43dd8448eb211c80319c","request_id":"msg_0"}}`,
		},
		"started": {
			`{"event_seq":2,"arcp":"1.1","id":"msg_2","timestamp":"2026-01-01T00:00:00Z","type":"job.started","session_id":"sess_1","job_id":"job_1","correlation_id":"msg_0","payload":{"description":"invoking echo","attempt":1}}`,
			`{"arcp":"1.1","id":"msg_2","type":"job.event","session_id":"sess_1","job_id":"job_1","trace_id":"0af7651916cd43dd8448eb211c80319c","event_seq":1,"payload":{"kind":"status","ts":"2026-01-01T00:00:00Z","body":{"phase":"running","message":"invoking echo"}}}`,
		},
		"completed": {
			`{"event_seq":3,"arcp":"1.1","id":"msg_3","timestamp":"2026-01-01T00:00:00Z","type":"job.completed","session_id":"sess_1","job_id":"job_1","correlation_id":"msg_0","payload":{"value":{"n":1}}}`,
			`{"arcp":"1.1","id":"msg_3","type":"job.result","session_id":"sess_1","job_id":"job_1","trace_id":"0af7651916cd43dd8448eb211c80319c","event_seq":2,"payload":{"final_status":"success","result":{"n":1},"output":{"n":1},"completed_at":"2026-01-01T00:00:00Z"}}`,
		},
	}
	for name, texts := range frames {
		b.Run(name+" open", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := envelope.DecodeWith([]byte(texts[0]), envelope.Limits{}, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+" hello", func(b *testing.B) {
			w := newHelloWire(&Session{})
			b.ReportAllocs()
			for b.Loop() {
				if e, _ := w.in([]byte(texts[1])); e == nil {
					b.Fatal("no envelope")
				}
			}
		})
	}
}
