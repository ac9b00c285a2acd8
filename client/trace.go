package client

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/arcp-nats/arcp/envelope"
)

// traceFrom puts an envelope into the trace of ctx, if there is one: by its ids, and as W3C trace context in extensions
// (open dialect EX-5).
func traceFrom(ctx context.Context, e *envelope.Envelope) {
	span := trace.SpanContextFromContext(ctx)
	if !span.IsValid() {
		return
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	e.TraceID, e.SpanID = span.TraceID().String(), span.SpanID().String()
	e.Extensions = envelope.TraceContext{Parent: carrier["traceparent"], State: carrier["tracestate"]}.In()
}
