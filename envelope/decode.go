package envelope

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Decode reads one envelope that a peer sent. The payload is checked to be a
// JSON object without duplicate names, and kept raw; its members are read by
// [Envelope.Decode]. Unknown members are dropped.
//
// The error is always a [*DecodeError]. It carries the message's id whenever
// one can be found, so that the answer can name it.
func Decode(data []byte, lim Limits) (*Envelope, error) { return DecodeWith(data, lim, nil) }

// DecodeWith is Decode for a session that has negotiated extensions: a type
// that is an extension name (EX-1) is read like one of the catalogue if speaks
// says so. Its payload is any JSON object.
func DecodeWith(data []byte, lim Limits, speaks func(extension string) bool) (*Envelope, error) {
	lim = lim.withDefaults()
	if most := max(lim.MaxBytes, largestMaxBytes); len(data) > most {
		// Too much even to look for an id.
		fault := tooBig("envelope too large", limitBytes, most)
		fault.Code = CodeInvalidArgument
		return nil, fault
	}
	compact, fault := measure(data, lim)
	if fault != nil {
		return nil, describe(fault, data)
	}
	r := reader{compact: compact, speaks: speaks}
	e, fault := r.read(data)
	if fault == nil && r.row == nil {
		fault = unknownType(r.typeName, e.Extensions)
	}
	if fault == nil {
		if most := max(lim.MaxBytes, r.row.MaxBytes); len(data) > most {
			fault = tooBig("envelope too large", limitBytes, most)
		}
	}
	if fault != nil {
		fault.ID, fault.Type = r.id, clip(r.typeName)
		return nil, describe(fault, data)
	}
	return e, nil
}

// DecodeStored reads an envelope that the runtime itself has written: without
// limits, and with any type, so that markers which no client sees can be read
// too. The error is always a [*DecodeError].
func DecodeStored(data []byte) (*Envelope, error) {
	// Append writes lines; what has no line break is compact enough to store.
	r := reader{anyType: true, compact: bytes.IndexByte(data, '\n') < 0}
	e, fault := r.read(data)
	if fault != nil {
		fault.ID, fault.Type = r.id, clip(r.typeName)
		return nil, describe(fault, data)
	}
	return e, nil
}

// clip keeps a hostile type name out of logs.
func clip(name string) string {
	const most = 128
	if len(name) > most {
		return strings.ToValidUTF8(name[:most], "")
	}
	return name
}

// describe fills in what a fault lacks.
func describe(fault *DecodeError, data []byte) *DecodeError {
	if fault.Code == "" {
		fault.Code = CodeInvalidArgument
	}
	if fault.ID == "" || fault.Type == "" {
		id, typeName := rescue(data)
		if fault.ID == "" {
			fault.ID = id
		}
		if fault.Type == "" {
			fault.Type = clip(typeName)
		}
	}
	return fault
}

// unknownType says how to answer a type without a row (EX-2, EX-3).
func unknownType(name string, extensions json.RawMessage) *DecodeError {
	fault := &DecodeError{Member: "type", Code: CodeUnimplemented}
	switch Classify(name) {
	case ClassExperimental:
		fault.Reason, fault.Silent = "experimental type", true
	case ClassExtension:
		fault.Reason, fault.Silent = "extension not supported", isOptional(extensions)
	case ClassCore:
		fault.Reason = "reserved type without a wire form"
	default:
		fault.Reason, fault.Code = "malformed type name", CodeInvalidArgument
	}
	return fault
}

// isOptional reports whether extensions.optional is true (EX-3).
func isOptional(extensions json.RawMessage) bool {
	if len(extensions) == 0 || extensions[0] != '{' {
		return false
	}
	var marks struct {
		Optional jsontext.Value `json:"optional"`
	}
	return jsonv2.Unmarshal(extensions, &marks) == nil && string(marks.Optional) == "true"
}

// reader makes one pass over the members of an envelope.
type reader struct {
	compact bool                        // the input has no white space between tokens
	anyType bool                        // the type need not be in the catalogue
	speaks  func(extension string) bool // nil: none

	e        Envelope
	id       MessageID
	typeName string
	row      *Row // nil when the type is not in the catalogue

	fault *DecodeError // the first one
	seen  required
}

// required marks the members that must be there.
type required uint8

const (
	seenArcp required = 1 << iota
	seenID
	seenTimestamp
	seenType
	seenPayload
)

// read fails with the first fault of syntax, else with the first of a member.
// A type that is not in the catalogue outranks faults of members, since such
// a message need not have the members that we know.
func (r *reader) read(data []byte) (*Envelope, *DecodeError) {
	scan := newScanner(data)
	defer scan.release()

	if scan.dec.PeekKind() != '{' {
		if _, err := scan.dec.ReadValue(); err != nil {
			return nil, syntaxFault(err)
		}
		return nil, &DecodeError{Reason: "not a JSON object"}
	}
	if _, err := scan.dec.ReadToken(); err != nil {
		return nil, syntaxFault(err)
	}
	for scan.dec.PeekKind() != '}' {
		name, err := scan.name()
		if err != nil {
			return nil, syntaxFault(err)
		}
		if err := r.member(scan, name); err != nil {
			return nil, syntaxFault(err)
		}
	}
	if _, err := scan.dec.ReadToken(); err != nil {
		return nil, syntaxFault(err)
	}
	if _, err := scan.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, &DecodeError{Reason: "more follows after the JSON object"}
	}
	if r.seen&seenType != 0 && r.row == nil && !r.anyType {
		return &r.e, nil // Decode says what is to be done
	}
	r.requireAll()
	if r.fault != nil {
		return nil, r.fault
	}
	return &r.e, nil
}

// member reads one value. Its error is one of syntax; any other fault is kept
// in r.fault while the pass goes on, for the sake of the id.
func (r *reader) member(scan *scanner, name []byte) error {
	e := &r.e
	switch string(name) {
	case "arcp":
		s, ok, err := r.text(scan, "arcp")
		_ = s // any version is accepted and none compared
		r.mark(seenArcp, ok)
		return err
	case "id":
		ok, err := readText(r, scan, "id", &e.ID)
		r.id = e.ID
		r.mark(seenID, ok)
		return err
	case "timestamp":
		ok, err := readText(r, scan, "timestamp", &e.Timestamp)
		r.mark(seenTimestamp, ok)
		return err
	case "type":
		return r.readType(scan)
	case "payload":
		return r.readPayload(scan)
	case "source":
		return r.readFree(scan, "source", &e.Source, false)
	case "target":
		return r.readFree(scan, "target", &e.Target, false)
	case "session_id":
		_, err := readText(r, scan, "session_id", &e.SessionID)
		return err
	case "job_id":
		_, err := readText(r, scan, "job_id", &e.JobID)
		return err
	case "stream_id":
		_, err := readText(r, scan, "stream_id", &e.StreamID)
		return err
	case "subscription_id":
		_, err := readText(r, scan, "subscription_id", &e.SubscriptionID)
		return err
	case "trace_id":
		return r.readFree(scan, "trace_id", &e.TraceID, true)
	case "span_id":
		return r.readFree(scan, "span_id", &e.SpanID, true)
	case "parent_span_id":
		return r.readFree(scan, "parent_span_id", &e.ParentSpanID, true)
	case "correlation_id":
		_, err := readText(r, scan, "correlation_id", &e.CorrelationID)
		return err
	case "causation_id":
		_, err := readText(r, scan, "causation_id", &e.CausationID)
		return err
	case "idempotency_key":
		return r.readFree(scan, "idempotency_key", &e.IdempotencyKey, true)
	case "priority":
		return r.readPriority(scan)
	case "extensions":
		return r.readExtensions(scan)
	case "event_seq":
		return r.readEventSeq(scan)
	default:
		return scan.skip()
	}
}

func (r *reader) mark(member required, ok bool) {
	if ok {
		r.seen |= member
	}
}

func (r *reader) bad(member, reason string) {
	if r.fault == nil {
		r.fault = &DecodeError{Member: member, Reason: reason}
	}
}

// text reads a string; ok is false for null and for values of other types.
func (r *reader) text(scan *scanner, member string) (s string, ok bool, err error) {
	switch scan.dec.PeekKind() {
	case '"':
		s, err = scan.text()
		return s, err == nil, err
	case 'n':
	default:
		r.bad(member, wantString)
	}
	return "", false, scan.skip()
}

// readText reads a member with a grammar of its own.
func readText[T any, P interface {
	*T
	wireText
}](r *reader, scan *scanner, member string, into P) (bool, error) {
	s, ok, err := r.text(scan, member)
	if !ok {
		return false, err
	}
	if err := into.fromWire(s); err != nil {
		r.bad(member, err.Error())
		return false, nil
	}
	return true, nil
}

func (r *reader) readFree(scan *scanner, member string, into *string, nonEmpty bool) error {
	s, ok, err := r.text(scan, member)
	if ok && nonEmpty && s == "" {
		r.bad(member, "must not be empty")
	}
	*into = s
	return err
}

func (r *reader) readType(scan *scanner) error {
	if scan.dec.PeekKind() != '"' {
		_, _, err := r.text(scan, "type")
		return err
	}
	name, err := scan.textBytes()
	if err != nil {
		return err
	}
	r.seen |= seenType
	if row, ok := catalogueIndex[string(name)]; ok {
		r.row, r.typeName = row, string(row.Type)
	} else {
		r.typeName = string(name)
		if r.speaks != nil && Classify(r.typeName) == ClassExtension && r.speaks(r.typeName) {
			r.row = &extensionRow
		}
	}
	r.e.Type = Type(r.typeName)
	return nil
}

func (r *reader) readPayload(scan *scanner) error {
	kind := scan.dec.PeekKind()
	raw, err := scan.dec.ReadValue()
	switch {
	case err != nil:
		return err
	case kind == '{':
		r.e.Payload = r.keep(raw)
		r.seen |= seenPayload
	case kind != 'n':
		r.bad("payload", wantObject)
	}
	return nil
}

// keep copies a value out of the input, compact.
func (r *reader) keep(raw jsontext.Value) json.RawMessage {
	kept := raw.Clone()
	if !r.compact {
		// It is valid already, so this cannot fail.
		_ = kept.Compact()
	}
	return json.RawMessage(kept)
}

func (r *reader) readPriority(scan *scanner) error {
	if scan.dec.PeekKind() == 'n' {
		r.bad("priority", "must not be null")
		return scan.skip()
	}
	_, err := readText(r, scan, "priority", &r.e.Priority)
	if r.e.Priority == PriorityNormal {
		r.e.Priority = ""
	}
	return err
}

func (r *reader) readExtensions(scan *scanner) error {
	kind := scan.dec.PeekKind()
	raw, err := scan.dec.ReadValue()
	if err == nil && kind != 'n' {
		r.e.Extensions = r.keep(raw)
	}
	return err
}

func (r *reader) readEventSeq(scan *scanner) error {
	kind := scan.dec.PeekKind()
	raw, err := scan.dec.ReadValue()
	if err != nil || kind == 'n' {
		return err
	}
	n, ok := parseUint(raw, 64)
	if !ok {
		r.bad("event_seq", wantInteger)
	}
	r.e.EventSeq = n
	return nil
}

func (r *reader) requireAll() {
	if r.seen == seenArcp|seenID|seenTimestamp|seenType|seenPayload {
		return
	}
	for _, m := range [...]struct {
		bit  required
		name string
	}{
		{seenArcp, "arcp"}, {seenID, "id"}, {seenTimestamp, "timestamp"},
		{seenType, "type"}, {seenPayload, "payload"},
	} {
		if r.seen&m.bit == 0 {
			r.bad(m.name, wantPresent)
		}
	}
}
