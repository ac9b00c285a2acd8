package integration_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/internal/natstest"
	"github.com/arcp-nats/arcp/internal/wstest"
	"github.com/arcp-nats/arcp/jetstream"
)

// complete is the name of the event that ends a history.
const complete = "subscription.backfill_complete"

// logs is a filter.
var logs = obj{"types": []any{"log"}}

// reference has the speaker run a job and returns the id of its last event, which a runtime minted.
func (w *subscribing) reference() string {
	w.speaker.Invoke("echo", 1)
	return last(w.speaker.Until("job.completed")).Str("id")
}

// told reads the log lines of a subscription until something else comes, and returns their texts and that.
func told(t *testing.T, p *wstest.Peer, sub string) (lines []string, end wstest.Message) {
	t.Helper()
	for {
		inner := event(t, p, sub)
		if inner.Type() != "log" {
			return lines, inner
		}
		lines = append(lines, said(inner))
	}
}

// stored waits until n log lines since a message are in the log: until a session of its own has been told of them. That a
// session was answered says only that what it had said before was read.
func (w *subscribing) stored(t *testing.T, after string, n int) {
	t.Helper()
	awaitStored(t, w.first, after, n)
}

// awaitStored is stored, on an edge.
func awaitStored(t *testing.T, e *testEdge, after string, n int) {
	t.Helper()
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	sub := subscribe(t, p, logs, after)
	for seen := 0; seen < n; {
		if event(t, p, sub).Type() == "log" {
			seen++
		}
	}
	p.Drop()
}

// texts are the numbers from one to another.
func texts(from, to int) (all []string) {
	for n := from; n <= to; n++ {
		all = append(all, fmt.Sprint(n))
	}
	return all
}

func TestBF1HistoryThenItsEndThenWhatComes(t *testing.T) {
	w := newSubscribing(t)
	say(w.speaker, 0)
	after := w.reference()
	for n := range 700 { // more than one mark shows
		say(w.speaker, n+1)
	}
	w.stored(t, after, 700)
	own := say(w.listener, 701)
	w.stored(t, after, 701)
	sub := subscribe(t, w.listener, logs, after)
	lines, end := told(t, w.listener, sub)
	require.Equal(t, texts(1, 701), lines)
	require.Equal(t, "event.emit", end.Type())
	require.Equal(t, complete, end.Payload()["name"])
	require.Equal(t, sub, end["subscription_id"])
	require.NotContains(t, end, "session_id")
	say(w.speaker, 702)
	require.Equal(t, "702", said(event(t, w.listener, sub)))

	// A message of a client's own making is found as well while it is among the last.
	sub = subscribe(t, w.speaker, logs, own)
	lines, end = told(t, w.speaker, sub)
	require.Equal(t, texts(702, 702), lines)
	require.Equal(t, complete, end.Payload()["name"])
}

func TestBF2TheEndOfAnEmptyHistory(t *testing.T) {
	w := newSubscribing(t)
	sub := subscribe(t, w.listener, logs, w.reference())
	require.Equal(t, complete, event(t, w.listener, sub).Payload()["name"])
	sub = subscribe(t, w.listener, obj{"types": []any{"event.emit"}}, "")
	w.listener.Quiet() // no history was asked for
	w.speaker.Send("event.emit", obj{"name": "a"})
	require.Equal(t, "a", event(t, w.listener, sub).Payload()["name"])
}

func TestBF3AReferenceThatIsNotRetained(t *testing.T) {
	w := newSubscribing(t)
	w.reference()
	for _, id := range []string{"msg_01K8Q2W0A00000000000M00001", "msg_of_nobody"} {
		sent := w.listener.Send("subscribe", obj{"since": obj{"after_message_id": id}})
		m := w.listener.Expect("nack")
		require.Equal(t, sent, m["correlation_id"])
		require.Equal(t, "DATA_LOSS", m.Payload()["code"])
	}
	w.listener.Send("subscribe", obj{"since": obj{}})
	require.Equal(t, "INVALID_ARGUMENT", w.listener.Expect("nack").Payload()["code"])
}

// A subscriber that comes while much is being said is told each once, in order, with the end of the history in between.
func TestBF4NothingIsMissedOrRepeatedAtTheSeam(t *testing.T) {
	const n = 3000
	w := newSubscribing(t)
	after := w.reference()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range n {
			say(w.speaker, i+1)
		}
	}()
	var subs []string
	peers := []*wstest.Peer{w.listener, wstest.Dial(t, w.first.url), wstest.Dial(t, w.second.url)}
	for i, p := range peers {
		if i > 0 {
			p.Open(aliceToken)
		}
		subs = append(subs, subscribe(t, p, logs, after))
	}
	<-done
	for i, p := range peers {
		history, end := told(t, p, subs[i])
		require.Equal(t, complete, end.Payload()["name"])
		for len(history) < n {
			history = append(history, said(event(t, p, subs[i])))
		}
		require.Equal(t, texts(1, n), history)
	}
}

// A subscriber is cut off in the middle of the history, on an edge that lets it have little at a time, and resumed on
// another: the same bytes again from where it asks, then the rest, its end, and what came meanwhile (SB-9 ends the
// subscription with the connection; here it lives as long as the session).
func TestI3ASubscriberIsResumedElsewhereInTheMiddleOfItsHistory(t *testing.T) {
	const n = 900
	w := newSubscribing(t)
	small := w.cluster.edge("edge-3", func(cfg *edge.Config) { cfg.AckWindow = 300 })
	after := w.reference()
	for i := range n {
		say(w.speaker, i+1)
	}
	w.stored(t, after, n)
	p := wstest.Dial(t, small.url)
	accepted := p.Open(aliceToken)
	sub := subscribe(t, p, logs, after)
	for i := range 299 {
		require.Equal(t, fmt.Sprint(i+1), said(event(t, p, sub)))
	}
	p.Drop()
	say(w.speaker, n+1) // while it is away

	q := wstest.Dial(t, w.second.url)
	resumed := q.Resume(token(accepted), 100)
	var lines []string
	for len(lines) < n-99 {
		lines = append(lines, said(event(t, q, sub)))
	}
	require.Equal(t, texts(100, n), lines)
	for i, frame := range p.Raw[len(p.Raw)-200:] {
		require.True(t, bytes.Equal(frame, q.Raw[1+i]), "%s\n%s", frame, q.Raw[1+i])
	}
	require.Equal(t, complete, event(t, q, sub).Payload()["name"])
	require.Equal(t, fmt.Sprint(n+1), said(event(t, q, sub)))
	q.Drop()

	// Again, from the beginning, on the edge of the speaker: every byte.
	r := wstest.Dial(t, w.first.url)
	r.Resume(token(resumed), 0)
	for i := range n + 3 {
		m := r.Next()
		require.Equal(t, i+1, m.Seq())
		if i >= 100 {
			require.True(t, bytes.Equal(q.Raw[1+i-100], r.Raw[1+i]))
		}
	}
	say(w.speaker, n+2)
	require.Equal(t, fmt.Sprint(n+2), said(event(t, r, sub)))
	r.Send("unsubscribe", obj{"subscription_id": sub})
	r.Quiet()
}

// A subscriber that does not read costs no marks and no memory, and loses nothing (SB-7 lets the oldest go).
func TestSB7ASlowSubscriberReadsFromTheLog(t *testing.T) {
	const n = 3000
	w := newSubscribing(t)
	slow := w.cluster.edge("edge-3", func(cfg *edge.Config) { cfg.AckWindow = 8 })
	p := wstest.Dial(t, slow.url)
	p.Open(aliceToken)
	sub := subscribe(t, p, logs, "")
	for i := range n {
		say(w.speaker, i+1)
	}
	w.speaker.Quiet()
	require.Less(t, w.cluster.count("_subscription.shown"), 20)
	var lines []string
	for len(lines) < n {
		m := p.Next()
		if m.Type() == "backpressure" {
			continue
		}
		require.Equal(t, len(lines)+2, m.Seq())
		require.Equal(t, sub, m["subscription_id"])
		lines = append(lines, said(m.Payload()["event"].(map[string]any)))
		p.Send("session.ack", obj{"last_processed_seq": m.Seq()})
	}
	require.Equal(t, texts(1, n), lines)
	require.Less(t, w.cluster.count("_subscription.shown"), n/8)
}

// The sessions of a principal may be in several shards of the log.
func TestSubscribersSeeAllShards(t *testing.T) {
	c := newCluster(t)
	natstest.Ensure(t, natstest.Client(t, c.nats), jetstream.Topology{Shards: 3, MaxBytes: 64 << 20})
	c.worker("worker-1", nil)
	var speakers []*wstest.Peer
	for shard := range 3 {
		e := c.edge(fmt.Sprint("edge-", shard), func(cfg *edge.Config) { cfg.Shard = shard })
		p := wstest.Dial(t, e.url)
		p.Open(aliceToken)
		speakers = append(speakers, p)
	}
	e := c.edge("edge-9", func(cfg *edge.Config) { cfg.Shard = 1 })
	e.knows(t, "echo")
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	witness := wstest.Dial(t, e.url)
	witness.Open(aliceToken)
	now := subscribe(t, witness, logs, "")
	say(speakers[0], 0)
	event(t, witness, now) // it stands before what comes
	p.Invoke("echo", 1)
	after := last(p.Until("job.completed")).Str("id")
	for n, s := range speakers {
		say(s, n+1)
	}
	awaitStored(t, e, after, len(speakers))
	sub := subscribe(t, p, logs, after)
	lines, end := told(t, p, sub)
	require.ElementsMatch(t, texts(1, 3), lines, "shard by shard")
	require.Equal(t, complete, end.Payload()["name"])
	for n, s := range speakers {
		say(s, n+4)
		require.Equal(t, fmt.Sprint(n+4), said(event(t, p, sub)))
	}
}

// When the log no longer holds what a subscriber has not been shown, the subscription ends with a word and a reason, and
// the session goes on.
func TestSubscribeClosedWhenTheLogHasLostWhatComesNext(t *testing.T) {
	c := newCluster(t)
	natstest.Ensure(t, natstest.Client(t, c.nats), jetstream.Topology{Shards: 2, MaxBytes: 64 << 20})
	first := c.edge("edge-1", nil)
	second := c.edge("edge-2", func(cfg *edge.Config) { cfg.Shard = 1 })
	listener, speaker := wstest.Dial(t, first.url), wstest.Dial(t, second.url)
	accepted := listener.Open(aliceToken)
	speaker.Open(aliceToken)
	sub := subscribe(t, listener, logs, "")
	say(speaker, 1)
	require.Equal(t, "1", said(event(t, listener, sub)))
	first.drain() // and writes down what the listener was shown, which is not in the log for long
	<-first.done
	say(speaker, 2)
	speaker.Send("cancel", obj{"target": "job", "target_id": "job_none"})
	speaker.Expect("cancel.refused")
	stream, err := c.jetStream().Stream(t.Context(), "ARCP_LOG_1")
	require.NoError(t, err)
	require.NoError(t, stream.Purge(t.Context()))

	third := c.edge("edge-3", nil)
	p := wstest.Dial(t, third.url)
	p.Resume(token(accepted), 2)
	m := p.Expect("subscribe.closed")
	require.Equal(t, sub, m["subscription_id"])
	require.Equal(t, sub, m.Payload()["subscription_id"])
	require.Equal(t, "DATA_LOSS", m.Payload()["code"])
	require.Equal(t, 3, m.Seq())
	witness := wstest.Dial(t, third.url)
	witness.Open(aliceToken)
	now := subscribe(t, witness, logs, "")
	say(speaker, 3)
	event(t, witness, now) // it stands before what comes
	p.Quiet()
	sub = subscribe(t, p, logs, "")
	say(speaker, 4)
	require.Equal(t, "4", said(event(t, p, sub)))
}
