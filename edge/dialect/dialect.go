// Package dialect is the wire forms that an edge speaks. The log has one form, that of package envelope, and so have the
// edge's commands and answers; a dialect reads its own frames as envelopes and writes envelopes as its own frames. Nothing
// outside this package knows which dialect a session speaks, and what dialects disagree about is asked of [Codec.Traits].
//
// The package is pure: what a client of a dialect is shown of an envelope, and under which numbers, must be the same on every
// edge and at every time, as a resume begins in the middle.
package dialect

import (
	"time"

	"github.com/arcp-nats/arcp/envelope"
)

// Frame is one envelope of a session's view.
type Frame struct {
	// Seq is the last event_seq that the client sees for the envelope, 0 if it sees none.
	Seq uint64
	// Count is how many there are: most dialects show an envelope as one message.
	Count int
	// Type is the envelope's type.
	Type envelope.Type
	// Line is the stored envelope, compact and without event_seq. It aliases the record's body.
	Line []byte
	// Loose says that the envelope stands beside the session's jobs: it answers a message, though it may name a job.
	Loose bool
}

// Text is a message for the client.
type Text struct {
	// Seq is its event_seq, 0 if it is not counted.
	Seq  uint64
	Data []byte
}

// Dialect is a wire form. It is a value, safe for concurrent use.
type Dialect interface {
	// Name is what the records of sessions call the dialect.
	Name() string
	// Count is how many numbers a client's session gives to an envelope of the log; loose is Frame.Loose. It depends on
	// nothing else.
	Count(typ envelope.Type, line []byte, loose bool) int
	// NewCodec returns a codec for one connection.
	NewCodec(Settings) Codec
}

// Settings are what a codec tells clients of the edge's configuration.
type Settings struct {
	// ResumeWindow is how long a session can be resumed, and Heartbeat how long the edge is silent at most.
	ResumeWindow, Heartbeat time.Duration
}

// Codec speaks a dialect on one connection. Decode is for the connection's reader; the other methods are safe for concurrent
// use.
type Codec interface {
	// Dialect is the one that is spoken.
	Dialect() Dialect
	// Traits are how the dialect wants the edge to behave.
	Traits() Traits
	// Decode reads a message of the client as an envelope of a type that clients send, or returns an
	// [envelope.DecodeError]. speaks is which extensions the session has negotiated, nil for none.
	Decode(frame []byte, lim envelope.Limits, speaks func(extension string) bool) (*envelope.Envelope, error)
	// Repeated says that the message that was decoded last is not handled, as it has come before. It is for the connection's reader.
	Repeated()
	// Render appends what the client gets of an envelope of the log, but for what is numbered seen or less.
	Render(dst []Text, f Frame, seen uint64) []Text
	// Answer returns what the client gets of an envelope that is said out of band.
	Answer(e *envelope.Envelope) ([][]byte, error)
	// Resuming is what the client wants to go on with when it opens a session, nil for a new one.
	Resuming() *Resumption
	// Leaving is what a session.close that was just decoded means.
	Leaving() Leaving
}

// Resumption names a session that its client goes on with, in its opening message. Token is a secret.
type Resumption struct {
	Session envelope.SessionID
	Token   string
	LastSeq uint64
}

// Leaving is what becomes of a session whose client closes it.
type Leaving int

const (
	// LeaveByConfig is what the edge is configured to do.
	LeaveByConfig Leaving = iota
	// LeaveResumable lets the jobs go on, and the session be resumed.
	LeaveResumable
	// LeaveForGood lets the jobs go on, and ends the session.
	LeaveForGood
)

// Traits are what dialects disagree about. The zero value is the open dialect.
type Traits struct {
	// OneTry: a refused handshake ends the connection.
	OneTry bool
	// Anonymous: a client without a token asks to be let in as nobody.
	Anonymous bool
	// Greets: a resume is answered by what answers the opening of a session, with the inventory.
	Greets bool
	// NoRefresh: a client cannot prove itself again in a session, which lives as long as the proof.
	NoRefresh bool
	// RefusesFirst: a submission that is refused is never said to be accepted before, whatever is the matter with it; one that
	// cannot be read is refused like the others.
	RefusesFirst bool
	// TellsAll: an acceptance, a listing and a job subscription say all that is known of the job, and a job without a trace
	// gets one.
	TellsAll bool
	// OwnerCancels: a job is cancelled by the session that has submitted it, and no other one.
	OwnerCancels bool
	// Heartbeats: the edge is never silent for long, and says so when it has heard nothing.
	Heartbeats bool
	// Negotiates: what was negotiated counts, also where the edge is configured not to ask.
	Negotiates bool
	// AnswersInTurn: an answer that is said out of band does not overtake what the client is shown of the log.
	AnswersInTurn bool
	// TellLag is how many counted messages a client may have that it has not acknowledged before it is told that it is slow, as
	// a status of its newest job; 0: it is not told so.
	TellLag uint64
	// Vocabulary are the error codes that the client reads; "" is as the edge is configured.
	Vocabulary envelope.Vocabulary
}

// dialects are all that there are, by name.
var dialects = map[string]Dialect{Open.Name(): Open, Hello.Name(): Hello}

// Named returns the dialect of a session's record. Records of sessions older than the second dialect name none.
func Named(name string) (Dialect, bool) {
	if name == "" {
		return Open, true
	}
	d, ok := dialects[name]
	return d, ok
}

// Of returns the dialect that a connection speaks whose first text message is this one.
func Of(first []byte) Dialect {
	if opensHello(first) {
		return Hello
	}
	return Open
}
