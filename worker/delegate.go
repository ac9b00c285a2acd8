package worker

import (
	"cmp"
	"context"
	"crypto/sha256"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/lease"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// maxChildren bounds the jobs that one attempt starts.
const maxChildren = 1000

// maxKeyBytes bounds the key of a delegation.
const maxKeyBytes = 256

// maxAttempt is later than any attempt.
const maxAttempt = int(^uint(0) >> 1)

// lookEvery is how often somebody who waits for a child looks whether it has
// ended, beside being told: who ends a child may be lost before it tells.
// After having been told it looks again soon, and less and less often.
const (
	lookEvery = 10 * time.Second
	lookSoon  = 20 * time.Millisecond
)

// DelegateOption changes one delegation.
type DelegateOption func(*delegation)

type delegation struct {
	key      string
	detached bool
}

// WithDelegateKey names the delegation among those of the job. A later attempt
// finds the child under the same key; without one it goes by the order of the
// calls, which then must be the same in every attempt. At most 256 bytes.
func WithDelegateKey(key string) DelegateOption {
	return func(d *delegation) { d.key = key }
}

// WithDetached lets the child live on when the job ends.
func WithDetached() DelegateOption {
	return func(d *delegation) { d.detached = true }
}

// Child is a job that a handler has started. All methods are safe for
// concurrent use.
type Child struct {
	a      *attempt
	mark   delegated
	stored bool // guarded by children.starting

	mu     sync.Mutex
	bell   chan struct{} // closed when it is worth looking
	result *envelope.JobCompleted
	err    error
	done   bool
}

// ID is the child's job id.
func (c *Child) ID() envelope.JobID { return c.mark.Job }

// Delegate starts a child job: tool, a name or name@version, with arguments,
// anything that encodes as JSON. It belongs to the session, the principal and
// the submission of this job, whose client sees its events too, and whose id it
// carries as parent_job_id. It returns when the child is in the log.
//
// want is what the child may do, nil for what this job may. It must be no more
// than this job's own lease (LEASE_SUBSET_VIOLATION, open dialect LE-4); what it
// leaves out is inherited. Its budget is taken from what is left of this job's,
// all of that if want names none.
//
// A later attempt that delegates the same gets the child that an earlier one has
// started; if it asks for something else at the same place, that is a
// FAILED_PRECONDITION. Children that are open when this job ends are cancelled,
// unless they are detached.
//
// The error is PERMISSION_DENIED if this job's lease lists capabilities, and
// none of agent.delegate for the tool, INVALID_ARGUMENT for what is no tool
// reference or no JSON,
// AGENT_NOT_AVAILABLE or AGENT_VERSION_NOT_AVAILABLE for a tool that nobody
// offers, and RESOURCE_EXHAUSTED for more than 1000 children or a delegation
// that is deeper than Config.MaxDepth. While the log is away it waits until ctx
// ends.
func (j *Job) Delegate(ctx context.Context, tool string, arguments any, want *envelope.Lease, options ...DelegateOption) (*Child, error) {
	if err := contextCause(ctx); err != nil {
		return nil, err
	}
	var d delegation
	for _, option := range options {
		option(&d)
	}
	if len(d.key) > maxKeyBytes {
		return nil, envelope.Errorf(envelope.CodeInvalidArgument, "delegate: the key has %d bytes, the limit is %d", len(d.key), maxKeyBytes)
	}
	ref, err := envelope.ParseAgentRef(tool)
	if err != nil {
		return nil, envelope.Errorf(envelope.CodeInvalidArgument, "delegate: tool: %v", err)
	}
	raw, err := encodeValue(arguments)
	if err != nil {
		return nil, &envelope.Error{Code: envelope.CodeInvalidArgument, Message: "delegate: arguments cannot be written as JSON", Err: err}
	}
	asked, err := envelope.Fingerprint(tool, raw, want)
	if err != nil {
		return nil, &envelope.Error{Code: envelope.CodeInvalidArgument, Message: "delegate: arguments cannot be written as JSON", Err: err}
	}
	c := &j.children
	id := j.childID(d.key)
	c.starting.Lock()
	defer c.starting.Unlock()
	child, err := j.child(ctx, delegated{Delegation: record.Delegation{Job: id, Detached: d.detached}, Asked: asked}, ref, want)
	if err != nil {
		return nil, err
	}
	if !child.stored {
		if err := j.startChild(ctx, child.mark, &envelope.ToolInvoke{Tool: tool, Arguments: raw}); err != nil {
			return nil, err
		}
		child.stored = true
	}
	return child, nil
}

// child is the child that a mark, of which the lease and the place are open,
// stands for: known to this attempt, written down by an earlier one, or new and
// now written down. That comes before it is started: whoever runs the job next,
// or ends it, must know of it.
func (j *Job) child(ctx context.Context, mark delegated, ref envelope.AgentRef, want *envelope.Lease) (*Child, error) {
	c := &j.children
	if child := c.get(mark.Job); child != nil {
		return child, child.mark.mustBe(mark.Asked)
	}
	known, found, err := c.before(ctx, mark.Job)
	if err != nil {
		return nil, err
	}
	if found {
		if err := known.mustBe(mark.Asked); err != nil {
			return nil, err
		}
		return c.add(known), nil
	}
	// The share of the budget is charged as everything else that the job spends: in the log first.
	j.spending.mu.Lock()
	defer j.spending.mu.Unlock()
	if err := j.admitChild(ctx, &mark, ref, want); err != nil {
		return nil, err
	}
	if err := j.say(ctx, record.TypeDelegated, &mark); err != nil {
		return nil, err
	}
	if mark.Lease != nil {
		j.spending.budget.Spent(mark.Lease.Budget)
	}
	child := c.add(mark)
	if err := j.out.sync(ctx); err != nil {
		return nil, err
	}
	// What an attempt writes down that was overtaken is not heard; it must not start the child either.
	return child, j.checkCurrent(ctx)
}

// mustBe fails if a delegation stands for something else than what is asked.
func (d *delegated) mustBe(asked string) error {
	if d.Asked == asked {
		return nil
	}
	return envelope.Errorf(envelope.CodeFailedPrecondition,
		"delegate: child %s was asked for with another tool, other arguments or another lease; give the delegation a key of its own", d.Job)
}

// childID is the id of a child, the same in every attempt.
func (j *Job) childID(key string) envelope.JobID {
	name := "key " + key
	if key == "" {
		j.children.mu.Lock()
		j.children.calls++
		name = "call " + strconv.Itoa(j.children.calls)
		j.children.mu.Unlock()
	}
	sum := sha256.Sum256([]byte(string(j.ID()) + " " + name))
	return envelope.DerivedJobID(j.inv.rec.Time, sum[:])
}

// admitChild finds the child's place and lease, or why there is none. It needs the lock of the spending.
func (j *Job) admitChild(ctx context.Context, mark *delegated, ref envelope.AgentRef, want *envelope.Lease) error {
	w := j.children.a.w
	if depth := j.inv.rec.Depth + 1; depth > w.cfg.MaxDepth {
		return exhausted("delegate: the child would be %d deep, the limit is %d", depth, w.cfg.MaxDepth)
	}
	if n := j.children.count(); n >= maxChildren {
		return exhausted("delegate: the job has started %d children, the limit is %d", n, maxChildren)
	}
	select {
	case <-w.tableKnown:
	case <-j.ctx.Done():
		return context.Cause(j.ctx)
	}
	tool, queue, err := w.table.Resolve(ref)
	if err != nil {
		return err
	}
	if err := j.readSpent(ctx); err != nil {
		return err
	}
	own, left := j.Lease(), j.spending.budget.Remaining()
	if err := lease.Delegates(own, tool.Name); err != nil {
		return err
	}
	if err := lease.Subset(own, left, want); err != nil {
		return err
	}
	mark.Lease = lease.Inherit(own, left, want)
	if l := mark.Lease; l != nil && l.ExpiresAt != nil && !l.ExpiresAt.After(time.Now()) {
		return envelope.Errorf(envelope.CodeInvalidRequest, "delegate: lease.expires_at is not in the future")
	}
	sub := j.inv.rec.Subject
	sub.Queue, sub.Tool, sub.Job = queue, tool.String(), string(mark.Job)
	mark.Subject = sub.String()
	return nil
}

// exhausted refuses for good what there is no more of.
func exhausted(format string, args ...any) error {
	e := envelope.Errorf(envelope.CodeResourceExhausted, format, args...)
	never := false
	e.Retryable = &never
	return e
}

// startChild stores the child's invocation, unless it is there. The message id
// makes it one, should two attempts come here together.
func (j *Job) startChild(ctx context.Context, mark delegated, call *envelope.ToolInvoke) error {
	sub, err := subjects.Parse(mark.Subject)
	if err != nil {
		return err
	}
	if j.attempt > 1 {
		_, err := j.bus.LastOf(ctx, sub)
		if err == nil {
			return nil
		}
		if envelope.CodeOf(err) != envelope.CodeNotFound {
			return err
		}
	}
	r, err := j.childRecord(sub, mark, call)
	if err == nil {
		err = j.noteDeadline(ctx, sub, mark.Lease)
	}
	if err != nil {
		return err
	}
	return j.children.a.w.store(ctx, r)
}

// noteDeadline makes sure that a child whose lease ends will end with it, before the child is there.
func (j *Job) noteDeadline(ctx context.Context, child subjects.Subject, lease *envelope.Lease) error {
	if lease == nil || lease.ExpiresAt == nil {
		return nil
	}
	return retry(ctx, func() error {
		err := j.bus.Deadline(ctx, record.Deadline{Invocation: child, At: lease.ExpiresAt.Time})
		if err != nil && !worthAnotherTry(err) {
			return backoff.Permanent(err)
		}
		return err
	})
}

// childRecord is the child's invocation, as an edge would have stored it.
func (j *Job) childRecord(sub subjects.Subject, mark delegated, call *envelope.ToolInvoke) (*record.Record, error) {
	accepted, err := envelope.New(envelope.TypeJobAccepted, &envelope.JobAccepted{
		JobID: mark.Job, Lease: mark.Lease, Agent: sub.Tool, ParentJobID: envelope.JobID(j.inv.rec.Subject.Job),
	})
	if err != nil {
		return nil, err
	}
	call.LeaseRequest = mark.Lease
	invoke, err := envelope.New(envelope.TypeToolInvoke, call)
	if err != nil {
		return nil, err
	}
	s := &j.speaker
	invoke.ID, accepted.CorrelationID = s.invoke, s.invoke // the client knows its own request
	for _, e := range []*envelope.Envelope{accepted, invoke} {
		e.SessionID, e.JobID = s.session, mark.Job
		e.TraceID, e.SpanID, e.ParentSpanID = s.trace, s.span, s.parent
	}
	if j.inv.env != nil {
		invoke.Priority, invoke.Extensions = j.inv.env.Priority, slices.Clone(j.inv.env.Extensions)
	}
	own := j.inv.rec
	r, err := record.New(sub, accepted, invoke)
	if err != nil {
		return nil, err
	}
	r.Sender, r.Principal, r.MsgID = j.children.a.w.cfg.Name, own.Principal, sub.Job
	r.Codes, r.MaxRuntime, r.TraceParent = own.Codes, own.MaxRuntime, own.TraceParent
	r.Parent, r.Depth, r.Detached = own.Subject.Job, own.Depth+1, mark.Detached
	if limit := j.speaker.maxBytes; len(r.Body) > limit {
		return nil, &tooLargeError{kind: envelope.TypeToolInvoke, size: len(r.Body), limit: limit}
	}
	return r, nil
}

// Wait waits for the child's end and returns its result. If the child failed,
// the error is its [*envelope.Error]; if it was cancelled, one with code
// CANCELLED. It ends with ctx's cause, or the job's, if that comes first.
//
// While a handler waits its job does not count among the concurrent ones of its
// tool, so a tool that delegates to itself does not stand in its own way; it
// goes on when there is room again. That holds for up to 1024 waiting jobs of a
// worker; more keep their place.
func (c *Child) Wait(ctx context.Context) (*envelope.JobCompleted, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.a.ctx, func() { cancel(context.Cause(c.a.ctx)) })()
	if result, err, done := c.look(ctx); done {
		return result, err
	}
	c.a.seat.lend()
	result, err := c.await(ctx)
	if back := c.a.seat.takeBack(ctx); back != nil {
		return nil, context.Cause(ctx)
	}
	return result, err
}

func (c *Child) await(ctx context.Context) (*envelope.JobCompleted, error) {
	pause := lookEvery
	for {
		c.mu.Lock()
		bell := c.bell
		c.mu.Unlock()
		if result, err, done := c.look(ctx); done {
			return result, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-bell:
			// What was told of is in the log, but maybe not yet on the server that is asked.
			pause = lookSoon
		case <-timer.C:
			pause = min(2*pause, lookEvery)
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		}
		timer.Stop()
	}
}

// look reads whether the child has ended. An error of the log's is final: the
// log is waited for as long as ctx lives.
func (c *Child) look(ctx context.Context) (result *envelope.JobCompleted, err error, done bool) { //nolint:revive // done says whether the others count
	c.mu.Lock()
	result, err, done = c.result, c.err, c.done
	c.mu.Unlock()
	if done {
		return result, err, true
	}
	sub, err := subjects.Parse(c.mark.Subject)
	if err != nil {
		return nil, err, true
	}
	past, err := c.a.w.storyOf(ctx, sub)
	if err != nil {
		return nil, cmp.Or(contextCause(ctx), err), true
	}
	if !past.terminal {
		return nil, nil, false
	}
	result, err = concludeChild(past.end, past.endType)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.result, c.err, c.done = result, err, true
	return result, err, true
}

// ring lets those who wait look.
func (c *Child) ring() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.bell)
	c.bell = make(chan struct{})
}

// over tells whether the child is known to have ended.
func (c *Child) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done
}

// Cancel asks for the child's end and returns when the request is in the log;
// the child ends a little later. One that has ended already is left alone.
func (c *Child) Cancel(ctx context.Context, reason string) error {
	if c.over() {
		return nil
	}
	if reason == "" {
		reason = "cancelled by the parent job"
	}
	err := c.a.cancelChild(ctx, c.mark, "child", reason)
	c.ring()
	return err
}
