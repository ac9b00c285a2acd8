package integration_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/wstest"
)

const (
	clientTrace = "0af7651916cd43dd8448eb211c80319c"
	clientSpan  = "b7ad6b7169203331"
)

// TestEX5TraceContextIsCarried: from the extensions of the invocation to all of its job's messages, under a span of the
// attempt whose parent is the invocation's (section 6 item 25), to the listing, to another edge, and to every answer.
func TestEX5TraceContextIsCarried(t *testing.T) {
	c := newCluster(t)
	c.worker("worker-1", nil)
	e, other := c.edge("edge-1", nil), c.edge("edge-2", nil)
	e.knows(t, "count")
	p := wstest.Dial(t, e.url)
	accepted := p.Open(aliceToken)
	parent := "00-" + clientTrace + "-" + clientSpan + "-01"
	p.Invoke("count", map[string]any{"to": 2, "every_ms": 1}, "extensions", map[string]any{
		envelope.TraceExtension: map[string]any{"traceparent": parent, "tracestate": "vendor=1"}, "other": 1,
	})
	all := p.Until("job.completed")
	require.Equal(t, clientTrace, all[0]["trace_id"])
	span := all[1].Str("span_id")
	require.Len(t, span, 16)
	require.NotEqual(t, clientSpan, span)
	for _, m := range all[1:] {
		require.Equal(t, clientTrace, m["trace_id"], m.Type())
		require.Equal(t, span, m["span_id"])
		require.Equal(t, clientSpan, m["parent_span_id"])
		require.Equal(t, map[string]any{envelope.TraceExtension: map[string]any{
			"traceparent": "00-" + clientTrace + "-" + span + "-01", "tracestate": "vendor=1",
		}}, m["extensions"])
	}
	p.Send("session.list_jobs", map[string]any{})
	jobs, _ := p.Expect("session.jobs").Payload()["jobs"].([]any)
	require.Equal(t, clientTrace, jobs[0].(map[string]any)["trace_id"])
	p.Send("cancel", map[string]any{"target": "job", "target_id": "job-4"}, "trace_id", "mine")
	require.Equal(t, "mine", p.Expect("cancel.refused")["trace_id"])
	p.Send("interrupt", interrupt("job-4", "x"), "trace_id", "mine")
	require.Equal(t, "mine", p.Expect("nack")["trace_id"])
	p.Drop()
	p = wstest.Dial(t, other.url)
	p.Resume(token(accepted), 0)
	require.Equal(t, all, p.Until("job.completed"))
}

// TestEX5AClientsSpanIsFollowed: the one of the context that it invokes with.
func TestEX5AClientsSpanIsFollowed(t *testing.T) {
	_, e := newStack(t)
	e.knows(t, "echo")
	s, err := client.Dial(t.Context(), client.Config{URLs: []string{e.url}, Token: aliceToken})
	require.NoError(t, err)
	defer s.Detach()
	traceID, err := trace.TraceIDFromHex(clientTrace)
	require.NoError(t, err)
	spanID, err := trace.SpanIDFromHex(clientSpan)
	require.NoError(t, err)
	ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: traceID, SpanID: spanID}))
	job, err := s.Invoke(ctx, "echo", 1)
	require.NoError(t, err)
	for event, err := range job.Events(t.Context()) {
		require.NoError(t, err)
		require.Equal(t, clientTrace, event.TraceID)
		if event.Type == envelope.TypeJobAccepted {
			continue
		}
		require.Equal(t, clientSpan, event.ParentSpanID)
		require.True(t, strings.HasSuffix(event.TraceContext().Parent, event.SpanID+"-00"), "not sampled, as the client's")
	}
	// A trace that is named wins.
	job, err = s.Invoke(ctx, "echo", 1, client.WithTrace("order-17", "step-1"))
	require.NoError(t, err)
	for event, err := range job.Events(t.Context()) {
		require.NoError(t, err)
		require.Equal(t, "order-17", event.TraceID)
	}
}
