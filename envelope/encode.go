package envelope

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sort"
	"strconv"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// marshalOptions: the same value always gives the same bytes, and text of a
// tool that is no UTF-8 costs the reader some characters, not the message.
var marshalOptions = jsonv2.JoinOptions(
	jsonv2.Deterministic(true),
	jsontext.AllowInvalidUTF8(true),
)

var errPayloadObject = errors.New("payload is not a JSON object")

func encodePayload(payload any) (json.RawMessage, error) {
	if payload == nil {
		return json.RawMessage("{}"), nil
	}
	raw, err := jsonv2.Marshal(payload, marshalOptions)
	if err != nil {
		return nil, err
	}
	if raw[0] != '{' {
		return nil, errPayloadObject
	}
	return raw, nil
}

// Append appends the envelope as one compact JSON object without a line break,
// "arcp" first. It fails when id, timestamp or type are missing, and when
// Payload or Extensions, set by hand, are not what their comments ask for.
func (e *Envelope) Append(dst []byte) ([]byte, error) {
	switch {
	case e.ID == "":
		return dst, errors.New("envelope: id is missing")
	case e.Type == "":
		return dst, errors.New("envelope: type is missing")
	case e.Timestamp.IsZero():
		return dst, errors.New("envelope: timestamp is missing")
	}
	start := len(dst)
	dst = append(dst, `{"arcp":"`+ProtocolVersion+`","id":`...)
	dst = appendString(dst, string(e.ID))
	dst = append(dst, `,"timestamp":"`...)
	dst, err := e.Timestamp.AppendText(dst)
	if err != nil {
		return dst[:start], fmt.Errorf("envelope: timestamp: %w", err)
	}
	dst = append(dst, `","type":`...)
	dst = appendString(dst, string(e.Type))

	dst = appendMember(dst, `,"source":`, e.Source)
	dst = appendMember(dst, `,"target":`, e.Target)
	dst = appendMember(dst, `,"session_id":`, string(e.SessionID))
	dst = appendMember(dst, `,"job_id":`, string(e.JobID))
	dst = appendMember(dst, `,"stream_id":`, string(e.StreamID))
	dst = appendMember(dst, `,"subscription_id":`, string(e.SubscriptionID))
	dst = appendMember(dst, `,"trace_id":`, e.TraceID)
	dst = appendMember(dst, `,"span_id":`, e.SpanID)
	dst = appendMember(dst, `,"parent_span_id":`, e.ParentSpanID)
	dst = appendMember(dst, `,"correlation_id":`, string(e.CorrelationID))
	dst = appendMember(dst, `,"causation_id":`, string(e.CausationID))
	dst = appendMember(dst, `,"idempotency_key":`, e.IdempotencyKey)
	if e.Priority != PriorityNormal {
		dst = appendMember(dst, `,"priority":`, string(e.Priority))
	}
	if e.EventSeq != 0 {
		dst = append(dst, `,"event_seq":`...)
		dst = strconv.AppendUint(dst, e.EventSeq, 10)
	}
	if len(e.Extensions) > 0 && string(e.Extensions) != "null" {
		dst = append(dst, `,"extensions":`...)
		if dst, err = appendCompact(dst, e.Extensions); err != nil {
			return dst[:start], fmt.Errorf("envelope: extensions: %w", err)
		}
	}
	dst = append(dst, `,"payload":`...)
	if dst, err = appendPayload(dst, e.Payload); err != nil {
		return dst[:start], fmt.Errorf("envelope: payload: %w", err)
	}
	return append(dst, '}'), nil
}

// Encode is [Envelope.Append] to a new slice.
func (e *Envelope) Encode() ([]byte, error) {
	const members = 320 // about what the members other than the payload take
	b, err := e.Append(make([]byte, 0, members+len(e.Payload)+len(e.Extensions)))
	if err != nil {
		return nil, err
	}
	return b, nil
}

func appendMember(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	return appendString(append(dst, name...), value)
}

// appendString writes a JSON string. Ids and names hardly ever need escapes.
func appendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			// The error tells of bad UTF-8, which has been replaced.
			dst, _ = jsontext.AppendQuote(dst, s)
			return dst
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

// appendPayload trusts what New and Decode have made, and mends what would
// break a line in two.
func appendPayload(dst []byte, raw json.RawMessage) ([]byte, error) {
	if raw == nil {
		return append(dst, "{}"...), nil
	}
	if bytes.IndexByte(raw, '\n') >= 0 || bytes.IndexByte(raw, '\r') >= 0 {
		start := len(dst)
		dst, err := appendCompact(dst, raw)
		if err == nil && dst[start] != '{' {
			err = errPayloadObject
		}
		return dst, err
	}
	if len(raw) < 2 || raw[0] != '{' || raw[len(raw)-1] != '}' {
		return dst, errPayloadObject
	}
	return append(dst, raw...), nil
}

func appendCompact(dst []byte, raw json.RawMessage) ([]byte, error) {
	out, err := jsontext.AppendFormat(dst, raw, jsontext.PreserveRawStrings(true))
	if err != nil {
		return dst, syntaxReason(err)
	}
	return out, nil
}

// AppendSeq appends a line that [Envelope.Append] has written, with event_seq
// added. It does not parse the line, which must not have an event_seq yet.
func AppendSeq(dst, line []byte, seq uint64) []byte {
	if len(line) == 0 {
		return dst
	}
	dst = append(dst, `{"event_seq":`...)
	dst = strconv.AppendUint(dst, seq, 10)
	dst = append(dst, ',')
	return append(dst, line[1:]...)
}

// appendExtra adds the unknown members of an open object to its known ones.
// The caller's encoder checks the values.
func appendExtra(known []byte, extra map[string]json.RawMessage, t reflect.Type) ([]byte, error) {
	if len(extra) == 0 {
		return known, nil
	}
	names := make([]string, 0, len(extra))
	for name := range extra {
		if _, taken := shapeOf(t).byName[name]; taken {
			return nil, fmt.Errorf("extra member %q has a field of its own", name)
		}
		names = append(names, name)
	}
	sort.Strings(names)
	out := known[:len(known)-1]
	for _, name := range names {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(appendString(out, name), ':')
		if value := extra[name]; value != nil {
			out = append(out, value...)
		} else {
			out = append(out, "null"...)
		}
	}
	return append(out, '}'), nil
}
