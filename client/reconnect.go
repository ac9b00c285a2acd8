package client

import (
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// replace finds another connection after why ended the last one. An error ends the session.
func (s *Session) replace(old *link, why error) (*link, error) {
	if fatal := (fatalError{}); errors.As(why, &fatal) {
		return nil, fatal.error
	}
	s.log.Info("connection lost", "session", s.id, "error", why)
	s.loseLink()
	s.report(State{Change: Lost, URL: old.url, Err: why})
	if s.cfg.Reconnect.Disabled {
		if s.isClosing() {
			return nil, ErrClosed
		}
		return nil, fmt.Errorf("%w: %w", ErrConnectionLost, why)
	}
	l, err := s.reconnect()
	if err != nil {
		if expired := (*ResumeExpiredError)(nil); errors.As(err, &expired) && s.isClosing() {
			return nil, ErrClosed // closed by the session.close that the lost connection carried
		}
		return nil, err
	}
	s.mu.Lock()
	s.stats.Resumes++
	replayed := s.replayed
	s.mu.Unlock()
	s.log.Info("session resumed", "session", s.id, "replayed", replayed)
	s.report(State{Change: Resumed, URL: l.url, Replayed: replayed})
	return l, nil
}

// reconnect resumes the session on any edge.
func (s *Session) reconnect() (*link, error) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = s.cfg.Reconnect.MinDelay
	pause.MaxInterval = s.cfg.Reconnect.MaxDelay
	start := time.Now()
	l, err := backoff.Retry(s.ctx, s.resumeAnywhere,
		backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(s.cfg.Reconnect.MaxWait))
	if err == nil {
		return l, nil
	}
	if fatal := (fatalError{}); errors.As(err, &fatal) {
		return nil, fatal.error
	}
	return nil, &ReconnectError{Waited: time.Since(start), Err: err}
}

// resumeAnywhere tries every address once, the last used one first.
func (s *Session) resumeAnywhere() (*link, error) {
	var failure error
	for range s.cfg.URLs {
		l, err := s.connect(s.ctx, s.cfg.URLs[s.at], s.resume)
		if err == nil {
			return l, nil
		}
		if fatal := (fatalError{}); errors.As(err, &fatal) {
			return nil, backoff.Permanent(err)
		}
		s.log.Debug("resume failed", "session", s.id, "edge", s.at+1, "error", err)
		failure = err
		s.at = (s.at + 1) % len(s.cfg.URLs)
	}
	return nil, failure
}
