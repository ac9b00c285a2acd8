package hello

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	jsonv2 "github.com/go-json-experiment/json"
)

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

// reading takes what clients send: a member that comes twice is the last one, as most libraries have it.
var reading = jsonv2.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// Decode reads a frame. Unknown members are ignored (rule 111). A frame that is none gives what could be read of it, with the
// error.
func Decode(text []byte) (*Frame, error) {
	var w struct {
		ID         jsontext.Value `json:"id"`
		Type       jsontext.Value `json:"type"`
		SessionID  jsontext.Value `json:"session_id"`
		JobID      jsontext.Value `json:"job_id"`
		TraceID    jsontext.Value `json:"trace_id"`
		EventSeq   jsontext.Value `json:"event_seq"`
		Extensions jsontext.Value `json:"extensions"`
		Payload    jsontext.Value `json:"payload"`
	}
	if jsontext.Value(text).Kind() != '{' || jsonv2.Unmarshal(text, &w, reading) != nil {
		return new(Frame), errors.New("not a JSON object")
	}
	f := &Frame{Extensions: json.RawMessage(w.Extensions), Payload: json.RawMessage(w.Payload)}
	var typ string
	for _, member := range []struct {
		name string
		raw  jsontext.Value
		into *string
	}{
		{"id", w.ID, &f.ID},
		{"type", w.Type, &typ},
		{"session_id", w.SessionID, &f.SessionID},
		{"job_id", w.JobID, &f.JobID},
		{"trace_id", w.TraceID, &f.TraceID},
	} {
		if !readText(member.raw, member.into) {
			return f, errors.New(member.name + ": has the wrong type")
		}
		f.Type = Type(typ)
	}
	if len(w.EventSeq) > 0 && w.EventSeq.Kind() != 'n' && jsonv2.Unmarshal(w.EventSeq, &f.EventSeq, reading) != nil {
		return f, errors.New("event_seq: has the wrong type")
	}
	switch {
	case f.ID == "":
		return f, errors.New("id: missing")
	case f.Type == "":
		return f, errors.New("type: missing")
	}
	return f, nil
}

// DecodePayload reads the payload of a frame as a T. The error names the member.
func DecodePayload[T any](f *Frame) (*T, error) {
	into := new(T)
	if len(f.Payload) == 0 {
		return into, nil
	}
	err := jsonv2.Unmarshal(f.Payload, into, reading)
	if err == nil {
		return into, nil
	}
	if at := (*jsonv2.SemanticError)(nil); errors.As(err, &at) && at.JSONPointer != "" {
		return into, fmt.Errorf("payload%s: has the wrong type", string(at.JSONPointer))
	}
	return into, errors.New("payload: has the wrong type")
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

// readText reads a string, and is false for anything else that is there.
func readText(raw jsontext.Value, into *string) bool {
	switch {
	case len(raw) == 0, raw.Kind() == 'n':
		return true
	case raw.Kind() == '"' && bytes.IndexByte(raw, '\\') < 0 && utf8.Valid(raw):
		*into = string(raw[1 : len(raw)-1])
		return true
	}
	return jsonv2.Unmarshal(raw, into, reading) == nil
}
