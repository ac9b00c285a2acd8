package dialect

import (
	"crypto/sha256"
	"encoding/base32"
	"strconv"
	"strings"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/hello"
)

// said is a message for a client, but for what every message has.
type said struct {
	typ     hello.Type
	payload any
	// bare messages name no session: the clients that drop such a message are not meant (rule 58).
	bare bool
}

func (s *said) counted() bool { return s.typ.Counted() }

// Count implements [Dialect] (rule 112). It agrees with Render, and decodes only what cannot be told by the type.
func (helloDialect) Count(typ envelope.Type, line []byte, loose bool) int {
	switch typ {
	case envelope.TypeJobStarted, envelope.TypeJobProgress, envelope.TypeJobResultChunk, envelope.TypeJobCancelled,
		envelope.TypeToolError, envelope.TypePermissionRequest, envelope.TypeLog, envelope.TypeMetric:
		if loose {
			return 0
		}
		return 1
	case envelope.TypeJobFailed:
		return 1
	case envelope.TypeJobCompleted, envelope.TypeToolResult, envelope.TypeEventEmit, envelope.TypeArtifactRef,
		envelope.TypeStreamOpen, envelope.TypeStreamChunk, envelope.TypeStreamClose, envelope.TypeStreamError:
		switch {
		case loose && typ != envelope.TypeEventEmit:
			return 0
		case typ == envelope.TypeJobCompleted && plainEnd(line):
			return 1
		}
		e, err := envelope.DecodeStored(line)
		if err != nil {
			return 0
		}
		count := 0
		for _, s := range helloEvents(e, loose) {
			if s.counted() {
				count++
			}
		}
		return count
	}
	return 0
}

// Render implements [Codec].
func (c *helloCodec) Render(dst []Text, f Frame, seen uint64) []Text {
	if f.Count > 0 && f.Seq <= seen {
		return dst
	}
	e, err := envelope.DecodeStored(f.Line)
	if err != nil {
		return dst // it takes no number: see Count
	}
	first := f.Seq - uint64(f.Count) + 1
	counted, beside := 0, f.Count
	for _, s := range c.show(e, f.Loose) {
		var seq uint64
		nth := beside
		if s.counted() {
			nth, seq = counted, first+uint64(counted)
			counted++
		} else {
			beside++
		}
		if seq > 0 && seq <= seen {
			continue
		}
		text, err := write(e, &s, string(e.SessionID), seq, nth)
		if err != nil {
			continue
		}
		dst = append(dst, Text{Seq: seq, Data: text})
	}
	if answersSubmit(e, f.Loose) {
		for _, text := range c.requests.shown(e.CorrelationID) {
			dst = append(dst, Text{Data: text})
		}
	}
	return dst
}

// answersSubmit reports whether an envelope of the log is the answer to a job.submit.
func answersSubmit(e *envelope.Envelope, loose bool) bool {
	return e.Type == envelope.TypeJobAccepted && !isChild(e) || e.Type == envelope.TypeJobFailed && loose
}

// write encodes what is said because of an envelope. Of several messages the later ones get ids of their own; what is numbered has
// the same id whatever is said beside it, and wherever a resume begins (rule 26).
func write(e *envelope.Envelope, s *said, session string, seq uint64, nth int) ([]byte, error) {
	id := string(e.ID)
	switch {
	case id == "":
		id = string(envelope.NewMessageID())
	case nth > 0:
		id = laterID(id, nth)
	}
	f, err := hello.NewWithID(id, s.typ, s.payload)
	if err != nil {
		return nil, err
	}
	f.EventSeq, f.TraceID = seq, traceOf(e.TraceID)
	if !s.bare {
		f.SessionID = session
	}
	if strings.HasPrefix(string(s.typ), "job.") {
		f.JobID = string(e.JobID)
	}
	text, err := f.Encode()
	if err == nil && len(text) > hello.MaxFrameBytes {
		return writeTooLarge(f)
	}
	return text, err
}

// laterID is the id of a later message of an envelope: of the same form and time, as some clients read ids, and always the same.
func laterID(id string, nth int) string {
	sum := sha256.Sum256([]byte(id + " " + strconv.Itoa(nth)))
	const digits, stamp = 26, len("msg_") + 10 // of a ULID, and up to the end of its time
	if len(id) != len("msg_")+digits {
		return "msg_" + ulidDigits.EncodeToString(sum[:])[:digits]
	}
	return id[:stamp] + ulidDigits.EncodeToString(sum[:10])
}

var ulidDigits = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// writeTooLarge stands for an event that fits no message of the dialect: its number is not left out. What workers write by
// themselves does not get so large.
func writeTooLarge(f *hello.Frame) ([]byte, error) {
	if f.Type != hello.TypeEvent {
		return f.Encode()
	}
	event, err := hello.DecodePayload[hello.Event](f)
	if err != nil {
		return nil, err
	}
	return (&hello.Frame{
		ID: f.ID, Type: f.Type, SessionID: f.SessionID, JobID: f.JobID, TraceID: f.TraceID, EventSeq: f.EventSeq,
		Payload: marshal(&hello.Event{Kind: hello.KindTooLarge, TS: event.TS, Body: marshal(&hello.TooLargeBody{Kind: event.Kind, Bytes: len(event.Body)})}),
	}).Encode()
}

// show is what the client gets of an envelope of the log.
func (c *helloCodec) show(e *envelope.Envelope, loose bool) []said {
	switch e.Type {
	case envelope.TypeJobAccepted:
		switch {
		case isChild(e):
			return c.child(e)
		case c.requests.what(e.CorrelationID).typ == hello.TypeSubmit:
			return accepted(e)
		}
		return nil // clients would take it for the answer to what they have submitted last (rules 26, 74; annex A, 20)
	case envelope.TypeJobFailed:
		if loose {
			c.requests.what(e.CorrelationID)
			return refusedSubmit(e)
		}
		c.requests.over(e.JobID)
	case envelope.TypeJobCompleted:
		c.requests.over(e.JobID)
	case envelope.TypeJobCancelled:
		c.requests.over(e.JobID)
		end := helloEvents(e, loose)
		if c.requests.cancelOf(e.JobID) { // the acknowledgement comes first (rule 80)
			return append([]said{{typ: hello.TypeCancelled, payload: &hello.Cancelled{JobID: string(e.JobID), Reason: reasonOf(e)}}}, end...)
		}
		return end
	case envelope.TypeCancelAccepted:
		if a := c.requests.what(e.CorrelationID); a.job != "" {
			e.JobID = a.job
			return []said{{typ: hello.TypeCancelled, payload: &hello.Cancelled{JobID: string(a.job)}}}
		}
		return nil // the job's end has been shown
	case envelope.TypeCancelRefused, envelope.TypeNack:
		return c.refused(e)
	case envelope.TypeJobSubscribed:
		c.requests.what(e.CorrelationID)
		return subscribed(e)
	}
	return helloEvents(e, loose)
}

// child is the acceptance of a job that another job has started. While a submit waits it is not said, but later.
func (c *helloCodec) child(e *envelope.Envelope) []said {
	all := accepted(e)
	if !c.takesChildren() || len(all) == 0 {
		return nil
	}
	if c.requests.delay(e.JobID, func() ([]byte, error) { return write(e, &all[0], string(e.SessionID), 0, 0) }) {
		return nil
	}
	return all
}

// isChild reports whether a job.accepted is of a job that another one has started.
func isChild(e *envelope.Envelope) bool {
	p, err := envelope.DecodePayload[envelope.JobAccepted](e)
	return err == nil && p.ParentJobID != ""
}

func reasonOf(e *envelope.Envelope) string {
	end, err := envelope.DecodePayload[envelope.JobCancelled](e)
	if err != nil {
		return ""
	}
	return end.Reason
}

func accepted(e *envelope.Envelope) []said {
	p, err := envelope.DecodePayload[envelope.JobAccepted](e)
	if err != nil {
		return nil
	}
	a := &hello.Accepted{
		JobID: string(p.JobID), Agent: p.Agent, AcceptedAt: e.Timestamp, ParentJobID: string(p.ParentJobID),
		TraceID: traceOf(e.TraceID),
	}
	if p.ParentJobID == "" { // else it answers no request
		a.RequestID = requestID(e.CorrelationID)
	}
	e.JobID = p.JobID
	a.Lease, a.LeaseConstraints = hello.LeaseOf(p.Lease)
	if p.Lease != nil {
		a.Budget = hello.BudgetOf(p.Lease.Budget)
	}
	a.Credentials = hello.CredentialsOf(p.Credentials)
	return []said{{typ: hello.TypeAccepted, payload: a}}
}

func subscribed(e *envelope.Envelope) []said {
	p, err := envelope.DecodePayload[envelope.JobSubscribed](e)
	if err != nil {
		return nil
	}
	e.JobID, e.TraceID = p.JobID, p.TraceID
	s := &hello.Subscribed{
		JobID: string(p.JobID), CurrentStatus: hello.StatusOf(p.CurrentStatus, p.Code), Agent: p.Agent,
		TraceID: traceOf(p.TraceID), SubscribedFrom: p.SubscribedFrom, Replayed: p.Replayed,
		RequestID: requestID(e.CorrelationID), Budget: hello.BudgetOf(p.Budget),
	}
	s.Lease, s.LeaseConstraints = hello.LeaseOf(p.Lease)
	s.Credentials = hello.CredentialsOf(p.Credentials)
	if p.ParentJobID != "" {
		parent := string(p.ParentJobID)
		s.ParentJobID = &parent
	}
	return []said{{typ: hello.TypeSubscribed, payload: s}}
}

// refusedSubmit is rule 58: one message for the clients that take the one, and one for those that take the other.
func refusedSubmit(e *envelope.Envelope) []said {
	p, err := envelope.DecodePayload[envelope.JobFailed](e)
	if err != nil {
		return nil
	}
	problem := hello.ProblemOf(p.Code, p.Message, p.Details)
	if e.JobID == "" { // there is none, and never the id of another one (annex A, 22)
		e.JobID = envelope.JobID("job_" + strings.TrimPrefix(string(e.ID), "msg_"))
	}
	end := said{typ: hello.TypeJobError, payload: &hello.JobError{FinalStatus: hello.StatusError, Problem: problem, CompletedAt: e.Timestamp}}
	if e.CorrelationID == "" {
		return []said{end}
	}
	return []said{end, {typ: hello.TypeError, payload: &hello.Error{Problem: problem, RequestID: requestID(e.CorrelationID)}, bare: true}}
}

// refused is rule 58, for what is refused by a nack.
func (c *helloCodec) refused(e *envelope.Envelope) []said {
	a := c.requests.what(e.CorrelationID)
	if e.Type == envelope.TypeCancelRefused && a.typ == "" {
		return nil // the job's end has answered it, with an acknowledgement
	}
	problem := problemOf(e, a.typ)
	s := said{typ: hello.TypeError, payload: &hello.Error{Problem: problem, RequestID: requestID(e.CorrelationID), JobID: string(a.job)}}
	switch {
	case a.typ == hello.TypeCancel && e.CorrelationID != "":
		s.bare = true
	case a.typ == hello.TypeSubmit && e.CorrelationID != "":
		s.bare = true
		e.JobID = envelope.NewJobID() // of a job that there is not; it was not stored, so it is said once
		end := &hello.JobError{FinalStatus: hello.StatusError, Problem: problem, CompletedAt: e.Timestamp}
		return []said{{typ: hello.TypeJobError, payload: end}, s}
	}
	return []said{s}
}

// problemOf is what a nack or a cancel.refused says.
func problemOf(e *envelope.Envelope, asked hello.Type) hello.Problem {
	if e.Type == envelope.TypeCancelRefused {
		p, err := envelope.DecodePayload[envelope.CancelRefused](e)
		if err != nil {
			return hello.ProblemOf(envelope.CodeInternal, "", nil)
		}
		code := envelope.CodeJobNotFound
		if strings.Contains(p.Reason, "permission denied") {
			code = envelope.CodePermissionDenied
		}
		return hello.ProblemOf(code, p.Reason, nil)
	}
	p, err := envelope.DecodePayload[envelope.Nack](e)
	if err != nil {
		return hello.ProblemOf(envelope.CodeInternal, "", nil)
	}
	if p.Code == envelope.CodeNotFound && asked == hello.TypeSubscribe {
		p.Code = envelope.CodeJobNotFound // that is what is missing
	}
	return hello.ProblemOf(p.Code, p.Message, p.Details)
}
