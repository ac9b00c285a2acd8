package worker

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
)

const (
	traceID    = "0af7651916cd43dd8448eb211c80319c"
	clientSpan = "b7ad6b7169203331"
	parent     = "00-" + traceID + "-" + clientSpan + "-01"
)

// inTrace puts an invocation into a trace, as an edge does.
func inTrace(e *envelope.Envelope, r *record.Record) {
	e.TraceID, e.SpanID = traceID, clientSpan
	r.TraceParent, r.TraceState = parent, "vendor=1"
	e.Extensions = envelope.TraceContext{Parent: parent, State: "vendor=1"}.In()
}

// EX-5 and section 6 item 25: what a handler calls goes on with the trace of its client, under the span that the job's
// events have.
func TestEX5TheTraceReachesTheHandlerAndComesBack(t *testing.T) {
	b := newBench(t)
	seen := make(chan trace.SpanContext, 1)
	w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
		seen <- trace.SpanContextFromContext(ctx)
		return nil, job.Progress(ctx, Progress{Current: 1})
	})
	defer w.end(t)
	invoke := b.submit(`{}`, inTrace)
	all := b.await(invoke, envelope.TypeJobCompleted)
	at := <-seen
	require.Equal(t, traceID, at.TraceID().String())
	require.NotEqual(t, clientSpan, at.SpanID().String())
	require.True(t, at.IsSampled())
	require.Equal(t, "vendor=1", at.TraceState().String())
	for _, s := range all {
		require.Equal(t, traceID, s.env.TraceID, s.env.Type)
		require.Equal(t, at.SpanID().String(), s.env.SpanID)
		require.Equal(t, clientSpan, s.env.ParentSpanID)
		require.Equal(t, envelope.TraceContext{
			Parent: "00-" + traceID + "-" + at.SpanID().String() + "-01", State: "vendor=1",
		}, s.env.TraceContext())
	}
	// Without a trace there is none, and ids of a client's own form come back as they are.
	for _, id := range []string{"", "order-17"} {
		invoke = b.submit(`{}`, func(e *envelope.Envelope, _ *record.Record) { e.TraceID = id })
		all = b.await(invoke, envelope.TypeJobCompleted)
		require.False(t, (<-seen).IsValid())
		for _, s := range all {
			require.Equal(t, id, s.env.TraceID)
			require.Equal(t, id != "", s.env.SpanID != "")
			require.Nil(t, s.env.Extensions)
		}
	}
}

// recorder is a TracerProvider that keeps what was begun, in order.
type recorder struct {
	noop.TracerProvider
	spans []*recordedSpan
}

type recordedSpan struct {
	noop.Span
	tracer string
	name   string
	parent trace.SpanContext
	own    trace.SpanContext
	status codes.Code
	ended  bool
}

func (r *recorder) Tracer(name string, _ ...trace.TracerOption) trace.Tracer {
	return recordingTracer{recorder: r, name: name}
}

type recordingTracer struct {
	noop.Tracer
	recorder *recorder
	name     string
}

func (t recordingTracer) Start(ctx context.Context, name string, _ ...trace.SpanStartOption) (context.Context, trace.Span) {
	s := &recordedSpan{tracer: t.name, name: name, parent: trace.SpanContextFromContext(ctx)}
	s.own = trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: s.parent.TraceID(), SpanID: trace.SpanID{0xaa, byte(len(t.recorder.spans))}, TraceFlags: s.parent.TraceFlags(),
	})
	t.recorder.spans = append(t.recorder.spans, s)
	return trace.ContextWithSpan(ctx, s), s
}

func (s *recordedSpan) SpanContext() trace.SpanContext      { return s.own }
func (s *recordedSpan) SetStatus(code codes.Code, _ string) { s.status = code }
func (s *recordedSpan) End(...trace.SpanEndOption)          { s.ended = true }

// TestSpansGoToTheProvider: a deployment that sets one has the attempt's span and the handler's, with the ids that the
// client sees.
func TestSpansGoToTheProvider(t *testing.T) {
	recorded := new(recorder)
	otel.SetTracerProvider(recorded)
	defer otel.SetTracerProvider(noop.NewTracerProvider())
	b := newBench(t)
	w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
		_, span := job.StartSpan(ctx, "fetch")
		if err := span.End(nil); err != nil {
			return nil, err
		}
		return nil, envelope.Errorf(envelope.CodeNotFound, "no such page")
	})
	invoke := b.submit(`{}`, inTrace)
	all := b.await(invoke, envelope.TypeJobFailed)
	w.end(t)
	require.Len(t, recorded.spans, 2)
	job, fetch := recorded.spans[0], recorded.spans[1]
	require.Equal(t, tracerName, job.tracer)
	require.Equal(t, "job tool@1", job.name)
	require.Equal(t, clientSpan, job.parent.SpanID().String())
	require.True(t, job.parent.IsRemote())
	require.Equal(t, codes.Error, job.status)
	require.True(t, job.ended)
	require.Equal(t, job.own.SpanID(), fetch.parent.SpanID())
	require.True(t, fetch.ended)
	require.Equal(t, job.own.SpanID().String(), all[0].env.SpanID)
	require.Equal(t, fetch.own.SpanID().String(), payload[envelope.TraceSpan](t, all[1]).SpanID)
}

// TestSpansAreTold: nested as they were begun, each once, when it ends.
func TestSpansAreTold(t *testing.T) {
	b := newBench(t)
	w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
		outer, page := job.StartSpan(ctx, "page")
		inner, image := job.StartSpan(outer, "image")
		for _, err := range []error{image.End(map[string]any{"bytes": 3}), image.End(nil), page.End(nil)} {
			if err != nil {
				return nil, err
			}
		}
		return trace.SpanContextFromContext(inner).SpanID().String(), nil
	})
	defer w.end(t)
	for name, change := range map[string]func(*envelope.Envelope, *record.Record){"in a trace": inTrace, "in none": nil} {
		t.Run(name, func(t *testing.T) {
			all := b.await(b.submit(`{}`, change), envelope.TypeJobCompleted)
			require.Equal(t, []envelope.Type{
				envelope.TypeJobStarted, envelope.TypeTraceSpan, envelope.TypeTraceSpan, envelope.TypeJobCompleted,
			}, types(all))
			image, page := payload[envelope.TraceSpan](t, all[1]), payload[envelope.TraceSpan](t, all[2])
			require.Equal(t, "image", image.Name)
			require.JSONEq(t, `{"bytes":3}`, string(image.Attributes))
			require.Equal(t, "page", page.Name)
			require.Equal(t, page.SpanID, image.ParentSpanID)
			require.Equal(t, all[0].env.SpanID, page.ParentSpanID)
			require.Len(t, page.TraceID, 32)
			require.Equal(t, page.TraceID, image.TraceID)
			require.False(t, image.EndTime.Before(image.StartTime.Time))
			for i, span := range []*envelope.TraceSpan{image, page} {
				require.Equal(t, span.TraceID, all[1+i].env.TraceID)
				require.Equal(t, span.SpanID, all[1+i].env.SpanID)
				require.Equal(t, span.ParentSpanID, all[1+i].env.ParentSpanID)
			}
			if change != nil {
				require.Equal(t, traceID, page.TraceID)
				var within string
				require.NoError(t, json.Unmarshal(payload[envelope.JobCompleted](t, all[3]).Value, &within))
				require.Equal(t, image.SpanID, within, "what is called within goes on from the span")
			}
		})
	}
}
