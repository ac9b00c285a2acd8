package integration_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/internal/wstest"
)

// TestHelloWatchesAcrossDialects: a session of each dialect watches a job of the other one from another edge, resumes in the middle
// elsewhere, misses no step, and hears of the cancel that ends the job.
func TestHelloWatchesAcrossDialects(t *testing.T) {
	_, first, second := newHelloStack(t)
	first.knows(t, "count")
	counting := obj{"to": 100_000, "every_ms": 2}

	t.Run("a job of hello", func(t *testing.T) {
		h := openHello(t, first.url, "T", aliceToken)
		job := h.submit(obj{"agent": "count", "input": counting}).Str("job_id")
		o := wstest.Dial(t, second.url)
		token := o.Open(aliceToken).Payload().Str("resume_token")
		o.Send("job.subscribe", obj{"job_id": job, "history": true})
		last, step := 0, 0
		read := func(until int) wstest.Message {
			for {
				m := o.Next()
				if m.Seq() > 0 {
					require.Equal(t, last+1, m.Seq())
					last = m.Seq()
				}
				switch {
				case m.Type() == "job.progress":
					step++
					require.InDelta(t, step, m.Payload()["current"], 0)
					if step == until {
						return m
					}
				case m.Type() == "job.cancelled":
					return m
				}
			}
		}
		read(20)
		o.Drop()
		o = wstest.Dial(t, first.url)
		o.Resume(token, last)
		read(60)
		h.send("job.cancel", obj{"reason": "enough"}, "job_id", job)
		end := read(0)
		require.Equal(t, "job.cancelled", end.Type())
		require.Equal(t, "enough", end.Payload().Str("reason"))
	})

	t.Run("a job of the open dialect", func(t *testing.T) {
		o := wstest.Dial(t, first.url)
		o.Open(aliceToken)
		o.Invoke("count", counting)
		job := o.Expect("job.accepted").Str("job_id")
		h := openHello(t, second.url, "G", aliceToken)
		h.send("job.subscribe", obj{"job_id": job, "history": true})
		h.expect("job.subscribed")
		step := 0
		read := func(until int) wstest.Message {
			for {
				m := h.read() // the linter counts
				if m.Type() == "job.error" {
					return m
				}
				if m.Payload().Str("kind") != "progress" {
					continue
				}
				step++
				require.InDelta(t, step, m.Payload()["body"].(obj)["current"], 0)
				if step == until {
					return m
				}
			}
		}
		read(20)
		require.Equal(t, "session.welcome", h.resume(first.url, aliceToken, h.last).Type())
		read(60)
		o.Send("cancel", obj{"target": "job", "target_id": job, "reason": "enough"})
		end := read(0).Payload()
		require.Equal(t, "cancelled", end.Str("final_status"))
		require.Equal(t, "enough", end.Str("message"))
	})
}
