package client

import (
	"context"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/go-json-experiment/json"

	"github.com/arcp-nats/arcp/envelope"
)

// Job is one invocation of a tool. All methods may be called from several goroutines at once.
type Job struct {
	key    string // idempotency key
	events *eventQueue

	accepted chan struct{} // closed when id is set
	ended    chan struct{} // closed when result and err are set

	mu     sync.Mutex
	id     envelope.JobID
	result Result
	err    error

	credentials []envelope.Credential
}

// Result is how a job was completed: with a value, an artifact, or a stream of result chunks among its events.
type Result struct {
	JobID envelope.JobID
	// Value is the JSON value of the result; nil if there is none.
	Value stdjson.RawMessage
	// Ref is the artifact that holds the result.
	Ref *envelope.ArtifactRef
	// StreamID, StreamSize (bytes) and Summary describe a result that came as job.result_chunk events.
	StreamID   string
	StreamSize *uint64
	Summary    string
}

// InvokeOption changes one invocation.
type InvokeOption func(*invocation)

type invocation struct {
	payload     envelope.ToolInvoke
	key         string
	trace, span string
	when        *envelope.When // nil: at once
}

// WithIdempotencyKey makes the invocation one that can be sent twice and runs once (open dialect ID-1). Only such an
// invocation survives a connection that is lost before the acceptance came.
func WithIdempotencyKey(key string) InvokeOption {
	return func(i *invocation) { i.key = key }
}

// WithLease asks for a lease (open dialect 3.8).
func WithLease(lease *envelope.Lease) InvokeOption {
	return func(i *invocation) { i.payload.LeaseRequest = lease }
}

// WithTrace puts the invocation into a trace.
func WithTrace(traceID, spanID string) InvokeOption {
	return func(i *invocation) { i.trace, i.span = traceID, spanID }
}

// Invoke asks for tool, a name or name@version, with args: anything that encodes to JSON, a json.RawMessage as it is.
// It returns when the request is queued; what became of it is the Job's to tell. ctx bounds the wait for room in the
// queue, not the job. An OpenTelemetry span in ctx is what the job's spans and events follow (open dialect EX-5), unless
// WithTrace names another one.
func (s *Session) Invoke(ctx context.Context, tool string, args any, options ...InvokeOption) (*Job, error) {
	arguments, err := json.Marshal(args)
	if err != nil {
		return nil, fmt.Errorf("client: arguments of %s: %w", tool, err)
	}
	i := invocation{payload: envelope.ToolInvoke{Tool: tool, Arguments: arguments}}
	for _, option := range options {
		option(&i)
	}
	e, err := i.envelope()
	if err != nil {
		return nil, err
	}
	e.IdempotencyKey, e.TraceID, e.SpanID = i.key, i.trace, i.span
	if i.trace == "" && i.span == "" {
		traceFrom(ctx, e)
	}
	r, err := s.asRequest(e)
	if err != nil {
		return nil, err
	}
	r.job = &Job{
		key:      i.key,
		events:   newEventQueue(),
		accepted: make(chan struct{}),
		ended:    make(chan struct{}),
	}
	r.again = i.key != ""
	if err := s.submit(ctx, r); err != nil {
		return nil, err
	}
	return r.job, nil
}

// ID returns the id of the job, "" before it was accepted.
func (j *Job) ID() envelope.JobID {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.id
}

// Credentials returns the credentials that the job was accepted with (open dialect CR-2), nil if there are none. They are
// good until the job has ended. A session that was resumed has those that the replay has shown.
func (j *Job) Credentials() []envelope.Credential {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.credentials)
}

// Accepted waits until the job exists and returns its id. The errors are those of Wait.
func (j *Job) Accepted(ctx context.Context) (envelope.JobID, error) {
	select {
	case <-j.accepted:
		return j.ID(), nil
	case <-j.ended:
		if id := j.ID(); id != "" {
			return id, nil
		}
		_, err := j.outcome()
		return "", err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// Wait waits for the end of the job. The error is an [*envelope.Error] if the job was refused, failed or was cancelled
// (code CANCELLED, with the reason), ErrOutcomeUnknown if its acceptance got lost, or else why the session ended.
// It does not read Events.
func (j *Job) Wait(ctx context.Context) (Result, error) {
	select {
	case <-j.ended:
		return j.outcome()
	case <-ctx.Done():
		return Result{}, context.Cause(ctx)
	}
}

// Events returns the envelopes of the job in order, from job.accepted to the terminal one, then ends. An event is
// handed out once: a second loop goes on where the first one left off. An error is the last element: the error of ctx,
// an [*OverflowError], why the job was refused, or why the session ended.
func (j *Job) Events(ctx context.Context) iter.Seq2[*envelope.Envelope, error] {
	return func(yield func(*envelope.Envelope, error) bool) {
		for {
			e, err := j.events.next(ctx)
			if errors.Is(err, errNoMoreEvents) {
				return
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

func (j *Job) outcome() (Result, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.result, j.err
}

func (j *Job) accept(e *envelope.Envelope) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.id = e.JobID
	if p, err := envelope.DecodePayload[envelope.JobAccepted](e); err == nil {
		j.credentials = p.Credentials
	}
	close(j.accepted)
}

// end settles the job, once. Events that follow none of a terminal event end with err.
func (j *Job) end(result Result, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	select {
	case <-j.ended:
		return
	default:
	}
	j.result, j.err = result, err
	close(j.ended)
	if result.JobID != "" {
		err = nil // the terminal event is among the events
	}
	j.events.finish(err)
}
