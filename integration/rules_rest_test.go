package integration_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/internal/wstest"
)

func TestAR5ReleaseIsNeverAnswered(t *testing.T) {
	_, e := edgeOnly(t, nil)
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	p.Send("artifact.put", put([]byte("a")))
	id := artifactOf(t, p.Next()).Str("artifact_id")
	for range 2 { // the second time there is none
		p.Send("artifact.release", obj{"artifact_id": id})
		p.Quiet()
	}
	refused(t, fetch(p, id), "NOT_FOUND", "")
}

// Whoever asks for a history gets what he would have been shown, and nothing of another principal, also by its ids (SB-4).
func TestBF5AndSB4HistoryIsOnesOwn(t *testing.T) {
	w := newSubscribing(t)
	after := w.reference()
	w.speaker.Invoke("echo", obj{"say": hidden})
	w.speaker.Until("job.completed")
	bob := wstest.Dial(t, w.second.url)
	bob.Open(bobToken)
	bob.Send("subscribe", obj{"since": obj{"after_message_id": after}})
	require.Equal(t, "DATA_LOSS", bob.Expect("nack").Payload()["code"])
	bob.Invoke("echo", 1)
	own := last(bob.Until("job.completed")).Str("id")
	w.speaker.Invoke("echo", obj{"say": hidden})
	w.speaker.Until("job.completed")
	sub := subscribe(t, bob, obj{}, own)
	for _, typ := range []string{"event.emit", "subscribe.accepted"} { // the end of the history, and then its own answer
		require.Equal(t, typ, event(t, bob, sub).Type())
	}
	bob.Quiet()
}

// SB-1: who is told of the subscription misses nothing that is said after.
func TestSB1RegisteredBeforeItIsAnswered(t *testing.T) {
	w := newSubscribing(t)
	for n := range 20 {
		sub := subscribe(t, w.listener, logs, "")
		say(w.speaker, n)
		require.Equal(t, texts(n, n)[0], said(event(t, w.listener, sub)))
		w.listener.Send("unsubscribe", obj{"subscription_id": sub})
		w.listener.Quiet()
	}
}

// CX-4: the end and the answer come in either order, each once.
func TestCX4TheEndAndTheAnswer(t *testing.T) {
	_, e, p, _ := session(t)
	e.knows(t, "sleep")
	p.Invoke("sleep", obj{"ms": 600_000})
	job := last(p.Until("job.started")).Str("job_id")
	id := p.Send("cancel", obj{"target": "job", "target_id": job, "reason": "enough"})
	seen := map[string]wstest.Message{}
	for range 2 {
		m := p.Next()
		seen[m.Type()] = m
	}
	require.Equal(t, id, seen["cancel.accepted"]["correlation_id"])
	require.Equal(t, "enough", seen["job.cancelled"].Payload()["reason"])
	p.Quiet()
}

// JB-6: a job that is accepted is listed, at once and everywhere.
func TestJB6AnAcceptedJobIsListedEverywhere(t *testing.T) {
	w := newSubscribing(t)
	for range 20 {
		w.speaker.Invoke("echo", 1)
		job := w.speaker.Expect("job.accepted").Str("job_id")
		w.listener.Send("session.list_jobs", obj{})
		found := false
		for _, one := range w.listener.Expect("session.jobs").Payload()["jobs"].([]any) {
			found = found || one.(map[string]any)["job_id"] == job
		}
		require.True(t, found)
		w.speaker.Until("job.completed")
	}
}

func TestLJ3OldestFirst(t *testing.T) {
	_, _, p, _ := session(t)
	var jobs []any
	for range 5 {
		p.Invoke("echo", 1)
		jobs = append(jobs, last(p.Until("job.completed"))["job_id"])
	}
	p.Send("session.list_jobs", obj{})
	var listed []any
	for _, one := range p.Expect("session.jobs").Payload()["jobs"].([]any) {
		listed = append(listed, one.(map[string]any)["job_id"])
	}
	require.Equal(t, jobs, listed)
}

// SC-3: a connection that is lost ends nothing; and what comes after it is not lost (SC-5).
func TestSC3AndSC5ADropEndsNothing(t *testing.T) {
	w := newSubscribing(t)
	w.first.knows(t, "count")
	w.speaker.Invoke("count", obj{"to": 20, "every_ms": 20})
	w.speaker.Until("job.progress")
	w.speaker.Drop()
	p := wstest.Dial(t, w.second.url)
	p.Resume(token(w.speaking), 0)
	all := p.Until("job.completed")
	require.Len(t, all, 23)
	for i, m := range all {
		require.Equal(t, i+1, m.Seq())
	}
}
