package record

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/subjects"
)

// Header names of a record. Free text is escaped like a subject token.
const (
	headerTypes       = "Arcp-Types"          // comma separated, one a line
	headerAttempt     = "Arcp-Attempt"        // decimal, above 0
	headerSender      = "Arcp-Sender"         //
	headerPrincipal   = "Arcp-Principal"      // only if the subject holds a hash
	headerCodes       = "Arcp-Codes"          //
	headerMaxRuntime  = "Arcp-Max-Runtime-Ms" // decimal, above 0
	headerNotBefore   = "Arcp-Not-Before-Ms"  // decimal, above 0, of the Unix time
	headerParent      = "Arcp-Parent"         //
	headerDepth       = "Arcp-Depth"          // decimal, above 0
	headerDetached    = "Arcp-Detached"       // "true" or absent
	headerOrigin      = "Arcp-Origin"         //
	headerGrant       = "Arcp-Grant"          //
	headerTraceParent = "traceparent"         // as W3C names it
	headerTraceState  = "tracestate"          // the same
	headerMsgID       = "Nats-Msg-Id"         // as NATS names it
)

// maxRuntimeMS is the longest runtime that fits a time.Duration.
const maxRuntimeMS = int64(math.MaxInt64 / time.Millisecond)

// maxLines bounds the number of envelopes that Parse accepts in one record.
const maxLines = 1 << 16

// Header returns the message header of the record.
func (r *Record) Header() map[string][]string {
	// One backing array for all values: this is on the path of every publish.
	values := make([]string, 0, 9)
	header := make(map[string][]string, 9)
	set := func(name, value string) {
		values = append(values, value)
		header[name] = values[len(values)-1 : len(values) : len(values)]
	}
	set(headerTypes, joinTypes(r.Types))
	if r.Attempt > 0 {
		set(headerAttempt, strconv.Itoa(r.Attempt))
	}
	if r.Sender != "" {
		set(headerSender, subjects.Escape(r.Sender))
	}
	principal := r.Subject.Principal
	if r.Subject.Hashed() {
		principal = r.Principal
	}
	if name := subjects.Escape(principal); name != r.Subject.PrincipalToken() {
		set(headerPrincipal, name)
	}
	if r.Codes != "" {
		set(headerCodes, string(r.Codes))
	}
	if ms := r.MaxRuntime.Milliseconds(); ms > 0 {
		set(headerMaxRuntime, strconv.FormatInt(ms, 10))
	}
	if r.Subject.Lane == subjects.Invoke {
		r.setInvokeHeader(set)
	}
	if r.Grant != "" {
		set(headerGrant, subjects.Escape(r.Grant))
	}
	if r.TraceParent != "" {
		set(headerTraceParent, subjects.Escape(r.TraceParent))
	}
	if r.TraceState != "" {
		set(headerTraceState, subjects.Escape(r.TraceState))
	}
	if r.MsgID != "" {
		set(headerMsgID, subjects.Escape(r.MsgID))
	}
	return header
}

// setInvokeHeader sets what only invocations have.
func (r *Record) setInvokeHeader(set func(name, value string)) {
	if !r.NotBefore.IsZero() {
		set(headerNotBefore, strconv.FormatInt(r.NotBefore.UnixMilli(), 10))
	}
	if r.Parent != "" {
		set(headerParent, subjects.Escape(r.Parent))
	}
	if r.Origin != "" {
		set(headerOrigin, subjects.Escape(r.Origin))
	}
	if r.Depth > 0 {
		set(headerDepth, strconv.Itoa(r.Depth))
	}
	if r.Detached {
		set(headerDetached, "true")
	}
}

// parseInvokeHeader reads what setInvokeHeader sets.
func (r *Record) parseInvokeHeader(header map[string][]string) (err error) {
	if token := first(header, headerParent); token != "" {
		if r.Parent, err = subjects.Unescape(token); err != nil {
			return fmt.Errorf("record: %s: %w", headerParent, err)
		}
	}
	if token := first(header, headerOrigin); token != "" {
		if r.Origin, err = subjects.Unescape(token); err != nil {
			return fmt.Errorf("record: %s: %w", headerOrigin, err)
		}
	}
	if text := first(header, headerNotBefore); text != "" {
		ms, err := strconv.ParseInt(text, 10, 64)
		if err != nil || ms < 1 || ms > maxRuntimeMS || strconv.FormatInt(ms, 10) != text {
			return fmt.Errorf("record: %s: not a number of milliseconds above 0", headerNotBefore)
		}
		r.NotBefore = time.UnixMilli(ms).UTC()
	}
	if text := first(header, headerDepth); text != "" {
		depth, err := strconv.Atoi(text)
		if err != nil || depth < 1 || strconv.Itoa(depth) != text {
			return fmt.Errorf("record: %s: not a number above 0", headerDepth)
		}
		r.Depth = depth
	}
	switch first(header, headerDetached) {
	case "":
	case "true":
		r.Detached = true
	default:
		return errors.New("record: " + headerDetached + ": must be true or absent")
	}
	return nil
}

// Parse reads a message of the log back into a record. Seq and Time are the reader's to set. The record keeps body.
func Parse(subject string, header map[string][]string, body []byte) (*Record, error) {
	s, err := subjects.Parse(subject)
	if err != nil {
		return nil, err
	}
	r := &Record{Subject: s, Principal: s.Principal, Body: body}
	if r.Types, err = splitTypes(first(header, headerTypes)); err != nil {
		return nil, err
	}
	if lines := bytes.Count(body, newline) + 1; lines != len(r.Types) {
		return nil, fmt.Errorf("record: %d types for %d lines", len(r.Types), lines)
	}
	if text := first(header, headerAttempt); text != "" {
		r.Attempt, err = strconv.Atoi(text)
		if err != nil || r.Attempt < 1 || strconv.Itoa(r.Attempt) != text {
			return nil, fmt.Errorf("record: %s: not a number above 0", headerAttempt)
		}
	}
	if name := first(header, headerPrincipal); name != "" {
		if r.Principal, err = subjects.Unescape(name); err != nil {
			return nil, fmt.Errorf("record: %s: %w", headerPrincipal, err)
		}
		if r.Subject, err = s.WithPrincipal(r.Principal); err != nil {
			return nil, fmt.Errorf("record: %s: %w", headerPrincipal, err)
		}
	} else if s.Hashed() {
		return nil, fmt.Errorf("record: %s is missing beside a hashed principal", headerPrincipal)
	}
	if codes := first(header, headerCodes); codes != "" {
		if !validType(codes) {
			return nil, errors.New("record: " + headerCodes + ": bad vocabulary")
		}
		r.Codes = envelope.Vocabulary(codes)
	}
	if text := first(header, headerMaxRuntime); text != "" {
		ms, err := strconv.ParseInt(text, 10, 64)
		if err != nil || ms < 1 || ms > maxRuntimeMS || strconv.FormatInt(ms, 10) != text {
			return nil, fmt.Errorf("record: %s: not a number of milliseconds above 0", headerMaxRuntime)
		}
		r.MaxRuntime = time.Duration(ms) * time.Millisecond
	}
	if s.Lane == subjects.Invoke {
		if err := r.parseInvokeHeader(header); err != nil {
			return nil, err
		}
	}
	for _, text := range []struct {
		name string
		into *string
	}{
		{headerSender, &r.Sender},
		{headerGrant, &r.Grant},
		{headerTraceParent, &r.TraceParent},
		{headerTraceState, &r.TraceState},
		{headerMsgID, &r.MsgID},
	} {
		token := first(header, text.name)
		if token == "" {
			continue
		}
		if *text.into, err = subjects.Unescape(token); err != nil {
			return nil, fmt.Errorf("record: %s: %w", text.name, err)
		}
	}
	return r, nil
}

func first(header map[string][]string, name string) string {
	if values := header[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

func joinTypes(types []envelope.Type) string {
	if len(types) == 1 {
		return string(types[0])
	}
	var b strings.Builder
	for i, t := range types {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(string(t))
	}
	return b.String()
}

func splitTypes(text string) ([]envelope.Type, error) {
	n := strings.Count(text, ",") + 1
	if n > maxLines {
		return nil, fmt.Errorf("record: %s: %d types, limit %d", headerTypes, n, maxLines)
	}
	types := make([]envelope.Type, 0, n)
	for t := range strings.SplitSeq(text, ",") {
		if !validType(t) {
			return nil, errors.New("record: " + headerTypes + ": bad type")
		}
		types = append(types, envelope.Type(t))
	}
	return types, nil
}
