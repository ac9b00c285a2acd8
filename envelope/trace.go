package envelope

import (
	"encoding/json"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
)

// TraceExtension is the member of an envelope's extensions that carries W3C
// trace context (EX-5): an object {traceparent, tracestate?}.
const TraceExtension = "arcpx.opentelemetry.tracecontext.v1"

// TraceContext is W3C trace context. The zero value is none.
type TraceContext struct {
	// Parent is the header traceparent: version, trace id, span id, flags.
	Parent string `json:"traceparent"`
	// State is the header tracestate; it is meant for tracing systems.
	State string `json:"tracestate,omitzero"`
}

// maxTraceState bounds what is carried of a tracestate, in bytes: W3C asks for
// at least 512.
const maxTraceState = 512

// TraceContext is the trace context that the envelope carries: that of its
// extensions, else the one that trace_id and span_id make if they are of the
// form that W3C gives them. It is the zero value if there is none.
func (e *Envelope) TraceContext() TraceContext {
	if len(e.Extensions) > 0 && e.Extensions[0] == '{' {
		var members map[string]json.RawMessage
		var tc TraceContext
		if jsonv2.Unmarshal(e.Extensions, &members) == nil && members[TraceExtension] != nil &&
			jsonv2.Unmarshal(members[TraceExtension], &tc) == nil {
			if _, _, ok := tc.IDs(); ok {
				if len(tc.State) > maxTraceState || strings.ContainsFunc(tc.State, notPrintable) {
					tc.State = ""
				}
				return tc
			}
		}
	}
	if isHexID(e.TraceID, 32) && isHexID(e.SpanID, 16) {
		return TraceContext{Parent: "00-" + e.TraceID + "-" + e.SpanID + "-01"}
	}
	return TraceContext{}
}

// IDs are the trace and the span that the context names; false if it names
// none, or in another form than W3C's.
func (tc TraceContext) IDs() (trace, span string, ok bool) {
	parts := strings.Split(tc.Parent, "-")
	if len(parts) < 4 || len(parts[0]) != 2 || parts[0] == "ff" || (parts[0] == "00" && len(parts) > 4) {
		return "", "", false
	}
	if !isHex(parts[0]) || !isHexID(parts[1], 32) || !isHexID(parts[2], 16) || len(parts[3]) != 2 || !isHex(parts[3]) {
		return "", "", false
	}
	return parts[1], parts[2], true
}

// In returns extensions with the context as a member.
func (tc TraceContext) In() json.RawMessage {
	raw, err := jsonv2.Marshal(map[string]TraceContext{TraceExtension: tc}, marshalOptions)
	if err != nil {
		return nil // two strings always encode
	}
	return raw
}

// isHexID reports whether an id has n lower-case hex digits, not all of them 0.
func isHexID(id string, n int) bool {
	return len(id) == n && isHex(id) && strings.Trim(id, "0") != ""
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isDigit(c) && (c < 'a' || 'f' < c) {
			return false
		}
	}
	return true
}

func notPrintable(r rune) bool { return r < ' ' || r > '~' }
