package integration_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/internal/wstest"
	"github.com/arcp-nats/arcp/worker"
)

// listens is a tool that returns so many prompts as it is told to wait for.
func listens(ctx context.Context, job *worker.Job) (any, error) {
	var args struct {
		Prompts int `json:"prompts"`
	}
	if err := job.Bind(&args); err != nil {
		return nil, err
	}
	prompts, err := job.Interrupts(ctx)
	if err != nil {
		return nil, err
	}
	heard := []string{}
	for range args.Prompts {
		select {
		case p := <-prompts:
			heard = append(heard, p.Prompt)
			if err := job.Log(ctx, "info", p.Prompt, nil); err != nil {
				return nil, err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return heard, nil
}

func interrupt(job, prompt string) map[string]any {
	return map[string]any{"target": "job", "target_id": job, "prompt": prompt}
}

// TestInterruptsReachTheJob: through the input lane, from any session of the principal on any edge, in their order, and
// those that came before a worker took the job as well.
func TestInterruptsReachTheJob(t *testing.T) {
	c := newCluster(t)
	register := func(w *worker.Worker) { require.NoError(t, w.Handle("listens", "1", listens, worker.Options{})) }
	gone := c.worker("worker-1", register)
	first, second := c.edge("edge-1", nil), c.edge("edge-2", nil)
	first.knows(t, "listens")
	second.knows(t, "listens")
	gone.drain()
	<-gone.done
	p := wstest.Dial(t, first.url)
	p.Open(aliceToken)
	p.Invoke("listens", map[string]any{"prompts": 3})
	job := p.Expect("job.accepted").Str("job_id")
	p.Send("interrupt", interrupt(job, "while it waits"))
	p.Quiet() // it is not answered

	bob := wstest.Dial(t, second.url)
	bob.Open(bobToken)
	for _, refused := range []struct{ job, prompt, code string }{
		{job, "not mine", "PERMISSION_DENIED"}, {"job_00000000000000000000000000", "x", "NOT_FOUND"}, {"job-4", "x", "INVALID_ARGUMENT"},
	} {
		id := bob.Send("interrupt", interrupt(refused.job, refused.prompt))
		m := bob.Expect("nack")
		require.Equal(t, refused.code, m.Payload()["code"])
		require.Equal(t, id, m["correlation_id"])
	}

	c.worker("worker-2", register)
	p.Until("log")
	other := wstest.Dial(t, second.url)
	other.Open(aliceToken)
	other.Send("interrupt", interrupt(job, "from elsewhere"))
	p.Expect("log")
	p.Send("interrupt", interrupt(job, "at last"))
	completed := last(p.Until("job.completed"))
	require.Equal(t, []any{"while it waits", "from elsewhere", "at last"}, completed.Payload()["value"])
	id := p.Send("interrupt", interrupt(job, "too late"))
	m := p.Expect("nack")
	require.Equal(t, "FAILED_PRECONDITION", m.Payload()["code"])
	require.Equal(t, id, m["correlation_id"])
	p.Send("interrupt", map[string]any{"target": "stream", "target_id": "x", "prompt": "x"})
	require.Equal(t, "INVALID_ARGUMENT", p.Expect("nack").Payload()["code"])
}
