package hello

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcp-nats/arcp/envelope"
)

// wire is a frame as JSON has it.
type wire struct {
	ARCP       string         `json:"arcp"`
	ID         string         `json:"id"`
	Type       Type           `json:"type"`
	SessionID  string         `json:"session_id,omitzero"`
	JobID      string         `json:"job_id,omitzero"`
	TraceID    string         `json:"trace_id,omitzero"`
	EventSeq   uint64         `json:"event_seq,omitzero"`
	Extensions jsontext.Value `json:"extensions,omitzero"`
	Payload    jsontext.Value `json:"payload"`
}

// writing lets text that is no UTF-8 be written with replacement characters.
var writing = jsonv2.JoinOptions(jsontext.AllowInvalidUTF8(true))

// New makes a frame with a fresh id.
func New(t Type, payload any) (*Frame, error) {
	return NewWithID(string(envelope.NewMessageID()), t, payload)
}

// NewWithID makes a frame. The error is one of a payload that JSON has no word for. Values in it that are JSON already, of a
// [Result] or an [Event], must be that.
func NewWithID(id string, t Type, payload any) (*Frame, error) {
	f := &Frame{ID: id, Type: t, written: true}
	if ready, ok := payload.(interface{ appendJSON([]byte) []byte }); ok {
		f.Payload = ready.appendJSON(nil)
		return f, nil
	}
	raw, err := jsonv2.Marshal(payload, writing)
	if err != nil {
		return nil, fmt.Errorf("hello: payload of %s: %w", t, err)
	}
	f.Payload = raw
	return f, nil
}

// Encode writes the frame. The error is one of a payload that is no JSON.
func (f *Frame) Encode() ([]byte, error) {
	if f.written && f.Extensions == nil {
		return f.append(make([]byte, 0, len(f.Payload)+384)), nil
	}
	w := wire{
		ARCP: envelope.ProtocolVersion, ID: f.ID, Type: f.Type, SessionID: f.SessionID, JobID: f.JobID, TraceID: f.TraceID,
		EventSeq: f.EventSeq, Extensions: jsontext.Value(f.Extensions), Payload: jsontext.Value(f.Payload),
	}
	if w.Payload == nil {
		w.Payload = jsontext.Value("{}")
	}
	text, err := jsonv2.Marshal(&w, writing)
	if err != nil {
		return nil, fmt.Errorf("hello: %s cannot be written: %w", f.Type, err)
	}
	return text, nil
}

// append writes a frame without extensions whose payload is JSON.
func (f *Frame) append(dst []byte) []byte {
	dst = append(dst, `{"arcp":"`+envelope.ProtocolVersion+`","id":`...)
	dst = appendText(dst, f.ID)
	dst = append(dst, `,"type":`...)
	dst = appendText(dst, string(f.Type))
	dst = appendMember(dst, `,"session_id":`, f.SessionID)
	dst = appendMember(dst, `,"job_id":`, f.JobID)
	dst = appendMember(dst, `,"trace_id":`, f.TraceID)
	if f.EventSeq > 0 {
		dst = append(dst, `,"event_seq":`...)
		dst = strconv.AppendUint(dst, f.EventSeq, 10)
	}
	dst = append(dst, `,"payload":`...)
	dst = appendRaw(dst, f.Payload)
	return append(dst, '}')
}

// appendJSON writes the payload of a job.event.
func (e *Event) appendJSON(dst []byte) []byte {
	dst = append(dst, `{"kind":`...)
	dst = appendText(dst, string(e.Kind))
	dst = append(dst, `,"ts":"`...)
	dst = append(dst, e.TS.String()...)
	dst = append(dst, `","body":`...)
	dst = appendRaw(dst, e.Body)
	return append(dst, '}')
}

// appendJSON writes the payload of a job.result.
func (r *Result) appendJSON(dst []byte) []byte {
	dst = append(dst, `{"final_status":`...)
	dst = appendText(dst, string(r.FinalStatus))
	for _, value := range []struct {
		name string
		raw  json.RawMessage
	}{{`,"result":`, r.Result}, {`,"output":`, r.Output}} {
		if value.raw != nil {
			dst = append(dst, value.name...)
			dst = appendRaw(dst, value.raw)
		}
	}
	dst = appendMember(dst, `,"result_id":`, r.ResultID)
	if r.ResultSize != nil {
		dst = append(dst, `,"result_size":`...)
		dst = strconv.AppendUint(dst, *r.ResultSize, 10)
	}
	dst = appendMember(dst, `,"summary":`, r.Summary)
	dst = append(dst, `,"completed_at":"`...)
	dst = append(dst, r.CompletedAt.String()...)
	return append(dst, `"}`...)
}

func appendMember(dst []byte, name, text string) []byte {
	if text == "" {
		return dst
	}
	return appendText(append(dst, name...), text)
}

// appendText writes a text; what is no UTF-8 in it becomes replacement characters.
func appendText(dst []byte, text string) []byte {
	dst, _ = jsontext.AppendQuote(dst, text) // the error is that of UTF-8
	return dst
}

// appendRaw writes a value that is JSON.
func appendRaw(dst, raw []byte) []byte {
	switch {
	case len(raw) == 0:
		return append(dst, `{}`...)
	case utf8.Valid(raw):
		return append(dst, raw...)
	}
	return append(dst, bytes.ToValidUTF8(raw, []byte("\uFFFD"))...)
}
