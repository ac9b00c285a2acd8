package integration_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/wstest"
)

// until is a lease that ends after a time.
func until(d time.Duration) obj {
	return obj{"expires_at": envelope.At(time.Now().Add(d)).String()}
}

func invokeUnder(p *wstest.Peer, lease obj, tool string, arguments any) string {
	return p.Send("tool.invoke", obj{"tool": tool, "arguments": arguments, "lease_request": lease})
}

// awaitNoDeadlines waits until the bucket of deadlines is empty.
func (c *cluster) awaitNoDeadlines(t *testing.T) {
	t.Helper()
	bucket, err := c.jetStream().KeyValue(t.Context(), "arcp_deadlines")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, err := bucket.Keys(t.Context())
		return errors.Is(err, natsjs.ErrNoKeysFound)
	}, 20*time.Second, 20*time.Millisecond)
}

// TestLE3AQueuedJobEndsWithItsLease: no worker is there, and the edge that took the job has gone; a worker that comes after
// all does not run it.
func TestLE3AQueuedJobEndsWithItsLease(t *testing.T) {
	c := newCluster(t)
	gone := c.worker("worker-1", nil)
	first := c.edge("edge-1", nil)
	first.knows(t, "echo")
	gone.drain()
	<-gone.done
	p := wstest.Dial(t, first.url)
	accepted := p.Open(aliceToken)
	ends := time.Now().Add(time.Second)
	id := invokeUnder(p, until(time.Second), "echo", "never")
	job := p.Expect("job.accepted")
	first.drain()
	<-first.done

	second := c.edge("edge-2", nil)
	q := wstest.Dial(t, second.url)
	q.Resume(token(accepted), 1)
	failed := q.Expect("job.failed")
	require.Equal(t, "LEASE_EXPIRED", failed.Payload()["code"])
	require.Equal(t, false, failed.Payload()["retryable"])
	require.Equal(t, job["job_id"], failed["job_id"])
	require.Equal(t, id, failed["correlation_id"])
	require.False(t, time.Now().Before(ends))

	c.worker("worker-2", nil)
	q.Invoke("echo", "runs")
	require.Equal(t, []string{"job.accepted", "job.started", "job.completed"}, types(q.Until("job.completed")))
	require.Equal(t, 1, c.count("job.failed"))
	c.awaitNoDeadlines(t)
}

// TestLE3AnEndedJobLeavesNoDeadline: however it ended.
func TestLE3AnEndedJobLeavesNoDeadline(t *testing.T) {
	c, _, p, _ := session(t)
	invokeUnder(p, until(time.Hour), "echo", 1)
	p.Until("job.completed")
	invokeUnder(p, until(time.Hour), "sleep", obj{"ms": 60_000})
	job := p.Until("job.started")[0].Str("job_id")
	p.Send("cancel", obj{"target": "job", "target_id": job})
	p.Until("job.cancelled")
	c.awaitNoDeadlines(t)
	invokeUnder(p, until(time.Second), "sleep", obj{"ms": 60_000})
	require.Equal(t, "LEASE_EXPIRED", last(p.Until("job.failed")).Payload()["code"])
	c.awaitNoDeadlines(t)
}

// TestLE3AJobWhoseWorkerIsGoneEndsSoonAfterItsLease: it has begun, its worker has gone, and no other one comes.
func TestLE3AJobWhoseWorkerIsGoneEndsSoonAfterItsLease(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	gone := c.worker("worker-1", nil)
	e := c.edge("edge-1", nil)
	e.knows(t, "sleep")
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	began := time.Now()
	invokeUnder(p, until(time.Second), "sleep", obj{"ms": 60_000})
	p.Until("job.started")
	gone.Stop()
	gone.drain()
	<-gone.done
	require.Equal(t, "LEASE_EXPIRED", last(p.Until("job.failed")).Payload()["code"])
	require.GreaterOrEqual(t, time.Since(began), 10*time.Second, "a worker may come yet")
	c.awaitNoDeadlines(t)
}

// TestLE3AJobThatARetryStoresEndsWithItsLease: an edge died after it wrote the key and the deadline of a job, and before it
// stored the job. A retry stores it, in another session and so on another subject than the deadline says.
func TestLE3AJobThatARetryStoresEndsWithItsLease(t *testing.T) {
	c := newCluster(t)
	gone := c.worker("worker-1", nil)
	e := c.edge("edge-1", func(cfg *edge.Config) { cfg.SubmitPatience = 50 * time.Millisecond })
	e.knows(t, "echo")
	gone.drain()
	<-gone.done
	lease := until(2 * time.Second)
	invoke := func(p *wstest.Peer) {
		p.Send("tool.invoke", obj{"tool": "echo", "arguments": "never", "lease_request": lease}, "idempotency_key", "k")
	}
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	invoke(p)
	first := p.Expect("job.accepted").Str("job_id")
	lost := c.forgetJob(first, time.Now())
	c.renameDeadline(first, lost)

	q := wstest.Dial(t, e.url)
	q.Open(aliceToken)
	invoke(q)
	require.Equal(t, lost, q.Expect("job.accepted").Str("job_id"))
	failed := q.Expect("job.failed")
	require.Equal(t, "LEASE_EXPIRED", failed.Payload()["code"])
	require.Equal(t, lost, failed.Str("job_id"))
	c.awaitNoDeadlines(t)
}

// renameDeadline makes the deadline of one job that of another one.
func (c *cluster) renameDeadline(from, to string) {
	c.t.Helper()
	bucket, err := c.jetStream().KeyValue(c.t.Context(), "arcp_deadlines")
	require.NoError(c.t, err)
	entry, err := bucket.Get(c.t.Context(), from)
	require.NoError(c.t, err)
	_, err = bucket.Create(c.t.Context(), to, bytes.ReplaceAll(entry.Value(), []byte(from), []byte(to)))
	require.NoError(c.t, err)
	require.NoError(c.t, bucket.Delete(c.t.Context(), from))
}
