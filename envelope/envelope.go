package envelope

import (
	"encoding/json"
	"fmt"
)

// ProtocolVersion is the member "arcp" of every envelope written. Any string
// is read (open dialect 1.1).
const ProtocolVersion = "1.1"

// Envelope is one message (open dialect 1.1). Optional members are absent when
// they hold the zero value.
//
// An Envelope is not safe for use by several goroutines while one writes to
// it. [Decode] gives one that shares no memory with its input.
type Envelope struct {
	ID        MessageID
	Timestamp Time
	Type      Type

	Source, Target string

	SessionID      SessionID
	JobID          JobID
	StreamID       StreamID
	SubscriptionID SubscriptionID

	TraceID, SpanID, ParentSpanID string

	CorrelationID, CausationID MessageID

	IdempotencyKey string
	// Priority is "" for normal, on input too.
	Priority Priority
	// Extensions is any JSON value, meant to be an object of namespaced keys.
	Extensions json.RawMessage
	// EventSeq is the number in the session's countable sequence; 0 is absent.
	// What a client writes here must be ignored.
	EventSeq uint64
	// Payload is a JSON object without insignificant whitespace. Nil is
	// written as {}.
	Payload json.RawMessage
}

// New makes an envelope of type t with a fresh id and the present time. The
// payload is a payload struct or a pointer to one; nil is the empty payload.
// It fails if the payload cannot be written as a JSON object. Text that is no
// valid UTF-8 is written with replacement characters.
func New(t Type, payload any) (*Envelope, error) { return NewWithID(NewMessageID(), t, payload) }

// NewWithID is New for an envelope that has an id, of the current time too.
func NewWithID(id MessageID, t Type, payload any) (*Envelope, error) {
	raw, err := encodePayload(payload)
	if err != nil {
		return nil, fmt.Errorf("envelope: payload of %s: %w", t, err)
	}
	return &Envelope{ID: id, Timestamp: Now(), Type: t, Payload: raw}, nil
}

// Priority orders traffic between jobs and streams: low < normal < high <
// critical. The zero value means normal.
type Priority string

// The four priorities.
const (
	PriorityLow      Priority = "low"
	PriorityNormal   Priority = "normal"
	PriorityHigh     Priority = "high"
	PriorityCritical Priority = "critical"
)

// Rank is 0 for low to 3 for critical, as subscription filters compare (SB-2).
func (p Priority) Rank() int {
	switch p {
	case PriorityLow:
		return 0
	case PriorityHigh:
		return 2
	case PriorityCritical:
		return 3
	default:
		return 1
	}
}

func (p *Priority) fromWire(s string) error {
	return oneOf(p, s, PriorityLow, PriorityNormal, PriorityHigh, PriorityCritical)
}
