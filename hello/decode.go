package hello

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	jsonv2 "github.com/go-json-experiment/json"
)

// reading takes what clients send: a member that comes twice is the last one, as most libraries have it.
var reading = jsonv2.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// rawFrame are the members of a frame, as they were written.
type rawFrame struct {
	id, typ, session, job, trace, seq, extensions, payload jsontext.Value
}

// member is where a member's value is kept, nil for those that are ignored (rule 111).
func (r *rawFrame) member(name []byte) *jsontext.Value {
	switch string(name) {
	case `"id"`:
		return &r.id
	case `"type"`:
		return &r.typ
	case `"session_id"`:
		return &r.session
	case `"job_id"`:
		return &r.job
	case `"trace_id"`:
		return &r.trace
	case `"event_seq"`:
		return &r.seq
	case `"extensions"`:
		return &r.extensions
	case `"payload"`:
		return &r.payload
	}
	return nil
}

// scanner is a decoder over a byte slice, to which what it returns points.
type scanner struct {
	dec *jsontext.Decoder
	buf bytes.Buffer
}

var scanners = sync.Pool{New: func() any {
	s := new(scanner)
	s.dec = jsontext.NewDecoder(&s.buf, reading)
	return s
}}

// scan reads the members of an object, and is false for anything else.
func scan(text []byte, into *rawFrame) bool {
	s := scanners.Get().(*scanner)
	s.buf = *bytes.NewBuffer(text)
	s.dec.Reset(&s.buf, reading)
	defer func() {
		s.buf = bytes.Buffer{} // the pool must not keep the text
		s.dec.Reset(&s.buf, reading)
		scanners.Put(s)
	}()
	if s.dec.PeekKind() != '{' {
		return false
	}
	if _, err := s.dec.ReadToken(); err != nil {
		return false
	}
	for s.dec.PeekKind() != '}' {
		name, err := s.dec.ReadValue()
		if err != nil {
			return false
		}
		kept := into.member(plainName(name))
		value, err := s.dec.ReadValue()
		if err != nil {
			return false
		}
		if kept != nil {
			*kept = value
		}
	}
	if _, err := s.dec.ReadToken(); err != nil {
		return false
	}
	_, err := s.dec.ReadToken()
	return errors.Is(err, io.EOF)
}

// plainName is a member's name without escapes, in quotes.
func plainName(raw jsontext.Value) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw
	}
	name, err := jsontext.AppendUnquote(nil, raw)
	if err != nil {
		return nil
	}
	return append(append([]byte{'"'}, name...), '"')
}

// Decode reads a frame, which shares memory with the text. Unknown members are ignored (rule 111). A frame that is none gives what
// could be read of it, with the error.
func Decode(text []byte) (*Frame, error) {
	var w rawFrame
	if !scan(text, &w) {
		return new(Frame), errors.New("not a JSON object")
	}
	f := &Frame{Extensions: json.RawMessage(w.extensions), Payload: json.RawMessage(w.payload)}
	var typ string
	for _, member := range []struct {
		name string
		raw  jsontext.Value
		into *string
	}{
		{"id", w.id, &f.ID},
		{"type", w.typ, &typ},
		{"session_id", w.session, &f.SessionID},
		{"job_id", w.job, &f.JobID},
		{"trace_id", w.trace, &f.TraceID},
	} {
		if !readText(member.raw, member.into) {
			return f, errors.New(member.name + ": has the wrong type")
		}
		f.Type = Type(typ)
	}
	if !readNumber(w.seq, &f.EventSeq) {
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

// readNumber reads a whole number, and is false for anything else that is there.
func readNumber(raw jsontext.Value, into *uint64) bool {
	if len(raw) == 0 || raw.Kind() == 'n' {
		return true
	}
	if n, err := strconv.ParseUint(string(raw), 10, 64); err == nil {
		*into = n
		return true
	}
	return jsonv2.Unmarshal(raw, into, reading) == nil
}
