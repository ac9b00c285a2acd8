package integration_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/internal/wstest"
)

// subscribing is two sessions of one principal on two edges, of which the second subscribes.
type subscribing struct {
	cluster            *cluster
	first, second      *testEdge
	speaker, listener  *wstest.Peer
	speaking, accepted wstest.Message
}

func newSubscribing(t *testing.T) *subscribing {
	t.Helper()
	w := &subscribing{cluster: newCluster(t)}
	w.cluster.worker("worker-1", nil)
	w.first, w.second = w.cluster.edge("edge-1", nil), w.cluster.edge("edge-2", nil)
	w.first.knows(t, "echo")
	w.speaker, w.listener = wstest.Dial(t, w.first.url), wstest.Dial(t, w.second.url)
	w.speaking = w.speaker.Open(aliceToken)
	w.accepted = w.listener.Open(aliceToken)
	return w
}

// obj is a JSON object.
type obj = map[string]any

// subscribe subscribes and returns the id. What has come before is skipped.
func subscribe(t *testing.T, p *wstest.Peer, filter obj, since string) string {
	t.Helper()
	payload := obj{"filter": filter}
	if since != "" {
		payload["since"] = obj{"after_message_id": since}
	}
	id := p.Send("subscribe", payload)
	m := p.Expect("subscribe.accepted")
	require.Equal(t, id, m["correlation_id"])
	sub := m.Payload()["subscription_id"].(string)
	require.Regexp(t, `^sub_[0-9A-Z]{26}$`, sub)
	require.Equal(t, sub, m["subscription_id"])
	return sub
}

// wrapped returns the next subscribe.event of a subscription, and what it wraps.
func wrapped(t *testing.T, p *wstest.Peer, sub string) (wrapper, inner wstest.Message) {
	t.Helper()
	wrapper = p.Expect("subscribe.event")
	require.Equal(t, sub, wrapper["subscription_id"])
	require.NotContains(t, wrapper, "session_id")
	require.NotContains(t, wrapper, "correlation_id")
	require.NotZero(t, wrapper.Seq())
	inner, ok := wrapper.Payload()["event"].(map[string]any)
	require.True(t, ok)
	return wrapper, inner
}

// event is the second result of wrapped.
func event(t *testing.T, p *wstest.Peer, sub string) wstest.Message {
	t.Helper()
	_, inner := wrapped(t, p, sub)
	return inner
}

// say sends a log line for others to see.
func say(p *wstest.Peer, n int) string {
	return p.Send("log", obj{"level": "info", "message": fmt.Sprint(n)})
}

// said is the text of a log line, "" for another message.
func said(m wstest.Message) string {
	text, _ := m.Payload()["message"].(string)
	return text
}

// A subscriber sees what the other sessions of its principal are told, as they are told it, but for the number, which is
// of that session.
func TestSB6TheWholeEnvelopeInAWrapperOfItsOwn(t *testing.T) {
	w := newSubscribing(t)
	sub := subscribe(t, w.listener, obj{"session_id": []any{w.speaking["session_id"]}}, "")
	w.speaker.Invoke("echo", obj{"a": 1})
	for i, m := range w.speaker.Until("job.completed") {
		wrapper, inner := wrapped(t, w.listener, sub)
		delete(m, "event_seq")
		require.Equal(t, map[string]any(m), map[string]any(inner))
		require.Equal(t, i+2, wrapper.Seq(), "the subscriber's own numbers")
	}
	w.listener.Quiet()
	w.speaker.Quiet()
}

// What the runtime says is published, from before its answer on, with the subscriber's own answer in it (SB-1, SB-3); what
// clients ask for, the handshake and the marks of the log are not, and nothing that was shown is published again, so two
// subscribers of a principal do not feed each other.
func TestSB3WhatIsPublished(t *testing.T) {
	w := newSubscribing(t)
	sub := subscribe(t, w.listener, obj{}, "")
	require.Equal(t, "subscribe.accepted", event(t, w.listener, sub).Type())
	other := wstest.Dial(t, w.first.url)
	other.Open(aliceToken)
	also := subscribe(t, other, obj{}, "")
	require.Equal(t, "subscribe.accepted", event(t, other, also).Type())
	require.Equal(t, also, event(t, w.listener, sub)["subscription_id"])

	w.speaker.Invoke("echo", 1, "trace_id", "t-1")
	w.speaker.Until("job.completed")
	w.speaker.Send("cancel", obj{"target": "job", "target_id": "job_none"})
	w.speaker.Expect("cancel.refused")
	w.speaker.Send("ping", obj{"nonce": "n"})
	w.speaker.Expect("pong")
	w.speaker.Send("session.list_jobs", obj{})
	w.speaker.Expect("session.jobs")
	w.speaker.Send("event.emit", obj{"name": "the.end"})
	w.speaker.Quiet()
	for _, p := range []struct {
		peer *wstest.Peer
		sub  string
	}{{w.listener, sub}, {other, also}} {
		var seen []string
		for last := ""; last != "event.emit"; {
			last = event(t, p.peer, p.sub).Type()
			seen = append(seen, last)
		}
		require.Equal(t, []string{"job.accepted", "job.started", "job.completed", "cancel.refused", "event.emit"}, seen)
		p.peer.Quiet()
	}
}

// What a client says reaches the subscribers of its principal with the session that it is, and says nothing of a job;
// its own session shows nothing.
func TestTelemetryOfClients(t *testing.T) {
	w := newSubscribing(t)
	sub := subscribe(t, w.listener, obj{"types": []any{"event.emit", "log", "metric", "trace.span"}}, "")
	now := "2026-07-01T09:00:00Z"
	for _, m := range []struct {
		typ     string
		payload obj
	}{
		{"event.emit", obj{"name": "deploy.done", "data": obj{"n": 1.0}}},
		{"log", obj{"level": "warn", "message": "hm", "attributes": obj{"a": "b"}}},
		{"metric", obj{"name": "latency.ms", "value": 1.5, "unit": "ms"}},
		{"trace.span", obj{"name": "s", "trace_id": "t-1", "span_id": "s-1", "start_time": now, "end_time": now}},
	} {
		id := w.speaker.Send(m.typ, m.payload, "session_id", w.accepted["session_id"], "job_id", "job_x", "event_seq", 77,
			"trace_id", "t-1", "priority", "high", "source", "here", "extensions", obj{"arcpx.a.v1": 1.0})
		inner := event(t, w.listener, sub)
		require.Equal(t, id, inner["id"])
		require.Equal(t, m.typ, inner.Type())
		require.Equal(t, m.payload, map[string]any(inner.Payload()))
		require.Equal(t, w.speaking["session_id"], inner["session_id"], "not what it claims")
		require.NotContains(t, inner, "event_seq")
		require.NotContains(t, inner, "job_id")
		require.Equal(t, "t-1", inner["trace_id"])
		require.Equal(t, "high", inner["priority"])
		require.Equal(t, "here", inner["source"])
		require.Equal(t, obj{"arcpx.a.v1": 1.0}, inner["extensions"])
	}
	w.speaker.Quiet() // no answers, no numbers
	w.speaker.Send("log", obj{"level": "loud", "message": "hm"})
	m := w.speaker.Expect("nack")
	require.Equal(t, "INVALID_ARGUMENT", m.Payload()["code"])
	require.Equal(t, 1, m.Seq())
	w.speaker.Send("event.emit", obj{"name": "subscription.backfill_complete"})
	require.Equal(t, "INVALID_ARGUMENT", w.speaker.Expect("nack").Payload()["code"], "only the runtime says that")
	w.listener.Quiet()
}

// Two clients that use the same message id both are heard.
func TestTelemetryWithTheSameIDs(t *testing.T) {
	w := newSubscribing(t)
	sub := subscribe(t, w.listener, obj{}, "")
	event(t, w.listener, sub) // the subscriber's own answer
	for _, url := range []string{w.first.url, w.second.url} {
		p := wstest.Dial(t, url)
		p.Open(aliceToken)
		p.SendRaw(`{"arcp":"1.1","id":"msg_1","timestamp":"2026-07-01T09:00:00Z","type":"log","payload":{"level":"info","message":"` + url + `"}}`)
		require.Equal(t, url, said(event(t, w.listener, sub)))
	}
}

// What a client says counts against its rate, and what is over it is refused.
func TestTelemetryIsBoundedByTheRate(t *testing.T) {
	w := newSubscribing(t)
	slow := w.cluster.edge("edge-3", func(cfg *edge.Config) { cfg.Rate = 1 })
	p := wstest.Dial(t, slow.url)
	p.Open(aliceToken)
	for n := range 3 {
		say(p, n)
	}
	require.Equal(t, "RESOURCE_EXHAUSTED", p.Expect("nack").Payload()["code"])
}

// A filter that names a session of somebody else, or one that never was, is refused alike.
func TestSB5NamedSessions(t *testing.T) {
	w := newSubscribing(t)
	bob := wstest.Dial(t, w.first.url)
	bobs := bob.Open(bobToken)["session_id"]
	for _, named := range []any{bobs, "sess_01K8Q2W0A00000000000S00001"} {
		id := w.listener.Send("subscribe", obj{"filter": obj{"session_id": []any{w.accepted["session_id"], named}}})
		m := w.listener.Expect("nack")
		require.Equal(t, id, m["correlation_id"])
		require.Equal(t, "PERMISSION_DENIED", m.Payload()["code"])
		require.Equal(t, "payload.filter.session_id: names a session that is not yours", said(m))
	}
	// A session that was closed is still its principal's.
	w.speaker.Invoke("echo", 1)
	w.speaker.Until("job.completed")
	w.speaker.Send("session.close", obj{})
	w.speaker.Closed()
	subscribe(t, w.listener, obj{"session_id": []any{w.speaking["session_id"]}}, "")
}

// A deployment can let a principal subscribe to sessions of another one: to those that it names, and to no others.
func TestSB5APolicyCanWidenTheScope(t *testing.T) {
	w := newSubscribing(t)
	wide := w.cluster.edge("edge-3", func(cfg *edge.Config) {
		cfg.MaySubscribe = func(subscriber, owner string) bool { return subscriber == "bob" && owner == "alice" }
	})
	bob := wstest.Dial(t, wide.url)
	bob.Open(bobToken)
	sub := subscribe(t, bob, obj{"session_id": []any{w.speaking["session_id"]}}, "")
	say(w.listener, 1)
	w.listener.Quiet()
	say(w.speaker, 2)
	require.Equal(t, "2", said(event(t, bob, sub)))
	sub = subscribe(t, bob, obj{}, "") // and nothing of her without a name
	require.Equal(t, "subscribe.accepted", event(t, bob, sub).Type())
	say(w.speaker, 3)
	require.Equal(t, "3", said(bob.Expect("subscribe.event").Payload()["event"].(map[string]any)))
	bob.Quiet()

	alice := wstest.Dial(t, wide.url)
	alice.Open(aliceToken)
	alice.Send("subscribe", obj{"filter": obj{"session_id": []any{"sess_1"}}})
	require.Equal(t, "PERMISSION_DENIED", alice.Expect("nack").Payload()["code"])
}

// Nobody sees anything of another principal, whatever it filters and refers to, nor of another anonymous session.
func TestI4SubscribersSeeTheirPrincipalOnly(t *testing.T) {
	w := newSubscribing(t)
	anonymous := func() *wstest.Peer {
		p := wstest.Dial(t, w.second.url)
		p.Send("session.open", obj{"auth": obj{"scheme": "none"}, "client": obj{"kind": "t", "version": "1"}, "capabilities": obj{"anonymous": true}})
		p.Expect("session.accepted")
		return p
	}
	bob := wstest.Dial(t, w.second.url)
	bob.Open(bobToken)
	others := []*wstest.Peer{bob, anonymous(), anonymous()}
	for _, p := range others {
		sub := subscribe(t, p, obj{}, "")
		event(t, p, sub) // the subscriber's own answer
	}
	alices := subscribe(t, w.listener, obj{"types": []any{"log", "job.completed"}}, "")
	first := say(w.speaker, 1)
	require.Equal(t, "1", said(event(t, w.listener, alices)))
	w.speaker.Invoke("echo", "secret of alice")
	accepted := w.speaker.Expect("job.accepted")
	w.speaker.Until("job.completed")
	require.Equal(t, "job.completed", event(t, w.listener, alices).Type())
	for _, p := range others {
		for _, id := range []any{first, accepted["id"]} {
			p.Send("subscribe", obj{"since": obj{"after_message_id": id}, "filter": obj{"job_id": []any{accepted["job_id"]}}})
			require.Equal(t, "DATA_LOSS", p.Expect("nack").Payload()["code"], "as for one that never was")
			require.Equal(t, "nack", wstest.Message(p.Expect("subscribe.event").Payload()["event"].(map[string]any)).Type())
		}
		p.Quiet()
	}
}

// Unsubscribing is silent, for a known id and an unknown one, and stops what comes.
func TestSB8Unsubscribe(t *testing.T) {
	w := newSubscribing(t)
	sub := subscribe(t, w.listener, obj{"types": []any{"log"}}, "")
	other := subscribe(t, w.listener, obj{"types": []any{"log"}}, "")
	w.listener.Send("unsubscribe", obj{"subscription_id": sub})
	w.listener.Send("unsubscribe", obj{"subscription_id": "sub_none"})
	w.listener.Quiet()
	say(w.speaker, 1)
	require.Equal(t, "1", said(event(t, w.listener, other)))
	w.listener.Send("unsubscribe", obj{"subscription_id": other})
	w.listener.Send("cancel", obj{"target": "job", "target_id": "job_none"})
	w.listener.Expect("cancel.refused") // the log has both
	say(w.speaker, 2)
	w.speaker.Quiet()
	w.listener.Quiet()
}

// A session has a bounded number of subscriptions, and is told so.
func TestSubscriptionsOfASessionAreBounded(t *testing.T) {
	w := newSubscribing(t)
	few := w.cluster.edge("edge-3", func(cfg *edge.Config) { cfg.MaxSubscriptions = 2 })
	p := wstest.Dial(t, few.url)
	p.Open(aliceToken)
	for range 3 {
		p.Send("subscribe", obj{"filter": obj{"types": []any{"log"}}})
	}
	first := p.Expect("subscribe.accepted")
	p.Expect("subscribe.accepted")
	m := p.Expect("nack")
	require.Equal(t, "RESOURCE_EXHAUSTED", m.Payload()["code"])
	require.Contains(t, said(m), "the limit is 2")
	p.Send("unsubscribe", obj{"subscription_id": first["subscription_id"]})
	p.Send("cancel", obj{"target": "job", "target_id": "job_none"})
	p.Expect("cancel.refused")
	subscribe(t, p, obj{"types": []any{"log"}}, "")

	var jobs []any
	for n := range 400 {
		jobs = append(jobs, fmt.Sprintf("job_01K8Q2W0A0000000000000%04d", n))
	}
	w.listener.Send("subscribe", obj{"filter": obj{"job_id": jobs}})
	m = w.listener.Expect("nack")
	require.Equal(t, "INVALID_ARGUMENT", m.Payload()["code"])
	require.Contains(t, said(m), "limit 8192")
}
