package client

import (
	"fmt"

	"github.com/arcp-nats/arcp/envelope"
)

// Dialect is the wire form that a session speaks.
type Dialect string

const (
	// DialectOpen is the form of package envelope, with everything that the runtime can do.
	DialectOpen Dialect = "open"
	// DialectHello is the form of the protocol's draft 1.1, of package hello. It has sessions, jobs, their events, cancel,
	// listings and job subscriptions; what it has no message for fails with UNIMPLEMENTED. Envelopes are those that the edge's
	// messages stand for. Closing the session lets its jobs go on.
	DialectHello Dialect = "hello"
)

// wire writes envelopes as messages of a dialect and reads messages as envelopes, over all connections of a session. out is
// for one goroutine at a time, and so is in.
type wire interface {
	// out returns the message for an encoded envelope, nil if there is nothing to be said. An error ends the connection.
	out(frame []byte) ([]byte, error)
	// in returns the envelope that a message stands for, nil if it is to be read as one; false for none.
	in(text []byte) (e *envelope.Envelope, ok bool)
}

// message is one that was received: an encoded envelope, or what e says it stands for.
type message struct {
	raw []byte
	e   *envelope.Envelope
}

// newWire returns the wire of a session, nil for the open dialect, in which envelopes are messages.
func newWire(s *Session) (wire, error) {
	switch s.cfg.Dialect {
	case "", DialectOpen:
		return nil, nil
	case DialectHello:
		return newHelloWire(s), nil
	}
	return nil, fmt.Errorf("client: Dialect %q: want %q or %q", s.cfg.Dialect, DialectOpen, DialectHello)
}

// speaks reports, as an error, that the session's dialect has no message of a type.
func (s *Session) speaks(typ envelope.Type) error {
	if s.wire == nil || helloSpeaks[typ] {
		return nil
	}
	return envelope.Errorf(envelope.CodeUnimplemented, "%s: the hello dialect has no such message", typ)
}
