package worker

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"

	"github.com/arcp-nats/arcp/envelope"
)

// Span is a part of a handler's work that is timed. It is safe for concurrent
// use.
type Span struct {
	job     *Job
	ctx     context.Context // in which it was begun
	otel    trace.Span
	begun   envelope.Time
	name    string
	speaker speaker
	once    sync.Once
}

// spanKey finds the wire's ids of the innermost span in a context.
type spanKey struct{}

type spanIDs struct{ trace, span string }

// StartSpan begins a span of the job's work, as a child of the span in ctx, or
// else of the attempt's. The context returned carries it, for the spans within
// and for what is called with it. When it ends, the client sees a trace.span,
// and so does the OpenTelemetry SDK of the process, if there is one.
//
// A job that was submitted without a trace gets one here.
func (j *Job) StartSpan(ctx context.Context, name string) (context.Context, *Span) {
	parent, ok := ctx.Value(spanKey{}).(spanIDs)
	if !ok {
		parent = spanIDs{trace: j.speaker.trace, span: j.speaker.span}
	}
	if parent.trace == "" {
		parent.trace = j.ownTrace()
	}
	before := trace.SpanContextFromContext(ctx)
	s := &Span{job: j, ctx: ctx, name: name, begun: envelope.Now(), speaker: j.speaker}
	inner, span := otel.Tracer(tracerName).Start(ctx, name)
	s.otel = span
	s.speaker.trace, s.speaker.parent = parent.trace, parent.span
	inner, s.speaker.span = ownSpan(inner, before, parent.trace, newSpanID())
	return context.WithValue(inner, spanKey{}, spanIDs{trace: parent.trace, span: s.speaker.span}), s
}

// End ends the span, once, and says so in the job's events. attributes is any
// value that encodes as JSON, nil for none.
func (s *Span) End(attributes any) (err error) {
	s.once.Do(func() {
		s.otel.End()
		var raw []byte
		if raw, err = optional("trace.span: attributes", attributes); err != nil {
			return
		}
		err = s.job.sayAs(s.ctx, &s.speaker, envelope.TypeTraceSpan, &envelope.TraceSpan{
			Name: s.name, TraceID: s.speaker.trace, SpanID: s.speaker.span, ParentSpanID: s.speaker.parent,
			StartTime: s.begun, EndTime: envelope.Now(), Attributes: raw,
		})
	})
	return err
}

// ownTrace is the trace of a job that came without one.
func (j *Job) ownTrace() string {
	j.traceOnce.Do(func() {
		var id [16]byte
		_, _ = rand.Read(id[:]) // never fails
		j.mintedTrace = hex.EncodeToString(id[:])
	})
	return j.mintedTrace
}
