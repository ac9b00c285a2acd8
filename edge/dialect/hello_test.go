package dialect_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/edge/dialect"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/hello"
)

// golden are envelopes of every type, by type and by how full they are, as the log would hold them.
func golden(t testing.TB) map[string]*envelope.Envelope {
	t.Helper()
	files, err := filepath.Glob("../../envelope/testdata/golden/*.json")
	require.NoError(t, err)
	require.Greater(t, len(files), 60)
	all := make(map[string]*envelope.Envelope)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		var members map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(data, &members))
		for how, raw := range members {
			e, err := envelope.DecodeStored(raw)
			require.NoError(t, err, file)
			e.SessionID, e.JobID = "sess_1", "job_1"
			all[strings.TrimSuffix(filepath.Base(file), ".json")+" "+how] = e
		}
	}
	return all
}

func stored(t testing.TB, e *envelope.Envelope) []byte {
	t.Helper()
	line, err := e.Append(nil)
	require.NoError(t, err)
	return line
}

// opened is a codec whose client offers everything.
func opened(t testing.TB) dialect.Codec {
	t.Helper()
	first := []byte(`{"arcp":"1.1","id":"q-1","type":"session.hello","payload":{"client":{"name":"c"},"auth":{"scheme":"bearer","token":"t"},` +
		`"capabilities":{"features":["heartbeat","ack","list_jobs","subscribe","agent_versions","lease_expires_at","cost.budget","model.use","provisioned_credentials","progress","result_chunk"]}}}`)
	d := dialect.Of(first)
	require.Equal(t, "hello", d.Name())
	c := d.NewCodec(dialect.Settings{ResumeWindow: 600e9, Heartbeat: 30e9})
	_, err := c.Decode(first, envelope.DefaultLimits(), nil)
	require.NoError(t, err)
	return c
}

// TestHelloNumbersAreThoseThatAreCounted: what Count says of an envelope of the log is how many numbered frames Render makes
// of it, one after the other, whatever the envelope; a client that has seen some of them gets the rest; and the strictest
// clients can read each.
func TestHelloNumbersAreThoseThatAreCounted(t *testing.T) {
	large := envelope.Envelope{
		ID: "msg_1", Timestamp: envelope.Now(), Type: envelope.TypeJobCompleted, SessionID: "sess_1", JobID: "job_1",
		Payload: json.RawMessage(`{"value":["` + strings.Repeat(`ü\"`, 400_000) + `"]}`),
	}
	all := golden(t)
	all["job.completed large"] = &large
	for name, e := range all {
		for _, loose := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " ", loose), func(t *testing.T) {
				line := stored(t, e)
				n := dialect.Hello.Count(e.Type, line, loose)
				frame := dialect.Frame{Type: e.Type, Line: line, Count: n, Loose: loose}
				if n > 0 {
					frame.Seq = uint64(40 + n)
				}
				next := uint64(41)
				whole := make(map[uint64]string)
				ids := make(map[string]bool)
				for _, text := range opened(t).Render(nil, frame, 0) {
					require.NoError(t, hello.Check(text.Data), "%s", text.Data)
					f, err := hello.Decode(text.Data)
					require.NoError(t, err)
					require.False(t, ids[f.ID], "%s is not the first of its id", text.Data)
					ids[f.ID] = true
					if text.Seq > 0 {
						require.Equal(t, next, text.Seq)
						whole[next] = string(text.Data)
						next++
					}
				}
				require.Equal(t, uint64(41+n), next)
				for seen := uint64(40); seen < frame.Seq; seen++ { // a resume may begin between two of them
					first := seen + 1
					for _, text := range opened(t).Render(nil, frame, seen) {
						if text.Seq > 0 {
							require.Equal(t, first, text.Seq)
							require.Equal(t, whole[text.Seq], string(text.Data))
							first++
						}
					}
					require.Equal(t, frame.Seq+1, first)
				}
				if n > 0 {
					require.Empty(t, opened(t).Render(nil, frame, frame.Seq))
				}
			})
		}
	}
}

// TestHelloAnswersCanBeRead: what is said out of band, of every type.
func TestHelloAnswersCanBeRead(t *testing.T) {
	all := golden(t)
	delete(all, "session.accepted minimal") // an edge gives a token to every session
	for name, e := range all {
		t.Run(name, func(t *testing.T) {
			texts, err := opened(t).Answer(e)
			require.NoError(t, err)
			for _, text := range texts {
				require.NoError(t, hello.Check(text), "%s", text)
			}
		})
	}
}

// TestHelloStreamsOfALargeResult: the pieces make the value.
func TestHelloStreamsOfALargeResult(t *testing.T) {
	value := `["` + strings.Repeat("ü", 600_000) + `"]`
	e := envelope.Envelope{
		ID: "msg_1", Timestamp: envelope.Now(), Type: envelope.TypeJobCompleted, SessionID: "sess_1", JobID: "job_1",
		Payload: json.RawMessage(`{"value":` + value + `}`),
	}
	line := stored(t, &e)
	n := dialect.Hello.Count(e.Type, line, false)
	var got strings.Builder
	for i, text := range opened(t).Render(nil, dialect.Frame{Type: e.Type, Line: line, Count: n, Seq: uint64(n)}, 0) {
		f, err := hello.Decode(text.Data)
		require.NoError(t, err)
		if f.Type == hello.TypeResult {
			p, err := hello.DecodePayload[hello.Result](f)
			require.NoError(t, err)
			require.EqualValues(t, len(value), *p.ResultSize)
			require.Equal(t, n-1, i)
			continue
		}
		p, err := hello.DecodePayload[hello.Event](f)
		require.NoError(t, err)
		var chunk hello.ChunkBody
		require.NoError(t, json.Unmarshal(p.Body, &chunk))
		require.EqualValues(t, i, chunk.ChunkSeq)
		require.Equal(t, i < n-2, chunk.More)
		got.WriteString(chunk.Data)
	}
	require.Equal(t, value, got.String())
}

// TestHelloEndIsTheSameBesideAnAcknowledgement: the connection on which a cancel was asked for shows its acknowledgement before the
// end, another one does not; the end is the same there (rule 26).
func TestHelloEndIsTheSameBesideAnAcknowledgement(t *testing.T) {
	e := envelope.Envelope{
		ID: "msg_1", Timestamp: envelope.Now(), Type: envelope.TypeJobCancelled, SessionID: "sess_1", JobID: "job_1", Payload: json.RawMessage(`{"reason":"r"}`),
	}
	frame := dialect.Frame{Type: e.Type, Line: stored(t, &e), Count: 1, Seq: 1}
	asking := opened(t)
	_, err := asking.Decode([]byte(`{"arcp":"1.1","id":"q-2","type":"job.cancel","session_id":"sess_1","job_id":"job_1","payload":{}}`), envelope.DefaultLimits(), nil)
	require.NoError(t, err)
	both, alone := asking.Render(nil, frame, 0), opened(t).Render(nil, frame, 0)
	require.Len(t, both, 2)
	require.Len(t, alone, 1)
	require.Equal(t, string(alone[0].Data), string(both[1].Data))
}

// TestHelloCommands: what a client says, and what it asks for.
func TestHelloCommands(t *testing.T) {
	for frame, want := range map[string]string{
		`"session.ping","payload":{"nonce":"n","sent_at":"2026-01-01T00:00:00Z"}`: `session.ping {"nonce":"n","sent_at":"2026-01-01T00:00:00Z"}`,
		`"session.ack","payload":{"last_processed_seq":7}`:                        `session.ack {"last_processed_seq":7}`,
		`"session.close","payload":{"reason":"r"}`:                                `session.close {"reason":"r"}`,
		`"session.bye"`: `session.close {}`,
		`"session.list_jobs","payload":{"filter":{"status":["timed_out"],"created_after":"2026-01-01T00:00:01Z"},"limit":2}`:                                                                      `session.list_jobs {"filter":{"status":["failed"],"created_after":"2026-01-01T00:00:00.999999999Z"},"limit":2}`,
		`"job.submit","payload":{"agent":"a","input":{"b":1},"max_runtime_sec":9,"lease_request":{"cost.budget":["USD:1.50","USD:2"]},"lease_constraints":{"expires_at":"2026-01-01T00:00:00Z"}}`: `tool.invoke {"tool":"a","arguments":{"b":1},"lease_request":{"cost_budget":["USD:3.5"],"expires_at":"2026-01-01T00:00:00Z"},"max_runtime_sec":9}`,
		`"job.submit","payload":{"agent":"a"}`:                                                                `tool.invoke {"tool":"a","arguments":null}`,
		`"job.submit","payload":{"agent":"a","lease_request":{"x-vendor.acme.mail":["b"]}}`:                   `tool.invoke {"tool":"a","arguments":null,"lease_request":{"x-vendor.acme.mail":["b"]}}`,
		`"job.cancel","job_id":"job_1","payload":{"reason":"r"}`:                                              `cancel {"target":"job","target_id":"job_1","reason":"r"}`,
		`"job.subscribe","payload":{"job_id":"job_1","history":true,"from_event_seq":3}`:                      `job.subscribe {"job_id":"job_1","from_event_seq":3,"history":true}`,
		`"job.subscribe","payload":{"job_id":"job_1","from_event_seq":3}`:                                     `job.subscribe {"job_id":"job_1"}`,
		`"job.unsubscribe","payload":{"job_id":"job_1"}`:                                                      `job.unsubscribe {"job_id":"job_1"}`,
		`"job.submit","payload":{"agent":""}`:                                                                 `INVALID_REQUEST payload.agent: missing`,
		`"job.submit","payload":{"agent":"a","lease_request":{"fs":["b"]}}`:                                   `INVALID_REQUEST payload.lease_request.fs: no such capability: those of vendors begin with x-vendor`,
		`"job.submit","payload":{"agent":"a","lease_request":{"fs.read":[""]}}`:                               `INVALID_REQUEST payload.lease_request.fs.read: must be a list of patterns that are not empty`,
		`"job.submit","payload":{"agent":"a","lease_request":{"cost.budget":["1"]}}`:                          `INVALID_REQUEST payload.lease_request.cost.budget: "1" is no amount: want a currency and a number, as USD:1.50`,
		`"job.submit","payload":{"agent":"a","lease_constraints":{"expires_at":"2026-01-01T00:00:00+01:00"}}`: `INVALID_REQUEST payload.lease_constraints.expires_at: must be a time in UTC, as 2026-01-02T15:04:05Z`,
		`"job.cancel","payload":{}`:                                                                           `JOB_NOT_FOUND job_id: no such job`,
		`"session.resume","payload":{}`:                                                                       `INVALID_REQUEST type: session.resume is none that a client of this dialect sends`,
		`"job.sumbit","payload":{}`:                                                                           `INVALID_REQUEST type: job.sumbit is none that a client of this dialect sends`,
		`"x-vendor.a.b","extensions":{"optional":true}`:                                                       `silent`,
		`"x-vendor.a.b"`: `INVALID_REQUEST type: x-vendor.a.b is none that a client of this dialect sends`,
		`"session.list_jobs","payload":{"filter":{"status":["x"]}}`: `INVALID_REQUEST payload.filter.status: no status x`,
	} {
		t.Run(frame, func(t *testing.T) {
			e, err := opened(t).Decode([]byte(`{"arcp":"1.1","id":"q-7","session_id":"sess_1","type":`+frame+`}`), envelope.DefaultLimits(), nil)
			var bad *envelope.DecodeError
			if err == nil {
				require.Equal(t, envelope.MessageID("msg_~q-7"), e.ID)
				require.Equal(t, want, string(e.Type)+" "+string(e.Payload))
				return
			}
			require.ErrorAs(t, err, &bad)
			require.Equal(t, envelope.MessageID("msg_~q-7"), bad.ID)
			if bad.Silent {
				require.Equal(t, "silent", want)
				return
			}
			require.Equal(t, want, string(bad.Code)+" "+bad.Reason)
		})
	}
}

// TestHelloTraces: a trace id, also of a whole traceparent; anything else is as good as none (rule 103).
func TestHelloTraces(t *testing.T) {
	const trace = "0af7651916cd43dd8448eb211c80319c"
	for said, want := range map[string]string{trace: trace, "00-" + trace + "-b7ad6b7169203331-01": trace, strings.ToUpper(trace): "", "x": ""} {
		e, err := opened(t).Decode([]byte(`{"id":"q","type":"job.submit","trace_id":"`+said+`","payload":{"agent":"a"}}`), envelope.DefaultLimits(), nil)
		require.NoError(t, err)
		require.Equal(t, want, e.TraceID)
	}
}

func FuzzHelloDecode(f *testing.F) {
	for _, seed := range []string{
		`{"id":"q","type":"job.submit","payload":{"agent":"a","lease_request":{"cost.budget":["USD:1"]}}}`,
		`{"id":"q","type":"session.hello","payload":{"resume":{"session_id":"s","last_event_seq":1}}}`,
		`{"id":1}`, `[]`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c := opened(t)
		e, err := c.Decode(text, envelope.DefaultLimits(), nil)
		if err != nil {
			var bad *envelope.DecodeError
			require.ErrorAs(t, err, &bad)
			return
		}
		row, known := envelope.Lookup(e.Type)
		require.True(t, known && row.Direction.FromClient(), e.Type)
		require.NoError(t, e.Decode(row.New()), "%s", e.Payload)
	})
}
