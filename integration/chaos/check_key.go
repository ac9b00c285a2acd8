package chaos

import (
	"fmt"
	"slices"
)

// checkKeys is ID-1 to ID-5: a key of a principal stands for one job, which is in the log once, and every answer to it
// says the same.
func (c *trial) checkKeys() {
	type scope struct{ principal, key string }
	keyed := make(map[scope]*job)
	unkeyed := make(map[string]string)
	for _, r := range c.Log {
		j := c.jobs[r.Subject.Job]
		if j == nil || r != j.invocation || j.isChild() {
			continue
		}
		if j.copies > 1 {
			c.blame(Violation{Rule: "ID-5", Job: j.id, Detail: fmt.Sprintf("the invocation is in the log %d times", j.copies)})
		}
		if j.command.IdempotencyKey == "" {
			if other := unkeyed[j.command.ID]; other != "" {
				c.blame(Violation{Rule: "ID-5", Job: j.id, Request: j.command.ID, Detail: "one request made this job and " + other})
			}
			unkeyed[j.command.ID] = j.id
			continue
		}
		at := scope{j.invocation.Principal, j.command.IdempotencyKey}
		if other := keyed[at]; other != nil {
			c.blame(Violation{Rule: "ID-5", Job: j.id, Detail: fmt.Sprintf("the key %s stands for this job and for %s", at.key, other.id)})
			continue
		}
		keyed[at] = j
	}
	for _, s := range c.sessions {
		accepted := make(map[string]bool)
		for _, f := range s.counted {
			r := s.requests[f.CorrelationID]
			if r == nil || r.Type != "tool.invoke" || c.quoted(s, f) {
				continue
			}
			if f.Type == "job.accepted" {
				accepted[r.Key] = true
			}
			if reason := judgeKey(r, f, keyed[scope{s.Principal, r.Key}], c.refusal(s, f), s.refusedKey()); reason != "" {
				c.blame(Violation{Rule: "ID-3", Client: s.Client, Job: f.JobID, Request: r.ID, Detail: reason})
			}
		}
		c.checkAsked(s, accepted)
	}
}

// judgeKey says what is wrong with an answer to a keyed request, if anything. j is the key's job, and code that of a refusal because
// the key is another request's.
func judgeKey(r *Request, f *frame, j *job, refused bool, code string) string {
	if r.Key == "" {
		return ""
	}
	if f.Type != "job.accepted" && !refused {
		return ""
	}
	if j == nil {
		return f.Type + " answers a key that stands for no job"
	}
	same := j.tool == r.Tool && sameJSON(j.arguments, r.Arguments)
	switch {
	case refused && f.read().Retryable:
		return "" // for want of credentials
	case refused && same:
		return "the same request was refused: " + string(f.Payload)
	case refused:
		if f.read().Code != code {
			return "another request was refused with " + f.read().Code
		}
		return ""
	case !same:
		return fmt.Sprintf("%s %s was accepted under the key of %s %s", r.Tool, r.Arguments, j.tool, j.arguments)
	case f.JobID != j.id:
		return fmt.Sprintf("the key brought %s, and stands for %s", f.JobID, j.id)
	}
	for _, line := range j.invocation.Lines() {
		if first := decode(line); !sameAcceptance(first.Payload, f.Payload) {
			return fmt.Sprintf("the acceptance says %s, and the first one said %s", f.Payload, first.Payload)
		}
		break
	}
	return ""
}

// checkAsked: a client that asks under a key until it is answered is answered in the end. Requests for which a key of
// another session was borrowed are not asked again.
func (c *trial) checkAsked(s *testimony, accepted map[string]bool) {
	var missing []string
	for _, r := range s.Requests {
		if r.Type == "tool.invoke" && r.Key != "" && r.Owned && !accepted[r.Key] && !slices.Contains(missing, r.Key) {
			missing = append(missing, r.Key)
			c.blame(Violation{Rule: "ID-5", Client: s.Client, Request: r.ID, Detail: "the key " + r.Key + " was never accepted"})
		}
	}
}
