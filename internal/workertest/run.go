// Package workertest runs a tool's handler as one job, without a log, and
// tells what it said.
package workertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/arcp-nats/arcp/artifact"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
	"github.com/arcp-nats/arcp/worker"
)

// Outcome is what came of a job.
type Outcome struct {
	// Value is what the handler returned, as JSON; Err its error.
	Value string
	Err   error
	// Events are the progress and log events, in order, as lines such as
	// "log info text" and "progress 1/2 units".
	Events []string
	// Job and Session are the ids that the handler saw.
	Job     envelope.JobID
	Session envelope.SessionID
}

// Run runs a handler as the first attempt at a job of tool@1 with the given
// arguments (JSON) and trace "trace-1". The handler's context ends with ctx and
// its cause. Run fails if the arguments make no job, not if the handler fails.
func Run(ctx context.Context, handler worker.Handler, arguments string) (out Outcome, err error) {
	return RunLeased(ctx, handler, arguments, nil)
}

// RunLeased is Run for a job with a lease.
func RunLeased(ctx context.Context, handler worker.Handler, arguments string, lease *envelope.Lease) (out Outcome, err error) {
	out.Session, out.Job = envelope.NewSessionID(), envelope.NewJobID()
	invoke, err := envelope.New(envelope.TypeToolInvoke, &envelope.ToolInvoke{Tool: "tool", Arguments: json.RawMessage(arguments), LeaseRequest: lease})
	if err != nil {
		return out, err
	}
	invoke.SessionID, invoke.JobID, invoke.TraceID = out.Session, out.Job, "trace-1"
	rec, err := record.New(subjects.Subject{
		Lane: subjects.Invoke, Queue: "q", Tool: "tool@1", Feed: "f", Principal: "p",
		Session: string(out.Session), Job: string(out.Job),
	}, invoke)
	if err != nil {
		return out, err
	}
	bus := &oneJob{job: rec, ended: make(chan struct{})}
	w, err := worker.New(bus, worker.Config{Name: "w", Queue: "q"})
	if err != nil {
		return out, err
	}
	err = w.Handle("tool", "1", func(inner context.Context, job *worker.Job) (any, error) {
		both, cancel := context.WithCancelCause(inner)
		defer cancel(nil)
		defer context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })()
		var value any
		value, out.Err = handler(both, job)
		if out.Err == nil {
			raw, err := json.Marshal(value)
			out.Value, out.Err = string(raw), err
		}
		return value, out.Err
	}, worker.Options{})
	if err != nil {
		return out, err
	}
	running, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- w.Run(running) }()
	select {
	case <-bus.ended:
	case err := <-done:
		return out, fmt.Errorf("the worker ended early: %w", err)
	}
	stop()
	if err := <-done; err != nil {
		return out, err
	}
	out.Events, err = bus.events()
	return out, err
}

// oneJob is a log that holds one job.
type oneJob struct {
	job   *record.Record
	given bool
	ended chan struct{}

	mu    sync.Mutex
	lines []typed
	last  *record.Record
}

type typed struct {
	typ  envelope.Type
	body []byte
}

var errNothing = envelope.Errorf(envelope.CodeNotFound, "there is nothing")

func (b *oneJob) Shards(context.Context) ([]int, error) { return []int{0}, nil }

func (b *oneJob) Queue(context.Context, int, string, time.Duration) (worker.Queue, error) {
	return b, nil
}

func (b *oneJob) Fetch(ctx context.Context, _ int, fn func(worker.Delivery)) error {
	if !b.given {
		b.given = true
		fn(worker.Delivery{Record: b.job, Attempt: 1, Asked: time.Now(), Receipt: b})
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (b *oneJob) Ack(context.Context) error { close(b.ended); return nil }
func (b *oneJob) InProgress() error         { return nil }
func (b *oneJob) Nak(time.Duration) error   { return errors.New("the only worker gave the job back") }

func (b *oneJob) Publish(_ context.Context, r *record.Record, done func(uint64, error)) error {
	b.mu.Lock()
	b.last = r
	for typ, body := range r.Lines() {
		b.lines = append(b.lines, typed{typ, body})
	}
	b.mu.Unlock()
	done(1, nil)
	return nil
}

func (b *oneJob) Deadline(context.Context, record.Deadline) error { return nil }

func (b *oneJob) LastOf(context.Context, subjects.Subject) (*record.Record, error) {
	return nil, errNothing
}

func (b *oneJob) ReadJob(context.Context, subjects.Subject, func(*record.Record) bool) error {
	return nil
}

func (b *oneJob) ReadRange(_ context.Context, _ subjects.Subject, _, _ uint64, fn func(*record.Record) bool) error {
	b.mu.Lock()
	last := b.last
	b.mu.Unlock()
	fn(last)
	return nil
}

func (b *oneJob) Inputs(ctx context.Context, _ int, ready func(uint64), _ func(*record.Record)) error {
	ready(0)
	<-ctx.Done()
	return ctx.Err()
}

func (b *oneJob) Tools() worker.Tools { return noTools{} }

func (b *oneJob) Artifacts() artifact.Store { return nil }

// noTools is a bucket that nobody reads.
type noTools struct{}

func (noTools) Put(context.Context, string, []byte) error                   { return nil }
func (noTools) PutTTL(context.Context, string, []byte, time.Duration) error { return nil }
func (noTools) Delete(context.Context, string) error                        { return nil }
func (noTools) Watch(ctx context.Context, ready func(), _ func(string, []byte, time.Time)) error {
	ready()
	<-ctx.Done()
	return ctx.Err()
}

// events renders what was said.
func (b *oneJob) events() (list []string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.lines {
		switch l.typ {
		case envelope.TypeLog, envelope.TypeJobProgress, envelope.TypeMetric, envelope.TypeEventEmit, envelope.TypeToolResult,
			envelope.TypeToolError, envelope.TypeStreamChunk:
		default:
			continue
		}
		env, err := envelope.Decode(l.body, envelope.DefaultLimits())
		if err != nil {
			return nil, err
		}
		switch l.typ {
		case envelope.TypeLog:
			p, err := envelope.DecodePayload[envelope.Log](env)
			if err != nil {
				return nil, err
			}
			text := fmt.Sprintf("log %s %s", p.Level, p.Message)
			if p.Attributes != nil {
				text += " " + string(p.Attributes)
			}
			list = append(list, text)
		case envelope.TypeJobProgress:
			p, err := envelope.DecodePayload[envelope.JobProgress](env)
			if err != nil {
				return nil, err
			}
			total := "?"
			if p.Total != nil {
				total = fmt.Sprint(*p.Total)
			}
			list = append(list, fmt.Sprintf("progress %v/%s %s", p.Current, total, p.Units))
		default:
			text := fmt.Sprintf("%s %s", l.typ, env.Payload)
			if call := env.ExtensionText(envelope.CallIDExtension); call != "" {
				text += " of " + call
			}
			list = append(list, text)
		}
	}
	return list, nil
}
