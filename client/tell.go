package client

import (
	"context"
	"fmt"
	"slices"

	"github.com/arcp-nats/arcp/envelope"
)

// Tell sends an envelope that has no answer, and returns when it is on its way: what the edge refuses comes back as a nack,
// which Config.OnEnvelope sees. With a connection that is lost in between it fails with ErrOutcomeUnknown. The session_id
// of e is set.
func (s *Session) Tell(ctx context.Context, e *envelope.Envelope) error {
	_, err := s.tell(ctx, e, 0)
	return err
}

// tell is Tell on one connection, and says which that was; 0: on any. ErrConnectionLost: it is gone, nothing was sent.
func (s *Session) tell(ctx context.Context, e *envelope.Envelope, on int) (epoch int, err error) {
	r, err := s.asRequest(e)
	if err != nil {
		return 0, err
	}
	r.mute, r.only = true, on
	if _, err = s.roundTrip(ctx, r); err != nil {
		return 0, err
	}
	return s.carrier(r), nil
}

// barrier returns when the edge has handled everything that was said before on a connection, and its answers without a
// number are here. numbered: the numbered ones as well. ErrConnectionLost: the connection is gone.
func (s *Session) barrier(ctx context.Context, on int, numbered bool) error {
	r, err := s.newRequest(envelope.TypePing, envelope.Ping{})
	if numbered {
		r, err = s.newRequest(envelope.TypeCancel, fence)
	}
	if err != nil {
		return err
	}
	r.oneLink, r.only = true, on
	_, err = s.roundTrip(ctx, r)
	return err
}

// carrier is the connection that a request went out on last.
func (s *Session) carrier(r *request) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return r.epoch
}

// Speaks reports whether an extension was negotiated (open dialect EX-1): both Config.Capabilities and the edge list it.
func (s *Session) Speaks(extension string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.capabilities.Extensions, extension)
}

// Extend says something to a job of the session's principal in an extension that was negotiated. payload is any value that
// encodes as a JSON object. What the job says in the extension is among its events, with the name as their type.
func (s *Session) Extend(ctx context.Context, job envelope.JobID, extension string, payload any) error {
	if !s.Speaks(extension) {
		return fmt.Errorf("client: extension %q: %w", extension, ErrNotNegotiated)
	}
	e, err := envelope.New(envelope.Type(extension), payload)
	if err != nil {
		return err
	}
	e.JobID = job
	return s.Tell(ctx, e)
}
