package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arcp-nats/arcp/envelope"
)

// outQueue bounds the requests that wait for the writer, and pongQueue the answers to the edge's pings; a pong that
// does not fit is dropped, since the ones before it are signs of life already.
const (
	outQueue  = 64
	pongQueue = 16
)

// Session is one session with the edges. See the package comment for what it promises. All methods may be called from
// several goroutines at once.
type Session struct {
	cfg  Config
	log  *slog.Logger
	wire wire // nil: the open dialect

	ctx    context.Context // ends with the session; its cause is the session's error
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when the session's goroutines have ended

	out    chan *request // to the writer of whatever link there is
	slots  chan struct{} // one element a pending request
	pongs  chan []byte   // to the writer
	ackDue chan struct{} // to the writer

	buffered atomic.Int64 // bytes of unread events of running jobs

	// Of the reconnecting goroutine only.
	at     int // index in cfg.URLs of the address used last
	epochs int // connections made so far

	mu           sync.Mutex
	id           envelope.SessionID
	capabilities envelope.Capabilities
	leaseEnds    time.Time
	address      string   // of the edge of the last connection
	tokens       []string // resume tokens, the newest first; at most two
	replayed     bool     // what the last session.resumed said
	acked        uint64   // event_seq of the last session.ack
	stats        Stats
	order        uint64 // requests made so far
	pending      map[envelope.MessageID]*request
	jobs         map[envelope.JobID][]*Job // accepted and not ended

	subscriptions map[envelope.SubscriptionID]*Subscription
	mutes         map[envelope.MessageID]*nacks // messages that have no answer
	ended         endedJobs
	closing       bool        // Close was called
	ask           *refreshAsk // waits to be answered
	renewing      bool        // a goroutine of renewals answers

	renewals sync.WaitGroup
}

// Dial opens a session on the first edge of cfg.URLs that accepts it. ctx bounds the dialing, not the session.
//
// The error wraps an [*envelope.Error] if an edge refused: UNAUTHENTICATED for a bad credential.
func Dial(ctx context.Context, cfg Config) (*Session, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Session{
		cfg:     cfg,
		log:     cfg.Logger,
		done:    make(chan struct{}),
		out:     make(chan *request, outQueue),
		slots:   make(chan struct{}, cfg.MaxInFlight),
		pongs:   make(chan []byte, pongQueue),
		ackDue:  make(chan struct{}, 1),
		pending: make(map[envelope.MessageID]*request),
		jobs:    make(map[envelope.JobID][]*Job),

		subscriptions: make(map[envelope.SubscriptionID]*Subscription),
		mutes:         make(map[envelope.MessageID]*nacks),
	}
	if s.wire, err = newWire(s); err != nil {
		return nil, err
	}
	var failures []error
	for i, url := range cfg.URLs {
		l, err := s.connect(ctx, url, s.open)
		if err == nil {
			s.at = i
			s.ctx, s.cancel = context.WithCancelCause(context.Background())
			s.report(State{Change: Connected, URL: url})
			go s.run(l)
			return s, nil
		}
		failures = append(failures, fmt.Errorf("edge %d of %d: %w", i+1, len(cfg.URLs), err))
		var said *envelope.Error
		if ctx.Err() != nil || (errors.As(err, &said) && !said.Code.Retryable()) {
			break // no edge would say otherwise
		}
	}
	return nil, errors.Join(failures...)
}

// ID returns the id of the session. It never changes.
func (s *Session) ID() envelope.SessionID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id
}

// Capabilities returns what was negotiated (open dialect CP-1).
func (s *Session) Capabilities() envelope.Capabilities {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.capabilities
}

// Done is closed when the session has ended and its goroutines with it.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err returns why the session ended, nil as long as it has not: ErrClosed, ErrDetached, or a [*GapError],
// [*ResumeExpiredError], [*ReconnectError] or [*EvictedError].
func (s *Session) Err() error { return context.Cause(s.ctx) }

// Detach drops the connection without a word and waits for the session's goroutines. Jobs go on; nobody can resume
// the session, since its token goes with it.
func (s *Session) Detach() {
	s.cancel(ErrDetached)
	<-s.done
}

// Close ends the session with session.close and waits until the edge has ended the connection. What arrives until then
// (open dialect SC-1: the ends of cancelled jobs) is still handed to its jobs. If the connection is lost meanwhile, the
// session is resumed and closed again.
//
// When ctx ends first the connection is dropped and the error of ctx returned. A session that had ended before is no
// error.
func (s *Session) Close(ctx context.Context) error {
	s.mu.Lock()
	first := !s.closing
	s.closing = true
	s.mu.Unlock()
	if first {
		// A session.close can be sent again, and nothing answers it by correlation: it stays pending until the end.
		r, err := s.newRequest(envelope.TypeSessionClose, envelope.SessionClose{})
		if err != nil {
			return err
		}
		r.again, r.closes = true, true
		if err := s.submit(ctx, r); err != nil && ctx.Err() != nil {
			s.cancel(ErrClosed)
			<-s.done
			return context.Cause(ctx)
		}
	}
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		s.cancel(ErrClosed)
		<-s.done
		return context.Cause(ctx)
	}
}

// run owns the session's connections, from the first to the last.
func (s *Session) run(l *link) {
	defer close(s.done)
	defer s.renewals.Wait()
	for {
		err := s.serve(l)
		if s.ctx.Err() == nil {
			l, err = s.replace(l, err)
		}
		if s.ctx.Err() != nil || err != nil {
			s.finish(err)
			return
		}
	}
}

// serve reads l until it ends, with a writer beside it, and says why it ended.
func (s *Session) serve(l *link) error {
	stop := context.AfterFunc(s.ctx, l.close)
	defer stop()
	var writer sync.WaitGroup
	fence := l.fence
	writer.Go(func() { s.write(l, fence) })
	err := s.receiveAll(l)
	l.close()
	writer.Wait()
	return lost(err)
}

// finish ends the session for everybody who waits for it.
func (s *Session) finish(why error) {
	s.cancel(why) // the first cause stays
	why = context.Cause(s.ctx)
	s.log.Info("session ended", "session", s.id, "error", why)
	s.mu.Lock()
	requests, jobs, subscriptions := s.pending, s.jobs, s.subscriptions
	s.pending, s.jobs, s.subscriptions = nil, nil, nil
	s.mu.Unlock()
	for _, r := range requests {
		if r.epoch > 0 && !errors.Is(why, ErrClosed) {
			r.fail(fmt.Errorf("%w: %w", ErrOutcomeUnknown, why))
		} else {
			r.fail(why)
		}
	}
	for _, sub := range subscriptions {
		sub.events.finish(why)
	}
	for _, same := range jobs {
		for _, j := range same {
			j.end(Result{}, why)
		}
	}
}

func (s *Session) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

func (s *Session) report(state State) {
	if s.cfg.OnState != nil {
		s.cfg.OnState(state)
	}
}
