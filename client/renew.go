package client

import (
	"context"
	"time"

	"github.com/arcp-nats/arcp/envelope"
)

// token returns the credential to open a session with, or to renew its lease.
func (s *Session) token(ctx context.Context) (string, error) {
	if s.cfg.TokenSource != nil {
		return s.cfg.TokenSource(ctx)
	}
	return s.cfg.Token, nil
}

// refreshAsk is a session.refresh that has come over a connection.
type refreshAsk struct {
	link    *link
	id      envelope.MessageID
	refresh *envelope.SessionRefresh
}

// renew answers session.refresh with a fresh proof of who this client is (open dialect HS-9), beside the reader. Of several
// questions the last one is answered: it is of the connection that there is.
func (s *Session) renew(l *link, e *envelope.Envelope) {
	refresh, err := envelope.DecodePayload[envelope.SessionRefresh](e)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ask == nil && !s.renewing {
		s.renewing = true
		s.renewals.Go(s.renewAll)
	}
	s.ask = &refreshAsk{link: l, id: e.ID, refresh: refresh}
}

// renewAll answers until there is no question left.
func (s *Session) renewAll() {
	for {
		s.mu.Lock()
		ask := s.ask
		s.ask = nil
		s.renewing = ask != nil
		s.mu.Unlock()
		if ask == nil {
			return
		}
		s.answerRefresh(ask)
	}
}

// answerRefresh is dropped if the connection has gone meanwhile: the edge that resumes the session asks again.
func (s *Session) answerRefresh(ask *refreshAsk) {
	ctx, cancel := context.WithDeadline(s.ctx, ask.refresh.Deadline.Time)
	defer cancel()
	frame, err := s.proof(ctx, ask)
	if err != nil {
		s.log.Warn("the session's lease cannot be renewed", "session", s.ID(), "deadline", ask.refresh.Deadline, "error", err)
		return
	}
	select {
	case ask.link.proofs <- frame:
	case <-ask.link.gone:
	case <-ctx.Done():
	}
}

func (s *Session) proof(ctx context.Context, ask *refreshAsk) ([]byte, error) {
	var response string
	var err error
	if challenge := ask.refresh.Challenge; challenge != "" && s.cfg.Challenge != nil {
		response, err = s.cfg.Challenge(challenge)
	} else {
		response, err = s.token(ctx)
	}
	if err != nil {
		return nil, err
	}
	e, err := envelope.New(envelope.TypeSessionAuthenticate, envelope.SessionAuthenticate{Response: response})
	if err != nil {
		return nil, err
	}
	e.SessionID, e.CorrelationID = s.ID(), ask.id
	return e.Encode()
}

// renewed takes what the edge says to a renewal: the token that it brings is newer than those that are held.
func (s *Session) renewed(e *envelope.Envelope) {
	accepted, err := envelope.DecodePayload[envelope.SessionAccepted](e)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if accepted.SessionID != s.id {
		return
	}
	if accepted.Lease != nil {
		s.leaseEnds = accepted.Lease.ExpiresAt.Time
	}
	if accepted.ResumeToken != "" && len(s.tokens) > 0 {
		s.tokens = []string{accepted.ResumeToken, s.tokens[0]}
	}
}

// LeaseEnds is when the session ends unless its lease is renewed, as the edge said last; the zero time if it has not said.
// The session answers the edge's questions by itself, with Config.TokenSource or Challenge.
func (s *Session) LeaseEnds() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leaseEnds
}
