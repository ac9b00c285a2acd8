package integration_test

import (
	"bytes"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/internal/wstest"
)

// TR-1: answers come in the order of what they answer, whatever that is.
func TestTR1MessagesAreHandledInTheirOrder(t *testing.T) {
	_, _, p, _ := session(t)
	var want []string
	for n := range 30 {
		switch n % 3 {
		case 0:
			want = append(want, p.Invoke("echo", n))
		case 1:
			want = append(want, p.Send("cancel", obj{"target": "job", "target_id": "job_none"}))
		default:
			want = append(want, p.Send("tool.invoke", obj{"tool": "No Such Tool", "arguments": n}))
		}
	}
	var got []string
	for len(got) < len(want) {
		switch m := p.Next(); m.Type() {
		case "job.accepted", "cancel.refused":
			got = append(got, m.Str("correlation_id"))
		case "job.failed":
			if len(got) < len(want) && m.Str("correlation_id") == want[len(got)] {
				got = append(got, m.Str("correlation_id"))
			}
		}
	}
	require.Equal(t, want, got)
}

// TR-3: what does not pass the gate is neither in the log nor told to anybody.
func TestTR3WhatTheGateDropsIsNowhere(t *testing.T) {
	w := newSubscribing(t)
	sub := subscribe(t, w.listener, obj{"types": []string{"event.emit"}}, "")
	p := wstest.Dial(t, w.first.url)
	p.Send("event.emit", obj{"name": "too early"})
	p.Invoke("echo", "too early")
	p.Open(aliceToken)
	p.Send("event.emit", obj{"name": "in time"})
	require.Equal(t, "in time", event(t, w.listener, sub).Payload()["name"])
	require.NotContains(t, w.cluster.bodies(), "too early")
}

// bodies returns all that the log holds.
func (c *cluster) bodies() string {
	c.t.Helper()
	stream, err := c.jetStream().Stream(c.t.Context(), "ARCP_LOG_0")
	require.NoError(c.t, err)
	info, err := stream.Info(c.t.Context())
	require.NoError(c.t, err)
	var all bytes.Buffer
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
		if m, err := stream.GetMsg(c.t.Context(), seq); err == nil {
			all.Write(m.Data)
		}
	}
	return all.String()
}

// TR-4: when a client sees something that is counted, it is in the log.
func TestTR4WhatIsShownIsInTheLog(t *testing.T) {
	c, _, p, _ := session(t)
	p.Invoke("count", obj{"to": 10})
	for ended := false; !ended; {
		m := p.Next()
		require.Contains(t, c.bodies(), `"id":"`+m.Str("id")+`"`)
		ended = m.Type() == "job.completed"
	}
}

// TR-7: priority says what subscribers want to hear (SB-2), and reorders nothing.
func TestTR7PriorityReordersNothing(t *testing.T) {
	_, _, p, _ := session(t)
	var want, got []string
	for n := range 20 {
		want = append(want, p.Invoke("echo", n, "priority", []string{"low", "normal", "high", "critical"}[n%4]))
	}
	for len(got) < len(want) {
		if m := p.Next(); m.Type() == "job.accepted" {
			got = append(got, m.Str("correlation_id"))
		}
	}
	require.Equal(t, want, got)
}

// HS-11: what a client asks for and the runtime has not is left out, and the client sees that.
func TestHS11WhatIsMissingIsLeftOut(t *testing.T) {
	_, e := newStack(t)
	p := wstest.Dial(t, e.url)
	p.Send("session.open", obj{
		"auth": obj{"scheme": "bearer", "token": aliceToken}, "client": obj{"kind": "test", "version": "1"},
		"capabilities": obj{"streaming": true, "agent_handoff": true, "time_travel": true, "extensions": []string{"arcpx.nobody.v1"}},
	})
	negotiated := p.Expect("session.accepted").Payload()["capabilities"].(map[string]any)
	require.Equal(t, true, negotiated["streaming"])
	require.Equal(t, false, negotiated["agent_handoff"])
	require.NotContains(t, negotiated, "time_travel")
	require.NotContains(t, negotiated, "extensions", "this edge has none")
}

// ID-6: a key is free again when its time is over.
func TestID6AKeyIsForgottenAfterItsTime(t *testing.T) {
	c, _, p, _ := session(t)
	js := c.jetStream()
	bucket, err := js.Stream(t.Context(), "KV_arcp_idempotency")
	require.NoError(t, err)
	config := bucket.CachedInfo().Config
	require.Equal(t, 24*time.Hour, config.MaxAge, "the default of --idempotency-ttl")
	p.Invoke("echo", "first", "idempotency_key", "k")
	first := p.Until("job.completed")[0].Str("job_id")
	p.Invoke("echo", "second", "idempotency_key", "k")
	require.Equal(t, "FAILED_PRECONDITION", p.Expect("job.failed").Payload()["code"])
	config.MaxAge, config.Duplicates = 100*time.Millisecond, 100*time.Millisecond
	_, err = js.UpdateStream(t.Context(), config)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		info, err := bucket.Info(t.Context())
		return err == nil && info.State.Msgs == 0
	}, 20*time.Second, 20*time.Millisecond)
	p.Invoke("echo", "second", "idempotency_key", "k")
	require.NotEqual(t, first, p.Expect("job.accepted").Str("job_id"))
}

// LE-1: a lease's end is echoed as it was asked for, and the tool is told of it.
func TestLE1TheEndOfALeaseIsEchoed(t *testing.T) {
	_, i, e := newCredentialStack(t)
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	lease := until(time.Hour)
	invokeUnder(p, lease, "echo", 1)
	require.Equal(t, lease, p.Expect("job.accepted").Payload()["lease"])
	i.with(func() { require.Equal(t, lease, i.asked[0]["lease"]) }) // and so is whoever issues credentials
}

// CR-5: a tool says when there is no money left.
func TestCR5AToolSaysThatThereIsNoMoneyLeft(t *testing.T) {
	_, e, p, _ := session(t)
	e.knows(t, "fail")
	p.Invoke("fail", obj{"code": "BUDGET_EXHAUSTED", "message": "the provider says so"})
	failed := last(p.Until("job.failed")).Payload()
	require.Equal(t, "BUDGET_EXHAUSTED", failed["code"])
	require.Equal(t, false, failed["retryable"])
	require.Equal(t, "the provider says so", failed["message"])
}

// SC-4: an error on the wire ends the connection and nothing else: the principal is known, its subscription goes on.
func TestSC4AnErrorEndsTheConnectionOnly(t *testing.T) {
	w := newSubscribing(t)
	w.first.knows(t, "sleep")
	sub := subscribe(t, w.listener, logs, "")
	w.listener.Invoke("sleep", obj{"ms": 600_000})
	all := w.listener.Until("job.started")
	job, seen := last(all).Str("job_id"), last(all).Seq()
	w.listener.SendRaw("\xff\xfe")
	require.Equal(t, 1007, w.listener.Closed())
	say(w.speaker, 1)
	p := wstest.Dial(t, w.first.url)
	p.Resume(token(w.accepted), seen)
	require.Equal(t, "1", said(event(t, p, sub)))
	p.Send("cancel", obj{"target": "job", "target_id": job})
	for range 2 { // in either order
		require.Contains(t, []string{"cancel.accepted", "job.cancelled"}, p.Next().Type())
	}
}

// SC-6: either side may close; what becomes of open jobs is the configuration's to say.
func TestSC6EitherSideMayClose(t *testing.T) {
	c, _, p, _ := session(t)
	p.Invoke("sleep", obj{"ms": 600_000})
	p.Until("job.started")
	p.Send("session.close", obj{})
	require.Equal(t, "job.cancelled", p.Next().Type())
	require.Equal(t, 1000, p.Closed())

	leaving := c.edge("edge-leaving", func(cfg *edge.Config) { cfg.OnSessionClose = edge.CloseDetach })
	leaving.knows(t, "sleep")
	q := wstest.Dial(t, leaving.url)
	accepted := q.Open(aliceToken)
	q.Invoke("sleep", obj{"ms": 100})
	q.Until("job.started")
	leaving.drain()
	require.Equal(t, 1001, q.Closed())
	other := c.edge("edge-other", nil)
	r := wstest.Dial(t, other.url)
	r.Resume(token(accepted), 2)
	require.Equal(t, "job.completed", r.Next().Type())
}

// RE-8: tokens die with the session.
func TestRE8TokensDieWithTheSession(t *testing.T) {
	_, e, p, accepted := session(t)
	p.Send("session.close", obj{})
	require.Equal(t, 1000, p.Closed())
	q := wstest.Dial(t, e.url)
	q.Send("session.resume", obj{"resume_token": token(accepted), "last_event_seq": 0})
	require.Equal(t, "RESUME_WINDOW_EXPIRED", q.Expect("session.rejected").Payload()["code"])
}

// SB-9: a subscription is the session's: it goes on after a resume on another edge, without gap or repeat, and ends with it.
func TestSB9ASubscriptionIsTheSessions(t *testing.T) {
	w := newSubscribing(t)
	sub := subscribe(t, w.listener, logs, "")
	say(w.speaker, 1)
	seen := w.listener.Next()
	require.Equal(t, "subscribe.event", seen.Type())
	w.listener.Drop()
	say(w.speaker, 2)
	p := wstest.Dial(t, w.first.url)
	p.Resume(token(w.accepted), seen.Seq())
	require.Equal(t, "2", said(event(t, p, sub)))
	p.Send("session.close", obj{})
	require.Equal(t, 1000, p.Closed())
	q := wstest.Dial(t, w.first.url)
	q.Open(aliceToken)
	own := subscribe(t, q, logs, "") // so that what follows is known to have been told
	say(w.speaker, 3)
	require.Equal(t, "3", said(event(t, q, own)))
	q.Quiet()
}

// TG-1: all that is kept has an age, a size, or an end.
func TestTG1NothingIsKeptForEver(t *testing.T) {
	c, _ := newStack(t)
	names := c.jetStream().StreamNames(t.Context())
	for name := range names.Name() {
		stream, err := c.jetStream().Stream(t.Context(), name)
		require.NoError(t, err)
		config := stream.CachedInfo().Config
		switch name {
		case "KV_arcp_tools", "KV_arcp_credentials", "KV_arcp_deadlines", "OBJ_arcp_artifacts":
			require.True(t, config.AllowMsgTTL, "%s: entries go by themselves, or when what they are about has ended", name)
		default:
			require.NotZero(t, config.MaxAge, name)
		}
	}
	require.NoError(t, names.Err())
}

// TG-2: what has left the log is gone for everybody, in every way in which it could be asked for.
func TestTG2WhatHasLeftTheLogIsGone(t *testing.T) {
	w := newSubscribing(t)
	w.speaker.Invoke("echo", 1)
	job := last(w.speaker.Until("job.completed")).Str("job_id")
	stream, err := w.cluster.jetStream().Stream(t.Context(), "ARCP_LOG_0")
	require.NoError(t, err)
	require.NoError(t, stream.Purge(t.Context(), natsjs.WithPurgeKeep(1)))
	for _, p := range []*wstest.Peer{w.speaker, w.listener} {
		p.Send("session.list_jobs", obj{})
		require.Empty(t, p.Expect("session.jobs").Payload()["jobs"])
		p.Send("cancel", obj{"target": "job", "target_id": job})
		require.Equal(t, "no such in-flight job", p.Expect("cancel.refused").Payload()["reason"])
		p.Send("job.subscribe", obj{"job_id": job})
		require.Equal(t, "NOT_FOUND", p.Expect("nack").Payload()["code"])
	}
}
