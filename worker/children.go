package worker

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	"github.com/cenkalti/backoff/v5"
	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// delegated is the payload of record.TypeDelegated.
type delegated struct {
	record.Delegation
	Asked string `json:"asked"` // fingerprint of what the handler asked for
	// Lease is the effective one, with what was taken from the parent's budget.
	Lease *envelope.Lease `json:"lease,omitzero"`
}

// takenBy is what a child took of its parent's budget, by its mark's line.
func takenBy(line []byte) []envelope.Amount {
	mark, err := payloadOf[delegated](line)
	if err != nil || mark.Lease == nil {
		return nil
	}
	return mark.Lease.Budget
}

// payloadOf reads the payload of a stored line.
func payloadOf[T any](line []byte) (T, error) {
	var stored struct {
		Payload T `json:"payload"`
	}
	err := jsonv2.Unmarshal(line, &stored)
	return stored.Payload, err
}

// children are the jobs that an attempt has started, by this attempt's own
// knowledge and, once asked for, by the log's.
type children struct {
	a *attempt

	// starting is held while a child is started: each takes its share of what
	// the ones before have left.
	starting sync.Mutex
	earlier  map[envelope.JobID]delegated // by earlier attempts; nil until read; guarded by starting

	mu    sync.Mutex
	calls int // of Delegate without a key
	known map[envelope.JobID]*Child
}

func (c *children) add(mark delegated) *Child {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[envelope.JobID]*Child{}
	}
	child := &Child{a: c.a, mark: mark, bell: make(chan struct{})}
	c.known[mark.Job] = child
	return child
}

func (c *children) get(id envelope.JobID) *Child {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known[id]
}

func (c *children) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.known)
}

// ended tells whoever waits for a child to look.
func (c *children) ended(id envelope.JobID) {
	if child := c.get(id); child != nil {
		child.ring()
	}
}

// lookAgain tells everyone who waits to look.
func (c *children) lookAgain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, child := range c.known {
		child.ring()
	}
}

// before returns what an earlier attempt has written down about a child. Called
// with starting.
func (c *children) before(ctx context.Context, id envelope.JobID) (delegated, bool, error) {
	if c.earlier == nil {
		marks, err := c.a.delegatedBefore(ctx, c.a.d.Attempt+1) // of this attempt too: the broker may have handed it out before
		if err != nil {
			return delegated{}, false, err
		}
		c.earlier = make(map[envelope.JobID]delegated, len(marks))
		for _, mark := range marks {
			c.earlier[mark.Job] = mark
		}
	}
	mark, found := c.earlier[id]
	return mark, found, nil
}

// delegatedBefore reads the marks of all attempts before one.
func (a *attempt) delegatedBefore(ctx context.Context, attempt int) ([]delegated, error) {
	past, err := readHistory(ctx, a.w.bus, a.job.inv, attempt)
	if err != nil {
		return nil, err
	}
	marks := make([]delegated, 0, len(past.delegated))
	for _, line := range past.delegated {
		mark, err := payloadOf[delegated](line)
		if err != nil {
			return nil, &envelope.Error{Code: envelope.CodeDataLoss, Message: "a delegation in the log cannot be read", Err: err}
		}
		marks = append(marks, mark)
	}
	return marks, nil
}

// endChildren cancels the children that outlive the job, but for the detached
// ones. It is called when the job's end is certain, and before the job is
// acknowledged: if this worker is lost in between, the job comes again, is
// found ended, and this is done again.
func (a *attempt) endChildren(ctx context.Context, reason string) error {
	var failed error
	marks, err := a.startedChildren(ctx)
	if err != nil {
		return err
	}
	for _, mark := range marks {
		if child := a.job.children.get(mark.Job); mark.Detached || child != nil && child.over() {
			continue
		}
		if err := a.cancelChild(ctx, mark, "parent", reason); err != nil {
			failed = err
		}
	}
	return failed
}

// abandonChildren cancels the children at once when the job has been cancelled
// or has run out of time, without waiting for its handler.
func (a *attempt) abandonChildren(cause error) {
	if _, final := concludeCause(cause); !final || errors.Is(cause, ErrSuperseded) {
		return
	}
	ctx, cancel := context.WithTimeout(a.w.recordCtx, lastWords)
	defer cancel()
	if err := a.endChildren(ctx, parentEnded); err != nil {
		a.log.Warn("children of the job may be open until it has ended", "error", err)
	}
}

// startedChildren are the children of all attempts. Only a later one has to ask
// the log.
func (a *attempt) startedChildren(ctx context.Context) (marks []delegated, err error) {
	if a.d.Attempt > 1 {
		return a.delegatedBefore(ctx, maxAttempt)
	}
	c := &a.job.children
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, child := range c.known {
		marks = append(marks, child.mark)
	}
	return marks, nil
}

// cancelChild tells the worker of a child to stop. A child that no worker has
// begun is ended here, so that nobody has to come for it; one that takes it at
// this moment finds the cancel, which was stored before. why tells apart the
// cancels of one child that are to be stored.
func (a *attempt) cancelChild(ctx context.Context, mark delegated, why, reason string) error {
	invoke, err := subjects.Parse(mark.Subject)
	if err != nil {
		return err
	}
	// A child that was written down and never started has no end. Should a worker that was given up on start it yet, its
	// own worker finds that the parent has ended.
	there, err := a.w.exists(ctx, invoke)
	if err != nil || !there {
		return err
	}
	started, ended, err := a.w.standing(ctx, invoke)
	if err != nil || ended {
		return err
	}
	err = a.tellChild(ctx, subjects.JobInput(invoke), why, envelope.TypeCancel, &envelope.Cancel{
		Target: envelope.TargetJob, TargetID: string(mark.Job), Reason: reason,
	})
	if err != nil || started {
		return err
	}
	return a.tellChild(ctx, subjects.JobEvents(invoke), why+".end", envelope.TypeJobCancelled, &envelope.JobCancelled{Reason: reason})
}

// tellChild stores an envelope about a child, once for each reason.
func (a *attempt) tellChild(ctx context.Context, to subjects.Subject, why string, t envelope.Type, payload any) error {
	e, err := envelope.New(t, payload)
	if err != nil {
		return err
	}
	s := &a.job.speaker
	e.SessionID, e.JobID, e.CorrelationID, e.TraceID = s.session, envelope.JobID(to.Job), s.invoke, s.trace
	r, err := record.New(to, e)
	if err != nil {
		return err
	}
	r.Sender, r.Principal, r.MsgID = a.w.cfg.Name, a.job.inv.rec.Principal, why+"."+to.Job
	return a.w.store(ctx, r)
}

// exists tells whether a job's invocation is in the log.
func (w *Worker) exists(ctx context.Context, invoke subjects.Subject) (there bool, err error) {
	err = retry(ctx, func() error {
		_, err := w.bus.LastOf(ctx, invoke)
		switch {
		case err == nil:
			there = true
		case envelope.CodeOf(err) == envelope.CodeNotFound:
			return nil
		case !worthAnotherTry(err):
			return backoff.Permanent(err)
		}
		return err
	})
	return there, err
}

// standing tells whether a worker has begun with a job, and whether the job has
// ended.
func (w *Worker) standing(ctx context.Context, job subjects.Subject) (started, ended bool, err error) {
	past, err := w.storyOf(ctx, job)
	if err != nil {
		return false, false, err
	}
	return past.attempt > 0, past.terminal, nil
}

// storyOf folds the events of a job. Unless its last record may be its end,
// that one is enough.
func (w *Worker) storyOf(ctx context.Context, job subjects.Subject) (past *history, err error) {
	events := subjects.JobEvents(job)
	err = retry(ctx, func() error {
		past = &history{}
		last, err := w.bus.LastOf(ctx, events)
		if envelope.CodeOf(err) == envelope.CodeNotFound {
			return nil
		}
		if err == nil {
			past.add(last)
			if !past.terminal {
				return nil
			}
			past = &history{}
			err = w.bus.ReadJob(ctx, events, func(r *record.Record) bool {
				past.add(r)
				return !past.terminal
			})
		}
		if err != nil && !worthAnotherTry(err) {
			return backoff.Permanent(err)
		}
		return err
	})
	return past, err
}

// store puts a record into the log. While the log is away it waits until ctx
// ends.
func (w *Worker) store(ctx context.Context, r *record.Record) error {
	return retry(ctx, func() error {
		answer := make(chan error, 1)
		err := w.bus.Publish(ctx, r, func(_ uint64, err error) { answer <- err })
		if err == nil {
			select {
			case err = <-answer:
			case <-ctx.Done():
				return backoff.Permanent(context.Cause(ctx))
			}
		}
		if err != nil && !worthAnotherTry(err) {
			return backoff.Permanent(err)
		}
		return err
	})
}

// tellParent says to the worker of the job's parent that the job has ended. It
// is not needed for good: whoever waits looks by itself after a while.
func (a *attempt) tellParent() {
	r, err := record.ChildEnded(a.d.Record)
	if err == nil && r != nil {
		ctx, cancel := context.WithTimeout(a.w.recordCtx, lastWords)
		defer cancel()
		r.Sender = a.w.cfg.Name
		err = a.w.store(ctx, r)
	}
	if err != nil {
		a.log.Warn("the parent job is not told of the end", "error", err)
	}
}

// learnOfParent cancels the attempt if the parent of the job has ended. The
// parent cancels its children when it ends; but one that a lost worker starts
// late, when nobody reckons with it any more, finds out here.
func (w *Worker) learnOfParent(a *attempt) {
	rec := a.d.Record
	if rec.Parent == "" || rec.Detached {
		return
	}
	parent := rec.Subject
	parent.Job = rec.Parent
	_, ended, err := w.standing(a.ctx, parent)
	switch {
	case err != nil && a.ctx.Err() == nil:
		a.log.Warn("cannot tell whether the parent job has ended", "error", err)
	case ended:
		a.cancel(&CancelError{Reason: parentEnded})
	}
}

const parentEnded = "the parent job has ended"

// concludeChild is what the end of a child is to whoever waits for it.
func concludeChild(line []byte, t envelope.Type) (*envelope.JobCompleted, error) {
	switch t {
	case envelope.TypeJobCompleted:
		done, err := payloadOf[envelope.JobCompleted](line)
		if err != nil {
			return nil, errUnreadableEnd(err)
		}
		if done.Value == nil && done.ResultRef == nil && done.ResultID == "" {
			done.Value = json.RawMessage("null")
		}
		return &done, nil
	case envelope.TypeJobCancelled:
		cancelled, err := payloadOf[envelope.JobCancelled](line)
		if err != nil {
			return nil, errUnreadableEnd(err)
		}
		return nil, envelope.Errorf(envelope.CodeCancelled, "%s", cancelled.Reason)
	case envelope.TypeJobFailed:
		failed, err := payloadOf[envelope.JobFailed](line)
		if err != nil {
			return nil, errUnreadableEnd(err)
		}
		return nil, &envelope.Error{Code: failed.Code, Message: failed.Message, Retryable: failed.Retryable, Details: failed.Details}
	}
	return nil, errUnreadableEnd(errors.New("no terminal event"))
}

func errUnreadableEnd(err error) error {
	return &envelope.Error{Code: envelope.CodeDataLoss, Message: "the end of the child cannot be read", Err: err}
}
