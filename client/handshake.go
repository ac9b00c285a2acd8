package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/arcp-nats/arcp/envelope"
)

// handshake is what is said on a fresh connection before everything else.
type handshake func(context.Context, *link) error

// connect dials url and runs shake, all of it within DialTimeout.
func (s *Session) connect(ctx context.Context, url string, shake handshake) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.DialTimeout)
	defer cancel()
	l, err := dialLink(ctx, &s.cfg, url)
	if err != nil {
		return nil, err
	}
	l.wire = s.wire
	stop := context.AfterFunc(ctx, l.close)
	err = shake(ctx, l)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		l.close()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("handshake: %w", context.Cause(ctx))
		}
		return nil, err
	}
	s.epochs++
	l.epoch = s.epochs
	s.mu.Lock()
	s.address = url
	s.mu.Unlock()
	return l, nil
}

// open runs session.open (open dialect HS-1 to HS-5).
func (s *Session) open(ctx context.Context, l *link) error {
	token, err := s.token(ctx)
	if err != nil {
		return err
	}
	err = s.say(l, envelope.TypeSessionOpen, envelope.SessionOpen{
		Auth:         envelope.Auth{Scheme: envelope.Scheme(s.cfg.Scheme), Token: token},
		Client:       envelope.Client{Kind: s.cfg.ClientKind, Version: s.cfg.ClientVersion},
		Capabilities: s.cfg.Capabilities,
	})
	for err == nil {
		var e *envelope.Envelope
		if e, err = s.hear(l); err != nil {
			break
		}
		switch e.Type {
		case envelope.TypeSessionAccepted:
			return s.opened(e)
		case envelope.TypeSessionChallenge:
			err = s.answer(l, e)
		case envelope.TypeSessionRejected, envelope.TypeSessionUnauthenticated:
			err = refusal(e)
		default: // nothing else belongs before the acceptance; a later edge may know better
		}
	}
	return err
}

func (s *Session) opened(e *envelope.Envelope) error {
	accepted, err := envelope.DecodePayload[envelope.SessionAccepted](e)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.id = accepted.SessionID
	s.capabilities = accepted.Capabilities
	if accepted.Lease != nil {
		s.leaseEnds = accepted.Lease.ExpiresAt.Time
	}
	s.tokens = nil
	if accepted.ResumeToken != "" {
		s.tokens = []string{accepted.ResumeToken}
	}
	return nil
}

func (s *Session) answer(l *link, e *envelope.Envelope) error {
	challenge, err := envelope.DecodePayload[envelope.SessionChallenge](e)
	if err != nil {
		return err
	}
	if s.cfg.Challenge == nil {
		return errors.New("client: the edge asks a challenge and Challenge is not set")
	}
	response, err := s.cfg.Challenge(challenge.Challenge)
	if err != nil {
		return fmt.Errorf("client: challenge: %w", err)
	}
	return s.say(l, envelope.TypeSessionAuthenticate, envelope.SessionAuthenticate{Response: response})
}

// resume runs session.resume with the newest token, then with the one before it, which is still good if the edge never
// learnt that its successor arrived.
func (s *Session) resume(_ context.Context, l *link) error {
	var refused *envelope.Error
	for {
		token, last, ok := s.resumeToken()
		if !ok {
			return fatalError{&ResumeExpiredError{Session: s.id, LastEventSeq: last, Err: refused}}
		}
		err := s.say(l, envelope.TypeSessionResume, envelope.SessionResume{ResumeToken: token, LastEventSeq: last})
		if err != nil {
			return err
		}
		if refused, err = s.resumeAnswer(l, token); err != nil || refused == nil {
			return err
		}
	}
}

// resumeAnswer waits for the edge's verdict on token. It returns the refusal if the token is dead, and nil, nil if the
// session is resumed.
func (s *Session) resumeAnswer(l *link, token string) (*envelope.Error, error) {
	for {
		e, err := s.hear(l)
		if err != nil {
			return nil, err
		}
		switch e.Type {
		case envelope.TypeSessionResumed:
			return nil, s.resumed(l, e, token)
		case envelope.TypeSessionRejected:
			err := refusal(e)
			var said *envelope.Error
			if !errors.As(err, &said) {
				return nil, err
			}
			switch {
			case said.Code == envelope.CodeResumeWindowExpired, said.Code == envelope.CodeDataLoss:
				s.dropToken(token)
				return said, nil
			case said.Code.Retryable():
				return nil, err
			default:
				return nil, fatalError{err}
			}
		default: // not an answer
		}
	}
}

func (s *Session) resumed(l *link, e *envelope.Envelope, used string) error {
	resumed, err := envelope.DecodePayload[envelope.SessionResumed](e)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if resumed.SessionID != s.id {
		return fatalError{fmt.Errorf("client: resume of %s was answered with %s", s.id, resumed.SessionID)}
	}
	s.tokens = []string{resumed.ResumeToken, used}
	s.acked = s.stats.LastEventSeq
	s.replayed = resumed.Replayed
	for _, r := range s.pending {
		if r.epoch > 0 {
			l.fence = envelope.NewMessageID()
			break
		}
	}
	return nil
}

func (s *Session) resumeToken() (token string, last uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.tokens) == 0 {
		return "", s.stats.LastEventSeq, false
	}
	return s.tokens[0], s.stats.LastEventSeq, true
}

func (s *Session) dropToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.tokens) > 0 && s.tokens[0] == token {
		s.tokens = s.tokens[1:]
	}
}

// say writes one envelope before the writer runs.
func (s *Session) say(l *link, t envelope.Type, payload any) error {
	e, err := envelope.New(t, payload)
	if err != nil {
		return err
	}
	frame, err := e.Encode()
	if err != nil {
		return err
	}
	return l.write(frame)
}

// hear reads one envelope before the session's own reader runs.
func (s *Session) hear(l *link) (*envelope.Envelope, error) {
	for {
		m, err := l.read()
		if err != nil {
			return nil, err
		}
		if e, _ := s.decode(m); e != nil {
			return e, nil
		}
	}
}

// refusal turns session.rejected or session.unauthenticated into an error that wraps an [*envelope.Error].
func refusal(e *envelope.Envelope) error {
	var said struct {
		Code    envelope.Code
		Message string
	}
	if e.Type == envelope.TypeSessionRejected {
		p, err := envelope.DecodePayload[envelope.SessionRejected](e)
		if err != nil {
			return err
		}
		said.Code, said.Message = p.Code, p.Message
	} else {
		p, err := envelope.DecodePayload[envelope.SessionUnauthenticated](e)
		if err != nil {
			return err
		}
		said.Code, said.Message = p.Code, p.Message
	}
	return fmt.Errorf("client: %s: %w", e.Type, &envelope.Error{Code: said.Code, Message: said.Message})
}
