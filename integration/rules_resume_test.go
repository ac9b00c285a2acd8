package integration_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/internal/wstest"
)

func token(m wstest.Message) string { return m.Payload().Str("resume_token") }

func TestRE1TokensAreMintedByAcceptedAndResumed(t *testing.T) {
	_, e, p, accepted := session(t)
	p.Drop()
	q := wstest.Dial(t, e.url)
	resumed := q.Resume(token(accepted), 0)
	require.NotEqual(t, token(accepted), token(resumed))
	require.Equal(t, accepted["session_id"], resumed["session_id"])
	require.Equal(t, accepted["session_id"], resumed.Payload()["session_id"])
	require.NotContains(t, resumed, "event_seq")
}

func TestRE3WrongAndUsedTokens(t *testing.T) {
	_, e, p, accepted := session(t)
	p.Drop()
	q := wstest.Dial(t, e.url)
	resumed := q.Resume(token(accepted), 0)
	q.Quiet() // the client has shown that it holds the successor
	for _, bad := range []string{token(accepted), "rt_x", "", "rt_" + accepted.Str("session_id") + "_00", token(resumed) + "0"} {
		r := wstest.Dial(t, e.url)
		id := r.Send("session.resume", map[string]any{"resume_token": bad, "last_event_seq": 0})
		m := r.Expect("session.rejected")
		require.Equal(t, "RESUME_WINDOW_EXPIRED", m.Payload()["code"])
		require.Equal(t, id, m["correlation_id"])
		require.NotContains(t, m, "session_id")
		r.Open(aliceToken) // the connection stays up
	}
	q.Quiet() // nothing was consumed or disturbed
	q.Drop()
	wstest.Dial(t, e.url).Resume(token(resumed), 0)
}

func TestRE3ThePreviousTokenIsGoodUntilTheSuccessorIsSeen(t *testing.T) {
	_, e, p, accepted := session(t)
	p.Drop()
	for range 3 { // the reply is lost each time
		q := wstest.Dial(t, e.url)
		q.Resume(token(accepted), 0)
		q.Drop()
	}
}

func TestRE4NumbersThatWereNeverGivenOut(t *testing.T) {
	_, e, p, accepted := session(t)
	p.Invoke("echo", 1)
	p.Until("job.completed")
	p.Drop()
	q := wstest.Dial(t, e.url)
	q.Send("session.resume", map[string]any{"resume_token": token(accepted), "last_event_seq": 4})
	require.Equal(t, "RESUME_WINDOW_EXPIRED", q.Expect("session.rejected").Payload()["code"])
	resumed := q.Resume(token(accepted), 3) // the token was not consumed
	require.Equal(t, false, resumed.Payload()["replayed"])
}

func TestRE5NoCredentialsAreAskedFor(t *testing.T) {
	_, e, p, accepted := session(t)
	p.Drop()
	q := wstest.Dial(t, e.url)
	q.Resume(token(accepted), 0)
	q.Invoke("echo", "again")
	require.Equal(t, "again", last(q.Until("job.completed")).Payload()["value"])
}

func TestRE6ReplayIsTheSameBytes(t *testing.T) {
	_, e, p, accepted := session(t)
	p.Invoke("count", map[string]any{"to": 10})
	p.Until("job.completed")
	p.SendRaw("garbage")
	p.Expect("nack")
	seen := p.Raw[1:] // without session.accepted
	p.Drop()
	for _, from := range []int{0, 1, 7, len(seen) - 1} {
		q := wstest.Dial(t, e.url)
		resumed := q.Resume(token(accepted), from)
		accepted = resumed
		require.EqualValues(t, from, resumed.Payload()["replayed_from"])
		require.Equal(t, true, resumed.Payload()["replayed"])
		for range len(seen) - from {
			q.Next()
		}
		q.Quiet()
		for i, frame := range q.Raw[1 : 1+len(seen)-from] {
			require.True(t, bytes.Equal(seen[from+i], frame), "%s\n%s", seen[from+i], frame)
		}
		q.Drop()
	}
}

// TestRE6AResumeThatCannotBeCompleteFailsWhole: what the client has not seen is no longer in the log.
func TestRE6AResumeThatCannotBeCompleteFailsWhole(t *testing.T) {
	c, e, p, accepted := session(t)
	p.Invoke("echo", 1)
	p.Until("job.completed")
	p.Drop()
	stream, err := c.jetStream().Stream(t.Context(), "ARCP_LOG_0")
	require.NoError(t, err)
	require.NoError(t, stream.Purge(t.Context()))
	q := wstest.Dial(t, e.url)
	for _, seen := range []int{0, 2} {
		q.Send("session.resume", map[string]any{"resume_token": token(accepted), "last_event_seq": seen})
		require.Equal(t, "RESUME_WINDOW_EXPIRED", q.Expect("session.rejected").Payload()["code"])
	}
	q.Open(aliceToken) // nothing was shown of it
}

func TestRE9NumbersGoOnAfterAResume(t *testing.T) {
	_, e, p, accepted := session(t)
	p.Invoke("echo", 1)
	p.Until("job.completed")
	p.Drop()
	q := wstest.Dial(t, e.url)
	q.Resume(token(accepted), 3)
	q.Invoke("echo", 2)
	for i, m := range q.Until("job.completed") {
		require.Equal(t, 4+i, m.Seq())
	}
}

func TestRE9ARunningJobIsHeardAfterTheResume(t *testing.T) {
	_, e, p, accepted := session(t)
	p.Invoke("count", map[string]any{"to": 100, "every_ms": 5})
	var seq int
	for seq < 20 {
		seq = p.Next().Seq()
	}
	p.Drop()
	q := wstest.Dial(t, e.url)
	q.Resume(token(accepted), seq)
	for _, m := range q.Until("job.completed") {
		seq++
		require.Equal(t, seq, m.Seq())
	}
	require.Equal(t, 103, seq)
}

func TestRE2ResumeOnAnOpenConnectionReplacesTheSession(t *testing.T) {
	_, e, p, accepted := session(t)
	p.Drop()
	q := wstest.Dial(t, e.url)
	q.Open(bobToken)
	q.Send("session.resume", map[string]any{"resume_token": "rt_wrong", "last_event_seq": 0})
	q.Expect("session.rejected")
	q.Quiet() // a failure changes nothing
	q.Resume(token(accepted), 0)
	q.Invoke("echo", 1)
	for _, m := range q.Until("job.completed") {
		require.Equal(t, accepted["session_id"], m["session_id"])
	}
}

func TestResumeOnAnotherEdgeEvictsTheHolder(t *testing.T) {
	c, first := newStack(t)
	second := c.edge("edge-2", nil)
	first.knows(t, "count")
	p := wstest.Dial(t, first.url)
	accepted := p.Open(aliceToken)
	p.Invoke("count", map[string]any{"to": 200, "every_ms": 2})
	seq := 0
	for seq < 30 {
		seq = p.Next().Seq()
	}
	q := wstest.Dial(t, second.url)
	q.Resume(token(accepted), seq)
	want := seq
	for _, m := range q.Until("job.completed") {
		want++
		require.Equal(t, want, m.Seq())
	}
	// The first edge shows what stands before the second one's mark, then says who it was.
	for {
		m, err := p.TryNext()
		require.NoError(t, err)
		if m.Type() == "session.evicted" {
			require.Equal(t, "ABORTED", m.Payload()["code"])
			break
		}
		seq++
		require.Equal(t, seq, m.Seq())
	}
	require.Equal(t, 4001, p.Closed())
	require.Less(t, seq, want, "two edges do not both deliver")
}

// TestI3TwoEdgesRenderTheSameBytes reads one session's story on one edge as it happens and on another one after it
// happened.
func TestI3TwoEdgesRenderTheSameBytes(t *testing.T) {
	c, first := newStack(t)
	second := c.edge("edge-2", nil)
	first.knows(t, "echo")
	p := wstest.Dial(t, first.url)
	accepted := p.Open(aliceToken)
	n := 0
	for _, tool := range []string{"count", "log", "panic", "echo", "nosuch"} {
		p.Invoke(tool, map[string]any{"to": 20, "lines": 20})
		for {
			m := p.Next()
			n = m.Seq()
			if m.Type() == "job.completed" || m.Type() == "job.failed" {
				break
			}
		}
	}
	p.Send("session.ack", map[string]any{"last_processed_seq": n})
	live := p.Raw[1:]
	q := wstest.Dial(t, second.url)
	q.Resume(token(accepted), 0)
	for range n {
		q.Next()
	}
	for i := range n {
		require.Equal(t, string(live[i]), string(q.Raw[1+i]))
	}
}

// TestCheckpointAfterAcks: a resume that starts from a stored checkpoint goes on with the right numbers.
func TestCheckpointAfterAcks(t *testing.T) {
	_, e, p, accepted := session(t)
	seq := 0
	for range 30 {
		p.Invoke("count", map[string]any{"to": 20})
		for _, m := range p.Until("job.completed") {
			seq++
			require.Equal(t, seq, m.Seq())
		}
		p.Send("session.ack", map[string]any{"last_processed_seq": seq})
	}
	p.Quiet()
	p.Drop()
	q := wstest.Dial(t, e.url)
	require.Equal(t, false, q.Resume(token(accepted), seq).Payload()["replayed"])
	q.Invoke("echo", 1)
	for _, m := range q.Until("job.completed") {
		seq++
		require.Equal(t, seq, m.Seq())
	}
}

func TestDrainingEdgeSends1001AndTheSessionGoesOn(t *testing.T) {
	c, first := newStack(t)
	second := c.edge("edge-2", nil)
	first.knows(t, "count")
	p := wstest.Dial(t, first.url)
	accepted := p.Open(aliceToken)
	p.Invoke("count", map[string]any{"to": 100, "every_ms": 5})
	seq := 0
	for seq < 10 {
		seq = p.Next().Seq()
	}
	first.drain()
	for {
		m, err := p.TryNext()
		if err != nil {
			require.Equal(t, 1001, wstest.CloseCode(err))
			break
		}
		seq++
		require.Equal(t, seq, m.Seq())
	}
	<-first.done
	q := wstest.Dial(t, second.url)
	q.Resume(token(accepted), seq)
	for _, m := range q.Until("job.completed") {
		seq++
		require.Equal(t, seq, m.Seq())
	}
	require.Equal(t, 103, seq)
}

// TestSlowReaderFallsBehindAndCatchesUp: with queues of a few frames every burst goes through the log, and nothing
// is lost, repeated or reordered on the way between live and behind.
func TestSlowReaderFallsBehindAndCatchesUp(t *testing.T) {
	c := newCluster(t)
	c.worker("worker-1", nil)
	e := c.edge("edge-1", func(cfg *edge.Config) { cfg.MaxQueueBytes = 2 << 10 })
	e.knows(t, "log")
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	seq := 0
	for range 20 {
		p.Invoke("log", map[string]any{"lines": 300})
	}
	for done := 0; done < 20; {
		m := p.Next()
		seq++
		require.Equal(t, seq, m.Seq())
		if m.Type() == "job.completed" {
			done++
		}
	}
	require.Equal(t, 20*303, seq)
}

// TestASessionMovesToTheFeedOfItsEdge: a session resumed on another edge leaves the old edge's feed once no job of it
// is open; the numbering does not notice, the story is the same in the same bytes from any edge, and it can go on
// moving.
func TestASessionMovesToTheFeedOfItsEdge(t *testing.T) {
	c := newCluster(t)
	c.worker("worker-1", nil)
	soon := func(cfg *edge.Config) { cfg.MoveAfter = time.Millisecond }
	edges := []*testEdge{c.edge("edge-1", soon), c.edge("edge-2", soon), c.edge("edge-3", soon)}
	for _, e := range edges {
		e.knows(t, "count")
	}
	r := openReader(t, edges[0].url)
	moves := 0
	for round := range 6 {
		r.ended = ""
		r.peer.Invoke("count", map[string]any{"to": 10, "every_ms": 1})
		r.readTo(r.seq + 5)
		at := edges[(round+1)%3]
		r.resume(at.url) // in the middle of the job
		for r.ended == "" {
			require.True(t, r.next())
		}
		moves++
		require.Eventually(t, func() bool { return c.count("_session.moved") == moves }, wstest.Wait, 5*time.Millisecond)
		r.ended = ""
		r.peer.Invoke("echo", round)
		for r.ended == "" {
			require.True(t, r.next())
		}
		if round == 3 {
			r.peer.Send("session.ack", map[string]any{"last_processed_seq": r.seq})
		}
	}
	r.ended = ""
	r.peer.Invoke("count", map[string]any{"to": 10})
	r.finish(edges[1].url, 6*(13+3)+13)
}

func TestRE7WhatIsNotCountedIsNotReplayed(t *testing.T) {
	_, e, p, accepted := session(t)
	p.Send("ping", map[string]any{})
	p.Expect("pong")
	p.Quiet()
	p.Invoke("echo", 1)
	p.Until("job.completed")
	p.Drop()
	q := wstest.Dial(t, e.url)
	q.Resume(token(accepted), 0)
	require.Equal(t, []string{"job.accepted", "job.started", "job.completed"}, types(q.Until("job.completed")))
	q.Quiet()
}

// TestAnIdleSessionOutlivesItsRecords: what an idle session has seen may age out of the log. It can be resumed, as
// nothing that its client has not seen is gone; a client that has not seen it all is told that it cannot be complete.
func TestAnIdleSessionOutlivesItsRecords(t *testing.T) {
	c, e, idle, accepted := session(t)
	idle.Invoke("echo", 1)
	idle.Until("job.completed")
	busy := wstest.Dial(t, e.url)
	busy.Open(bobToken)
	for range 5 {
		busy.Invoke("echo", 2)
		busy.Until("job.completed")
	}
	idle.Drop()
	require.Eventually(t, func() bool { return strings.Contains(c.logs.String(), "session detached") }, wstest.Wait, time.Millisecond)

	stream, err := c.jetStream().Stream(t.Context(), "ARCP_LOG_0")
	require.NoError(t, err)
	info, err := stream.Info(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Purge(t.Context(), natsjs.WithPurgeSequence(info.State.LastSeq))) // all but the last
	q := wstest.Dial(t, c.edge("edge-2", nil).url)
	for _, last := range []int{0, 2} {
		q.Send("session.resume", map[string]any{"resume_token": token(accepted), "last_event_seq": last})
		require.Equal(t, "RESUME_WINDOW_EXPIRED", q.Expect("session.rejected").Payload()["code"])
	}
	q.Resume(token(accepted), 3)
	q.Invoke("echo", 3)
	require.Equal(t, 6, last(q.Until("job.completed")).Seq())
}

// TestRE3AResumeThatWasGivenUpComesLate: its token is older than the one that the client holds by then. It takes the
// session for a moment; the client goes on with the token that it holds.
func TestRE3AResumeThatWasGivenUpComesLate(t *testing.T) {
	_, e, p, accepted := session(t)
	p.Drop()
	first := wstest.Dial(t, e.url)
	held := token(first.Resume(token(accepted), 0))
	first.Drop() // before it has said anything
	late := wstest.Dial(t, e.url)
	late.Resume(token(accepted), 0)
	late.Drop()
	q := wstest.Dial(t, e.url)
	q.Resume(held, 0)
	q.Quiet() // and now the others are dead
	for _, used := range []string{token(accepted), held} {
		r := wstest.Dial(t, e.url)
		r.Send("session.resume", map[string]any{"resume_token": used, "last_event_seq": 0})
		require.Equal(t, "RESUME_WINDOW_EXPIRED", r.Expect("session.rejected").Payload()["code"])
	}
}
