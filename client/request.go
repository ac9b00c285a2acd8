package client

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/arcp-nats/arcp/envelope"
)

// maxSends bounds how often one request goes out: what loses the connection each time must not do so for ever.
const maxSends = 64

// request is an envelope that went out, or will, and has no answer yet.
type request struct {
	id    envelope.MessageID
	frame []byte
	job   *Job // of a tool.invoke; nil for the others

	subscription *Subscription // of a subscribe; nil for the others
	watch        *Job          // of a job.subscribe; nil for the others

	again   bool // may be sent on another connection when its outcome is unknown
	oneLink bool // means nothing on another connection
	only    int  // the connection that may carry it; 0: any
	closes  bool // is the session.close
	mute    bool // has no answer: done once it is written

	// Guarded by Session.mu.
	order uint64 // of submission
	epoch int    // connection that carried it last; 0: none yet
	sends int

	sentAt time.Time // set before the frame is written, read after done

	once    sync.Once
	done    chan struct{} // closed with the fields below set
	reply   *envelope.Envelope
	replyAt time.Time
	err     error
}

func (s *Session) newRequest(t envelope.Type, payload any) (*request, error) {
	e, err := envelope.New(t, payload)
	if err != nil {
		return nil, err
	}
	return s.asRequest(e)
}

func (s *Session) asRequest(e *envelope.Envelope) (*request, error) {
	if err := s.speaks(e.Type); err != nil {
		return nil, err
	}
	e.SessionID = s.ID()
	frame, err := e.Encode()
	if err != nil {
		return nil, err
	}
	if len(frame) > s.cfg.MaxEnvelopeBytes {
		return nil, &TooLargeError{Bytes: len(frame), Limit: s.cfg.MaxEnvelopeBytes}
	}
	return &request{id: e.ID, frame: frame, done: make(chan struct{})}, nil
}

// answer and fail settle the request; the first of them counts.
func (r *request) answer(e *envelope.Envelope, at time.Time) {
	r.once.Do(func() {
		r.reply, r.replyAt = e, at
		close(r.done)
	})
}

func (r *request) fail(err error) {
	r.once.Do(func() {
		r.err = err
		close(r.done)
	})
	if r.job != nil {
		r.job.end(Result{}, err)
	}
}

// submit hands r to the writer and returns when it is in the queue.
func (s *Session) submit(ctx context.Context, r *request) error {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.ctx.Done():
		return s.Err()
	}
	if err := s.register(r); err != nil {
		return err
	}
	select {
	case s.out <- r:
		return nil
	case <-ctx.Done():
		s.take(r.id)
		return context.Cause(ctx)
	case <-s.ctx.Done():
		return s.Err()
	}
}

// register makes r pending. It holds a slot from here on.
func (s *Session) register(r *request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Err(); err != nil {
		<-s.slots
		return err
	}
	s.order++
	r.order = s.order
	s.pending[r.id] = r
	return nil
}

// take ends the wait for an answer to id and returns the request that waited, if any.
func (s *Session) take(id envelope.MessageID) *request {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.pending[id]
	if r != nil {
		delete(s.pending, id)
		<-s.slots
	}
	return r
}

// outgoing says whether r still wants to be written, and notes that epoch carries it.
func (s *Session) outgoing(r *request, epoch int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending[r.id] != r {
		return false
	}
	if r.only != 0 && r.only != epoch {
		delete(s.pending, r.id)
		<-s.slots
		r.fail(ErrConnectionLost)
		return false
	}
	r.epoch = epoch
	r.sends++
	r.sentAt = time.Now()
	return true
}

// loseLink fails the requests that mean nothing without the connection that carried them.
func (s *Session) loseLink() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, r := range s.pending {
		if r.oneLink && r.epoch > 0 {
			delete(s.pending, id)
			<-s.slots
			r.fail(ErrConnectionLost)
		}
	}
}

// settle decides, after the replay on connection epoch, what becomes of the requests that an earlier connection
// carried and that the replay did not answer. It returns those to send again, in the order of their submission.
func (s *Session) settle(epoch int) []*request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var again []*request
	for id, r := range s.pending {
		switch {
		case r.epoch == 0 || r.epoch >= epoch: // unsent, or sent on this connection
		case r.again && r.sends < maxSends:
			again = append(again, r)
		case r.closes:
			s.cancel(ErrClosed)
		default:
			delete(s.pending, id)
			<-s.slots
			r.fail(ErrOutcomeUnknown)
		}
	}
	slices.SortFunc(again, func(a, b *request) int { return cmp.Compare(a.order, b.order) })
	return again
}

// await waits for the answer to r, which was submitted.
func (s *Session) await(ctx context.Context, r *request) (*envelope.Envelope, error) {
	select {
	case <-r.done:
		return r.reply, r.err
	case <-ctx.Done():
		s.take(r.id)
		return nil, context.Cause(ctx)
	}
}

func (s *Session) roundTrip(ctx context.Context, r *request) (*envelope.Envelope, error) {
	if err := s.submit(ctx, r); err != nil {
		return nil, err
	}
	return s.await(ctx, r)
}
