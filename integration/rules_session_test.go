package integration_test

import (
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/wstest"
)

// session opens a session of alice on a fresh stack that knows the demo tools.
func session(t *testing.T) (*cluster, *testEdge, *wstest.Peer, wstest.Message) {
	t.Helper()
	c, e := newStack(t)
	e.knows(t, "echo")
	p := wstest.Dial(t, e.url)
	return c, e, p, p.Open(aliceToken)
}

func TestHB1PingEchoesTheNonce(t *testing.T) {
	_, _, p, _ := session(t)
	id := p.Send("ping", map[string]any{"nonce": "n-17"})
	m := p.Expect("pong")
	require.Equal(t, "n-17", m.Payload()["nonce"])
	require.Equal(t, id, m["correlation_id"])
	require.NotContains(t, m, "event_seq")
	p.Send("ping", map[string]any{})
	require.NotContains(t, p.Expect("pong").Payload(), "nonce")
}

func TestHB2SessionPing(t *testing.T) {
	_, _, p, _ := session(t)
	id := p.Send("session.ping", map[string]any{"nonce": "n-18", "sent_at": "2026-01-01T00:00:00Z"})
	m := p.Expect("session.pong")
	require.Equal(t, "n-18", m.Payload()["ping_nonce"])
	require.NotEmpty(t, m.Payload()["received_at"])
	require.Equal(t, id, m["correlation_id"])
	require.NotContains(t, m, "event_seq")
}

func TestHB3SilentPeersAreAsked(t *testing.T) {
	c := newCluster(t)
	e := c.edge("edge-1", func(cfg *edge.Config) { cfg.IdlePing = 500 * time.Millisecond })
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	m := p.Expect("session.ping")
	require.NotEmpty(t, m.Payload()["nonce"])
	p.Send("session.pong", map[string]any{"ping_nonce": m.Payload()["nonce"], "received_at": "2026-01-01T00:00:00Z"})
	p.Expect("session.ping") // and pong and session.pong ask for no answer
}

func TestTR2RepeatedIDsAreDropped(t *testing.T) {
	_, _, p, _ := session(t)
	p.Send("ping", map[string]any{}, "id", "msg_once")
	p.Expect("pong")
	p.Send("ping", map[string]any{}, "id", "msg_once")
	p.Invoke("echo", 1, "id", "msg_once")
	p.Quiet()
}

func TestTR2TheMemoryIsOfTheConnection(t *testing.T) {
	_, e, p, _ := session(t)
	p.Send("ping", map[string]any{}, "id", "msg_once")
	p.Expect("pong")
	other := wstest.Dial(t, e.url)
	other.Open(aliceToken)
	other.Send("ping", map[string]any{}, "id", "msg_once")
	other.Expect("pong")
}

func TestTR5RepliesCarryTheTrueSession(t *testing.T) {
	_, _, p, accepted := session(t)
	p.Send("ping", map[string]any{}, "session_id", "sess_of_somebody_else")
	require.Equal(t, accepted["session_id"], p.Expect("pong")["session_id"])
	p.Invoke("echo", 1, "session_id", "sess_of_somebody_else")
	for _, m := range p.Until("job.completed") {
		require.Equal(t, accepted["session_id"], m["session_id"])
	}
}

func TestTR6WhatHasNoHandlerIsRefused(t *testing.T) {
	_, _, p, _ := session(t)
	for _, typ := range []string{"agent.delegate", "agent.handoff", "checkpoint.create"} {
		id := p.Send(typ, map[string]any{})
		m := p.Expect("nack")
		require.Equal(t, id, m["correlation_id"], typ)
		require.Equal(t, "UNIMPLEMENTED", m.Payload()["code"], typ)
	}
	for _, typ := range []string{"nack", "ack"} { // no answer, or two peers could go on for ever
		p.Send(typ, map[string]any{"code": "INTERNAL", "message": "m"})
	}
	p.Quiet()
}

func TestEX3UnknownTypes(t *testing.T) {
	_, _, p, _ := session(t)
	for typ, code := range map[string]string{
		"no.such.type":        "INVALID_ARGUMENT", // neither core nor an extension: malformed (EX-2)
		"arcpx.acme.thing.v1": "UNIMPLEMENTED",
		"workflow.start":      "UNIMPLEMENTED",
		"":                    "INVALID_ARGUMENT",
	} {
		id := p.Send(typ, map[string]any{})
		m := p.Expect("nack")
		require.Equal(t, id, m["correlation_id"], typ)
		require.Equal(t, code, m.Payload()["code"], typ)
	}
	p.Send("x-experiment", map[string]any{})
	p.Send("arcpx.acme.thing.v1", map[string]any{}, "extensions", map[string]any{"optional": true})
	p.Quiet()
}

func TestEX3ReservedNamesAreUnimplemented(t *testing.T) {
	_, _, p, _ := session(t)
	for _, name := range envelope.Reserved() {
		id := p.Send(name, map[string]any{})
		m := p.Expect("nack")
		require.Equal(t, id, m["correlation_id"], name)
		require.Equal(t, "UNIMPLEMENTED", m.Payload()["code"], name)
	}
}

func TestEveryCountableAnswerIsNumbered(t *testing.T) {
	_, _, p, _ := session(t)
	for i := range 5 {
		p.SendRaw("not json")
		require.Equal(t, i+1, p.Expect("nack").Seq())
	}
}

func TestFC1NumbersAreOfTheSessionAndSpanItsJobs(t *testing.T) {
	_, _, p, _ := session(t)
	want := 0
	for range 3 {
		p.Invoke("count", map[string]any{"to": 4})
		for _, m := range p.Until("job.completed") {
			want++
			require.Equal(t, want, m.Seq())
		}
	}
}

// TestFC2TheWindowHoldsBackWhatIsCounted: with a window of 3 no more than 3 counted envelopes are unacknowledged, in
// the middle of a burst, across a resume, and whatever the client claims to have seen; pongs pass.
func TestFC2TheWindowHoldsBackWhatIsCounted(t *testing.T) {
	c := newCluster(t)
	c.worker("worker-1", nil)
	e := c.edge("edge-1", func(cfg *edge.Config) { cfg.AckWindow, cfg.SlowAfter = 3, time.Hour })
	e.knows(t, "log")
	p := wstest.Dial(t, e.url)
	accepted := p.Open(aliceToken)
	p.Invoke("log", map[string]any{"lines": 20})
	seq := 0
	take := func(n int) {
		for range n {
			seq++
			require.Equal(t, seq, p.Next().Seq())
		}
		p.Quiet()
	}
	take(3)
	p.Send("session.ack", map[string]any{"last_processed_seq": 1})
	take(1)
	p.Send("session.ack", map[string]any{"last_processed_seq": 1_000_000}) // FC-4: clamped to what was sent
	take(3)
	p.Drop()
	p = wstest.Dial(t, e.url)
	p.Resume(token(accepted), seq-1)
	seq--
	take(3)
	for seq < 23 {
		p.Send("session.ack", map[string]any{"last_processed_seq": seq})
		take(min(3, 23-seq))
	}
}

// TestBackpressureTellsAClientThatItIsBehind: out of band, once, and again when it has caught up.
func TestBackpressureTellsAClientThatItIsBehind(t *testing.T) {
	c := newCluster(t)
	c.worker("worker-1", nil)
	e := c.edge("edge-1", func(cfg *edge.Config) { cfg.AckWindow, cfg.SlowAfter = 3, 20*time.Millisecond })
	e.knows(t, "log")
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	p.Invoke("log", map[string]any{"lines": 5})
	for seq := range 3 {
		require.Equal(t, seq+1, p.Next().Seq())
	}
	m := p.Expect("backpressure")
	require.NotContains(t, m, "event_seq")
	require.Contains(t, m.Payload()["reason"], "ack window")
	require.Zero(t, m.Payload()["buffer_remaining_bytes"])
	p.Quiet()
	p.Send("session.ack", map[string]any{"last_processed_seq": 3})
	for seq := range 3 {
		require.Equal(t, seq+4, p.Next().Seq())
	}
	p.Send("session.ack", map[string]any{"last_processed_seq": 6})
	rest := types([]wstest.Message{p.Next(), p.Next(), p.Next()}) // the out of band one may overtake
	require.ElementsMatch(t, []string{"log", "job.completed", "backpressure"}, rest)
	p.Quiet()
}

func TestFC4AcksAreClampedAndUnanswered(t *testing.T) {
	_, _, p, _ := session(t)
	p.Invoke("echo", 1)
	p.Until("job.completed")
	p.Send("session.ack", map[string]any{"last_processed_seq": 2})
	p.Send("session.ack", map[string]any{"last_processed_seq": 1})
	p.Send("session.ack", map[string]any{"last_processed_seq": 1_000_000})
	p.Quiet()
}

func TestFC5ControlAnswersPassWaitingEvents(t *testing.T) {
	c := newCluster(t)
	c.worker("worker-1", nil)
	e := c.edge("edge-1", func(cfg *edge.Config) { cfg.MaxQueueBytes = 8 << 10 })
	e.knows(t, "log")
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	const lines = 30_000
	// Far more events than the queue and the socket's buffers hold, unread.
	p.Invoke("log", map[string]any{"lines": lines})
	p.Expect("job.accepted")
	p.Expect("job.started")
	p.Send("ping", map[string]any{"nonce": "through"})
	before := 0
	for {
		m := p.Next()
		if m.Type() == "pong" {
			break
		}
		require.NotZero(t, m.Seq())
		before++
	}
	require.Less(t, before, lines, "the pong did not wait for the job's output")
	seq := before + 2
	for {
		m := p.Next()
		if m.Type() == "session.ping" {
			continue
		}
		seq++
		require.Equal(t, seq, m.Seq())
		if m.Type() == "job.completed" {
			break
		}
	}
	require.Equal(t, lines+3, seq)
}

func TestSC1CloseCancelsTheJobsAndDeliversTheirEnd(t *testing.T) {
	_, e, p, accepted := session(t)
	p.Invoke("sleep", map[string]any{"ms": 60_000})
	p.Invoke("sleep", map[string]any{"ms": 60_000})
	started := 0
	for started < 2 {
		if p.Next().Type() == "job.started" {
			started++
		}
	}
	p.Send("session.close", map[string]any{"reason": "enough"})
	for range 2 {
		require.Equal(t, "enough", p.Expect("job.cancelled").Payload()["reason"])
	}
	require.Equal(t, 1000, p.Closed())

	other := wstest.Dial(t, e.url)
	other.Send("session.resume", map[string]any{"resume_token": accepted.Payload()["resume_token"], "last_event_seq": 0})
	require.Equal(t, "RESUME_WINDOW_EXPIRED", other.Expect("session.rejected").Payload()["code"])
}

func TestSC2CloseCanLetTheJobsLive(t *testing.T) {
	c := newCluster(t)
	c.worker("worker-1", nil)
	e := c.edge("edge-1", func(cfg *edge.Config) { cfg.OnSessionClose = edge.CloseDetach })
	e.knows(t, "count")
	p := wstest.Dial(t, e.url)
	accepted := p.Open(aliceToken)
	p.Invoke("count", map[string]any{"to": 20, "every_ms": 5})
	seq := len(p.Until("job.started"))
	p.Send("session.close", map[string]any{})
	for {
		m := p.Next()
		if m.Type() == "session.closed" {
			require.NotContains(t, m, "correlation_id")
			require.Equal(t, accepted["session_id"], m["session_id"])
			break
		}
		seq++
		require.Equal(t, seq, m.Seq())
	}
	require.Equal(t, 1000, p.Closed())
	q := wstest.Dial(t, e.url) // RE-8: it can be resumed
	q.Resume(token(accepted), seq)
	for _, m := range q.Until("job.completed") {
		seq++
		require.Equal(t, seq, m.Seq())
	}
}

// TestI6NoInputEndsASession sends garbage of every kind to one session while another works.
func TestI6NoInputEndsASession(t *testing.T) {
	_, e, p, _ := session(t)
	other := wstest.Dial(t, e.url)
	other.Open(bobToken)

	bad := []string{
		`not json`, `{`, `[]`, `null`, `""`, `1`, `{}`, `{"arcp":"1.1"}`, "\x00", `{"a":"\ud800"}`,
		strings.Repeat("[", 100_000), `{"payload":` + strings.Repeat(`{"a":`, 70) + `1` + strings.Repeat(`}`, 70) + `}`,
		`{"arcp":"1.1","arcp":"1.1","id":"msg_1","timestamp":"2026-01-01T00:00:00Z","type":"ping","payload":{}}`,
	}
	// Every member of a ping and of an invocation with every wrong kind of value.
	members := map[string]string{
		"arcp": `"1.1"`, "id": `"msg_x"`, "timestamp": `"2026-01-01T00:00:00Z"`, "type": `"tool.invoke"`,
		"payload": `{"tool":"echo","arguments":1}`, "session_id": `"sess_1"`, "job_id": `"job_1"`, "stream_id": `"str_1"`,
		"subscription_id": `"sub_1"`, "trace_id": `"t"`, "span_id": `"s"`, "parent_span_id": `"p"`, "correlation_id": `"msg_1"`,
		"causation_id": `"msg_1"`, "idempotency_key": `"k"`, "priority": `"low"`, "source": `"s"`, "target": `"t"`,
	}
	for wrong, value := range members {
		for _, kind := range []string{`1`, `{}`, `[]`, `true`, `""`, `1.5e300`} {
			if (wrong == "payload" && kind == `{}`) || ((wrong == "arcp" || wrong == "source" || wrong == "target") && kind == `""`) {
				continue
			}
			var parts []string
			for name, good := range members {
				if name == wrong {
					good = kind
				}
				parts = append(parts, `"`+name+`":`+good)
			}
			_ = value
			bad = append(bad, "{"+strings.Join(parts, ",")+"}")
		}
	}
	for i, frame := range bad {
		p.SendRaw(frame)
		m := p.Expect("nack")
		require.Equal(t, "INVALID_ARGUMENT", m.Payload()["code"], frame)
		require.Equal(t, i+1, m.Seq())
	}
	p.SendBinary([]byte{0, 1, 2, 255})
	p.Quiet()
	p.Invoke("echo", "still here")
	require.Equal(t, "still here", last(p.Until("job.completed")).Payload()["value"])
	other.Quiet()
}

func TestFramesThatBreakTheFraming(t *testing.T) {
	_, e, _, _ := session(t)
	big := wstest.Dial(t, e.url)
	big.Open(aliceToken)
	_ = big.TryWrite(websocket.MessageText, []byte(`{"padding":"`+strings.Repeat("x", 2<<20)+`"}`))
	require.Equal(t, 1009, big.Closed())

	early := wstest.Dial(t, e.url)
	_ = early.TryWrite(websocket.MessageText, []byte(`{"padding":"`+strings.Repeat("x", 2<<20)+`"}`))
	require.Equal(t, 1009, early.Closed())

	invalid := wstest.Dial(t, e.url)
	invalid.Open(aliceToken)
	_ = invalid.TryWrite(websocket.MessageText, []byte{'"', 0xff, 0xfe, '"'})
	require.Equal(t, 1007, invalid.Closed())

	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	p.Quiet()
}

func TestNackNamesTheMemberAndTheMessage(t *testing.T) {
	_, _, p, _ := session(t)
	id := p.Send("tool.invoke", map[string]any{"arguments": 1})
	m := p.Expect("nack")
	require.Equal(t, id, m["correlation_id"])
	require.Contains(t, m.Payload()["message"], "payload.tool")
	p.SendRaw(`{"arcp":"1.1","id":"msg_readable","type":"ping","payload":{},"timestamp":"yesterday"}`)
	m = p.Expect("nack")
	require.Equal(t, "msg_readable", m["correlation_id"])
	require.Contains(t, m.Payload()["message"], "timestamp")
}

func TestFC3ThereIsNoWindowUnlessAsked(t *testing.T) {
	_, _, p, _ := session(t)
	p.Invoke("log", map[string]any{"lines": 2000})
	require.Equal(t, 2003, last(p.Until("job.completed")).Seq(), "nothing was acknowledged")
}
