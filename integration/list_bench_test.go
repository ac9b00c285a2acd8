package integration_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/natstest"
	"github.com/arcp-nats/arcp/internal/wstest"
	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// fillJobs stores a log of jobs that have ended, four records each, 64 of them at a time. Every fiftieth is of bob, the
// others are of alice.
func fillJobs(b *testing.B, c *jetstream.Client, jobs int) {
	const flight = 64
	text := strings.Repeat("x", 100)
	answered := make(chan error, jobs*4)
	for i := range jobs * 4 {
		job, stage := i/(4*flight)*flight+i%flight, i/flight%4
		s := subjects.Subject{
			Lane: subjects.Event, Feed: "edge-0", Principal: "alice",
			Session: fmt.Sprint("sess_", job%500), Job: fmt.Sprintf("job_01K8Q2W0A00000000000J%07d", job),
		}
		if job%50 == 7 {
			s.Principal = "bob"
		}
		r := &record.Record{Subject: s, Principal: s.Principal, Attempt: 1, Sender: "worker-1", MsgID: fmt.Sprint("m", i)}
		r.Types = []envelope.Type{[]envelope.Type{
			envelope.TypeJobAccepted, envelope.TypeJobStarted, envelope.TypeJobProgress, envelope.TypeJobCompleted,
		}[stage]}
		r.Body = fmt.Appendf(nil, `{"arcp":"1.1","id":"msg_%d","type":%q,"payload":{"text":%q}}`, i, r.Types[0], text)
		if stage == 0 {
			r.Subject.Lane, r.Subject.Queue, r.Subject.Tool = subjects.Invoke, "q", "echo@1"
			r.Types, r.Attempt = append(r.Types, envelope.TypeToolInvoke), 0
			r.Body = fmt.Appendf(r.Body, "\n"+`{"arcp":"1.1","id":"msg_i%d","type":"tool.invoke","payload":{"tool":"echo","arguments":%q}}`, i, text)
		}
		require.NoError(b, c.Publish(b.Context(), r, func(_ uint64, err error) { answered <- err }))
	}
	for range jobs * 4 {
		require.NoError(b, <-answered)
	}
}

// BenchmarkListJobs: a page of 100, as a client sees it, from a log of 102,400 jobs in 409,600 records, of which one
// principal has 100,352 and the other 2,048. first-ms is the first page of its kind.
func BenchmarkListJobs(b *testing.B) {
	c := newCluster(b)
	client := natstest.Client(b, c.nats)
	const jobs = 100 * 1024
	fillJobs(b, client, jobs)
	e := c.edge("edge-1", nil)
	_, last, err := client.Bounds(b.Context(), 0)
	require.NoError(b, err)
	require.Equal(b, uint64(jobs*4), last)
	at := func(share float64) string { // when the log had come so far
		set := subjects.JobSet{Principal: "alice"}
		found, _, _, err := client.Invocations(b.Context(), set, uint64(share*jobs*4)+1, 1)
		require.NoError(b, err)
		return found[0].Time.Format(time.RFC3339Nano)
	}
	for _, p := range []struct{ name, token string }{{"98-in-100", aliceToken}, {"1-in-50", bobToken}} {
		peer := wstest.Dial(b, e.url)
		peer.Open(p.token)
		for _, q := range []struct {
			name   string
			filter map[string]any
		}{
			{"start", map[string]any{}},
			{"middle", map[string]any{"created_after": at(0.5)}},
			{"end", map[string]any{"created_after": at(0.94)}},
			{"middle-completed", map[string]any{"created_after": at(0.5), "status": []string{"completed"}}},
		} {
			b.Run(p.name+"/"+q.name, func(b *testing.B) {
				begun, first := time.Now(), time.Duration(0)
				for b.Loop() {
					found, _ := list(b, peer, map[string]any{"limit": 100, "filter": q.filter})
					if len(found) != 100 {
						b.Fatal(len(found))
					}
					if first == 0 {
						first = time.Since(begun)
					}
				}
				b.ReportMetric(float64(first.Microseconds())/1000, "first-ms")
			})
		}
	}
}
