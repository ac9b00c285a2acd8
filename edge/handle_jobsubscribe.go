package edge

import (
	"context"
	"sync"
	"time"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
)

const (
	maxAttaches      = 16 // job.subscribes that an edge works on at a time
	maxAttachWaiting = 64 // job.subscribes and job.unsubscribes of one session that wait
	attachTimeout    = 10 * time.Second
)

// handleJobSubscribe leaves a job.subscribe to the session's attacher: the work may take a look at much of the log, and the
// session's other messages need not wait for it.
func handleJobSubscribe(c *conn, s *session, msg *envelope.Envelope) {
	payload, err := envelope.DecodePayload[envelope.JobSubscribe](msg)
	if err != nil {
		c.receiveBad(s, err)
		return
	}
	s.attachLater(c, attachment{msg: msg, job: payload.JobID, ask: payload})
}

// handleJobUnsubscribe ends what a job.subscribe began (open dialect JS-9): it is not answered, subscribed or not. It waits
// for the job.subscribes before it.
func handleJobUnsubscribe(c *conn, s *session, msg *envelope.Envelope) {
	payload, err := envelope.DecodePayload[envelope.JobUnsubscribe](msg)
	if err != nil {
		c.receiveBad(s, err)
		return
	}
	s.attachLater(c, attachment{msg: msg, job: payload.JobID})
}

// attachLater queues a request, or refuses it.
func (s *session) attachLater(c *conn, a attachment) {
	if !s.attacher.add(a, func() { c.wg.Go(s.attachAll) }) {
		s.nack(a.msg, envelope.CodeResourceExhausted, "too many job.subscribe and job.unsubscribe of the session are waiting")
	}
}

// attachment is a job.subscribe, or, if ask is nil, a job.unsubscribe.
type attachment struct {
	msg *envelope.Envelope
	job envelope.JobID
	ask *envelope.JobSubscribe
}

// attacher is the subscriptions to jobs that a session asks for: one at a time, beside the reader. The zero value is ready
// to use.
type attacher struct {
	mu      sync.Mutex
	waiting []attachment
	running bool

	// said is what was written about a job last, until the view has met it. Of the goroutine that attaches.
	said map[envelope.JobID]attached
}

// attached is a mark that begins or ends a watch.
type attached struct {
	on    bool
	place view.Place
	pos   uint64
}

// add queues a request and starts the attacher if it does not run. It is false if too many wait.
func (a *attacher) add(req attachment, start func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.waiting) == maxAttachWaiting {
		return false
	}
	a.waiting = append(a.waiting, req)
	if !a.running {
		a.running = true
		start()
	}
	return true
}

// take returns the next request; without one the attacher has ended.
func (a *attacher) take() (attachment, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.waiting) == 0 {
		a.running = false
		return attachment{}, false
	}
	req := a.waiting[0]
	a.waiting = a.waiting[1:]
	return req, true
}

// attachAll works on the session's requests until there are none.
func (s *session) attachAll() {
	for {
		req, ok := s.attacher.take()
		if !ok || s.conn.ctx.Err() != nil {
			return
		}
		ctx, cancel := context.WithTimeout(s.conn.ctx, attachTimeout)
		s.attach(ctx, req)
		cancel()
	}
}

// attach works on one request, when the edge has room for it.
func (s *session) attach(ctx context.Context, req attachment) {
	select {
	case s.srv.attaches <- struct{}{}:
		defer func() { <-s.srv.attaches }()
	case <-ctx.Done():
		s.notStored(req.msg.ID, envelope.Errorf(envelope.CodeUnavailable, "too many job subscriptions at a time"))
		return
	}
	if req.ask == nil {
		s.detachFrom(ctx, req)
		return
	}
	subscribed, err := s.jobSubscription(ctx, req)
	switch code := envelope.CodeOf(err); {
	case err == nil:
		s.attachBy(ctx, req, subscribed)
	case code == envelope.CodeNotFound, code == envelope.CodeResourceExhausted, code == envelope.CodeDataLoss:
		s.refuseAttach(req, "", err)
	case code == envelope.CodePermissionDenied:
		s.refuseAttach(req, req.job, err)
	default:
		s.notStored(req.msg.ID, err)
	}
}

// refuseAttach answers with a nack, which names the job only where the dialect's table of ids says so.
func (s *session) refuseAttach(req attachment, job envelope.JobID, err error) {
	nack := s.newNack(req.msg.ID, envelope.CodeOf(err), errorText(err), nil)
	nack.JobID = job
	s.route.RLock()
	defer s.route.RUnlock()
	s.reply(nack)
}

// attachBy stores the answer and the mark that begins the watch, if there is one, together: a crash leaves both or neither.
func (s *session) attachBy(ctx context.Context, req attachment, subscribed *jobSubscribed) {
	e := s.answer(req.msg, envelope.TypeJobSubscribed, subscribed.answer)
	e.JobID = req.job
	envelopes := []*envelope.Envelope{e}
	if subscribed.watch != nil {
		begin, err := envelope.New(view.TypeWatched, subscribed.watch)
		if err != nil {
			s.notStored(req.msg.ID, err)
			return
		}
		begin.SessionID = s.id
		envelopes = append(envelopes, begin)
	}
	s.sayAttached(ctx, req, subscribed.watch != nil, subscribed.grant, envelopes...)
}

// detachFrom stores the mark that ends a watch, if there may be one.
func (s *session) detachFrom(ctx context.Context, req attachment) {
	if !s.watchesJob(req.job) {
		return
	}
	end, err := envelope.New(view.TypeUnwatched, &view.Unwatched{Job: string(req.job)})
	if err != nil {
		s.notStored(req.msg.ID, err)
		return
	}
	end.SessionID = s.id
	s.sayAttached(ctx, req, false, "", end)
}

// sayAttached stores a record, with what is shown of a grant, and waits for it, so that the next request of the session finds what this one did. What the
// log does not take has been told to the client.
func (s *session) sayAttached(ctx context.Context, req attachment, on bool, grant string, envelopes ...*envelope.Envelope) {
	stored := make(chan uint64, 1)
	s.route.RLock()
	place := view.Place{Shard: s.subject.Shard, Feed: s.subject.Feed}
	rec, err := s.recordOf(s.subject, envelopes...)
	if err != nil {
		s.route.RUnlock()
		s.notStored(req.msg.ID, err)
		return
	}
	rec.Grant = grant
	s.publish(rec, req.msg.ID, func(seq uint64, _ error) { stored <- seq })
	s.route.RUnlock()
	select {
	case pos := <-stored:
		if pos == 0 {
			return
		}
		if s.attacher.said == nil {
			s.attacher.said = make(map[envelope.JobID]attached)
		}
		s.attacher.said[req.job] = attached{on: on, place: place, pos: pos}
	case <-ctx.Done():
	}
}

// watchesJob reports whether a job is watched once the view has met all that was said. Only the attacher's goroutine may
// call it, and jobsWatched.
func (s *session) watchesJob(job envelope.JobID) bool {
	s.forgetSaid()
	if said, unmet := s.attacher.said[job]; unmet {
		return said.on
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view.Watching(string(job))
}

// jobsWatched is how many jobs are watched, or will be.
func (s *session) jobsWatched() int {
	s.forgetSaid()
	return s.watchCount() + len(s.attacher.said)
}

// forgetSaid drops what the view has met.
func (s *session) forgetSaid() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for job, said := range s.attacher.said {
		if s.view.Place() != said.place || s.view.Pos() >= said.pos {
			delete(s.attacher.said, job)
		}
	}
}
