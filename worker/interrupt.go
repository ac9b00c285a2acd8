package worker

import (
	"context"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// maxInterrupts bounds the prompts that wait for a handler to take them.
const maxInterrupts = 64

// Interrupt is a prompt that a client has put to a job.
type Interrupt struct {
	ID     envelope.MessageID // of the client's message
	Prompt string
}

// Interrupts returns the prompts that clients put to the job, oldest first:
// those that are in the log already, and then the others as they come. Each
// attempt is given all of them. A handler that does not take them has the 64
// oldest wait; later ones are dropped. The channel is never closed. While the
// log is away it waits until ctx ends; the error is ctx's cause, or one of the
// log's for good.
func (j *Job) Interrupts(ctx context.Context) (<-chan Interrupt, error) {
	err := j.inbox.load(ctx, j.bus, subjects.JobInput(j.inv.rec.Subject))
	if err != nil {
		return nil, err
	}
	return j.inbox.waiting, nil
}

// inbox is what clients have said to a job, for a handler that wants to know.
type inbox struct {
	mu      sync.Mutex
	waiting chan Interrupt // nil until the handler has asked
	read    uint64         // the position of the last record that was looked at
	heard   uint64         // that of the last one that has come
}

// load reads what was said before the handler asked.
func (i *inbox) load(ctx context.Context, bus Bus, subject subjects.Subject) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.waiting != nil {
		return nil
	}
	waiting := make(chan Interrupt, maxInterrupts)
	for {
		err := retry(ctx, func() error {
			err := bus.ReadJob(ctx, subject, func(r *record.Record) bool {
				if r.Seq > i.read {
					i.read = r.Seq
					take(waiting, r)
				}
				return true
			})
			if err != nil && !worthAnotherTry(err) {
				return backoff.Permanent(err)
			}
			return err
		})
		if err != nil {
			return err
		}
		if i.read >= i.heard {
			break
		}
		select { // what has come is in the log, but not yet on the server that was asked
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	i.waiting = waiting
	return nil
}

// offer takes a record of the job's input lane.
func (i *inbox) offer(r *record.Record) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.heard = max(i.heard, r.Seq)
	if i.waiting != nil && r.Seq > i.read {
		i.read = r.Seq
		take(i.waiting, r)
	}
}

// take puts the interrupts of a record into a channel, as far as they fit.
func take(waiting chan<- Interrupt, r *record.Record) {
	for t, body := range r.Lines() {
		if t != envelope.TypeInterrupt {
			continue
		}
		env, err := envelope.Decode(body, readLimits)
		if err != nil {
			continue
		}
		p, err := envelope.DecodePayload[envelope.Interrupt](env)
		if err != nil {
			continue
		}
		select {
		case waiting <- Interrupt{ID: env.ID, Prompt: p.Prompt}:
		default:
		}
	}
}
