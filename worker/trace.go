package worker

import (
	"bytes"
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/arcp-nats/arcp/envelope"
)

// tracerName is the instrumentation scope of the worker's spans.
const tracerName = "github.com/arcp-nats/arcp/worker"

// w3c reads and writes trace context as the log has it.
var w3c propagation.TraceContext

// beginTrace begins the span of an attempt, as a child of what the submitter
// named, and returns a context that carries it. Without an OpenTelemetry SDK in
// the process (otel.SetTracerProvider) nothing is recorded, and the context
// still has the ids that the job's events have: what a handler calls with it
// goes on with the trace.
func (s *speaker) beginTrace(ctx context.Context, inv invocation, tool string, attempt int) (context.Context, trace.Span) {
	ctx = w3c.Extract(ctx, propagation.MapCarrier{"traceparent": inv.rec.TraceParent, "tracestate": inv.rec.TraceState})
	remote := trace.SpanContextFromContext(ctx)
	ctx, span := otel.Tracer(tracerName).Start(ctx, "job "+tool,
		trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(
			attribute.String("arcp.tool", tool),
			attribute.String("arcp.job_id", string(s.job)),
			attribute.String("arcp.session_id", string(s.session)),
			attribute.Int("arcp.attempt", attempt),
		))
	ctx, s.span = ownSpan(ctx, remote, s.trace, s.span)
	if remote.IsValid() && bytes.Contains(inv.env.Extensions, []byte(envelope.TraceExtension)) {
		s.extensions = contextOf(ctx).In()
	}
	return ctx, span
}

// ownSpan settles the id of a span that was begun under a parent, in a trace as
// the wire has it: the SDK's, if there is one that follows the trace, else id,
// which ctx then carries.
func ownSpan(ctx context.Context, parent trace.SpanContext, traceID, id string) (context.Context, string) {
	begun := trace.SpanContextFromContext(ctx)
	if begun.TraceID().String() == traceID && begun.SpanID() != parent.SpanID() && begun.HasSpanID() {
		return ctx, begun.SpanID().String()
	}
	of, err := trace.TraceIDFromHex(traceID)
	if err != nil {
		return ctx, id // a trace in a form of the client's own
	}
	span, err := trace.SpanIDFromHex(id)
	if err != nil {
		return ctx, id
	}
	return trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: of, SpanID: span, TraceFlags: parent.TraceFlags(), TraceState: parent.TraceState(), Remote: true,
	})), id
}

// contextOf is the trace context that ctx carries, as the wire has it.
func contextOf(ctx context.Context) envelope.TraceContext {
	carrier := propagation.MapCarrier{}
	w3c.Inject(ctx, carrier)
	return envelope.TraceContext{Parent: carrier["traceparent"], State: carrier["tracestate"]}
}

// endTrace ends the span of an attempt that came to an end.
func endTrace(span trace.Span, e ending) {
	switch {
	case e.failed != nil:
		span.SetStatus(codes.Error, string(e.failed.Code))
	case e.cancelled != nil:
		span.SetAttributes(attribute.Bool("arcp.cancelled", true))
	case e.handedBack():
		span.SetAttributes(attribute.Bool("arcp.handed_back", true))
	}
}
