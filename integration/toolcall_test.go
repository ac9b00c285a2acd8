package integration_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/wstest"
	"github.com/arcp-nats/arcp/worker"
)

// calls is a tool that calls others, and says what came of them.
func calls(ctx context.Context, job *worker.Job) (any, error) {
	yes := true
	for _, err := range []error{
		job.ToolResult(ctx, map[string]any{"call": 1, "found": "it"}),
		job.ToolResult(ctx, nil),
		job.ToolResultRef(ctx, envelope.ArtifactRef{ArtifactID: "art_1", URI: "arcp://artifact/art_1", MediaType: "text/plain", Size: 3}),
		job.ToolError(ctx, &envelope.Error{Code: envelope.CodeTimeout, Message: "too slow", Retryable: &yes, Details: []byte(`{"after":3}`)}),
		job.ToolError(ctx, context.Canceled),
	} {
		if err != nil {
			return nil, err
		}
	}
	if job.ToolResult(ctx, func() {}) == nil || job.ToolError(ctx, nil) == nil {
		return nil, envelope.Errorf(envelope.CodeInternal, "what says nothing was said")
	}
	return "done", nil
}

// TestJB7NestedToolCalls: a handler reports them as events of its job, numbered like any, and the job ends by a terminal
// job event all the same. Another session of the principal sees the same.
func TestJB7NestedToolCalls(t *testing.T) {
	c := newCluster(t)
	c.worker("worker-1", func(w *worker.Worker) { require.NoError(t, w.Handle("calls", "1", calls, worker.Options{})) })
	e := c.edge("edge-1", nil)
	e.knows(t, "calls")
	p := wstest.Dial(t, e.url)
	accepted := p.Open(aliceToken)
	invoke := p.Invoke("calls", nil)
	all := p.Until("job.completed")
	require.Equal(t, []string{
		"job.accepted", "job.started", "tool.result", "tool.result", "tool.result", "tool.error", "tool.error", "job.completed",
	}, types(all))
	for i, m := range all {
		require.Equal(t, i+1, m.Seq())
		require.Equal(t, invoke, m["correlation_id"])
	}
	require.Equal(t, map[string]any{"call": 1.0, "found": "it"}, all[2].Payload()["value"])
	value, there := all[3].Payload()["value"]
	require.True(t, there)
	require.Nil(t, value)
	require.Equal(t, "art_1", all[4].Payload()["result_ref"].(map[string]any)["artifact_id"])
	require.Equal(t, wstest.Message{ // TIMEOUT is not known to 2.0.0
		"code": "DEADLINE_EXCEEDED", "retryable": true, "message": "too slow", "details": map[string]any{"after": 3.0},
	}, all[5].Payload())
	require.Equal(t, "CANCELLED", all[6].Payload()["code"])
	p.Drop()
	p = wstest.Dial(t, e.url)
	p.Resume(token(accepted), 2)
	require.Equal(t, all[2:], p.Until("job.completed"))
}
