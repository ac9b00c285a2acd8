package integration_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/internal/wstest"
	"github.com/arcp-nats/arcp/worker"
)

// TestI1AJobThatNoWorkerTakesFails: the worker that offered the tool has gone for good, and so has the edge that took
// the job; another edge ends it, and a worker that comes after all does not run it.
func TestI1AJobThatNoWorkerTakesFails(t *testing.T) {
	c := newCluster(t)
	gone := c.worker("worker-1", nil)
	soon := func(cfg *edge.Config) { cfg.MaxQueue, cfg.MaxRuntime = time.Second, time.Hour }
	first := c.edge("edge-1", soon)
	first.knows(t, "echo")
	gone.drain()
	<-gone.done
	p := wstest.Dial(t, first.url)
	accepted := p.Open(aliceToken)
	id := p.Invoke("echo", "never", "trace_id", "trace-1")
	job := p.Expect("job.accepted")
	first.drain()
	<-first.done

	second := c.edge("edge-2", soon)
	q := wstest.Dial(t, second.url)
	q.Resume(token(accepted), 1)
	failed := q.Expect("job.failed")
	require.Equal(t, "DEADLINE_EXCEEDED", failed.Payload()["code"])
	require.Equal(t, true, failed.Payload()["retryable"])
	require.Equal(t, job["job_id"], failed["job_id"])
	require.Equal(t, id, failed["correlation_id"])
	require.Equal(t, "trace-1", failed["trace_id"])
	require.Equal(t, 2, failed.Seq())

	c.worker("worker-2", nil)
	q.Invoke("echo", "runs")
	require.Equal(t, []string{"job.accepted", "job.started", "job.completed"}, types(q.Until("job.completed")))
}

// TestI1AJobThatRunsTooLongFails: the attempt is bounded by the worker; and a job whose handler and worker do not end
// it is ended by an edge.
func TestI1AJobThatRunsTooLongFails(t *testing.T) {
	c := newCluster(t)
	release := make(chan struct{})
	defer close(release)
	c.worker("worker-1", func(w *worker.Worker) {
		require.NoError(t, w.Handle("deaf", "1", deaf(release), worker.Options{}))
	})
	e := c.edge("edge-1", func(cfg *edge.Config) { cfg.MaxQueue, cfg.MaxRuntime = time.Second, 300*time.Millisecond })
	e.knows(t, "deaf")
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	for _, tool := range []string{"sleep", "deaf"} {
		p.Invoke(tool, map[string]any{"ms": 60_000})
		require.Equal(t, "DEADLINE_EXCEEDED", last(p.Until("job.failed")).Payload()["code"])
	}
	p.Quiet()
}

// TestEndedJobsAreLeftAlone: what has ended in time is not failed afterwards.
func TestEndedJobsAreLeftAlone(t *testing.T) {
	c := newCluster(t)
	c.worker("worker-1", nil)
	e := c.edge("edge-1", func(cfg *edge.Config) { cfg.MaxQueue, cfg.MaxRuntime = 500*time.Millisecond, 500*time.Millisecond })
	e.knows(t, "echo")
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	for range 20 {
		p.Invoke("echo", 1)
		p.Until("job.completed")
	}
	const sleepers = 4 // half a second each: by their end sweeps have been past the others
	for range sleepers {
		p.Invoke("sleep", map[string]any{"ms": 60_000})
		require.Equal(t, "DEADLINE_EXCEEDED", last(p.Until("job.failed")).Payload()["code"])
	}
	p.Quiet()
	require.Equal(t, sleepers, c.count("job.failed"))
}
