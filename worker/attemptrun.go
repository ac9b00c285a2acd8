package worker

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/subjects"
)

// attempt is one delivery of a job in the hands of this worker.
type attempt struct {
	w    *Worker
	d    Delivery
	job  Job
	tool *tool // nil: not offered here
	log  *slog.Logger

	ctx    context.Context // the handler's, but for the tool's timeout
	cancel context.CancelCauseFunc

	expiry    *time.Timer // of the job's lease; nil: it has none
	fetched   time.Time
	announced bool        // job.started was said
	running   atomic.Bool // the handler runs
	lapsed    atomic.Bool // the queue may have given the job to someone else
	seat      seat
	care      care
}

func (w *Worker) newAttempt(d Delivery, inv invocation) *attempt {
	sub := d.Record.Subject
	a := &attempt{w: w, d: d, tool: w.tools[sub.Tool]}
	a.log = w.log.With("job_id", sub.Job, "tool", sub.Tool, "attempt", d.Attempt)
	a.ctx, a.cancel = context.WithCancelCause(w.workCtx)
	a.job = Job{
		inv:     inv,
		attempt: d.Attempt,
		ctx:     a.ctx,
		cancel:  a.cancel,
		speaker: newSpeaker(inv, w.cfg.MaxEventBytes),
		out:     w.newOutbox(inv, d.Attempt),
		bus:     w.bus,

		keepArtifacts: w.cfg.ArtifactRetention,

		extensions: inputReader[Extension]{pick: pickExtensions},
		input:      inputReader[*envelope.Envelope]{pick: pickStreams},
		permits:    permits{said: inputReader[permitInput]{pick: pickPermits}},
	}
	if l := inv.lease; l != nil && l.ExpiresAt != nil {
		left := time.Until(l.ExpiresAt.Time)
		a.expiry = time.AfterFunc(left, func() { a.cancel(ErrLeaseExpired) })
		if left <= 0 {
			a.cancel(ErrLeaseExpired) // it never runs
		}
	}
	if a.tool != nil {
		a.job.tool = a.tool.ref
	}
	a.job.children.a = a
	if a.tool != nil {
		a.seat = seat{w: w, tool: a.tool.slots}
	}
	a.fetched = time.Now()
	a.care.seen = a.fetched
	return a
}

func (w *Worker) newOutbox(inv invocation, attempt int) *outbox {
	o := newOutbox(w.recordCtx, w.bus, inv.header(w.cfg.Name, attempt))
	o.published = w.cfg.Metrics.published
	return o
}

// serve takes a delivery through its life: judged, admitted, run, concluded,
// acknowledged. Each way out of it acknowledges the delivery or gives it back.
func (w *Worker) serve(d Delivery) {
	inv, unreadable := readInvocation(d.Record)
	a := w.newAttempt(d, inv)
	defer a.cancel(nil)
	defer a.seat.close()
	if a.expiry != nil {
		defer a.expiry.Stop()
	}

	switch {
	case unreadable != nil:
		a.log.Error("invocation cannot be read", "error", unreadable)
		a.end(ending{failed: &envelope.Error{
			Code: envelope.CodeInternal, Message: "the stored invocation cannot be read", Err: unreadable,
		}})
		return
	case a.tool == nil:
		// A queue shared with workers that offer other tools: let them have
		// it, at a pace that does not spin.
		delay := min(time.Duration(d.Attempt)*time.Second, 30*time.Second)
		a.log.Warn("tool is not offered here, job goes back to the queue", "delay", delay)
		a.giveBack(delay)
		return
	}

	if !a.isDue() {
		return
	}
	w.held.add(a)
	defer w.held.remove(a)

	switch verdict, err := a.judge(); {
	case err != nil:
		a.giveBack(time.Second)
	case verdict == alreadyEnd:
		a.log.Info("job has ended in an earlier attempt")
		a.tellParent()
		a.acknowledge()
	case verdict == usedUp:
		a.log.Warn("job has no attempt left")
		a.end(noAttemptLeft(a.tool.opts.MaxAttempts))
	default:
		a.end(a.run())
	}
}

// judge decides from what earlier attempts left in the log whether this one
// runs.
func (a *attempt) judge() (verdict, error) {
	limit := a.tool.opts.MaxAttempts
	if a.d.Attempt == 1 && a.ctx.Err() == nil {
		return runIt, nil // one whose lease has ended may have been ended before anybody took it
	}
	// A job whose lease has ended, or that is cancelled, has to be judged as well: the worker's context, not the job's.
	ctx := a.w.workCtx
	past := newHistory(a.job.inv)
	err := retry(ctx, func() error {
		last, err := a.w.bus.LastOf(ctx, subjects.JobEvents(a.d.Record.Subject))
		switch {
		case envelope.CodeOf(err) == envelope.CodeNotFound:
			return nil
		case err != nil && !worthAnotherTry(err):
			return backoff.Permanent(err)
		case err != nil:
			return err
		case !needsHistory(a.d.Attempt, limit) && !past.scheduled:
			past.add(last)
			return nil
		}
		past, err = readHistory(ctx, a.w.bus, a.job.inv, a.d.Attempt)
		if err != nil {
			return backoff.Permanent(err)
		}
		return nil
	})
	if err != nil {
		if ctx.Err() == nil {
			a.log.Error("earlier attempts cannot be read", "error", err)
		}
		return runIt, err
	}
	a.job.early = past.before(a.d.Attempt)
	return past.judge(a.d.Attempt, limit), nil
}

// run waits for the tool's turn, starts the handler and waits for its end.
func (a *attempt) run() ending {
	a.w.learnOfCancel(a)
	a.w.learnOfParent(a)
	if !a.admit() {
		return conclude(nil, context.Canceled, contextCause(a.ctx))
	}
	ctx, span := a.job.speaker.beginTrace(a.ctx, a.job.inv, a.tool.ref.String(), a.d.Attempt)
	defer span.End()
	if err := a.announce(); err != nil {
		a.tool.slots.Release(1)
		if cause := contextCause(a.ctx); cause != nil {
			return conclude(nil, err, cause)
		}
		a.log.Error("job.started cannot be stored", "error", err)
		return ending{}
	}
	e := a.handle(ctx)
	endTrace(span, e)
	return e
}

// admit waits until the tool may run one more job, and tells whether the job
// is still to be run then. A job that waits when a drain begins has not begun,
// and goes to another worker at once.
func (a *attempt) admit() bool {
	if !a.tool.slots.TryAcquire(1) {
		waiting, stop := context.WithCancel(a.w.fetchCtx)
		unhook := context.AfterFunc(a.ctx, stop)
		err := a.tool.slots.Acquire(waiting, 1)
		unhook()
		stop()
		if err != nil {
			a.cancel(ErrDraining) // nothing, if it has a cause already
			return false
		}
	}
	if a.w.fetchCtx.Err() != nil {
		a.cancel(ErrDraining)
	}
	if a.ctx.Err() != nil {
		a.tool.slots.Release(1)
		return false
	}
	return true
}

// announce says job.started, and waits until it is stored if a later attempt
// must be able to rely on it.
func (a *attempt) announce() error {
	l, err := a.job.speaker.line(envelope.TypeJobStarted, &envelope.JobStarted{
		Description: "invoking " + a.job.Reference(),
		Attempt:     uint64(a.job.Attempt()),
	})
	if err != nil {
		return err
	}
	if err := a.job.out.add(a.ctx, l); err != nil {
		return err
	}
	a.announced = true
	if mustRecordStart(a.d.Attempt, a.tool.opts.MaxAttempts) || a.job.inv.scheduled() {
		return a.job.out.sync(a.ctx)
	}
	return nil
}

// returned is what came of calling a handler.
type returned struct {
	value any
	err   error
	cause error // why the job's context had ended by then, or nil
	panic bool
}

// handle calls the handler and waits for it, or, once its context has ended,
// for the grace that comes with the cause. ctx is the attempt's.
func (a *attempt) handle(ctx context.Context) ending {
	release := context.CancelFunc(func() {})
	timeout := a.tool.opts.Timeout
	if limit := a.d.Record.MaxRuntime; limit > 0 && (timeout == 0 || limit < timeout) {
		timeout = limit
	}
	if timeout > 0 {
		ctx, release = context.WithTimeoutCause(ctx, timeout, ErrTimeout)
	}
	defer release()

	a.running.Store(true)
	defer a.running.Store(false)
	back := make(chan returned, 1)
	a.w.handlers.add()
	began := time.Now()
	a.tool.metrics.started(a.job.Attempt(), a.job.inv.ready())
	go func() {
		defer a.w.handlers.done()
		defer a.tool.metrics.returned(began)
		defer a.seat.leave()
		a.call(ctx, back)
	}()

	select {
	case r := <-back:
		return a.ending(r)
	case <-ctx.Done():
	}
	a.abandonChildren(context.Cause(ctx))
	grace := time.NewTimer(a.grace(context.Cause(ctx)))
	defer grace.Stop()
	select {
	case r := <-back:
		return a.ending(r)
	case <-grace.C:
	case <-a.w.recordCtx.Done():
		select {
		case r := <-back:
			return a.ending(r)
		case <-time.After(stopGrace):
		}
	}
	a.tool.metrics.abandoned.Inc()
	a.log.Error("handler did not return after its context had ended, and is abandoned",
		"cause", context.Cause(ctx), "abandoned", a.w.handlers.abandon())
	return conclude(nil, context.Canceled, context.Cause(ctx))
}

func (a *attempt) ending(r returned) ending {
	if r.panic {
		return panicked()
	}
	return a.job.concludeResult(conclude(r.value, r.err, r.cause), r.value != nil)
}

// grace is how long the handler may go on after its context ended with cause.
func (a *attempt) grace(cause error) time.Duration {
	var cancel *CancelError
	if errors.As(cause, &cancel) {
		return cancel.Grace
	}
	return a.w.cfg.CancelGrace
}

// call runs the handler, catches what it throws, and sends what came of it to
// back. A handler that ends its goroutine counts as one that panicked.
func (a *attempt) call(ctx context.Context, back chan<- returned) {
	r := returned{panic: true}
	defer func() {
		if thrown := recover(); thrown != nil {
			a.log.Error("handler panicked", "panic", thrown, "stack", string(debug.Stack()))
		} else if r.panic {
			a.log.Error("handler ended its goroutine")
		}
		back <- r
	}()
	r.value, r.err = a.tool.handler(ctx, &a.job)
	r.panic, r.cause = false, contextCause(ctx)
}

// end writes the job's terminal event and acknowledges the job, or hands it
// back.
func (a *attempt) end(e ending) {
	a.job.permits.stop()
	if e.handedBack() {
		a.handBack()
		return
	}
	last, err := a.job.speaker.line(e.event(a.d.Record.Codes))
	if err != nil {
		a.log.Warn("job's end cannot be written as it is", "error", err)
		e = concludeError(err)
		last, err = a.job.speaker.line(e.event(a.d.Record.Codes))
	}
	if err == nil {
		err = a.job.out.close(append(a.job.endStreams(e), last)...)
	} else {
		_ = a.job.out.close()
	}
	if err != nil && tooLargeForLog(err) {
		// Something that was said did not fit, and nothing after it was kept.
		if last, err = a.job.speaker.line(concludeError(err).event(a.d.Record.Codes)); err == nil {
			err = a.w.newOutbox(a.job.inv, a.d.Attempt).close(last)
		}
	}
	if err != nil {
		a.log.Error("job's end cannot be stored, job goes back to the queue", "error", err)
		a.giveBack(time.Second)
		return
	}
	if a.tool != nil {
		a.tool.metrics.ended(e)
	}
	a.log.Debug("job ended", "type", last.typ, "took", time.Since(a.fetched))
	a.tellParent()
	a.acknowledge()
}

// handBack lets another worker have the next attempt, at once, after writing
// down what the handler said.
func (a *attempt) handBack() {
	cause := contextCause(a.ctx)
	if errors.Is(cause, ErrSuperseded) {
		// The later attempt has the delivery; this receipt is worth nothing.
		_ = a.job.out.close()
		a.log.Warn("a later attempt has the job")
		return
	}
	a.tool.metrics.handedBack.Inc()
	var last []line
	if a.announced {
		if l, err := a.job.speaker.line(typeHandedBack, nil); err == nil {
			last = append(last, l)
		}
	}
	if err := a.job.out.close(last...); err != nil {
		a.log.Warn("events of a job that is handed back are lost", "error", err)
	}
	a.log.Info("job is handed back", "cause", cause)
	a.giveBack(0)
}

// giveBack returns the delivery to the queue, for another attempt after delay.
// If the queue may have done that by itself it is left alone: giving back what
// someone else holds would start a third one.
func (a *attempt) giveBack(delay time.Duration) {
	if a.lapsed.Load() {
		return
	}
	if err := a.d.Receipt.Nak(delay); err != nil {
		a.log.Warn("job could not be handed back, the queue will notice", "error", err)
	}
}

// mayBeOvertaken tells whether another worker may have the job by now. Signs of
// life are no proof against it: they are not answered, and may have been lost
// or late, as may the delivery itself. The time since the job was asked for is:
// the queue waits for AckWait after it has handed a job out.
func (a *attempt) mayBeOvertaken() bool {
	return a.lapsed.Load() || time.Since(a.d.Asked) >= a.w.cfg.AckWait
}

// acknowledge says that the job needs no further attempt. An acknowledgement
// counts for the job, not for the attempt: if this one may have been overtaken,
// only the log can tell whether the end that it wrote is the job's. Left
// unacknowledged, the job comes again and is judged again.
func (a *attempt) acknowledge() {
	ctx, release := context.WithTimeout(a.w.recordCtx, a.w.cfg.AckWait)
	defer release()
	if a.mayBeOvertaken() {
		past, err := readHistory(ctx, a.w.bus, a.job.inv, math.MaxInt)
		if err != nil || !past.terminal {
			a.log.Warn("a later attempt may have the job, it is not acknowledged", "error", err)
			return
		}
	}
	if err := a.endChildren(ctx, parentEnded); err != nil {
		a.log.Warn("children of the job may be open, it is not acknowledged", "error", err)
		return
	}
	if err := a.d.Receipt.Ack(ctx); err != nil {
		// The next attempt finds the job ended and acknowledges it.
		a.log.Warn("job could not be acknowledged", "error", err)
	}
	a.w.book(a.d.Record.Subject.Shard).forget(a.d.Record.Subject.Job)
}
