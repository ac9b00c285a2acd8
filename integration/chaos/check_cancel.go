package chaos

import (
	"fmt"

	"github.com/arcp-nats/arcp/record"
)

// checkCancels is CX-1 to CX-5: what the answer to a cancel says is so.
func (c *trial) checkCancels(s *testimony) {
	for _, f := range s.counted {
		r := s.requests[f.CorrelationID]
		if r == nil || r.Type != "cancel" {
			continue
		}
		var reason string
		switch f.Type {
		case "cancel.accepted":
			reason = c.acceptedCancel(s, r, f)
		case "cancel.refused":
			reason = c.refusedCancel(s, r, f, c.places[f.ID])
		}
		if reason != "" {
			c.blame(Violation{Rule: "CX", Client: s.Client, Job: r.Job, Request: r.ID, Detail: reason})
		}
	}
}

// acceptedCancel: the job ends as cancelled, and does not start any more if it had not. A worker that could not hear of
// the cancel may still end the job in its own way, but not for longer than Slack.
func (c *trial) acceptedCancel(s *testimony, r *Request, f *frame) string {
	j := c.jobs[r.Job]
	switch {
	case j == nil:
		return "accepted for a job that is not in the log"
	case j.invocation.Principal != s.Principal:
		return "accepted for a job of " + j.invocation.Principal
	case s.Dialect == dialectHello && j.invocation.Subject.Session != s.ID:
		return "accepted for a job of another session"
	}
	_, end := j.ended()
	if end == nil {
		return "" // I1 says so
	}
	if late := end.Timestamp.Sub(f.Timestamp); end.Type != "job.cancelled" && late > c.Slack {
		return fmt.Sprintf("accepted, and %v later the job ended with %s %s", late, end.Type, end.Payload)
	}
	if start := firstStart(j.events); start != nil {
		if late := start.Timestamp.Sub(f.Timestamp); late > c.Slack {
			return fmt.Sprintf("accepted while the job waited, and %v later it started", late)
		}
	}
	return ""
}

// refusedCancel: the reason is the true one.
func (c *trial) refusedCancel(s *testimony, r *Request, f *frame, place uint64) string {
	said := f.read().Reason
	j := c.jobs[r.Job]
	var want string
	switch {
	case j == nil:
		want = "no such in-flight job"
	case j.invocation.Principal != s.Principal, s.Dialect == dialectHello && j.invocation.Subject.Session != s.ID:
		want = "permission denied: not authorized to cancel this job"
	default:
		want = "job is no longer in-flight"
		if pos, _ := j.ended(); said == want && (pos == 0 || pos > place) {
			return "refused because the job had ended, which it had not"
		}
	}
	if said != want {
		return fmt.Sprintf("refused with %q in place of %q", said, want)
	}
	return ""
}

// firstStart returns the first job.started, shown or not.
func firstStart(events []*record.Record) *frame {
	for _, r := range events {
		for typ, line := range r.Lines() {
			if typ == "job.started" {
				return decode(line)
			}
		}
	}
	return nil
}
