package integration_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/wstest"
	"github.com/arcp-nats/arcp/worker"
)

const (
	acme  = "arcpx.acme.v1"
	other = "com.example.other.v2"
)

// talks is a tool that says back, in the same extension, what it is told in one, until it is told to stop. It begins with a
// word in another extension.
func talks(ctx context.Context, job *worker.Job) (any, error) {
	if err := job.Extend(ctx, other, nil); err != nil {
		return nil, err
	}
	if job.Extend(ctx, "job.progress", nil) == nil || job.Extend(ctx, "x-mine", nil) == nil || job.Extend(ctx, acme, 7) == nil {
		return nil, envelope.Errorf(envelope.CodeInternal, "what is no extension was said")
	}
	heard := []string{}
	for said, err := range job.Extensions(ctx) {
		if err != nil {
			return nil, err
		}
		heard = append(heard, string(said.ID))
		if err := job.Extend(ctx, said.Name, map[string]any{"echo": said.Payload, "from": said.SessionID}); err != nil {
			return nil, err
		}
		var order struct{ Stop bool }
		if err := json.Unmarshal(said.Payload, &order); err != nil {
			return nil, err
		}
		if order.Stop {
			break
		}
	}
	return heard, nil
}

func withExtensions(names ...string) map[string]any {
	return open("bearer", aliceToken, map[string]any{"extensions": names})
}

// extensionStack is two edges that carry two extensions, and a tool that speaks them.
func extensionStack(t *testing.T) (c *cluster, first, second *testEdge) {
	t.Helper()
	c = newCluster(t)
	c.worker("worker-1", func(w *worker.Worker) { require.NoError(t, w.Handle("talks", "1", talks, worker.Options{})) })
	carry := func(cfg *edge.Config) { cfg.Extensions = []string{acme, other} }
	first, second = c.edge("edge-1", carry), c.edge("edge-2", carry)
	first.knows(t, "talks")
	second.knows(t, "talks")
	return c, first, second
}

// TestEX1ExtensionsReachTheJobAndComeBack: in the names that were negotiated, numbered like any event, over any edge, and
// the same after a resume.
func TestEX1ExtensionsReachTheJobAndComeBack(t *testing.T) {
	c, first, second := extensionStack(t)
	p := wstest.Dial(t, first.url)
	p.Send("session.open", withExtensions("arcpx.unknown.v1", acme))
	accepted := p.Expect("session.accepted")
	require.Equal(t, []any{acme}, accepted.Payload()["capabilities"].(map[string]any)["extensions"])
	invoke := p.Invoke("talks", nil)
	started := p.Until("job.started")
	job := last(started).Str("job_id")
	one := p.Send(acme, map[string]any{"n": 1}, "job_id", job, "event_seq", 99, "session_id", "sess_forged")
	m := p.Expect(acme) // the word in the other extension is not for this session, and not counted
	require.Equal(t, 3, m.Seq())
	require.Equal(t, job, m["job_id"])
	require.Equal(t, invoke, m["correlation_id"])
	require.Equal(t, map[string]any{"n": 1.0}, m.Payload()["echo"])
	require.Equal(t, accepted["session_id"], m.Payload()["from"], "the true session")
	p.Drop()

	p = wstest.Dial(t, second.url)
	resumed := p.Resume(token(accepted), 0)
	require.Equal(t, append(started, m), p.Until(acme))
	// From another session of the principal, on another edge, in the other extension.
	q := wstest.Dial(t, first.url)
	q.Send("session.open", withExtensions(other))
	q.Expect("session.accepted")
	before := c.count(other)
	two := q.Send(other, map[string]any{}, "job_id", job)
	// The other one goes over another edge, and the tool stops when it has it.
	require.Eventually(t, func() bool { return c.count(other) > before }, wstest.Wait, 10*time.Millisecond)
	three := p.Send(acme, map[string]any{"stop": true}, "job_id", job)
	m = p.Expect(acme)
	require.Equal(t, 4, m.Seq(), "the answer in the other extension is not for this session")
	completed := p.Expect("job.completed")
	require.Equal(t, 5, completed.Seq())
	require.ElementsMatch(t, []any{one, two, three}, completed.Payload()["value"])
	p.Drop()
	p = wstest.Dial(t, first.url)
	p.Resume(token(resumed), 3)
	require.Equal(t, []wstest.Message{m, completed}, p.Until("job.completed"))

	id := p.Send(acme, map[string]any{}, "job_id", job)
	m = p.Expect("nack")
	require.Equal(t, "FAILED_PRECONDITION", m.Payload()["code"])
	require.Equal(t, id, m["correlation_id"])
}

// TestEX3WhatWasNotNegotiated: is refused, or dropped if it says that it may be; and what was is refused without a job of
// the principal's.
func TestEX3WhatWasNotNegotiated(t *testing.T) {
	_, e, _ := extensionStack(t)
	alice := wstest.Dial(t, e.url)
	alice.Send("session.open", withExtensions(acme))
	alice.Expect("session.accepted")
	alice.Invoke("talks", nil)
	job := last(alice.Until("job.started")).Str("job_id")
	optional := map[string]any{"optional": true}
	for _, typ := range []string{other, "arcpx.unknown.v1"} {
		id := alice.Send(typ, map[string]any{}, "job_id", job)
		m := alice.Expect("nack")
		require.Equal(t, "UNIMPLEMENTED", m.Payload()["code"])
		require.Equal(t, id, m["correlation_id"])
		alice.Send(typ, map[string]any{}, "job_id", job, "extensions", optional)
		alice.Send("x-"+typ, map[string]any{}, "job_id", job)
	}
	alice.Send(acme, map[string]any{})
	require.Equal(t, "INVALID_ARGUMENT", alice.Expect("nack").Payload()["code"])
	alice.SendRaw(`{"arcp":"1.1","id":"msg_1","timestamp":"2026-01-01T00:00:00Z","type":"` + acme + `","job_id":"` + job + `","payload":[]}`)
	require.Equal(t, "INVALID_ARGUMENT", alice.Expect("nack").Payload()["code"])

	bob := wstest.Dial(t, e.url)
	bob.Send("session.open", open("bearer", bobToken, map[string]any{"extensions": []string{acme}}))
	bob.Expect("session.accepted")
	bob.Send(acme, map[string]any{"stop": true}, "job_id", job)
	require.Equal(t, "PERMISSION_DENIED", bob.Expect("nack").Payload()["code"])
	bob.Send(acme, map[string]any{"stop": true}, "job_id", "job_00000000000000000000000000")
	require.Equal(t, "NOT_FOUND", bob.Expect("nack").Payload()["code"])

	id := alice.Send(acme, map[string]any{"stop": true}, "job_id", job)
	alice.Expect(acme)
	require.Equal(t, []any{id}, alice.Expect("job.completed").Payload()["value"], "nothing else came to the job")
}

// TestEX1TheClientSpeaksExtensions: by package client.
func TestEX1TheClientSpeaksExtensions(t *testing.T) {
	_, e, _ := extensionStack(t)
	s, err := client.Dial(t.Context(), client.Config{
		URLs: []string{e.url}, Token: aliceToken, Capabilities: envelope.Capabilities{Extensions: []string{acme}},
	})
	require.NoError(t, err)
	defer s.Detach()
	require.True(t, s.Speaks(acme))
	require.False(t, s.Speaks(other))
	job, err := s.Invoke(t.Context(), "talks", nil)
	require.NoError(t, err)
	id, err := job.Accepted(t.Context())
	require.NoError(t, err)
	require.ErrorIs(t, s.Extend(t.Context(), id, other, nil), client.ErrNotNegotiated)
	require.NoError(t, s.Extend(t.Context(), id, acme, map[string]any{"stop": true}))
	var said []string
	for event, err := range job.Events(t.Context()) {
		require.NoError(t, err)
		said = append(said, string(event.Type))
	}
	require.Equal(t, []string{"job.accepted", "job.started", acme, "job.completed"}, said)
	require.Zero(t, s.Stats().Undecodable)
}
