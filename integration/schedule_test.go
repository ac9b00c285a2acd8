package integration_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/internal/natstest"
	"github.com/arcp-nats/arcp/internal/wstest"
	"github.com/arcp-nats/arcp/jetstream/embedded"
)

func schedule(tool string, arguments any, when map[string]any) map[string]any {
	return map[string]any{"job": map[string]any{"tool": tool, "arguments": arguments}, "when": when}
}

func at(t *testing.T, m wstest.Message) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, m["timestamp"].(string))
	require.NoError(t, err)
	return at
}

// TestScheduledJobsStartWhenDue: accepted and listed at once, started no sooner than asked for, as the first attempt.
func TestScheduledJobsStartWhenDue(t *testing.T) {
	_, _, p, _ := session(t)
	id := p.Send("job.schedule", schedule("echo", "later", map[string]any{"after": 0.4}))
	accepted := p.Expect("job.accepted")
	require.Equal(t, id, accepted["correlation_id"])
	p.Send("session.list_jobs", map[string]any{})
	jobs := p.Expect("session.jobs").Payload()["jobs"].([]any)
	require.Len(t, jobs, 1)
	require.Equal(t, "queued", jobs[0].(map[string]any)["status"])
	all := p.Until("job.completed")
	require.Equal(t, []string{"job.started", "job.completed"}, types(all))
	require.EqualValues(t, 1, all[0].Payload()["attempt"])
	require.GreaterOrEqual(t, at(t, all[0]).Sub(at(t, accepted)), 400*time.Millisecond)
	require.Equal(t, "later", last(all).Payload()["value"])

	// At a time; one that is past is now.
	due := time.Now().Add(300 * time.Millisecond)
	p.Send("job.schedule", schedule("echo", 1, map[string]any{"at": due.UTC().Format(time.RFC3339Nano)}))
	all = p.Until("job.completed")
	require.False(t, at(t, all[1]).Before(due))
	p.Send("job.schedule", schedule("echo", 2, map[string]any{"at": "2026-01-01T00:00:00Z"}))
	require.Equal(t, []string{"job.accepted", "job.started", "job.completed"}, types(p.Until("job.completed")))
}

// TestScheduledJobsSurviveAllRestarts: every process goes away between the acceptance and the time, and one of them is
// not back when the time comes.
func TestScheduledJobsSurviveAllRestarts(t *testing.T) {
	options := embedded.Options{Dir: t.TempDir(), Port: -1}
	c := &cluster{t: t, nats: natstest.StartWith(t, options), logs: new(lockedBuffer)}
	w := c.worker("worker-1", nil)
	e := c.edge("edge-1", nil)
	e.knows(t, "echo")
	p := wstest.Dial(t, e.url)
	accepted := p.Open(aliceToken)
	p.Send("job.schedule", schedule("echo", "after all", map[string]any{"after": 1}))
	p.Expect("job.accepted")
	e.drain()
	<-e.done
	w.drain()
	<-w.done
	c.nats.Shutdown()

	c.nats = natstest.StartWith(t, options)
	second := c.edge("edge-2", nil)
	c.worker("worker-2", nil)
	q := wstest.Dial(t, second.url)
	q.Resume(token(accepted), 1)
	all := q.Until("job.completed")
	require.Equal(t, "after all", last(all).Payload()["value"])
	require.EqualValues(t, 1, all[len(all)-2].Payload()["attempt"])
}

// TestScheduledJobsCanBeCancelled: before the time, and then they never start.
func TestScheduledJobsCanBeCancelled(t *testing.T) {
	c, _, p, _ := session(t)
	p.Send("job.schedule", schedule("echo", 1, map[string]any{"after": 0.5}))
	job := p.Expect("job.accepted").Str("job_id")
	p.Send("cancel", cancel("job", job))
	ofTypes(p, "cancel.accepted", "job.cancelled")
	p.Send("job.schedule", schedule("echo", 2, map[string]any{"after": 0.7}))
	all := p.Until("job.completed")
	require.Equal(t, []string{"job.accepted", "job.started", "job.completed"}, types(all))
	require.NotEqual(t, job, all[0]["job_id"])
	require.Equal(t, 1, c.count("job.started")+c.count("job.started,job.completed"))
}

// TestScheduleRefusals: each names the member at fault.
func TestScheduleRefusals(t *testing.T) {
	_, _, p, _ := session(t)
	far := time.Now().Add(48 * time.Hour).UTC().Format(time.RFC3339)
	for _, c := range []struct {
		when         map[string]any
		code, member string
	}{
		{map[string]any{}, "INVALID_ARGUMENT", "payload.when"},
		{map[string]any{"after": 1, "at": far}, "INVALID_ARGUMENT", "payload.when"},
		{map[string]any{"every": "FREQ=DAILY"}, "UNIMPLEMENTED", "payload.when.every"},
		{map[string]any{"after": -1}, "INVALID_ARGUMENT", "payload.when.after"},
		{map[string]any{"after": 48 * 3600}, "INVALID_ARGUMENT", "payload.when.after"},
		{map[string]any{"at": far}, "INVALID_ARGUMENT", "payload.when.at"},
		{map[string]any{"at": "soon"}, "INVALID_ARGUMENT", "payload.when.at"},
	} {
		id := p.Send("job.schedule", schedule("echo", 1, c.when))
		m := p.Expect("nack")
		require.Equal(t, c.code, m.Payload()["code"], c.when)
		require.Contains(t, m.Payload()["message"], c.member)
		require.Equal(t, id, m["correlation_id"])
	}
	// What a tool.invoke is refused for a job.schedule is, and its lease must outlive the wait (LE-2).
	p.Send("job.schedule", schedule("no such", 1, map[string]any{"after": 1}))
	require.Equal(t, "INVALID_ARGUMENT", p.Expect("job.failed").Payload()["code"])
	soon := map[string]any{"expires_at": time.Now().Add(time.Minute).UTC().Format(time.RFC3339)}
	request := schedule("echo", 1, map[string]any{"after": 3600})
	request["job"].(map[string]any)["lease_request"] = soon
	p.Send("job.schedule", request)
	require.Equal(t, "INVALID_ARGUMENT", p.Expect("job.failed").Payload()["code"])
}

// TestID3ScheduledJobsHaveKeys: a repeat is answered with the first job; another time, or a start at once, is another
// request.
func TestID3ScheduledJobsHaveKeys(t *testing.T) {
	_, _, p, _ := session(t)
	request := schedule("echo", 1, map[string]any{"after": 60})
	p.Send("job.schedule", request, "idempotency_key", "k")
	job := p.Expect("job.accepted").Str("job_id")
	p.Send("job.schedule", request, "idempotency_key", "k")
	require.Equal(t, job, p.Expect("job.accepted").Str("job_id"))
	p.Send("job.schedule", schedule("echo", 1, map[string]any{"after": 61}), "idempotency_key", "k")
	require.Equal(t, "FAILED_PRECONDITION", p.Expect("job.failed").Payload()["code"])
	p.Send("tool.invoke", request["job"].(map[string]any), "idempotency_key", "k")
	require.Equal(t, "FAILED_PRECONDITION", p.Expect("job.failed").Payload()["code"])
}

// TestI1AScheduledJobThatNoWorkerTakesFails: the time in the queue counts from when the job is due.
func TestI1AScheduledJobThatNoWorkerTakesFails(t *testing.T) {
	c := newCluster(t)
	gone := c.worker("worker-1", nil)
	e := c.edge("edge-1", func(cfg *edge.Config) { cfg.MaxQueue, cfg.MaxRuntime = time.Second, time.Hour })
	e.knows(t, "echo")
	gone.drain()
	<-gone.done
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	p.Send("job.schedule", schedule("echo", "never", map[string]any{"after": 1.5}))
	accepted := p.Expect("job.accepted")
	failed := p.Expect("job.failed")
	require.Equal(t, "DEADLINE_EXCEEDED", failed.Payload()["code"])
	require.GreaterOrEqual(t, at(t, failed).Sub(at(t, accepted)), 2500*time.Millisecond)
}
