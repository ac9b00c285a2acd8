package integration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/wstest"
	"github.com/arcp-nats/arcp/subjects"
)

// TestCR3ALostAnswerLeavesNothing: the issuer issued, and nobody heard what. The job is refused, the issuer is asked again,
// and what it says is revoked.
func TestCR3ALostAnswerLeavesNothing(t *testing.T) {
	c, i, e := newCredentialStack(t)
	i.with(func() { i.lose = 1 })
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	invokeLeased(p, "echo", 1, "idempotency_key", "k")
	m := p.Expect("job.failed")
	require.Equal(t, "UNAVAILABLE", m.Payload()["code"])
	require.Equal(t, true, m.Payload()["retryable"])
	i.allRevoked(t)
	require.Eventually(t, func() bool { return len(c.grants()) == 0 }, wstest.Wait, 5*time.Millisecond)
	invokeLeased(p, "echo", 1, "idempotency_key", "k")
	require.NotEmpty(t, value(t, p.Until("job.completed")[0]), "the key is free")
	i.allRevoked(t)
}

// TestCR3WhatIsRefusedForNowIsAskedAgain: the answer was lost, and when the edge asks what was issued, it is refused for now.
// That says nothing about what was issued before.
func TestCR3WhatIsRefusedForNowIsAskedAgain(t *testing.T) {
	c, i, e := newCredentialStack(t)
	i.with(func() { i.lose, i.later = 1, true })
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	invokeLeased(p, "echo", 1)
	require.Equal(t, "UNAVAILABLE", p.Expect("job.failed").Payload()["code"])
	i.allRevoked(t)
	require.Eventually(t, func() bool { return len(c.grants()) == 0 }, wstest.Wait, 5*time.Millisecond)
	i.with(func() { require.False(t, i.later, "it was refused once") })
}

// TestCR3ACrashBeforeTheJobIsStoredIsHealed: what the ledger says when an edge died while it asked, and after it was
// answered, and no invocation was stored.
func TestCR3ACrashBeforeTheJobIsStoredIsHealed(t *testing.T) {
	c, i := newCredentialCluster(t)
	ledger, err := c.jetStream().KeyValue(t.Context(), "arcp_credentials")
	if err != nil { // the first client makes it
		c.client()
		ledger, err = c.jetStream().KeyValue(t.Context(), "arcp_credentials")
	}
	require.NoError(t, err)
	write := func(id, state string, more map[string]any) {
		job := string(envelope.NewJobID())
		sub := subjects.Subject{
			Feed: "edge-0", Lane: subjects.Invoke, Principal: "alice", Session: string(envelope.NewSessionID()),
			Queue: "echo", Tool: "echo@1", Job: job,
		}
		entry := map[string]any{
			"state": state, "at": time.Now().Add(-time.Hour), "edge": "edge-0", "invocation": sub.String(), "principal": "alice",
			"lease": map[string]any{"cost_budget": []string{"USD:1"}},
		}
		for member, v := range more {
			entry[member] = v
		}
		data, err := json.Marshal(entry)
		require.NoError(t, err)
		_, err = ledger.Put(t.Context(), subjects.Key("grant", id), data)
		require.NoError(t, err)
	}
	i.with(func() { i.issued["cred-left"] = "sk-secret-left" })
	write("ASKED", "asking", nil)
	write("GIVEN", "given", map[string]any{"ids": []string{"cred-left"}})
	c.edge("edge-1", nil)
	require.Eventually(t, func() bool { return len(c.grants()) == 0 }, wstest.Wait, 5*time.Millisecond)
	i.allRevoked(t)
	i.with(func() {
		require.Len(t, i.asked, 1, "who does not know what was issued asks again")
		require.Len(t, i.revoked, 2)
	})
}

// TestCR3WhatARetryWasGivenAgainStaysGood: a job whose edge died before it was stored is started under its key, and the
// issuer gives it what it gave before. To revoke the one must not revoke the other.
func TestCR3WhatARetryWasGivenAgainStaysGood(t *testing.T) {
	c, i, e := newCredentialStack(t)
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	invokeLeased(p, "sleep", map[string]any{"ms": 60_000})
	job := p.Until("job.started")[0].Str("job_id")
	ledger, err := c.jetStream().KeyValue(t.Context(), "arcp_credentials")
	require.NoError(t, err)
	var entry map[string]any
	require.NoError(t, json.Unmarshal([]byte(c.grants()[0]), &entry))
	entry["at"] = time.Now().Add(-time.Hour)
	data, err := json.Marshal(entry)
	require.NoError(t, err)
	_, err = ledger.Put(t.Context(), subjects.Key("grant", "EARLIER"), data)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(c.grants()) == 1 }, wstest.Wait, 5*time.Millisecond)
	require.Len(t, i.outstanding(), 1)
	p.Send("cancel", map[string]any{"target": "job", "target_id": job})
	p.Until("job.cancelled")
	i.allRevoked(t)
}

// TestCR4TheQueueDeadlineRevokesToo: a job that no worker ever takes.
func TestCR4TheQueueDeadlineRevokesToo(t *testing.T) {
	c, i := newCredentialCluster(t)
	w := c.worker("worker-1", nil)
	e := c.edge("edge-1", func(cfg *edge.Config) { cfg.MaxQueue = time.Second })
	e.knows(t, "echo")
	w.drain()
	<-w.done
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	invokeLeased(p, "echo", 1)
	m := p.Next()
	require.Equal(t, "job.accepted", m.Type(), "%v", m)
	require.Equal(t, "job.failed", last(p.Until("job.failed")).Type())
	i.allRevoked(t)
	require.Eventually(t, func() bool { return len(c.grants()) == 0 }, wstest.Wait, 5*time.Millisecond)
}

// TestCR6WatchersAndSubscribersSeeNone: other sessions of the same principal, live and from the log.
func TestCR6WatchersAndSubscribersSeeNone(t *testing.T) {
	c, i, e := newCredentialStack(t)
	other := c.edge("edge-2", nil)
	other.knows(t, "sleep")
	sub := wstest.Dial(t, other.url)
	sub.Open(aliceToken)
	id := subscribe(t, sub, obj{"types": []string{"job.accepted"}}, "")
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	invokeLeased(p, "sleep", map[string]any{"ms": 60_000})
	all := p.Until("job.started")
	secret, job := value(t, all[0]), all[0].Str("job_id")
	require.NotEmpty(t, secret)
	_, inner := wrapped(t, sub, id)
	require.Equal(t, job, inner.Str("job_id"))
	require.Empty(t, value(t, inner))

	watcher := wstest.Dial(t, other.url)
	watcher.Open(aliceToken)
	watchJob(t, watcher, job, obj{"history": true})
	p.Send("cancel", map[string]any{"target": "job", "target_id": job})
	seen := watcher.Until("job.cancelled")
	require.Equal(t, "job.accepted", seen[0].Type(), "%v", types(seen))
	require.Empty(t, value(t, seen[0]))
	require.NotContains(t, fmt.Sprint(seen), secret)
	late := wstest.Dial(t, other.url)
	late.Open(aliceToken)
	late.Send("session.list_jobs", map[string]any{})
	require.NotContains(t, fmt.Sprint(late.Expect("session.jobs")), secret)
	i.allRevoked(t)
}

// TestCP4CredentialsAreForWhoHasNegotiatedThem, where what was negotiated counts.
func TestCP4CredentialsAreForWhoHasNegotiatedThem(t *testing.T) {
	c, i := newCredentialCluster(t)
	c.worker("worker-1", nil)
	e := c.edge("edge-1", func(cfg *edge.Config) { cfg.EnforceCapabilities = true })
	e.knows(t, "echo")
	for gets, wants := range []bool{false, true} {
		p := wstest.Dial(t, e.url)
		open := wstest.OpenPayload(aliceToken)
		open["capabilities"] = map[string]any{"model_use": true, "provisioned_credentials": wants}
		p.Send("session.open", open)
		p.Expect("session.accepted")
		invokeLeased(p, "echo", 1)
		all := p.Until("job.completed")
		require.Equal(t, gets == 1, value(t, all[0]) != "")
		i.with(func() { require.Len(t, i.asked, gets) })
	}
	i.allRevoked(t)

	// A retry under the key of a job that runs shows them to who has negotiated them, too, and to nobody else.
	for n, wants := range []bool{true, false, true} {
		p := wstest.Dial(t, e.url)
		open := wstest.OpenPayload(aliceToken)
		open["capabilities"] = map[string]any{"model_use": true, "provisioned_credentials": wants}
		p.Send("session.open", open)
		p.Expect("session.accepted")
		invokeLeased(p, "sleep", map[string]any{"ms": 60_000}, "idempotency_key", "k")
		require.Equal(t, wants, value(t, p.Expect("job.accepted")) != "", "session %d", n)
	}
}

// TestI5NoCredentialIsWrittenDown looks for the secrets of a real run in every message of every stream, the buckets
// included, and in all that was logged.
func TestI5NoCredentialIsWrittenDown(t *testing.T) {
	c, i, e := newCredentialStack(t)
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	invokeLeased(p, "sleep", map[string]any{"ms": 60_000}, "idempotency_key", "k")
	require.NotEmpty(t, value(t, p.Until("job.started")[0]))
	invokeLeased(p, "sleep", map[string]any{"ms": 60_000}, "idempotency_key", "k")
	p.Until("job.accepted")
	invokeLeased(p, "fail", map[string]any{"code": "ABORTED", "message": "x"})
	p.Until("job.failed")
	i.with(func() { i.refuse = "nonsense sk-secret-nonsense" })
	invokeLeased(p, "echo", 1)
	require.NotContains(t, fmt.Sprint(last(p.Until("job.failed"))), "sk-secret")

	require.NotContains(t, c.logs.String(), "sk-secret")
	js := c.jetStream()
	ctx, cancel := context.WithTimeout(context.Background(), wstest.Wait)
	defer cancel()
	messages, sealed := 0, 0
	streams := js.ListStreams(ctx)
	for info := range streams.Info() {
		stream, err := js.Stream(ctx, info.Config.Name)
		require.NoError(t, err)
		for seq := info.State.FirstSeq; seq <= info.State.LastSeq && info.State.Msgs > 0; seq++ {
			msg, err := stream.GetMsg(ctx, seq)
			if err != nil {
				continue // overwritten in a bucket
			}
			messages++
			require.NotContains(t, string(msg.Data)+msg.Subject+fmt.Sprint(msg.Header), "sk-secret", "%s %d", info.Config.Name, seq)
			if strings.Contains(string(msg.Data), `"sealed"`) {
				sealed++
			}
		}
	}
	require.NoError(t, streams.Err())
	require.GreaterOrEqual(t, messages, 8, "the streams were read")
	require.Equal(t, 1, sealed, "the one that is good")
}
