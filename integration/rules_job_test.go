package integration_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/wstest"
)

// types lists the types of envelopes.
func types(messages []wstest.Message) []string {
	names := make([]string, len(messages))
	for i, m := range messages {
		names[i] = m.Type()
	}
	return names
}

func TestJB1TheMainJob(t *testing.T) {
	_, _, p, accepted := session(t)
	id := p.Invoke("echo", map[string]any{"hello": "world"}, "trace_id", "trace-1", "span_id", "span-1")
	all := p.Until("job.completed")
	require.Equal(t, []string{"job.accepted", "job.started", "job.completed"}, types(all))
	job := all[0].Str("job_id")
	require.Regexp(t, `^job_[0-9A-HJKMNP-TV-Z]{26}$`, job)
	require.Equal(t, job, all[0].Payload()["job_id"])
	for i, m := range all { // the table of 4.1, and the trace (section 6, item 25)
		require.Equal(t, i+1, m.Seq())
		require.Equal(t, id, m["correlation_id"])
		require.Equal(t, job, m["job_id"])
		require.Equal(t, accepted["session_id"], m["session_id"])
		require.Equal(t, "trace-1", m["trace_id"])
		require.NotContains(t, m, "idempotency_key")
		require.Equal(t, "1.1", m["arcp"])
	}
	require.Equal(t, "invoking echo", all[1].Payload()["description"])
	require.EqualValues(t, 1, all[1].Payload()["attempt"])
	require.Equal(t, map[string]any{"hello": "world"}, all[2].Payload()["value"])
}

func TestJB2OneTerminalEnvelope(t *testing.T) {
	_, _, p, _ := session(t)
	p.Invoke("echo", nil)
	completed := last(p.Until("job.completed"))
	require.Contains(t, completed.Payload(), "value", "null is a value")
	require.Nil(t, completed.Payload()["value"])
	p.Quiet()
}

func TestJB3HandlerErrors(t *testing.T) {
	_, _, p, _ := session(t)
	p.Invoke("fail", map[string]any{"code": "PERMISSION_DENIED", "message": "no"})
	m := last(p.Until("job.failed"))
	require.Equal(t, "PERMISSION_DENIED", m.Payload()["code"])
	require.Equal(t, false, m.Payload()["retryable"])
	require.Equal(t, "no", m.Payload()["message"])
	p.Invoke("fail", map[string]any{"code": "UNAVAILABLE", "message": "later"})
	require.Equal(t, true, last(p.Until("job.failed")).Payload()["retryable"])
}

func TestJB5APanicEndsTheJob(t *testing.T) {
	_, _, p, _ := session(t)
	p.Invoke("panic", map[string]any{})
	m := last(p.Until("job.failed"))
	require.Equal(t, "INTERNAL", m.Payload()["code"])
	require.NotContains(t, m.Payload()["message"], "goroutine", "the stack is for the operator's log")
}

func TestJB7HandlersCanSpeak(t *testing.T) {
	_, _, p, _ := session(t)
	p.Invoke("count", map[string]any{"to": 3})
	all := p.Until("job.completed")
	require.Equal(t, []string{"job.accepted", "job.started", "job.progress", "job.progress", "job.progress", "job.completed"}, types(all))
	progress := all[3].Payload()
	require.EqualValues(t, 2, progress["current"])
	require.EqualValues(t, 3, progress["total"])
	require.Equal(t, "steps", progress["units"])
	require.InDelta(t, 66.6, progress["percent"], 0.1)
	require.Equal(t, map[string]any{"counted": float64(3)}, all[5].Payload()["value"])

	p.Invoke("log", map[string]any{"lines": 2, "level": "warn"})
	all = p.Until("job.completed")
	require.Equal(t, []string{"job.accepted", "job.started", "log", "log", "job.completed"}, types(all))
	require.Equal(t, "warn", all[2].Payload()["level"])
}

func TestTI1AndTI4TheEffectiveLease(t *testing.T) {
	_, _, p, _ := session(t)
	invoke := func(members map[string]any) wstest.Message {
		payload := map[string]any{"tool": "echo", "arguments": nil}
		for k, v := range members {
			payload[k] = v
		}
		p.Send("tool.invoke", payload)
		return p.Until("job.completed")[0].Payload()
	}
	require.NotContains(t, invoke(nil), "lease")
	require.Equal(t, map[string]any{"cost_budget": []any{"USD:5"}}, invoke(map[string]any{"cost_budget": []string{"USD:5.00"}})["lease"])
	// A lease that was asked for replaces the top-level budget, whole (TI-4: amounts normalised, extras kept).
	require.Equal(t, map[string]any{"model_use": []any{}, "colour": "blue"}, invoke(map[string]any{
		"cost_budget":   []string{"USD:5.00"},
		"lease_request": map[string]any{"model_use": []string{}, "colour": "blue"},
	})["lease"])
}

func TestTI2BadReference(t *testing.T) {
	_, _, p, _ := session(t)
	for _, tool := range []string{"", "Echo", "echo@", "echo@1@2", "-echo", "ec ho"} {
		id := p.Invoke(tool, 1)
		m := p.Expect("job.failed")
		require.Equal(t, "INVALID_ARGUMENT", m.Payload()["code"], tool)
		require.Equal(t, false, m.Payload()["retryable"], "TI-6")
		require.Equal(t, id, m["correlation_id"])
		require.Regexp(t, `^job_`, m["job_id"])
	}
	p.Quiet()
}

func TestTI5UnknownToolAndVersion(t *testing.T) {
	_, _, p, _ := session(t)
	for tool, code := range map[string]string{"nosuch": "NOT_FOUND", "echo@9": "AGENT_VERSION_NOT_AVAILABLE"} {
		id := p.Invoke(tool, 1)
		accepted, failed := p.Expect("job.accepted"), p.Expect("job.failed")
		require.Equal(t, code, failed.Payload()["code"], tool)
		require.Equal(t, false, failed.Payload()["retryable"])
		require.Equal(t, accepted["job_id"], failed["job_id"])
		require.Equal(t, id, failed["correlation_id"])
	}
	p.Invoke("echo@1", "pinned")
	require.Equal(t, "pinned", last(p.Until("job.completed")).Payload()["value"])
}

func TestTI7DispatchedInOrderThenParallel(t *testing.T) {
	_, _, p, _ := session(t)
	var ids []any
	for range 20 {
		ids = append(ids, p.Invoke("count", map[string]any{"to": 5, "every_ms": 1}))
	}
	var accepted []any
	done, seq := 0, 0
	for done < 20 {
		m := p.Next()
		seq++
		require.Equal(t, seq, m.Seq())
		switch m.Type() {
		case "job.accepted":
			accepted = append(accepted, m["correlation_id"])
		case "job.completed":
			done++
		}
	}
	require.Equal(t, ids, accepted)
}

func TestLE2PastLeaseIsRefused(t *testing.T) {
	_, _, p, _ := session(t)
	p.Send("tool.invoke", map[string]any{"tool": "echo", "arguments": 1, "lease_request": map[string]any{"expires_at": "2020-01-01T00:00:00Z"}})
	m := p.Expect("job.failed")
	require.Equal(t, "INVALID_ARGUMENT", m.Payload()["code"])
	p.Quiet()
}

func TestCodesOfTheLaterVocabulary(t *testing.T) {
	c := newCluster(t)
	c.worker("worker-1", nil)
	e := c.edge("edge-1", func(cfg *edge.Config) { cfg.Codes = envelope.Vocabulary11 })
	e.knows(t, "echo")
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	p.Invoke("nosuch", 1)
	p.Expect("job.accepted")
	require.Equal(t, "AGENT_NOT_AVAILABLE", p.Expect("job.failed").Payload()["code"])
	p.Invoke("echo", 1, "idempotency_key", "k")
	p.Until("job.completed")
	p.Invoke("echo", 2, "idempotency_key", "k")
	require.Equal(t, "DUPLICATE_KEY", p.Expect("job.failed").Payload()["code"])
}

func TestID3ARetryGetsTheSameAcceptance(t *testing.T) {
	_, e, p, _ := session(t)
	p.Invoke("echo", map[string]any{"a": 1, "b": 2}, "idempotency_key", "nightly")
	job := p.Until("job.completed")[0].Str("job_id")
	again := p.Invoke("echo", map[string]any{"b": 2.0, "a": 1}, "idempotency_key", "nightly")
	require.Equal(t, again, p.Expect("job.accepted")["correlation_id"])
	p.Quiet()                      // nothing else: this session has it all
	retry := wstest.Dial(t, e.url) // of the same principal, on another connection
	session := retry.Open(aliceToken)["session_id"]
	id := retry.Invoke("echo@1", map[string]any{"b": 2, "a": 1}, "idempotency_key", "nightly")
	m := retry.Expect("job.accepted")
	require.Equal(t, job, m["job_id"])
	require.Equal(t, job, m.Payload()["job_id"])
	require.Equal(t, id, m["correlation_id"])
	require.Equal(t, session, m["session_id"])
	require.Equal(t, "nightly", m["idempotency_key"])
}

func TestID4AnotherRequestUnderTheKeyIsAConflict(t *testing.T) {
	_, _, p, _ := session(t)
	p.Invoke("echo", 1, "idempotency_key", "k")
	p.Until("job.completed")
	for _, payload := range []map[string]any{
		{"tool": "echo", "arguments": 2},
		{"tool": "sleep", "arguments": 1},
		{"tool": "echo", "arguments": 1, "cost_budget": []string{"USD:1"}}, // section 6, item 15
		{"tool": "No Such", "arguments": 1},
	} {
		id := p.Send("tool.invoke", payload, "idempotency_key", "k")
		m := p.Expect("job.failed")
		require.Equal(t, "FAILED_PRECONDITION", m.Payload()["code"])
		require.Equal(t, false, m.Payload()["retryable"])
		require.NotContains(t, m, "job_id")
		require.Equal(t, "k", m["idempotency_key"])
		require.Equal(t, id, m["correlation_id"])
	}
}

func TestID1KeysOfPrincipalsAreApart(t *testing.T) {
	_, e, p, _ := session(t)
	p.Invoke("echo", 1, "idempotency_key", "k")
	job := p.Until("job.completed")[0]["job_id"]
	bob := wstest.Dial(t, e.url)
	bob.Open(bobToken)
	bob.Invoke("echo", 2, "idempotency_key", "k")
	require.NotEqual(t, job, bob.Until("job.completed")[0]["job_id"])
}

func TestID5ARefusalLeavesTheKeyFree(t *testing.T) {
	_, _, p, _ := session(t)
	p.Invoke("nosuch", 1, "idempotency_key", "k")
	p.Until("job.failed")
	p.Invoke("echo", 1, "idempotency_key", "k")
	p.Until("job.completed")
}

func TestID5TwoEdgesRacingAKeyStartOneJob(t *testing.T) {
	c, first := newStack(t)
	second := c.edge("edge-2", nil)
	first.knows(t, "echo")
	second.knows(t, "echo")
	for round := range 10 {
		key := string(rune('a' + round))
		jobs := make([]string, 8)
		var wg sync.WaitGroup
		for i := range jobs {
			p := wstest.Dial(t, []string{first.url, second.url}[i%2])
			p.Open(aliceToken)
			wg.Go(func() {
				p.Invoke("echo", 1, "idempotency_key", key)
				jobs[i] = p.Expect("job.accepted").Str("job_id")
			})
		}
		wg.Wait()
		for _, job := range jobs {
			require.Equal(t, jobs[0], job)
		}
	}
}

// TestID5ACrashBetweenTheKeyAndTheJobIsHealed: an edge died after it remembered the key and before it stored the job.
func TestID5ACrashBetweenTheKeyAndTheJobIsHealed(t *testing.T) {
	c := newCluster(t)
	c.worker("worker-1", nil)
	e := c.edge("edge-1", func(cfg *edge.Config) { cfg.SubmitPatience = 50 * time.Millisecond })
	e.knows(t, "echo")
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	p.Invoke("echo", "x", "idempotency_key", "k")
	job := p.Until("job.completed")[0].Str("job_id")

	lost := c.forgetJob(job, time.Now())
	p.Invoke("echo", "x", "idempotency_key", "k")
	for _, m := range p.Until("job.completed") {
		require.Equal(t, lost, m["job_id"], "the retry starts the job that the key stands for")
	}
}

// TestID5AnOldKeyWithoutAJobCostsNoWait: the edge that wrote the key has given up long ago, so nobody waits for it. The
// session that started the job in its place is where the key stands from then on, for every other session.
func TestID5AnOldKeyWithoutAJobCostsNoWait(t *testing.T) {
	c := newCluster(t)
	c.worker("worker-1", nil)
	e := c.edge("edge-1", func(cfg *edge.Config) { cfg.SubmitPatience = time.Hour })
	e.knows(t, "echo")
	first := wstest.Dial(t, e.url)
	first.Open(aliceToken)
	first.Invoke("echo", "x", "idempotency_key", "k")
	job := first.Until("job.completed")[0].Str("job_id")

	lost := c.forgetJob(job, time.Now().Add(-time.Hour))
	second := wstest.Dial(t, e.url)
	second.Open(aliceToken)
	second.Invoke("echo", "x", "idempotency_key", "k")
	require.Equal(t, lost, second.Until("job.completed")[0]["job_id"])
	second.Invoke("echo", "x", "idempotency_key", "k")
	require.Equal(t, lost, second.Expect("job.accepted")["job_id"])
	second.Quiet()
	first.Invoke("echo", "x", "idempotency_key", "k")
	require.Equal(t, lost, first.Until("job.completed")[0]["job_id"])
}

func TestMaxJobsPerSession(t *testing.T) {
	c := newCluster(t)
	c.worker("worker-1", nil)
	e := c.edge("edge-1", func(cfg *edge.Config) { cfg.MaxJobsPerSession = 2 })
	e.knows(t, "sleep")
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	p.Invoke("sleep", map[string]any{"ms": 60_000})
	p.Invoke("sleep", map[string]any{"ms": 60_000})
	p.Invoke("sleep", map[string]any{"ms": 60_000})
	m := last(p.Until("job.failed"))
	require.Equal(t, "RESOURCE_EXHAUSTED", m.Payload()["code"])
	require.Equal(t, true, m.Payload()["retryable"])
}

func TestTI6RetryableIsAlwaysWritten(t *testing.T) {
	_, _, p, _ := session(t)
	for _, tool := range []string{"Bad", "nosuch", "echo@9", "panic"} {
		p.Invoke(tool, 1)
		require.Contains(t, last(p.Until("job.failed")).Payload(), "retryable", tool)
	}
}

// TestID2ArgumentsAreComparedAsValues: members in any order and white space do not matter, everything else does.
func TestID2ArgumentsAreComparedAsValues(t *testing.T) {
	_, _, p, _ := session(t)
	invoke := func(arguments string) wstest.Message {
		p.SendRaw(`{"arcp":"1.1","id":"` + string(envelope.NewMessageID()) + `","timestamp":"2026-01-01T00:00:00Z",` +
			`"type":"tool.invoke","idempotency_key":"k","payload":{"tool":"echo","arguments":` + arguments + `}}`)
		return p.Next()
	}
	job := invoke(`{"a":1,"b":[1,{"c":null,"d":"x"}]}`)["job_id"]
	p.Until("job.completed")
	same := invoke("{ \"b\" : [1, {\"d\":\"\\u0078\",\"c\":null}],\n\t\"a\" : 1 }")
	require.Equal(t, "job.accepted", same.Type())
	require.Equal(t, job, same["job_id"])
	for _, other := range []string{`{"a":1,"b":[1,{"c":null,"d":"y"}]}`, `{"a":1,"b":[{"c":null,"d":"x"},1]}`, `{"a":1}`, `null`} {
		require.Equal(t, "job.failed", invoke(other).Type(), other)
	}
}
