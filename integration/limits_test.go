package integration_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coder/websocket"

	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/internal/wstest"
)

// limited starts a worker and an edge with limits, and returns the edge when it knows the tools.
func limited(t *testing.T, limits func(*edge.Config)) (*cluster, *testEdge) {
	t.Helper()
	c := newCluster(t)
	c.worker("worker-1", nil)
	e := c.edge("edge-1", limits)
	e.knows(t, "sleep")
	return c, e
}

// exhausted checks that a refusal is RESOURCE_EXHAUSTED and names the limit.
func exhausted(t *testing.T, m wstest.Message, typ, limit string) {
	t.Helper()
	require.Equal(t, typ, m.Type(), "%v", m)
	require.Equal(t, "RESOURCE_EXHAUSTED", m.Payload()["code"])
	require.Contains(t, m.Payload()["message"], limit)
}

func TestMaxSessionsPerPrincipal(t *testing.T) {
	_, e := limited(t, func(cfg *edge.Config) { cfg.MaxSessionsPerPrincipal = 2 })
	open := func(token string) (*wstest.Peer, wstest.Message) {
		p := wstest.Dial(t, e.url)
		p.Send("session.open", wstest.OpenPayload(token))
		return p, p.Next()
	}
	first, accepted := open(aliceToken)
	second, _ := open(aliceToken)
	third, rejected := open(aliceToken)
	exhausted(t, rejected, "session.rejected", "2 sessions of a principal")
	_, others := open(bobToken)
	require.Equal(t, "session.accepted", others.Type(), "the limit is a principal's own")

	again := wstest.Dial(t, e.url)
	resumed := again.Resume(token(accepted), 0)
	require.Equal(t, 4001, first.Closed(), "a session that is held here may be resumed at the limit")
	again.Drop()

	// Room again: for the one that was refused, on the same connection; and then not for the one that left.
	require.Eventually(t, func() bool {
		third.Send("session.open", wstest.OpenPayload(aliceToken))
		return third.Next().Type() == "session.accepted"
	}, wstest.Wait, wstest.Wait/1000)
	late := wstest.Dial(t, e.url)
	m, err := late.TryResume(token(resumed), 0)
	require.NoError(t, err)
	exhausted(t, m, "session.rejected", "2 sessions of a principal")
	second.Send("session.close", map[string]any{})
	require.Equal(t, 1000, second.Closed())
	require.Eventually(t, func() bool {
		m, err := late.TryResume(token(resumed), 0)
		require.NoError(t, err)
		return m.Type() == "session.resumed"
	}, wstest.Wait, wstest.Wait/1000, "a refused resume leaves the token good")
}

func TestMaxJobsPerPrincipal(t *testing.T) {
	_, e := limited(t, func(cfg *edge.Config) { cfg.MaxJobsPerPrincipal = 2 })
	sleeper := func(token string) *wstest.Peer {
		p := wstest.Dial(t, e.url)
		p.Open(token)
		p.Invoke("sleep", map[string]any{"ms": 60_000})
		p.Until("job.started")
		return p
	}
	first, second := sleeper(aliceToken), sleeper(aliceToken)
	sleeper(bobToken)

	id := second.Invoke("sleep", map[string]any{"ms": 60_000}, "idempotency_key", "k")
	nack := second.Next()
	exhausted(t, nack, "nack", "2 jobs of a principal")
	require.Equal(t, id, nack["correlation_id"])
	require.Equal(t, map[string]any{"retryable": true}, nack.Payload()["details"])

	first.Invoke("echo", 1)
	exhausted(t, first.Next(), "nack", "2 jobs of a principal")
	first.Drop() // its job goes on, and is not of a session that this edge holds
	require.Eventually(t, func() bool {
		second.Invoke("echo", 1, "idempotency_key", "k")
		if m := second.Next(); m.Type() == "nack" {
			return false
		}
		second.Until("job.completed")
		return true
	}, wstest.Wait, wstest.Wait/1000, "the refusal left the key free")
}

// TestI7JobsThatAreNotReadCount: a client that does not read what comes of its jobs cannot start jobs without end.
func TestI7JobsThatAreNotReadCount(t *testing.T) {
	c, e := limited(t, func(cfg *edge.Config) { cfg.AckWindow, cfg.MaxJobsPerSession = 1, 5 })
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	const asked = 20
	for n := range asked {
		p.Invoke("echo", 1)
		require.Eventually(t, func() bool { // what is on its way to the log is not what counts here
			return c.count("job.accepted,tool.invoke")+c.count("job.failed") == n+1
		}, wstest.Wait, time.Millisecond)
	}
	require.LessOrEqual(t, c.count("job.accepted,tool.invoke"), 6, "one may have been seen to end")
	refused := 0
	for seq := 1; refused < asked-6; seq++ {
		p.Send("session.ack", map[string]any{"last_processed_seq": seq})
		if m := p.Next(); m.Type() == "job.failed" {
			exhausted(t, m, "job.failed", "5 jobs of a session")
			refused++
		}
	}
}

// TestRate: what is over the rate is refused and has no effect; but a session can always acknowledge, show that it
// lives, and close.
func TestRate(t *testing.T) {
	c, e := limited(t, func(cfg *edge.Config) { cfg.Rate = 2 })
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	ping := `{"arcp":"1.1","id":"msg_%d","timestamp":"2026-01-01T00:00:00Z","type":"ping","payload":{"nonce":"n"}}`
	var nack wstest.Message
	for n := 0; nack == nil; n++ {
		p.SendRaw(fmt.Sprintf(ping, n))
		if m := p.Next(); m.Type() == "nack" {
			nack = m
		}
	}
	exhausted(t, nack, "nack", "2 messages a second")
	require.NotContains(t, nack, "event_seq")
	details := wstest.Message(nack.Payload()["details"].(map[string]any))
	require.Equal(t, true, details["retryable"])
	require.Greater(t, details["retry_after_ms"], 0.0)
	require.LessOrEqual(t, details["retry_after_ms"], 500.0)

	// The same message, later: it is not a repeat.
	require.Eventually(t, func() bool {
		p.SendRaw(strings.Replace(ping, "%d", strings.TrimPrefix(nack.Str("correlation_id"), "msg_"), 1))
		return p.Next().Type() == "pong"
	}, wstest.Wait, wstest.Wait/100)

	for n := 0; ; n++ {
		p.SendRaw("not an envelope") // counts too
		if p.Next().Seq() == 0 {
			break
		}
		require.Less(t, n, 100)
	}
	p.Send("session.ack", map[string]any{"last_processed_seq": 1})
	p.Send("session.pong", map[string]any{"ping_nonce": "n", "received_at": "2026-01-01T00:00:00Z"})
	p.Send("session.close", map[string]any{})
	require.Equal(t, 1000, p.Closed())
	require.Less(t, c.count("nack"), 100, "the log has what did not decode within the rate, and not the rest")
}

// TestAFloodDoesNotStopOthers: while a client sends as fast as it can, another one's jobs run, and nothing of the
// flood is in the log.
func TestAFloodDoesNotStopOthers(t *testing.T) {
	c, e := limited(t, func(cfg *edge.Config) { cfg.Rate = 300 })
	flooder := wstest.Dial(t, e.url)
	flooder.Open(aliceToken)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	sent, answered, over := 0, 0, 0
	wg.Go(func() {
		for ; ; sent++ {
			select {
			case <-stop:
				frame := `{"arcp":"1.1","id":"msg_end","timestamp":"2026-01-01T00:00:00Z","type":"session.close","payload":{}}`
				_ = flooder.TryWrite(websocket.MessageText, []byte(frame))
				return
			default:
			}
			frame := fmt.Sprintf(`{"arcp":"1.1","id":"msg_%d","timestamp":"2026-01-01T00:00:00Z","type":"cancel","payload":{"target":"job","target_id":"nonsense"}}`, sent)
			if flooder.TryWrite(websocket.MessageText, []byte(frame)) != nil {
				return
			}
		}
	})
	wg.Go(func() {
		for {
			m, err := flooder.TryNext()
			if err != nil {
				return
			}
			answered++
			if m.Type() == "nack" {
				over++
			}
		}
	})
	p := wstest.Dial(t, e.url)
	p.Open(bobToken)
	for range 50 {
		p.Invoke("echo", 1)
		p.Until("job.completed")
	}
	close(stop)
	wg.Wait()
	require.Greater(t, over, 0)
	require.Equal(t, sent, answered, "every message is answered, and a flooded session can be closed")
	require.Equal(t, answered-over, c.count("cancel.refused"))
	require.Zero(t, c.count("nack"))
}
