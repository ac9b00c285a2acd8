package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/wstest"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// watch subscribes to a job and returns the answer.
func watchJob(t *testing.T, p *wstest.Peer, job string, more obj) wstest.Message {
	t.Helper()
	payload := obj{"job_id": job}
	for k, v := range more {
		payload[k] = v
	}
	id := p.Send("job.subscribe", payload)
	m := p.Expect("job.subscribed")
	require.Equal(t, id, m["correlation_id"])
	require.Equal(t, job, m["job_id"])
	require.Equal(t, job, m.Payload()["job_id"])
	return m
}

// counting begins a job of the speaker that goes on until it is cancelled, and returns its id and the id of its request.
func (w *subscribing) counting(t *testing.T) (job, request string) {
	t.Helper()
	request = w.speaker.Invoke("count", obj{"to": 1_000_000, "every_ms": 20})
	job = w.speaker.Expect("job.accepted").Str("job_id")
	w.speaker.Expect("job.started")
	w.speaker.Expect("job.progress")
	return job, request
}

// stop cancels a job, from a session of its own.
func (w *subscribing) stop(t *testing.T, job string) {
	t.Helper()
	p := wstest.Dial(t, w.first.url)
	p.Open(aliceToken)
	p.Send("cancel", obj{"target": "job", "target_id": job})
	p.Expect("cancel.accepted")
	p.Drop()
}

func TestJS1AndJS2WhoMayWatch(t *testing.T) {
	w := newSubscribing(t)
	bob := wstest.Dial(t, w.second.url)
	bob.Open(bobToken)
	w.speaker.Invoke("echo", 1)
	job := last(w.speaker.Until("job.completed")).Str("job_id")
	refused := func(p *wstest.Peer, job, code string) wstest.Message {
		t.Helper()
		id := p.Send("job.subscribe", obj{"job_id": job})
		m := p.Expect("nack")
		require.Equal(t, id, m["correlation_id"])
		require.Equal(t, code, m.Payload()["code"])
		return m
	}
	require.NotContains(t, refused(w.listener, "job_01K8Q2W0A00000000000J00001", "NOT_FOUND"), "job_id")
	require.Equal(t, job, refused(bob, job, "PERMISSION_DENIED")["job_id"])
	bob.Send("job.unsubscribe", obj{"job_id": job})
	bob.Quiet()
	// The session that submitted it need not be there any more.
	w.speaker.Send("session.close", obj{})
	w.speaker.Closed()
	watchJob(t, w.listener, job, nil)
	w.listener.Quiet()
}

// anybody lets one principal watch the jobs of all.
type anybody string

func (observer anybody) MayWatch(_ context.Context, who string, job edge.WatchedJob) (bool, error) {
	return who == string(observer) && job.Principal == "alice" && job.Tool == "echo@1", nil
}

func TestJS2ThePolicyOfADeployment(t *testing.T) {
	c := newCluster(t)
	c.worker("worker-1", nil)
	e := c.edge("edge-1", func(cfg *edge.Config) { cfg.WatchPolicy = anybody("bob") })
	e.knows(t, "echo")
	alice, bob := wstest.Dial(t, e.url), wstest.Dial(t, e.url)
	alice.Open(aliceToken)
	bob.Open(bobToken)
	alice.Invoke("echo", obj{"a": 1})
	job := last(alice.Until("job.completed")).Str("job_id")
	require.Equal(t, true, watchJob(t, bob, job, obj{"history": true}).Payload()["replayed"])
	require.Equal(t, []string{"job.accepted", "job.started", "job.completed"}, types(bob.Until("job.completed")))
	alice.Invoke("count", obj{"to": 1})
	job = last(alice.Until("job.completed")).Str("job_id")
	bob.Send("job.subscribe", obj{"job_id": job})
	require.Equal(t, "PERMISSION_DENIED", bob.Expect("nack").Payload()["code"])
}

func TestJS3WhatIsAnswered(t *testing.T) {
	w := newSubscribing(t)
	w.speaker.Invoke("echo", 1, "trace_id", "t-1")
	all := w.speaker.Until("job.completed")
	job := last(all).Str("job_id")
	for range 2 {
		m := watchJob(t, w.listener, job, nil)
		require.Equal(t, "completed", m.Payload()["current_status"])
		require.Equal(t, "echo", m.Payload()["agent"], "as it was asked for")
		require.Equal(t, "t-1", m.Payload()["trace_id"])
		require.EqualValues(t, last(all).Seq(), m.Payload()["subscribed_from"])
		require.NotEqual(t, true, m.Payload()["replayed"])
	}
	w.listener.Quiet() // nothing follows the end
}

// An observer is shown the job's own envelopes, with its own session and its own numbers, and the end is the end.
func TestFC6AndJS4WhatIsForwarded(t *testing.T) {
	w := newSubscribing(t)
	job, request := w.counting(t)
	watchJob(t, w.listener, job, nil)
	first := w.listener.Expect("job.progress")
	require.Equal(t, request, first["correlation_id"])
	require.Equal(t, w.accepted["session_id"], first["session_id"])
	require.Equal(t, 2, first.Seq())
	w.stop(t, job)
	seen := w.listener.Until("job.cancelled")
	own := w.speaker.Until("job.cancelled")
	byID := make(map[string]wstest.Message)
	for _, m := range own {
		byID[m.Str("id")] = m
	}
	for i, m := range seen {
		require.Equal(t, 3+i, m.Seq())
		if o, ok := byID[m.Str("id")]; ok {
			require.Equal(t, o["payload"], m["payload"])
		}
	}
	w.listener.Quiet()
	// Nobody can say anything in the name of a job.
	w.speaker.Send("job.progress", obj{"current": 1}, "job_id", job)
	w.speaker.Expect("nack")
}

func TestJS4AClientCannotForgeTheEventsOfAJob(t *testing.T) {
	w := newSubscribing(t)
	job, _ := w.counting(t)
	watchJob(t, w.listener, job, nil)
	w.speaker.Send("log", obj{"level": "info", "message": "forged"}, "job_id", job)
	w.speaker.Send("metric", obj{"name": "forged", "value": 1, "unit": "u"}, "job_id", job)
	w.stop(t, job)
	for _, m := range w.listener.Until("job.cancelled") {
		require.NotContains(t, []string{"log", "metric"}, m.Type())
	}
}

// Subscribed to twice, and by the job's own session, each envelope comes once (JS-5, JS-8).
func TestJS5AndJS8EachEnvelopeOnce(t *testing.T) {
	w := newSubscribing(t)
	job, _ := w.counting(t)
	watchJob(t, w.listener, job, nil)
	all := make(map[*wstest.Peer][]wstest.Message)
	for _, p := range []*wstest.Peer{w.listener, w.speaker} {
		p.Send("job.subscribe", obj{"job_id": job})
		all[p] = p.Until("job.subscribed")
	}
	w.stop(t, job)
	for p, before := range all {
		seen := make(map[string]bool)
		for _, m := range append(before, p.Until("job.cancelled")...) {
			require.False(t, seen[m.Str("id")], m)
			seen[m.Str("id")] = true
		}
		p.Quiet()
	}
}

func TestJS6HistoryAndThenWhatComes(t *testing.T) {
	w := newSubscribing(t)
	job, _ := w.counting(t)
	for range 10 {
		w.speaker.Expect("job.progress")
	}
	m := watchJob(t, w.listener, job, obj{"history": true})
	require.Equal(t, true, m.Payload()["replayed"])
	require.GreaterOrEqual(t, m.Payload()["subscribed_from"], 13.0)
	require.Equal(t, "job.accepted", w.listener.Next().Type())
	require.Equal(t, "job.started", w.listener.Next().Type())
	for n := range 30 {
		require.EqualValues(t, n+1, w.listener.Expect("job.progress").Payload()["current"])
	}
	// From a number on: the acceptance has 1, the start 2, the first step 3.
	other := wstest.Dial(t, w.first.url)
	other.Open(aliceToken)
	watchJob(t, other, job, obj{"history": true, "from_event_seq": 7})
	for n := range 20 {
		require.EqualValues(t, n+6, other.Expect("job.progress").Payload()["current"])
	}
	w.stop(t, job)
	w.listener.Until("job.cancelled")
	other.Until("job.cancelled")
	// What has ended can be shown as well, to its own session too.
	again := wstest.Dial(t, w.second.url)
	again.Open(aliceToken)
	watchJob(t, again, job, obj{"history": true})
	all := again.Until("job.cancelled")
	require.Equal(t, "job.accepted", all[0].Type())
	again.Quiet()
}

// JS-7: a number that the session has not come to holds back what comes until then.
func TestJS7ANumberThatIsStillToCome(t *testing.T) {
	w, job, request := asking(t, wanted) // accepted has 1, started 2, the request 3
	late := wstest.Dial(t, w.first.url)
	late.Open(aliceToken)
	watchJob(t, w.listener, job, obj{"from_event_seq": 4})
	watchJob(t, late, job, obj{"from_event_seq": 1_000_000})
	w.speaker.Send("permission.grant", granting(60), "job_id", job, "correlation_id", request)
	w.speaker.Expect("lease.granted")
	require.Equal(t, 5, w.speaker.Expect("job.completed").Seq())
	require.Equal(t, 2, w.listener.Expect("job.completed").Seq())
	w.listener.Quiet()
	late.Quiet()
}

func TestJS9Unsubscribe(t *testing.T) {
	w := newSubscribing(t)
	job, _ := w.counting(t)
	w.listener.Send("job.unsubscribe", obj{"job_id": job}) // not subscribed
	watchJob(t, w.listener, job, nil)
	w.listener.Expect("job.progress")
	w.listener.Send("job.unsubscribe", obj{"job_id": job})
	w.listener.Send("job.subscribe", obj{"job_id": "job_01K8Q2W0A00000000000J00001"}) // answered after it
	for w.listener.Next().Type() != "nack" {
	}
	for range 5 {
		w.speaker.Expect("job.progress")
	}
	w.listener.Quiet()
	watchJob(t, w.listener, job, nil) // and again
	w.listener.Expect("job.progress")
	w.stop(t, job)
	w.listener.Until("job.cancelled")
}

func TestJS10WatchingIsNotCancelling(t *testing.T) {
	c := newCluster(t)
	c.worker("worker-1", nil)
	e := c.edge("edge-1", func(cfg *edge.Config) { cfg.WatchPolicy = anybody("bob") })
	e.knows(t, "echo")
	alice, bob := wstest.Dial(t, e.url), wstest.Dial(t, e.url)
	alice.Open(aliceToken)
	bob.Open(bobToken)
	alice.Invoke("echo", 1)
	job := last(alice.Until("job.completed")).Str("job_id")
	watchJob(t, bob, job, nil)
	bob.Send("cancel", obj{"target": "job", "target_id": job})
	require.Contains(t, bob.Expect("cancel.refused").Payload()["reason"], "permission denied")
}

// An observer is cut off in the middle and resumed on another edge: the same bytes from where it asks, and the rest.
func TestI3AnObserverIsResumedElsewhere(t *testing.T) {
	w := newSubscribing(t)
	job, _ := w.counting(t)
	watchJob(t, w.listener, job, obj{"history": true})
	for range 40 {
		w.listener.Next()
	}
	w.listener.Drop()
	p := wstest.Dial(t, w.first.url)
	p.Resume(token(w.accepted), 11)
	for n := range 60 {
		m := p.Next()
		require.Equal(t, 12+n, m.Seq(), fmt.Sprint(m))
		if n < 30 {
			require.True(t, bytes.Equal(w.listener.Raw[12+n], p.Raw[1+n]), "%s\n%s", w.listener.Raw[12+n], p.Raw[1+n])
		}
	}
	w.stop(t, job)
	p.Until("job.cancelled")
	p.Quiet()
}

// JS-7: what is numbered up to the number is left out, and nothing else, where the job's record begins with what its
// session is not shown.
func TestJS7InTheMiddleOfARecord(t *testing.T) {
	w := newSubscribing(t)
	w.speaker.Invoke("sleep", obj{"ms": 600_000})
	job := last(w.speaker.Until("job.started")).Str("job_id")
	var said []*envelope.Envelope
	for _, what := range []struct {
		typ     envelope.Type
		payload any
	}{
		{"_job.mark", obj{}}, {envelope.TypeJobCheckpoint, &envelope.JobCheckpoint{CheckpointID: "c", Data: []byte(`1`)}},
		{envelope.TypeLog, &envelope.Log{Level: envelope.LogInfo, Message: "three"}},
		{"_job.mark", obj{}}, {envelope.TypeLog, &envelope.Log{Level: envelope.LogInfo, Message: "four"}},
		{envelope.TypeLog, &envelope.Log{Level: envelope.LogInfo, Message: "five"}},
	} {
		e, err := envelope.New(what.typ, what.payload)
		require.NoError(t, err)
		e.SessionID, e.JobID = envelope.SessionID(w.speaking.Str("session_id")), envelope.JobID(job)
		said = append(said, e)
	}
	rec, err := record.New(subjects.Subject{
		Lane: subjects.Event, Feed: "edge-1", Principal: "alice", Session: w.speaking.Str("session_id"), Job: job,
	}, said...)
	require.NoError(t, err)
	rec.Attempt, rec.Sender = 1, "worker-1"
	_, err = w.first.client.PublishWait(t.Context(), rec)
	require.NoError(t, err)
	for seq := 3; seq <= 5; seq++ {
		require.Equal(t, seq, w.speaker.Expect("log").Seq())
	}
	for after, rest := range map[int][]string{2: {"three", "four", "five"}, 3: {"four", "five"}, 4: {"five"}} {
		p := wstest.Dial(t, w.second.url)
		p.Open(aliceToken)
		watchJob(t, p, job, obj{"history": true, "from_event_seq": after})
		for _, message := range rest {
			require.Equal(t, message, p.Expect("log").Payload()["message"], "after %d", after)
		}
		p.Quiet()
	}
}
