package integration_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/wstest"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
	"github.com/arcp-nats/arcp/worker"
)

func cancel(target, id string) map[string]any {
	return map[string]any{"target": target, "target_id": id, "reason": "changed my mind"}
}

// ofTypes reads until an envelope of each type has come, in any order.
func ofTypes(p *wstest.Peer, names ...string) map[string]wstest.Message {
	found := map[string]wstest.Message{}
	for {
		m := p.Next()
		found[m.Type()] = m
		missing := false
		for _, name := range names {
			if found[name] == nil {
				missing = true
			}
		}
		if !missing {
			return found
		}
	}
}

func TestCX1Refusals(t *testing.T) {
	_, e, p, accepted := session(t)
	p.Invoke("sleep", map[string]any{"ms": 60_000})
	running := p.Until("job.started")[0].Str("job_id")
	bob := wstest.Dial(t, e.url)
	bobs := bob.Open(bobToken)

	for _, c := range []struct{ id, reason string }{
		{"job-4", "malformed job id"},
		{"job_01K8Q2W0A00000000000J00004", "no such in-flight job"},
		{running, "permission denied: not authorized to cancel this job"},
	} {
		id := bob.Send("cancel", cancel("job", c.id))
		m := bob.Expect("cancel.refused")
		require.Equal(t, c.reason, m.Payload()["reason"])
		require.Equal(t, c.id, m.Payload()["target_id"])
		require.Equal(t, id, m["correlation_id"])
		require.Equal(t, bobs["session_id"], m["session_id"])
		require.NotContains(t, m, "job_id")
	}
	p.Quiet()
	_ = accepted
}

func TestCX1CancelOfARunningJob(t *testing.T) {
	_, _, p, _ := session(t)
	invoke := p.Invoke("sleep", map[string]any{"ms": 60_000})
	job := p.Until("job.started")[0].Str("job_id")
	id := p.Send("cancel", cancel("job", job))
	found := ofTypes(p, "cancel.accepted", "job.cancelled")
	require.Equal(t, id, found["cancel.accepted"]["correlation_id"])
	require.Equal(t, job, found["cancel.accepted"].Payload()["target_id"])
	require.NotContains(t, found["cancel.accepted"], "job_id")
	require.Equal(t, invoke, found["job.cancelled"]["correlation_id"])
	require.Equal(t, "changed my mind", found["job.cancelled"].Payload()["reason"], "the client's reason: section 6, item 16")
	p.Quiet()
}

// TestCX3OnlyTheJobsOwnEndIsAnEnd: an end that a worker wrote after it was given up on stands last in the log, and the job
// runs; and what such a worker says after the end makes the job no less ended.
func TestCX3OnlyTheJobsOwnEndIsAnEnd(t *testing.T) {
	_, e, p, accepted := session(t)
	p.Invoke("sleep", map[string]any{"ms": 60_000})
	job := p.Until("job.started")[0].Str("job_id")
	say := func(attempt int, worker string, typ envelope.Type, payload any) {
		said, err := envelope.New(typ, payload)
		require.NoError(t, err)
		rec, err := record.New(subjects.Subject{
			Lane: subjects.Event, Feed: "edge-1", Principal: "alice", Session: accepted.Str("session_id"), Job: job,
		}, said)
		require.NoError(t, err)
		rec.Attempt, rec.Sender = attempt, worker
		_, err = e.client.PublishWait(t.Context(), rec)
		require.NoError(t, err)
	}
	say(2, "worker-2", envelope.TypeJobStarted, &envelope.JobStarted{})
	say(1, "worker-1", envelope.TypeJobCompleted, &envelope.JobCompleted{Value: json.RawMessage(`1`)})
	p.Expect("job.started")
	p.Send("cancel", cancel("job", job))
	p.Expect("cancel.accepted")

	say(2, "worker-2", envelope.TypeJobFailed, &envelope.JobFailed{Code: envelope.CodeInternal})
	say(1, "worker-1", envelope.TypeJobCompleted, &envelope.JobCompleted{Value: json.RawMessage(`1`)})
	p.Until("job.failed")
	p.Send("cancel", cancel("job", job))
	require.Equal(t, "job is no longer in-flight", p.Expect("cancel.refused").Payload()["reason"])
}

func TestCX2EntitlementIsThePrincipals(t *testing.T) {
	c, first := newStack(t)
	second := c.edge("edge-2", nil)
	first.knows(t, "sleep")
	p := wstest.Dial(t, first.url)
	accepted := p.Open(aliceToken)
	p.Invoke("sleep", map[string]any{"ms": 60_000})
	seen := p.Until("job.started")
	p.Drop()
	q := wstest.Dial(t, second.url) // another session of the same principal, on another edge, after the owner has gone
	q.Open(aliceToken)
	q.Send("cancel", cancel("job", seen[0].Str("job_id")))
	q.Expect("cancel.accepted")
	r := wstest.Dial(t, second.url)
	r.Resume(token(accepted), len(seen))
	require.Equal(t, "changed my mind", r.Expect("job.cancelled").Payload()["reason"])
}

func TestCX3AFinishedJobIsRefused(t *testing.T) {
	_, _, p, _ := session(t)
	p.Invoke("echo", 1)
	job := p.Until("job.completed")[0].Str("job_id")
	p.Send("cancel", cancel("job", job))
	require.Equal(t, "job is no longer in-flight", p.Expect("cancel.refused").Payload()["reason"])
}

func TestCX5AHandlerThatDoesNotListenIsAbandoned(t *testing.T) {
	c := newCluster(t)
	release := make(chan struct{})
	c.worker("worker-1", func(w *worker.Worker) {
		require.NoError(t, w.Handle("deaf", "1", deaf(release), worker.Options{}))
	})
	e := c.edge("edge-1", nil)
	e.knows(t, "deaf")
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	p.Invoke("deaf", 1)
	job := p.Until("job.started")[0].Str("job_id")
	payload := cancel("job", job)
	payload["deadline_ms"] = 50
	p.Send("cancel", payload)
	found := ofTypes(p, "cancel.accepted", "job.cancelled")
	require.Equal(t, "changed my mind", found["job.cancelled"].Payload()["reason"])
	close(release)
	p.Quiet() // what the handler returns in the end is not heard
}

func TestCX6TargetSession(t *testing.T) {
	_, _, p, accepted := session(t)
	p.Invoke("sleep", map[string]any{"ms": 60_000})
	p.Until("job.started")
	p.Send("cancel", cancel("session", "sess_of_somebody"))
	p.Expect("cancel.refused")
	p.Send("cancel", cancel("session", accepted.Str("session_id")))
	p.Expect("cancel.accepted")
	require.Equal(t, "changed my mind", p.Expect("job.cancelled").Payload()["reason"])
	require.Equal(t, "CANCELLED", p.Expect("session.evicted").Payload()["code"])
	require.Equal(t, 1000, p.Closed())
}

func TestCX6TargetStream(t *testing.T) {
	_, _, p, _ := session(t)
	p.Send("cancel", cancel("stream", "str_1"))
	require.Equal(t, "str_1", p.Expect("cancel.refused").Payload()["target_id"])
}

// TestAQueuedJobIsCancelledWithoutAWorker: the worker that offered the tool has gone; the client need not wait for
// another one, and when it comes it does not run the job.
func TestAQueuedJobIsCancelledWithoutAWorker(t *testing.T) {
	c := newCluster(t)
	gone := c.worker("worker-1", nil)
	e := c.edge("edge-1", nil)
	e.knows(t, "echo")
	gone.drain()
	<-gone.done
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	p.Invoke("echo", "never")
	job := p.Expect("job.accepted").Str("job_id")
	p.Send("cancel", cancel("job", job))
	found := ofTypes(p, "cancel.accepted", "job.cancelled")
	require.Equal(t, "changed my mind", found["job.cancelled"].Payload()["reason"])
	c.worker("worker-2", nil)
	p.Invoke("echo", "runs")
	all := p.Until("job.completed")
	require.Equal(t, "runs", last(all).Payload()["value"])
	require.Equal(t, []string{"job.accepted", "job.started", "job.completed"}, types(all))
}

// TestCX1ACancelThatTheLogCannotTakeHasOneAnswer: it is refused as a whole, under its own id, and works once there is
// room.
func TestCX1ACancelThatTheLogCannotTakeHasOneAnswer(t *testing.T) {
	c := newCluster(t)
	gone := c.worker("worker-1", nil)
	e := c.edge("edge-1", nil)
	e.knows(t, "echo")
	gone.drain()
	<-gone.done
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	p.Invoke("echo", "waits")
	job := p.Expect("job.accepted").Str("job_id")

	js := c.jetStream()
	stream, err := js.Stream(t.Context(), "ARCP_LOG_0")
	require.NoError(t, err)
	limit := func(bytes int64) {
		cfg := stream.CachedInfo().Config
		cfg.MaxBytes = bytes
		_, err := js.UpdateStream(t.Context(), cfg)
		require.NoError(t, err)
	}
	limit(1)
	id := p.Send("cancel", cancel("job", job))
	nack := p.Expect("nack")
	require.Equal(t, id, nack["correlation_id"])
	require.Equal(t, "RESOURCE_EXHAUSTED", nack.Payload()["code"])
	p.Quiet()

	limit(-1)
	p.Send("cancel", cancel("job", job))
	ofTypes(p, "cancel.accepted", "job.cancelled")
	p.Quiet()
}
