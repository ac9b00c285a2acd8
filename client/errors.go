package client

import (
	"errors"
	"fmt"
	"time"

	"github.com/arcp-nats/arcp/envelope"
)

// Errors without detail. Compare with errors.Is.
var (
	// ErrClosed: the session was closed, by Close or by the edge.
	ErrClosed = errors.New("client: session closed")
	// ErrDetached: Detach dropped the connection. The session and its jobs live on at the edges.
	ErrDetached = errors.New("client: session detached")
	// ErrConnectionLost: the connection was lost before the answer to a request came, and the request makes no sense
	// on another one.
	ErrConnectionLost = errors.New("client: connection lost")
	// ErrOutcomeUnknown: the connection was lost after a request went out and before its answer came, the replay did
	// not bring the answer, and sending it again could do its work twice. The job may run, or may not exist. An
	// idempotency key avoids this.
	ErrOutcomeUnknown = errors.New("client: connection lost before the answer, outcome unknown")
	// ErrNotNegotiated: the session and the edge have not agreed on what was asked for.
	ErrNotNegotiated = errors.New("client: not negotiated")
	// ErrAlreadyEnded: a job had ended before it was watched.
	ErrAlreadyEnded = errors.New("client: the job had ended before")
	// ErrUnwatched: Unwatch was called.
	ErrUnwatched = errors.New("client: the job is not watched any more")
	// ErrWrongNonce: a pong did not carry the nonce of the ping that it answers.
	ErrWrongNonce = errors.New("client: pong does not carry the nonce of its ping")
)

// GapError ends a session whose envelopes are not numbered without a gap (open dialect FC-1).
type GapError struct {
	Want, Got uint64 // event_seq
}

// Error names both numbers.
func (e *GapError) Error() string {
	return fmt.Sprintf("client: event_seq %d where %d was due: envelopes are missing", e.Got, e.Want)
}

// OverflowError ends the Events of a job or subscription whose unread events exceed its buffer, or that of the session.
type OverflowError struct {
	Job          envelope.JobID
	Subscription envelope.SubscriptionID // in place of a job
	Limit        int                     // bytes
}

// Error names the job or subscription, and the limit.
func (e *OverflowError) Error() string {
	if e.Subscription != "" {
		return fmt.Sprintf("client: unread events of %s exceed %d bytes", e.Subscription, e.Limit)
	}
	return fmt.Sprintf("client: unread events of %s exceed %d bytes", e.Job, e.Limit)
}

// ResumeExpiredError ends a session that no edge would resume: too late, or what was missed is no longer kept (open
// dialect RE-3, RE-4).
type ResumeExpiredError struct {
	Session      envelope.SessionID
	LastEventSeq uint64          // the last number seen
	Err          *envelope.Error // what the edge said; nil if it had given no token to resume with
}

// Error names the session.
func (e *ResumeExpiredError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("client: %s cannot be resumed: the edge gave no resume token", e.Session)
	}
	return fmt.Sprintf("client: %s cannot be resumed after event_seq %d: %v", e.Session, e.LastEventSeq, e.Err)
}

// Unwrap returns what the edge said, if it said anything.
func (e *ResumeExpiredError) Unwrap() error {
	if e.Err == nil {
		return nil
	}
	return e.Err
}

// ReconnectError ends a session that found no edge for too long.
type ReconnectError struct {
	Waited time.Duration
	Err    error // the last failure
}

// Error says how long was tried.
func (e *ReconnectError) Error() string {
	return fmt.Sprintf("client: no connection for %s: %v", e.Waited.Round(time.Millisecond), e.Err)
}

// Unwrap returns the last failure.
func (e *ReconnectError) Unwrap() error { return e.Err }

// EvictedError ends a session that the edge has ended.
type EvictedError struct {
	Session envelope.SessionID
	Err     *envelope.Error // code and reason
}

// Error names the session and the reason.
func (e *EvictedError) Error() string {
	return fmt.Sprintf("client: %s was evicted: %v", e.Session, e.Err)
}

// Unwrap returns the code and reason.
func (e *EvictedError) Unwrap() error { return e.Err }

// RefusedError is the answer cancel.refused.
type RefusedError struct {
	Target string
	Reason string
}

// Error says what was not cancelled and why.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("client: cancel of %q refused: %s", e.Target, e.Reason)
}

// TooLargeError: an envelope was not sent because edges would not read it.
type TooLargeError struct {
	Bytes, Limit int
}

// Error names size and limit.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("client: envelope of %d bytes exceeds %d", e.Bytes, e.Limit)
}
