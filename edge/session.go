package edge

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arcp-nats/arcp/edge/dialect"
	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// maxInFlight bounds the records of one session that are on their way to the log. Past it the session's reader
// waits, and so does the client.
const maxInFlight = 256

// delivery says where a session reads from.
type delivery uint8

const (
	// behind: the log is read from the view's own position, and what the feed offers is let go.
	behind delivery = iota
	// live: what the feed offers is rendered at once.
	live
	// ended: the session has left this connection.
	ended
)

// session is an open session on a connection of this edge: a view of the log, and the way into it. Messages from
// the client come on the connection's reader; records come from the feed's reader or, while behind, from catchUp.
type session struct {
	srv       *Server
	conn      *conn
	id        envelope.SessionID
	principal string
	epoch     uint64
	// capabilities are what was negotiated; they do not change.
	capabilities envelope.Capabilities
	traits       dialect.Traits
	codes        envelope.Vocabulary // that the client reads
	origin       string              // see originOf
	store        *sessionStore
	logger       *slog.Logger

	tally     *tally // of the principal
	pace      *pace  // of the client's messages
	inFlight  chan struct{}
	confirmed atomic.Bool   // the client has shown that it holds the current resume token
	roomed    chan struct{} // a token when the socket has taken what waited for it

	// route is held for reading while a message of the client is handled, and for writing while the session moves to
	// another feed: what is written goes to one place or the other.
	route   sync.RWMutex
	since   time.Time        // when this edge took the session
	subject subjects.Subject // event lane, no job; guarded by route

	mu      sync.Mutex
	feed    *feed // that offers records; changed with route held, too
	hops    []hop // how the places between the view and the feed follow each other
	view    *view.View
	history view.History
	kept    []*record.Record // what a resume has read and not shown yet
	state   delivery
	offered uint64 // the last record that the feed offered and that was let go
	barrier uint64 // catching up is not done before this position
	// pending are the jobs that were submitted here and that the view has not met; counted is what the tally has of
	// this session's jobs.
	pending map[envelope.JobID]struct{}
	counted int
	skip    uint64 // the client has seen the envelopes up to this event_seq
	// replaying: what is not counted is from before the resume, and the client has seen it or asked again.
	replaying bool
	rendered  []dialect.Text // room to render in
	sent      uint64         // the last event_seq that was queued for the socket
	acked     uint64         // the last event_seq that the client has acknowledged
	slow      bool           // the client has been told that it acknowledges too little
	// withheld is rendered and waits for the ack window to open: at most what one record holds.
	withheld []numbered
	closing  bool // end the session when no job of it is open
	closed   bool // it has ended: its record is removed
	// lastWord is what a closing session says in the end, nil for nothing.
	lastWord *envelope.SessionEvicted

	// given are the credentials, by grant, that the acceptance which comes next has: none, if they are no longer good.
	given map[string][]envelope.Credential
	turns turns

	watchers map[string]*watcher // of the jobs that the view watches, by job
	// subscribers are of the subscriptions that the view has; subscribing are those that it has not met yet.
	subscribers map[envelope.SubscriptionID]*subscriber
	subscribing map[envelope.SubscriptionID]struct{}
	lister      lister       // answers session.list_jobs
	streams     inputStreams // that the client has open; the reader's alone
	artifacts   artifactLane // works on artifact.put, fetch and release
	attacher    attacher     // answers job.subscribe and job.unsubscribe
	renewals    renewals     // keeps the client's proof of identity fresh

	throttle throttle // what the client has asked for
	again    *replay  // that catchUp is to do; nil for none

	goal        uint64 // goalReached is closed when the view has come to this position
	goalPlace   view.Place
	goalReached chan struct{} // nil: nobody waits
}

// newSession makes a session that is behind and not attached yet, of a principal that it has been admitted for.
func newSession(c *conn, f *feed, store *sessionStore, t *tally, v *view.View, seen uint64) *session {
	rec := store.snapshot()
	s := &session{
		srv: c.srv, conn: c, id: rec.Session, principal: rec.Principal, epoch: rec.Epoch, capabilities: rec.Capabilities,
		origin:  originOf(rec.Start),
		subject: rec.subject(), feed: f, store: store, since: time.Now(),
		logger: c.logger.With("session", rec.Session, "principal", rec.Principal, "epoch", rec.Epoch),
		tally:  t, pace: newPace(c.srv.cfg.Rate), pending: make(map[envelope.JobID]struct{}),
		subscribers: make(map[envelope.SubscriptionID]*subscriber), subscribing: make(map[envelope.SubscriptionID]struct{}),
		inFlight: make(chan struct{}, maxInFlight), roomed: make(chan struct{}, 1),
		view: v, skip: seen, sent: seen, acked: seen,
	}
	s.replaying, s.traits = s.epoch > 1, c.codec.Traits()
	s.codes = cmp.Or(s.traits.Vocabulary, s.srv.cfg.Codes)
	s.renewals.lease = rec.lease()
	return s
}

// offer takes a record from the feed's reader.
func (s *session) offer(rec *record.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.state {
	case live:
		shown, here := s.atHand(rec)
		if !here || !s.grantAtHand(rec) { // what it shows has to be read
			s.offered = rec.Seq
			s.fallBehind()
			return
		}
		if full := s.fold(rec, shown...); full && s.state == live {
			s.fallBehind()
		}
	case behind:
		s.offered = rec.Seq
	case ended:
	}
}

// fold renders one record, and what it shows of another session's log, to the socket and reports whether the socket has
// enough for now. It needs the lock.
func (s *session) fold(rec *record.Record, shown ...*record.Record) (full bool) {
	if held, ok := parseHeld(rec); ok && held.Epoch > s.epoch {
		s.evict(envelope.CodeAborted, "the session was resumed elsewhere")
		return true
	} else if ok && held.Epoch == s.epoch {
		s.replaying = false
	}
	shows := false
	var again []envelope.JobID
	s.view.Apply(rec, func(f view.Frame) {
		if f.Seq > s.skip || f.Count == 0 && !s.replaying {
			shows = true
			if job := waitsAnew(&f); s.traits.TellsAll && job != "" {
				again = append(again, job)
			}
			s.showCredentials(rec, &f)
			full = s.show(f) || full
		}
	}, shown...)
	if shows {
		s.srv.metrics.delivers(rec.Time, s.state == live)
	}
	delete(s.given, rec.Grant)
	s.tellEndsAgain(again)
	s.matchWatchers()
	s.matchSubscribers(rec)
	if rec.Subject.Lane == subjects.Invoke {
		delete(s.pending, envelope.JobID(rec.Subject.Job))
	}
	s.recount()
	s.history.Note(s.view)
	s.noteGoal()
	s.finishClose()
	return full
}

// evict ends the session on this connection because another one has it, or the log lost what comes next. It needs the
// lock.
func (s *session) evict(code envelope.Code, reason string) { s.evictWith(closeEvicted, code, reason) }

// evictWith is evict for another reason, as the close code says. It needs the lock.
func (s *session) evictWith(closeCode int, code envelope.Code, reason string) {
	if s.state == ended || s.closed {
		return
	}
	s.state = ended
	s.logger.Info("session left this edge", "reason", reason)
	if s.conn.session.Load() == s {
		s.conn.sendLast(s.answer(nil, envelope.TypeSessionEvicted, &envelope.SessionEvicted{Code: s.codes.Code(code), Reason: reason}))
		s.conn.close(closeCode, "session evicted")
	}
}

// leave takes the session off this connection for the given reason. The session itself goes on: its jobs run, its
// events gather in the log, and it can be resumed on any edge.
func (s *session) leave(reason error) {
	s.noteRecent()
	s.mu.Lock()
	was, f := s.state, s.feed
	s.state = ended
	s.endWatchers()
	s.endSubscribers()
	s.recount()
	closed := s.closed
	seq, open := s.view.Seq(), s.view.OpenJobCount()
	s.mu.Unlock()

	f.detach(s)
	s.srv.hub.release(f)
	s.srv.forget(s)
	s.srv.quotas.release(s.principal, s.id)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.conn.ctx), storeTimeout)
	defer cancel()
	if was != ended && !closed {
		if err := s.store.save(ctx, nil); err != nil {
			s.logger.Warn("session record not written on leaving", "error", err)
		}
	}
	switch {
	case closed:
		s.srv.metrics.left["closed"].Inc()
	case was == ended && s.leaseEnded():
		s.srv.metrics.left["expired"].Inc()
	case was == ended:
		s.srv.metrics.left["evicted"].Inc()
	default:
		s.srv.metrics.left["detached"].Inc()
	}
	s.logger.Info("session detached", "reason", reason, "event_seq", seq, "open_jobs", open, "closed", closed)
}

// acknowledge notes what the client has processed (open dialect FC-4); a number beyond what was sent counts as what
// was sent.
func (s *session) acknowledge(seq uint64) {
	s.mu.Lock()
	seq = min(seq, s.sent)
	checkpoint, ok := s.history.Acknowledged(seq)
	s.openWindow(seq)
	s.mu.Unlock()
	if ok {
		s.store.note(checkpoint)
	}
	s.nudge()
}

// confirm is called for every message of the client: the first one shows that it holds the current resume token,
// and the token before that is dead from now on, or, if the bucket cannot be reached, from when the keeper can write.
func (s *session) confirm() {
	if s.confirmed.Swap(true) {
		return
	}
	s.store.revokePrevious()
	s.saveRecord(s.conn.ctx)
}

// lost ends the session here because its record says that another edge has it.
func (s *session) lost() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.evict(envelope.CodeAborted, "the session was resumed elsewhere")
}

// openJobs returns the session's open jobs.
func (s *session) openJobs() []envelope.JobID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view.OpenJobs()
}

// watchCount is how many jobs of other sessions the session watches.
func (s *session) watchCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view.WatchCount()
}
