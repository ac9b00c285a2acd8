package client

import (
	"context"
	"fmt"
	"time"

	"github.com/arcp-nats/arcp/envelope"
)

// Request sends e and returns the first envelope that answers it by correlation_id, whatever its type but nack, which
// is returned as an [*envelope.Error]. again says that e may be sent on another connection if the first one is lost
// before the answer; otherwise that fails with ErrOutcomeUnknown. The session_id of e is set. For a tool.invoke use
// Invoke.
func (s *Session) Request(ctx context.Context, e *envelope.Envelope, again bool) (*envelope.Envelope, error) {
	r, err := s.asRequest(e)
	if err != nil {
		return nil, err
	}
	r.again = again
	reply, err := s.roundTrip(ctx, r)
	if err != nil {
		return nil, err
	}
	if reply.Type == envelope.TypeNack {
		return nil, nackError(reply)
	}
	return reply, nil
}

// Ping measures a round trip to the edge with ping and pong (open dialect HB-1), from the moment the frame is written.
// A pong without the nonce fails with ErrWrongNonce.
func (s *Session) Ping(ctx context.Context) (time.Duration, error) {
	nonce := string(envelope.NewMessageID())
	r, err := s.newRequest(envelope.TypePing, envelope.Ping{Nonce: nonce})
	if err != nil {
		return 0, err
	}
	return s.measure(ctx, r, envelope.TypePong, func(e *envelope.Envelope) (string, error) {
		p, err := envelope.DecodePayload[envelope.Pong](e)
		if err != nil {
			return "", err
		}
		return p.Nonce, nil
	}, nonce)
}

// SessionPing is Ping with session.ping and session.pong (open dialect HB-2).
func (s *Session) SessionPing(ctx context.Context) (time.Duration, error) {
	nonce := string(envelope.NewMessageID())
	r, err := s.newRequest(envelope.TypeSessionPing, envelope.SessionPing{Nonce: nonce, SentAt: envelope.Now()})
	if err != nil {
		return 0, err
	}
	return s.measure(ctx, r, envelope.TypeSessionPong, pongNonce, nonce)
}

func (s *Session) measure(ctx context.Context, r *request, want envelope.Type,
	nonceOf func(*envelope.Envelope) (string, error), nonce string,
) (time.Duration, error) {
	r.oneLink = true
	reply, err := s.roundTrip(ctx, r)
	switch {
	case err != nil:
		return 0, err
	case reply.Type == envelope.TypeNack:
		return 0, nackError(reply)
	case reply.Type != want:
		return 0, fmt.Errorf("client: ping was answered with %s", reply.Type)
	}
	got, err := nonceOf(reply)
	if err != nil {
		return 0, err
	}
	if got != nonce {
		return 0, ErrWrongNonce
	}
	return r.replyAt.Sub(r.sentAt), nil
}

// Cancel asks for the end of a job. deadline is what the job's handler gets to end by itself; 0 leaves it to the
// runtime. Nil means that the cancel was accepted: the job ends a little later. A [*RefusedError] says that it was
// not; a nack is an [*envelope.Error]. A lost connection does not matter: the cancel is sent again.
func (s *Session) Cancel(ctx context.Context, job envelope.JobID, reason string, deadline time.Duration) error {
	payload := envelope.Cancel{Target: envelope.TargetJob, TargetID: string(job), Reason: reason}
	if deadline > 0 {
		ms := uint64(deadline.Milliseconds())
		payload.DeadlineMS = &ms
	}
	e, err := envelope.New(envelope.TypeCancel, payload)
	if err != nil {
		return err
	}
	reply, err := s.Request(ctx, e, true)
	if err != nil {
		return err
	}
	switch reply.Type {
	case envelope.TypeCancelAccepted:
		return nil
	case envelope.TypeCancelRefused:
		refused, err := envelope.DecodePayload[envelope.CancelRefused](reply)
		if err != nil {
			return err
		}
		return &RefusedError{Target: refused.TargetID, Reason: refused.Reason}
	default:
		return fmt.Errorf("client: cancel was answered with %s", reply.Type)
	}
}

func pongNonce(e *envelope.Envelope) (string, error) {
	p, err := envelope.DecodePayload[envelope.SessionPong](e)
	if err != nil {
		return "", err
	}
	return p.PingNonce, nil
}

// nackError returns what a nack says.
func nackError(e *envelope.Envelope) error {
	nack, err := envelope.DecodePayload[envelope.Nack](e)
	if err != nil {
		return err
	}
	return &envelope.Error{Code: nack.Code, Message: nack.Message, Details: nack.Details}
}
