package edge

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/arcp-nats/arcp/auth"
	"github.com/arcp-nats/arcp/envelope"
)

const (
	// maxRenewalTries bounds the answers in a row that do not renew a lease. After them nothing is looked at, and the
	// session ends with its lease.
	maxRenewalTries = 5
	// maxRenewalsWaiting bounds the answers that wait to be looked at.
	maxRenewalsWaiting = 4
)

// renewals keep a session's lease from ending: the client is asked in time, and what it says is judged one at a time,
// beside the reader, as an authenticator may be slow. The zero value has a lease that is over.
type renewals struct {
	mu    sync.Mutex
	lease lease
	// asked: a session.refresh of this lease is out; challenge is what Verify needs for its answer, nil for none.
	asked     bool
	challenge any
	tries     int // since the last renewal
	waiting   []renewalRequest
	running   bool
}

// renewalRequest is a session.authenticate on an open session.
type renewalRequest struct {
	msg      *envelope.Envelope
	response string
}

// add queues an answer and starts the judging if it does not run. It is false if there have been too many.
func (r *renewals) add(req renewalRequest, start func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tries >= maxRenewalTries || len(r.waiting) == maxRenewalsWaiting {
		return false
	}
	r.waiting = append(r.waiting, req)
	if !r.running {
		r.running = true
		start()
	}
	return true
}

// take returns the next answer to judge, and the state of the challenge that it may be to; without one the judging has
// ended.
func (r *renewals) take() (req renewalRequest, challenge any, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) == 0 || r.tries >= maxRenewalTries {
		r.waiting, r.running = nil, false
		return renewalRequest{}, nil, false
	}
	req = r.waiting[0]
	r.waiting = r.waiting[1:]
	return req, r.challenge, true
}

// renewed puts the lease in place of the one before.
func (r *renewals) renewed(l lease) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lease, r.asked, r.challenge, r.tries = l, false, nil, 0
}

// wrong counts an answer that does not renew, and reports whether it was asked for.
func (r *renewals) wrong() (asked bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tries++
	return r.asked
}

// toAsk reports, once a lease, that it is time to ask for its renewal.
func (r *renewals) toAsk(now time.Time) (deadline time.Time, due bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked || !r.lease.nearsEnd(now) {
		return time.Time{}, false
	}
	r.asked = true
	return r.lease.ends, true
}

// askAgain makes the next look at the lease ask once more: what was asked could not be asked, or its answer not be judged.
func (r *renewals) askAgain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked, r.challenge = false, nil
}

// challenged notes the challenge that is out.
func (r *renewals) challenged(state any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.challenge = state
}

func (r *renewals) over(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lease.over(now)
}

// tendLease asks the client to renew its lease in time, and ends the session with the lease. Only the keeper calls it.
func (s *session) tendLease(now time.Time) {
	if s.leaseOver(now) {
		return
	}
	deadline, due := s.renewals.toAsk(now)
	if !due {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != ended { // the connection waits for what it has started
		s.conn.wg.Go(func() { s.askToRenew(deadline) })
	}
}

// leaseOver ends the session on this connection if its lease has ended, and reports whether it has. The session's jobs go
// on. Nothing that the client says after the end is acted on.
func (s *session) leaseOver(now time.Time) bool {
	if !s.renewals.over(now) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.evictWith(closeLeaseEnded, envelope.CodeUnauthenticated, "the session's lease has ended and was not renewed")
	return true
}

// leaseEnded reports whether the lease is over by now.
func (s *session) leaseEnded() bool { return s.renewals.over(time.Now()) }

// askToRenew sends session.refresh, with a challenge for a client that came by one.
func (s *session) askToRenew(deadline time.Time) {
	payload := &envelope.SessionRefresh{Deadline: envelope.Time{Time: deadline}}
	if proof := s.store.snapshot().Proof; proof.Challenged {
		ctx, cancel := context.WithDeadline(s.conn.ctx, deadline)
		defer cancel()
		authenticator, _ := s.srv.cfg.Auth.Lookup(proof.Scheme)
		renewer, ok := authenticator.(auth.Renewer)
		if !ok {
			s.logger.Warn("the session's lease cannot be renewed: its challenges are not made here", "scheme", proof.Scheme)
			return
		}
		outcome, err := renewer.Renew(ctx, s.principal)
		if err != nil {
			s.logger.Warn("the session's lease cannot be renewed", "error", err)
			if _, final := auth.IsRejection(err); !final {
				s.renewals.askAgain()
			}
			return
		}
		s.renewals.challenged(outcome.State)
		payload.Challenge = outcome.Challenge
	}
	s.srv.metrics.renewals["asked"].Inc()
	s.conn.send(s.answer(nil, envelope.TypeSessionRefresh, payload))
}

// handleRenewal takes what may renew the session's lease, asked for or not (open dialect HS-9).
func handleRenewal(c *conn, s *session, msg *envelope.Envelope) {
	payload, err := envelope.DecodePayload[envelope.SessionAuthenticate](msg)
	if err != nil {
		c.receiveBad(s, err)
		return
	}
	if !s.renewals.add(renewalRequest{msg: msg, response: payload.Response}, func() { c.wg.Go(s.renew) }) {
		s.srv.metrics.renewals["refused"].Inc()
	}
}

// renew judges answers until there are none.
func (s *session) renew() {
	for {
		req, challenge, ok := s.renewals.take()
		if !ok {
			return
		}
		s.renewWith(req, challenge)
	}
}

// renewWith renews the lease if the answer proves that the client is still who it was. What proves nothing is answered
// if it was asked for, else dropped (open dialect HS-6).
func (s *session) renewWith(req renewalRequest, challenge any) {
	ctx, cancel := context.WithTimeout(s.conn.ctx, s.srv.cfg.HandshakeTimeout)
	defer cancel()
	l, err := s.provenLease(ctx, req.response, challenge)
	if err == nil {
		err = s.grant(ctx, req.msg, l)
	}
	if err == nil {
		return
	}
	s.srv.metrics.renewals["refused"].Inc()
	reason, rejected := auth.IsRejection(err)
	answer := &envelope.SessionUnauthenticated{Code: envelope.CodeUnauthenticated, Message: reason}
	if !rejected {
		s.logger.Warn("the session's lease was not renewed", "error", err)
		answer.Code, answer.Message = envelope.CodeUnavailable, "the answer could not be judged, try again"
		s.renewals.askAgain()
	} else if asked := s.renewals.wrong(); !asked {
		return
	}
	s.conn.send(s.answer(req.msg, envelope.TypeSessionUnauthenticated, answer))
}

// provenLease is the lease that an answer proves the right to. Only the scheme that let the client in is asked.
func (s *session) provenLease(ctx context.Context, response string, challenge any) (lease, error) {
	rec := s.store.snapshot()
	authenticator, ok := s.srv.cfg.Auth.Lookup(rec.Proof.Scheme)
	if !ok {
		return lease{}, auth.Reject("authentication scheme %s is not offered here", rec.Proof.Scheme)
	}
	var identity auth.Identity
	var err error
	switch challenger, _ := authenticator.(auth.Challenger); {
	case !rec.Proof.Challenged:
		var outcome auth.Outcome
		outcome, err = authenticator.Authenticate(ctx, auth.Attempt{
			Scheme: rec.Proof.Scheme, Token: response,
			Anonymous: isTrue(rec.Capabilities.Anonymous), SessionID: string(s.id),
		})
		identity = outcome.Identity
	case challenger == nil || challenge == nil:
		err = auth.Reject("no challenge is open")
	default:
		identity, err = challenger.Verify(ctx, challenge, response)
	}
	if err != nil {
		return lease{}, err
	}
	l := newLease(time.Now().UTC(), s.srv.cfg.SessionLease, identity.ExpiresAt)
	switch {
	case identity.Principal != s.principal:
		return lease{}, auth.Reject("the credential is not of the session's principal")
	case !l.ends.After(rec.LeaseExpires):
		return lease{}, auth.Reject("the credential ends no later than the session's lease")
	}
	return l, nil
}

// grant writes the new lease down, so that every edge knows it, and tells the client.
func (s *session) grant(ctx context.Context, msg *envelope.Envelope, l lease) error {
	token := newResumeToken(s.id)
	err := s.store.save(ctx, func(r *sessionRecord) {
		r.LeaseGranted, r.LeaseExpires = l.granted, l.ends
		r.renew(token)
	})
	if envelope.CodeOf(err) == envelope.CodeAborted {
		s.lost()
		return errors.Join(errors.New("another edge has the session"), err)
	}
	if err != nil {
		return err
	}
	s.renewals.renewed(l)
	s.srv.metrics.renewals["renewed"].Inc()
	s.logger.Debug("session lease renewed", "until", l.ends)
	s.conn.send(s.answer(msg, envelope.TypeSessionAccepted, &envelope.SessionAccepted{
		SessionID: s.id, Runtime: s.srv.cfg.Runtime, Capabilities: s.store.snapshot().Capabilities,
		Lease: l.told(), ResumeToken: token,
	}))
	return nil
}
