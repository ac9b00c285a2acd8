package integration_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/wstest"
	"github.com/arcp-nats/arcp/worker"
)

// jobsOf sorts the job events of a session by job, in the order in which the jobs were accepted.
func jobsOf(all []wstest.Message) (ids []string, types map[string][]string) {
	types = map[string][]string{}
	for _, m := range all {
		id := m.Str("job_id")
		if m.Type() == "job.accepted" {
			ids = append(ids, id)
		}
		types[id] = append(types[id], m.Type())
	}
	return ids, types
}

// readEnd reads until a job of the session has ended.
func readEnd(r *reader, job string) (all []wstest.Message) {
	for {
		m := r.peer.Next()
		r.take(m)
		all = append(all, m)
		switch m.Type() {
		case "job.completed", "job.failed", "job.cancelled":
			if m.Str("job_id") == job {
				return all
			}
		}
	}
}

// only returns a function that registers one tool.
func only(t *testing.T, name string, h worker.Handler) func(*worker.Worker) {
	return func(w *worker.Worker) {
		require.NoError(t, w.Handle(name, "1", h, worker.Options{}))
	}
}

// TestJB8DelegatedJobsAreJobsOfTheSession: the client sees them as its own, listed with their parent, once, and the same on
// another edge.
func TestJB8DelegatedJobsAreJobsOfTheSession(t *testing.T) {
	c, e := newStack(t)
	other := c.edge("edge-2", nil)
	e.knows(t, "delegate")
	r := openReader(t, e.url)
	id := r.peer.Invoke("delegate", obj{"tool": "count", "arguments": obj{"to": 3}})
	accepted := r.peer.Expect("job.accepted")
	r.take(accepted)
	parent := accepted.Str("job_id")
	all := append([]wstest.Message{accepted}, readEnd(r, parent)...)
	ids, byJob := jobsOf(all)
	require.Len(t, ids, 2)
	child := ids[1]
	require.Equal(t, []string{"job.accepted", "job.started", "job.completed"}, byJob[parent])
	require.Equal(t, []string{"job.accepted", "job.started", "job.progress", "job.progress", "job.progress", "job.completed"}, byJob[child])
	for _, m := range all {
		require.Equal(t, id, m["correlation_id"])
	}
	value := last(all).Payload()["value"].(obj)
	require.Equal(t, child, value["job_id"])
	require.NotNil(t, value["value"])

	r.peer.Send("session.list_jobs", obj{})
	m := r.peer.Expect("session.jobs")
	r.take(m)
	listed := map[any]any{}
	for _, entry := range m.Payload()["jobs"].([]any) {
		listed[entry.(obj)["job_id"]] = entry.(obj)["parent_job_id"]
	}
	require.Equal(t, map[any]any{parent: nil, child: parent}, listed)
	r.finish(other.url, r.seq)
}

// TestDelegateSurvivesTheParentsWorker: it is lost while the child runs elsewhere; the next attempt finds the child.
func TestDelegateSurvivesTheParentsWorker(t *testing.T) {
	c := newCluster(t)
	e := c.edge("edge-1", nil)
	release, begun := make(chan struct{}), make(chan struct{}, 8)
	boss := func(ctx context.Context, job *worker.Job) (any, error) {
		child, err := job.Delegate(ctx, "side", nil, nil)
		if err != nil {
			return nil, err
		}
		result, err := child.Wait(ctx)
		if err != nil {
			return nil, err
		}
		return obj{"child": child.ID(), "value": result.Value}, nil
	}
	w1 := c.worker("worker-1", only(t, "boss", boss))
	c.worker("worker-2", only(t, "side", func(ctx context.Context, _ *worker.Job) (any, error) {
		begun <- struct{}{}
		select {
		case <-release:
			return "done", nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}))
	e.knows(t, "boss")
	e.knows(t, "side")
	r := openReader(t, e.url)
	r.peer.Invoke("boss", obj{})
	accepted := r.peer.Expect("job.accepted")
	r.take(accepted)
	<-begun
	w1.Stop()
	<-w1.done
	e.drain() // the session's edge goes away as well
	<-e.done
	second := c.edge("edge-2", nil)
	second.knows(t, "side")
	c.worker("worker-3", only(t, "boss", boss))
	close(release)
	r.resume(second.url)
	all := append([]wstest.Message{accepted}, readEnd(r, accepted.Str("job_id"))...)
	require.Equal(t, "job.completed", last(all).Type(), "%v", last(all))
	require.Equal(t, "done", last(all).Payload()["value"].(obj)["value"])
	ids, byJob := jobsOf(all)
	require.Equal(t, []string{accepted.Str("job_id"), last(all).Payload()["value"].(obj)["child"].(string)}, ids, "one child")
	require.Equal(t, []string{"job.accepted", "job.started", "job.completed"}, byJob[ids[1]])
	require.Empty(t, begun)
	r.finish(c.edge("edge-3", nil).url, r.seq)
}

// TestCancelOfAParentCancelsItsChildren: and theirs.
func TestCancelOfAParentCancelsItsChildren(t *testing.T) {
	_, _, p, _ := session(t)
	p.Invoke("delegate", obj{"tool": "delegate", "arguments": obj{"tool": "sleep", "arguments": obj{"ms": 600000}}})
	var ids []string
	for started := 0; started < 3; {
		switch m := p.Next(); m.Type() {
		case "job.accepted":
			ids = append(ids, m.Str("job_id"))
		case "job.started":
			started++
		}
	}
	p.Send("cancel", cancel("job", ids[0]))
	ended := map[string]string{}
	for len(ended) < 3 {
		if m := p.Next(); m.Type() == "job.cancelled" {
			ended[m.Str("job_id")] = m.Type()
		}
	}
	require.Len(t, ids, 3)
}

// TestLE4ADelegatedLeaseIsASubset on the wire: of what is left, and never more than the parent has.
func TestLE4ADelegatedLeaseIsASubset(t *testing.T) {
	_, _, p, _ := session(t)
	delegated := func(parent, child obj) []wstest.Message {
		id := p.Send("tool.invoke", obj{"tool": "delegate", "lease_request": parent, "arguments": obj{
			"tool": "charge", "arguments": charges(0.25), "lease_request": child,
		}})
		var all []wstest.Message
		for job := ""; ; {
			m := p.Next()
			all = append(all, m)
			require.Equal(t, id, m["correlation_id"])
			if job == "" {
				job = m.Str("job_id")
			}
			if m.Str("job_id") == job && (m.Type() == "job.completed" || m.Type() == "job.failed") {
				return all
			}
		}
	}
	all := delegated(obj{"cost_budget": []string{"USD:1"}}, obj{"cost_budget": []string{"USD:0.50"}})
	require.Equal(t, "job.completed", last(all).Type(), "%v", last(all))
	require.Equal(t, obj{"remaining": obj{"USD": 0.25}}, last(all).Payload()["value"].(obj)["value"])
	for _, c := range []struct{ parent, child obj }{
		{obj{"cost_budget": []string{"USD:1"}}, obj{"cost_budget": []string{"USD:1.000001"}}},
		{obj{"cost_budget": []string{"USD:1"}}, obj{"cost_budget": []string{"EUR:1"}}},
		{obj{"model_use": []string{"fast/*"}}, obj{"model_use": []string{"*"}}},
		{nil, obj{"expires_at": "2100-01-01T00:00:00Z"}},
	} {
		failed := last(delegated(c.parent, c.child))
		require.Equal(t, string(envelope.CodeLeaseSubsetViolation), failed.Payload()["code"], "%v", failed)
		require.Equal(t, false, failed.Payload()["retryable"])
	}
	// What the child may spend the parent may not: its budget is the child's, whose charge is too much for it.
	failed := last(delegated(obj{"cost_budget": []string{"USD:1"}}, obj{"cost_budget": []string{"USD:0.10"}}))
	require.Equal(t, "BUDGET_EXHAUSTED", failed.Payload()["code"])
}

// TestChildrenAreCancelledThoughTheirParentsWorkerHasGone: the parent has begun, its worker has gone, and no other one comes.
// Its children, one of which runs and one of which waits, end when it is cancelled.
func TestChildrenAreCancelledThoughTheirParentsWorkerHasGone(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	e := c.edge("edge-1", nil)
	mother := func(ctx context.Context, job *worker.Job) (any, error) {
		for _, tool := range []string{"sleep", "never"} {
			if _, err := job.Delegate(ctx, tool, obj{"ms": 60_000}, nil); err != nil {
				return nil, err
			}
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	c.worker("worker-1", nil)
	gone := c.worker("worker-2", only(t, "mother", mother))
	leaving := c.worker("worker-3", only(t, "never", mother))
	for _, tool := range []string{"sleep", "mother", "never"} {
		e.knows(t, tool)
	}
	leaving.drain()
	<-leaving.done
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	p.Invoke("mother", nil)
	parent := p.Expect("job.accepted").Str("job_id")
	for started := 0; started < 2; { // the parent, and the child that has a worker
		if p.Next().Type() == "job.started" {
			started++
		}
	}
	gone.Stop()
	gone.drain()
	<-gone.done
	p.Send("cancel", obj{"target": "job", "target_id": parent})
	for ended := 0; ended < 2; {
		if m := p.Next(); m.Type() == "job.cancelled" {
			require.NotEqual(t, parent, m.Str("job_id"))
			require.Equal(t, "the parent job has ended", m.Payload()["reason"])
			ended++
		}
	}
}
