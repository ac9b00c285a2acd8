package worker

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/lease"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// invocation is a tool.invoke as the log holds it.
type invocation struct {
	rec  *record.Record
	env  *envelope.Envelope
	call *envelope.ToolInvoke
	// lease is the effective one, as it is enforced; nil: there is none.
	lease *envelope.Lease
}

// readLimits are wider than an edge's: what an edge let through, and stamped
// with ids since, must not fail here.
var readLimits = envelope.Limits{MaxBytes: 16 << 20, MaxDepth: 128, MaxKeys: 1 << 20}

var errNoInvoke = errors.New("the record holds no tool.invoke")

// readInvocation finds the tool.invoke in an invocation record. On an error
// the invocation has what could be read, which may be the record alone.
func readInvocation(rec *record.Record) (invocation, error) {
	inv := invocation{rec: rec}
	for t, body := range rec.Lines() {
		if t != envelope.TypeToolInvoke {
			continue
		}
		env, err := envelope.Decode(body, readLimits)
		if err != nil {
			return inv, err
		}
		inv.env = env
		if inv.call, err = envelope.DecodePayload[envelope.ToolInvoke](env); err != nil {
			return inv, err
		}
		inv.lease, err = lease.Enforced(inv.call.EffectiveLease())
		return inv, err
	}
	return inv, errNoInvoke
}

// speaker makes the envelopes of one attempt: the ids that every job event
// carries (open dialect TR-5, section 6 item 25).
type speaker struct {
	session envelope.SessionID
	job     envelope.JobID
	stream  envelope.StreamID // of what belongs to one
	invoke  envelope.MessageID
	trace   string
	span    string // of this attempt
	parent  string // span of the invoke
	// extensions carry the trace back to a submitter that sent it in extensions
	// (open dialect EX-5).
	extensions json.RawMessage
	maxBytes   int
}

func newSpeaker(inv invocation, maxBytes int) speaker {
	s := speaker{
		session:  envelope.SessionID(inv.rec.Subject.Session),
		job:      envelope.JobID(inv.rec.Subject.Job),
		maxBytes: maxBytes,
	}
	if inv.env != nil {
		s.invoke, s.trace, s.parent = inv.env.ID, inv.env.TraceID, inv.env.SpanID
		if s.trace != "" || s.parent != "" {
			s.span = newSpanID()
		}
	}
	return s
}

// line encodes one event.
func (s *speaker) line(t envelope.Type, payload any) (line, error) {
	e, err := envelope.New(t, payload)
	if err != nil {
		return line{}, &envelope.Error{
			Code: envelope.CodeInvalidArgument, Message: string(t) + " cannot be written as JSON", Err: err,
		}
	}
	e.SessionID, e.JobID, e.StreamID, e.CorrelationID = s.session, s.job, s.stream, s.invoke
	e.TraceID, e.SpanID, e.ParentSpanID = s.trace, s.span, s.parent
	e.Extensions = s.extensions
	body, err := e.Encode()
	if err != nil {
		return line{}, &envelope.Error{
			Code: envelope.CodeInvalidArgument, Message: string(t) + " cannot be encoded", Err: err,
		}
	}
	if len(body) > s.maxBytes {
		return line{}, &tooLargeError{kind: t, size: len(body), limit: s.maxBytes}
	}
	return line{typ: t, id: e.ID, body: body}, nil
}

// header is what all records of one attempt have in common.
func (inv invocation) header(sender string, attempt int) record.Record {
	return record.Record{
		Subject:     subjects.JobEvents(inv.rec.Subject),
		Attempt:     attempt,
		Sender:      sender,
		Principal:   inv.rec.Principal,
		TraceParent: inv.rec.TraceParent,
		TraceState:  inv.rec.TraceState,
	}
}

// newSpanID returns 16 lower-case hex digits, as W3C trace context has them.
func newSpanID() string {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}
