package worker

import (
	"container/list"
	"context"
	"math"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// Bounds of what a client may ask for in cancel.
const (
	defaultCancelMS = 5000 // contract of cancel: when deadline_ms is absent
	maxCancelGrace  = time.Hour
	defaultReason   = "cancelled by the client"
)

// cancelBook remembers the cancels that were seen on one shard's input lane,
// for jobs that have not been fetched yet. It is bounded: a cancel that is too
// old for it can be looked up in the log, and floor says when that is needed.
type cancelBook struct {
	mu    sync.Mutex
	floor uint64 // a job invoked at or before it may have a cancel that is not here
	byJob map[string]*list.Element
	order *list.List // of *cancelEntry, oldest first
	limit int
}

type cancelEntry struct {
	job     string
	subject string // of the job's input
	seq     uint64
	cancel  *CancelError
}

// cancelBookSize is how many cancels of jobs not yet fetched are remembered a
// shard, at about 300 bytes each.
const cancelBookSize = 1 << 16

func newCancelBook(limit int) *cancelBook {
	return &cancelBook{byJob: map[string]*list.Element{}, order: list.New(), limit: limit}
}

// from says that the book is complete for what is stored after pos.
func (b *cancelBook) from(pos uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.floor = max(b.floor, pos)
}

// note enters a cancel. The first one for a job counts.
func (b *cancelBook) note(e *cancelEntry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.byJob[e.job] != nil {
		return
	}
	b.byJob[e.job] = b.order.PushBack(e)
	for b.order.Len() > b.limit {
		oldest := b.order.Front()
		b.remove(oldest)
		// The job was invoked before it was cancelled.
		b.floor = max(b.floor, oldest.Value.(*cancelEntry).seq)
	}
}

// find returns the job's cancel, if it is here, and whether one that is not
// here may be in the log.
func (b *cancelBook) find(r *record.Record) (cancel *CancelError, lookUp bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if found := b.byJob[r.Subject.Job]; found != nil {
		e := found.Value.(*cancelEntry)
		if e.subject == subjects.JobInput(r.Subject).String() {
			return e.cancel, false
		}
	}
	return nil, r.Seq <= b.floor
}

// forget drops the cancel of a job that has ended.
func (b *cancelBook) forget(job string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if found := b.byJob[job]; found != nil {
		b.remove(found)
	}
}

func (b *cancelBook) remove(e *list.Element) {
	delete(b.byJob, e.Value.(*cancelEntry).job)
	b.order.Remove(e)
}

// readCancel finds the cancel in a record of the input lane, or nil.
func readCancel(r *record.Record) *CancelError {
	for t, body := range r.Lines() {
		if t != envelope.TypeCancel {
			continue
		}
		env, err := envelope.Decode(body, readLimits)
		if err != nil {
			return nil
		}
		cancel, err := envelope.DecodePayload[envelope.Cancel](env)
		if err != nil || cancel.Target == envelope.TargetStream {
			return nil
		}
		return newCancelError(cancel)
	}
	return nil
}

func newCancelError(c *envelope.Cancel) *CancelError {
	e := &CancelError{Reason: c.Reason, Grace: defaultCancelMS * time.Millisecond}
	if e.Reason == "" {
		e.Reason = defaultReason
	}
	if ms := c.DeadlineMS; ms != nil {
		e.Grace = time.Duration(min(*ms, math.MaxInt32)) * time.Millisecond
		e.Grace = min(e.Grace, maxCancelGrace)
	}
	return e
}

// hear follows the input lane of a shard until ctx ends. ready is closed when
// no later input can be missed.
func (w *Worker) hear(ctx context.Context, shard int, book *cancelBook, ready chan<- struct{}) {
	first := true
	_ = retry(ctx, func() error {
		err := w.bus.Inputs(ctx, shard, func(pos uint64) {
			book.from(pos)
			if first {
				close(ready)
				first = false
				return
			}
			// There was a gap. What runs may have been cancelled in it, or spoken to.
			for _, a := range w.held.all(nil) {
				a.job.extensions.missed()
				a.job.input.missed()
				a.job.permits.said.missed()
			}
			w.inputs.Go(func() {
				for _, a := range w.held.all(nil) {
					if a.d.Record.Subject.Shard == shard {
						w.learnOfCancel(a)
						a.job.streams.lookUp(a.ctx, w.bus, a.job.inv)
						a.job.children.lookAgain()
					}
				}
			})
		}, func(r *record.Record) { w.input(book, r) })
		if ctx.Err() == nil {
			w.log.Warn("clients cannot be heard", "shard", shard, "error", err)
		}
		return envelope.Errorf(envelope.CodeUnavailable, "input of shard %d ended", shard)
	})
}

// input takes what a client says to a job.
func (w *Worker) input(book *cancelBook, r *record.Record) {
	if child := r.EndedChild(); child != "" {
		if a := w.holder(r); a != nil {
			a.job.children.ended(child)
		}
		return
	}
	cancel := readCancel(r)
	if cancel == nil {
		if a := w.holder(r); a != nil {
			a.job.inbox.offer(r)
			a.job.extensions.offer(r)
			a.job.input.offer(r)
			a.job.permits.said.offer(r)
			a.job.streams.offer(r)
		}
		return
	}
	// First the book, then the jobs in hand; who takes a job in hand does it
	// the other way round. One of the two sees the other.
	book.note(&cancelEntry{job: r.Subject.Job, subject: r.Subject.String(), seq: r.Seq, cancel: cancel})
	if a := w.holder(r); a != nil {
		a.cancel(cancel)
	}
}

// holder returns the attempt at the job that a record of the input lane is said
// to, if it is in hand.
func (w *Worker) holder(r *record.Record) *attempt {
	a := w.held.get(r.Subject.Job)
	if a == nil || subjects.JobInput(a.d.Record.Subject).String() != r.Subject.String() {
		return nil
	}
	return a
}

// learnOfCancel cancels the attempt if its client has said so.
func (w *Worker) learnOfCancel(a *attempt) {
	book := w.book(a.d.Record.Subject.Shard)
	cancel, lookUp := book.find(a.d.Record)
	if cancel == nil && lookUp {
		var err error
		if cancel, err = w.lookUpCancel(a); err != nil && a.ctx.Err() == nil {
			a.log.Warn("cannot tell whether the job was cancelled", "error", err)
		}
	}
	if cancel != nil {
		a.cancel(cancel)
	}
}

// lookUpCancel reads the job's input lane in the log.
func (w *Worker) lookUpCancel(a *attempt) (cancel *CancelError, err error) {
	subject := subjects.JobInput(a.d.Record.Subject)
	err = retry(a.ctx, func() error {
		last, err := w.bus.LastOf(a.ctx, subject)
		if envelope.CodeOf(err) == envelope.CodeNotFound {
			return nil
		}
		if err == nil {
			if cancel = readCancel(last); cancel != nil {
				return nil
			}
			// Something else was said later.
			err = w.bus.ReadJob(a.ctx, subject, func(r *record.Record) bool {
				cancel = readCancel(r)
				return cancel == nil
			})
		}
		if err != nil && !worthAnotherTry(err) {
			return backoff.Permanent(err)
		}
		return err
	})
	return cancel, err
}
