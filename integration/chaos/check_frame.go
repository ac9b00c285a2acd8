package chaos

import (
	"bytes"
	"fmt"
	"slices"
)

// uncounted are the types that a client may be shown without a number.
var uncounted = map[string]bool{
	"session.accepted": true, "session.resumed": true, "session.rejected": true, "session.evicted": true,
	"session.ping": true, "session.pong": true, "nack": true, "backpressure": true,
}

// checkFrames judges each frame by itself: it is an envelope, of this session, about jobs of this principal, and holds no
// secret of another (I4); and the session was never given up.
func (c *trial) checkFrames(s *testimony) {
	for i, l := range s.Links {
		for k, data := range l.Frames {
			f := s.links[i][k]
			v := Violation{Client: s.Client, Job: f.JobID}
			switch {
			case f.Type == "" || f.ID == "":
				v.Rule, v.Detail = "wire", fmt.Sprintf("not an envelope: %s", data)
			case f.EventSeq == 0 && !uncounted[f.Type]:
				v.Rule, v.Detail = "FC-1", fmt.Sprintf("%s without a number: %s", f.Type, data)
			case f.EventSeq > 0 && uncounted[f.Type] && f.Type != "nack":
				v.Rule, v.Detail = "FC-1", fmt.Sprintf("%s with a number: %s", f.Type, data)
			case f.Type == "session.rejected" && f.read().Code != "UNAVAILABLE":
				v.Rule, v.Detail = "RE-3", fmt.Sprintf("the session was given up on connection %d to %s: %s", i+1, l.Edge, data)
			case f.Type == "session.evicted" && f.read().Code != "ABORTED":
				v.Rule, v.Detail = "RE-6", fmt.Sprintf("the session was evicted on connection %d to %s: %s", i+1, l.Edge, data)
			case f.Type == "subscribe.event" && f.SessionID != "":
				v.Rule, v.Detail = "SB-6", fmt.Sprintf("a wrapper that names a session: %s", data)
			case f.Type != "session.rejected" && f.Type != "subscribe.event" && f.SessionID != s.ID:
				v.Rule, v.Detail = "I4", fmt.Sprintf("an envelope of another session: %s", data)
			}
			if v.Rule != "" {
				c.blame(v)
			}
			c.checkPrivacy(s, f, data)
		}
	}
}

// checkPrivacy is I4: nothing of another principal.
func (c *trial) checkPrivacy(s *testimony, f *frame, data []byte) {
	if j := c.jobs[f.JobID]; j != nil && j.invocation.Principal != s.Principal && f.Type != "nack" {
		c.blame(Violation{Rule: "I4", Client: s.Client, Job: f.JobID, Detail: fmt.Sprintf(
			"a job of %s was shown to %s: %s", j.invocation.Principal, s.Principal, data)})
	}
	for principal, secret := range c.secrets {
		if principal != s.Principal && bytes.Contains(data, secret) {
			c.blame(Violation{Rule: "I4", Client: s.Client, Detail: fmt.Sprintf("a secret of %s: %s", principal, data)})
		}
	}
}

// answers are the types that answer a request, and of which type that is; "" is any.
var answers = map[string]string{
	"job.accepted": "tool.invoke", "job.failed": "tool.invoke", "cancel.accepted": "cancel", "cancel.refused": "cancel",
	"subscribe.accepted": "subscribe", "artifact.ref": "artifact.put", "artifact.put": "artifact.fetch", "job.subscribed": "job.subscribe",
	"nack": "",
}

// checkAnswers judges what answers a request: it is one of the session's own, it has one answer, and a refusal for want
// of the log can be tried again and means what it says.
func (c *trial) checkAnswers(s *testimony) {
	answered := make(map[string]*frame)
	for _, f := range s.counted {
		asked, answers := answers[f.Type]
		if !answers || f.JobID != "" && (f.Type == "job.failed" && !c.refusal(s, f) || f.Type == "artifact.ref") {
			continue
		}
		if c.quoted(s, f) {
			continue
		}
		v := Violation{Client: s.Client, Job: f.JobID, Request: f.CorrelationID}
		r := s.requests[f.CorrelationID]
		switch {
		case r == nil:
			v.Rule, v.Detail = "answers", f.Type+" answers nothing that this session asked"
		case asked != "" && r.Type != asked:
			v.Rule, v.Detail = "answers", f.Type+" answers a "+r.Type
		case answered[f.CorrelationID] != nil && r.Stream == "": // what is said again in a stream may be refused again
			v.Rule, v.Detail = "answers", fmt.Sprintf("%s and %s answer one request", answered[f.CorrelationID].Type, f.Type)
		}
		answered[f.CorrelationID] = f
		if v.Rule != "" {
			c.blame(v)
		}
	}
	c.checkNacks(s)
}

// quoted tells whether a job.accepted answers nothing that the session has asked: it is of a job's job, which is said under
// the same request, or from the past of a job of another session.
func (c *trial) quoted(s *testimony, f *frame) bool {
	j := c.jobs[f.JobID]
	return f.Type == "job.accepted" && j != nil && (j.isChild() || f.IdempotencyKey == "" && j.invocation.Subject.Session != s.ID)
}

// streamRefusals are those of what is said again in a stream, or too late.
var streamRefusals = []string{"OUT_OF_RANGE", "FAILED_PRECONDITION", "NOT_FOUND"}

// refusable are the requests that may be refused for a reason of their own, and the reasons.
var refusable = map[string][]string{
	"artifact.fetch": {"NOT_FOUND"}, "job.subscribe": {"PERMISSION_DENIED"},
	"stream.open": streamRefusals, "stream.chunk": streamRefusals, "stream.close": streamRefusals,
	"permission.grant": {"NOT_FOUND", "FAILED_PRECONDITION", "PERMISSION_DENIED"}, "permission.deny": {"NOT_FOUND", "FAILED_PRECONDITION", "PERMISSION_DENIED"},
}

// checkNacks judges refusals for want of the log.
func (c *trial) checkNacks(s *testimony) {
	started := make(map[string]string) // job by request
	for _, j := range c.jobs {
		started[j.command.ID] = j.id
	}
	for _, f := range s.frames {
		if f.Type != "nack" {
			continue
		}
		p := f.read()
		v := Violation{Client: s.Client, Request: f.CorrelationID}
		r := s.requests[f.CorrelationID]
		switch {
		case !lacksLog(p) && r != nil && slices.Contains(refusable[r.Type], p.Code):
			continue // who judges these requests judges that
		case !lacksLog(p):
			v.Rule, v.Detail = "nack", fmt.Sprintf("nothing here is to be refused with %s: %s", p.Code, f.Payload)
		case f.EventSeq != 0:
			v.Rule, v.Detail = "TR-4", "a refusal for want of the log has a number"
		case !p.Details.Retryable:
			v.Rule, v.Detail = "nack", fmt.Sprintf("a refusal for want of the log that must not be tried again: %s", f.Payload)
		case p.Code == "RESOURCE_EXHAUSTED" && started[f.CorrelationID] != "":
			v.Rule, v.Job, v.Detail = "nack", started[f.CorrelationID], "refused because the log is full, and yet in it"
		default:
			continue
		}
		c.blame(v)
	}
}
