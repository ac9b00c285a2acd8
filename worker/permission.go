package worker

import (
	"context"
	"sync"
	"time"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/lease"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// maxGrants bounds the grants of a job that are in force.
const maxGrants = 64

// Permission is what a handler asks the client for: to do an operation with a
// resource, under a name that client and tool agree on.
type Permission struct {
	Permission, Resource, Operation string
	// Reason is for whoever decides.
	Reason string
	// For is how long it is needed; 0: the client says. Whole seconds count.
	For time.Duration
}

// Grant is a permission that is in force until Done is closed.
type Grant struct {
	// ID is the lease that the grant is.
	ID         envelope.LeaseID
	Permission Permission

	permits *permits
	done    chan struct{}
}

// Ends is when the grant ends, as far as it has been prolonged by now.
func (g *Grant) Ends() time.Time {
	g.permits.mu.Lock()
	defer g.permits.mu.Unlock()
	return g.ends()
}

// ends is Ends, with the lock held.
func (g *Grant) ends() time.Time {
	answer, _ := g.permits.book.Lease(g.ID)
	return answer.Ends
}

// Done is closed when the grant has ended, or the job has.
func (g *Grant) Done() <-chan struct{} { return g.done }

// permits is what an attempt knows of permissions.
type permits struct {
	said inputReader[permitInput] // what clients say about them

	mu      sync.Mutex
	book    lease.Book
	read    bool               // the book has what was before
	blocked int                // requests that wait
	grants  []*Grant           // in force
	changed chan struct{}      // closed when the book has changed
	wake    context.CancelFunc // of the keeper, when there is another grant
	cancel  context.CancelFunc // ends the keeper
	kept    chan struct{}      // closed when the keeper has ended; nil: there is none
}

// RequestPermission asks the client for a permission and waits for the answer,
// which any session of the principal can give (open dialect LE-5). The job is
// blocked meanwhile. A denial is a PERMISSION_DENIED with the client's reason.
// A grant holds for as long as the client says, and longer if that prolongs it;
// the client is told of all that by lease.granted, lease.extended and
// lease.revoked. It is the handler that must not go on when the grant is Done.
//
// An attempt that asks in the same order as the one before it, which was lost,
// is given the answers that are there already, and asks for the others anew.
// While the log is away it waits. Other errors: ctx's cause;
// RESOURCE_EXHAUSTED, if 64 grants are in force; INVALID_ARGUMENT.
func (j *Job) RequestPermission(ctx context.Context, p Permission) (*Grant, error) {
	if p.Permission == "" {
		return nil, envelope.Errorf(envelope.CodeInvalidArgument, "permission.request: permission must not be empty")
	}
	if err := j.keepPermits(ctx); err != nil {
		return nil, err
	}
	for {
		answer, err := j.askPermission(ctx, p)
		switch {
		case err != nil:
			return nil, err
		case !answer.Granted:
			return nil, envelope.Errorf(envelope.CodePermissionDenied, "%s", answer.Reason)
		}
		if grant, err := j.enforce(ctx, p, answer); grant != nil || err != nil {
			return grant, err
		} // else it has ended before this attempt could use it
	}
}

// askPermission returns the client's answer.
func (j *Job) askPermission(ctx context.Context, p Permission) (lease.Answer, error) {
	b := &j.permits
	b.mu.Lock()
	if answer, found := b.book.Found(p.Permission, p.Resource, p.Operation); found {
		defer b.mu.Unlock()
		return *answer, nil
	}
	ask := envelope.PermissionRequest{Permission: p.Permission, Resource: p.Resource, Operation: p.Operation, Reason: p.Reason}
	if n := uint64(p.For / time.Second); n > 0 {
		ask.RequestedLeaseSeconds = &n
	}
	l, err := j.speaker.line(envelope.TypePermissionRequest, &ask)
	if err != nil {
		b.mu.Unlock()
		return lease.Answer{}, err
	}
	b.book.Ask(lease.Request{ID: l.id, Permission: p.Permission, Resource: p.Resource, Operation: p.Operation})
	b.blocked++
	b.mu.Unlock()
	if err := contextCause(ctx); err != nil {
		return lease.Answer{}, err
	}
	if err := j.out.add(ctx, l); err != nil {
		return lease.Answer{}, err
	}
	answer, err := b.await(ctx, l.id)
	if err == nil && !answer.Granted {
		j.beat(ctx) // nothing else says that the job goes on
	}
	return answer, err
}

// await waits for the answer to a request.
func (b *permits) await(ctx context.Context, id envelope.MessageID) (lease.Answer, error) {
	b.mu.Lock()
	defer func() {
		b.blocked--
		b.mu.Unlock()
	}()
	for {
		if answer, ok := b.book.Answer(id); ok {
			return *answer, nil
		}
		changed := b.changed
		b.mu.Unlock()
		select {
		case <-changed:
			b.mu.Lock()
		case <-ctx.Done():
			b.mu.Lock()
			return lease.Answer{}, context.Cause(ctx)
		}
	}
}

// beat says that the job runs.
func (j *Job) beat(ctx context.Context) {
	_ = j.say(ctx, envelope.TypeJobHeartbeat, &envelope.JobHeartbeat{State: j.permits.state()})
}

// state is what heartbeats say.
func (b *permits) state() envelope.JobState {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.blocked > 0 {
		return envelope.JobStateBlocked
	}
	return envelope.JobStateRunning
}

// enforce puts a grant into force and says so. It is nil if it has ended.
func (j *Job) enforce(ctx context.Context, p Permission, answer lease.Answer) (*Grant, error) {
	if !answer.Ends.After(time.Now()) {
		return nil, nil
	}
	b := &j.permits
	g := &Grant{ID: answer.Request.Lease(), Permission: p, permits: b, done: make(chan struct{})}
	b.mu.Lock()
	if len(b.grants) >= maxGrants {
		b.mu.Unlock()
		return nil, envelope.Errorf(envelope.CodeResourceExhausted, "the job has %d grants in force, the limit", maxGrants)
	}
	b.mu.Unlock()
	err := j.say(ctx, envelope.TypeLeaseGranted, &envelope.LeaseGranted{
		LeaseID: g.ID, Permission: p.Permission, Resource: p.Resource, Operation: p.Operation, ExpiresAt: envelope.Time{Time: answer.Ends.UTC()},
	})
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.grants = append(b.grants, g)
	if b.wake != nil {
		b.wake() // the keeper has another time to wait for
	}
	return g, nil
}

// keepPermits reads what was asked and answered before, and starts the keeper.
func (j *Job) keepPermits(ctx context.Context) error {
	b := &j.permits
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.read {
		// The first attempt reads as well: it may have been handed out before, and forgotten.
		past, err := readHistory(ctx, j.bus, j.inv, j.attempt+1)
		if err != nil {
			return err
		}
		b.book = past.permits
		b.book.NewAttempt()
		err = retry(ctx, func() error {
			return j.bus.ReadJob(ctx, subjects.JobInput(j.inv.rec.Subject), func(r *record.Record) bool {
				for _, in := range pickPermits(r) {
					b.book.Input(in.pos, in.at, in.said...)
				}
				return true
			})
		})
		if err != nil {
			return err
		}
		b.read = true
	}
	if b.kept == nil {
		var keeping context.Context
		keeping, b.cancel = context.WithCancel(j.ctx)
		b.changed, b.kept = make(chan struct{}), make(chan struct{})
		go j.keep(keeping)
	}
	return nil
}

// stop ends the keeper, and the grants with the job.
func (b *permits) stop() {
	b.mu.Lock()
	kept := b.kept
	if kept != nil {
		b.cancel()
	}
	b.mu.Unlock()
	if kept == nil {
		return
	}
	<-kept
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, g := range b.grants {
		close(g.done)
	}
	b.grants = nil
}

// keep hears what clients answer, prolongs grants and ends them, until ctx ends.
func (j *Job) keep(ctx context.Context) {
	b := &j.permits
	defer close(b.kept)
	for ctx.Err() == nil {
		waiting, stop := b.untilNextEnd(ctx)
		var in permitInput
		err := retry(waiting, func() (err error) {
			in, err = b.said.next(waiting, j.bus, subjects.JobInput(j.inv.rec.Subject))
			return err
		})
		stop()
		if err == nil {
			j.hearPermit(ctx, in)
		}
		j.endGrants(ctx)
	}
}

// untilNextEnd returns a context that ends when the next grant does, or when there is another one.
func (b *permits) untilNextEnd(ctx context.Context) (context.Context, context.CancelFunc) {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := time.Now().Add(time.Hour) // without a grant there is nothing to look at then
	for _, g := range b.grants {
		if ends := g.ends(); ends.Before(next) {
			next = ends
		}
	}
	waiting, stop := context.WithDeadline(ctx, next)
	b.wake = stop
	return waiting, stop
}

// hearPermit takes what a client says, and says what is longer for it.
func (j *Job) hearPermit(ctx context.Context, in permitInput) {
	b := &j.permits
	b.mu.Lock()
	before := b.ends()
	b.book.Input(in.pos, in.at, in.said...)
	after := b.ends()
	close(b.changed)
	b.changed = make(chan struct{})
	b.mu.Unlock()
	for id, ends := range after {
		if !ends.Equal(before[id]) {
			_ = j.say(ctx, envelope.TypeLeaseExtended, &envelope.LeaseExtended{LeaseID: id, ExpiresAt: envelope.Time{Time: ends.UTC()}})
		}
	}
}

// ends is when each grant that is in force ends. It needs the lock.
func (b *permits) ends() map[envelope.LeaseID]time.Time {
	all := make(map[envelope.LeaseID]time.Time, len(b.grants))
	for _, g := range b.grants {
		all[g.ID] = g.ends()
	}
	return all
}

// endGrants ends the grants whose time is over.
func (j *Job) endGrants(ctx context.Context) {
	b := &j.permits
	now := time.Now()
	var over, left []*Grant
	b.mu.Lock()
	for _, g := range b.grants {
		if g.ends().After(now) {
			left = append(left, g)
		} else {
			over = append(over, g)
		}
	}
	b.grants = left
	b.mu.Unlock()
	for _, g := range over {
		revoked := envelope.LeaseRevoked{LeaseID: g.ID, Reason: "the lease has expired"}
		l, err := j.speaker.line(envelope.TypeLeaseRevoked, &revoked)
		said := err == nil && j.out.offer(l) // before the handler can end the job
		close(g.done)
		if !said {
			_ = j.say(ctx, envelope.TypeLeaseRevoked, &revoked)
		}
	}
}

// permitInput is what a record of the input lane says about permissions.
type permitInput struct {
	pos  uint64
	at   time.Time
	said []*envelope.Envelope
}

// pickPermits returns what a record says about permissions.
func pickPermits(r *record.Record) []permitInput {
	in := permitInput{pos: r.Seq, at: r.Time}
	for t, body := range r.Lines() {
		switch t {
		case envelope.TypePermissionGrant, envelope.TypePermissionDeny, envelope.TypeLeaseRefresh:
			if e, err := envelope.DecodeStored(body); err == nil {
				in.said = append(in.said, e)
			}
		}
	}
	if in.said == nil {
		return nil
	}
	return []permitInput{in}
}
