package hello

import "encoding/json"

// MaxFrameBytes bounds a frame that a runtime sends: the strictest client reads 1 MiB, and a little is left for what stands
// between the two (annex A, 18).
const MaxFrameBytes = 1_000_000

// Type is a message type of the dialect.
type Type string

// The message types of section 2.
const (
	TypeHello    Type = "session.hello"
	TypeWelcome  Type = "session.welcome"
	TypeError    Type = "session.error"
	TypeClose    Type = "session.close"
	TypeClosed   Type = "session.closed"
	TypeBye      Type = "session.bye"
	TypePing     Type = "session.ping"
	TypePong     Type = "session.pong"
	TypeAck      Type = "session.ack"
	TypeListJobs Type = "session.list_jobs"
	TypeJobs     Type = "session.jobs"

	TypeSubmit       Type = "job.submit"
	TypeAccepted     Type = "job.accepted"
	TypeEvent        Type = "job.event"
	TypeResult       Type = "job.result"
	TypeJobError     Type = "job.error"
	TypeCancel       Type = "job.cancel"
	TypeCancelled    Type = "job.cancelled"
	TypeSubscribe    Type = "job.subscribe"
	TypeSubscribed   Type = "job.subscribed"
	TypeUnsubscribe  Type = "job.unsubscribe"
	TypeResume       Type = "session.resume" // the open dialect's; refused here
	vendorTypePrefix      = "x-vendor."
)

// Counted reports whether messages of a type have an event_seq (rule 112).
func (t Type) Counted() bool { return t == TypeEvent || t == TypeResult || t == TypeJobError }

// Frame is one message. Optional members are absent when they hold the zero value; a payload of nil is written as {}.
type Frame struct {
	ID         string
	Type       Type
	SessionID  string
	JobID      string
	TraceID    string
	EventSeq   uint64
	Extensions json.RawMessage
	Payload    json.RawMessage

	written bool // Payload was written here, so that it is JSON
}

// IsTraceID reports whether a text can stand in trace_id (annex A, 10).
func IsTraceID(text string) bool {
	if len(text) != 32 {
		return false
	}
	for _, c := range []byte(text) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
