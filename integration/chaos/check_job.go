package chaos

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// checkJobs is I1 and the rules about jobs: each accepted one has been shown from its acceptance to its one end, in
// order, and ended as its tool ends.
func (c *trial) checkJobs() {
	owners := make(map[string]*testimony)
	for _, s := range c.sessions {
		owners[s.ID] = s
	}
	shown := make(map[string][]*frame)                  // what the owner was shown of a job
	watched := make(map[*testimony]map[string][]*frame) // what other sessions were
	for _, s := range c.sessions {
		watched[s] = make(map[string][]*frame)
		for _, f := range s.counted {
			j := c.jobs[f.JobID]
			switch {
			case f.JobID == "", c.refusal(s, f), f.Type == "nack":
			case j == nil:
				c.blame(Violation{Rule: "log first", Client: s.Client, Job: f.JobID, Detail: f.Type + " was shown of a job that is not in the log"})
			case j.invocation.Subject.Session == s.ID:
				if f.IdempotencyKey == "" || f.Type != "job.accepted" {
					shown[f.JobID] = append(shown[f.JobID], f)
				}
			default:
				watched[s][f.JobID] = append(watched[s][f.JobID], f)
			}
		}
	}
	for _, s := range c.sessions {
		for _, id := range slices.Sorted(maps.Keys(watched[s])) {
			if reason := watchOf(s, id, watched[s][id], shown[id]); reason != "" {
				c.blame(Violation{Rule: "JS", Client: s.Client, Job: id, Detail: reason})
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(c.jobs)) {
		j := c.jobs[id]
		owner := owners[j.invocation.Subject.Session]
		if owner == nil {
			c.blame(Violation{Rule: "I4", Job: id, Detail: "a job of a session that there is not"})
			continue
		}
		if reason := c.lifeOf(j, owner, shown[id]); reason != "" {
			c.blame(Violation{Rule: "I1", Client: owner.Client, Job: id, Detail: reason})
		} else if reason := c.outcomeOf(j, shown[id]); reason != "" {
			c.blame(Violation{Rule: "outcome", Client: owner.Client, Job: id, Detail: reason})
		}
	}
}

// lifeOf says what is wrong with the events of a job that its session was shown, if anything.
func (c *trial) lifeOf(j *job, owner *testimony, events []*frame) string {
	ends, starts := 0, 0
	for i, f := range events {
		switch {
		case (f.Type == "job.accepted") != (i == 0):
			return fmt.Sprintf("event %d of the job is %s", i+1, f.Type)
		case ends > 0:
			return f.Type + " was shown after the end"
		case f.Type == "job.started":
			starts++
		case f.terminal():
			ends++
		case starts == 0 && i > 0:
			return f.Type + " was shown before the start"
		}
	}
	switch {
	case len(events) == 0:
		return "an accepted job was never shown"
	case ends == 0:
		return "an accepted job has no end"
	case starts == 0 && events[len(events)-1].Type == "job.completed":
		return "completed and never started"
	case j.invocation.Principal != owner.Principal:
		return fmt.Sprintf("the job is %s's in the log, and was %s's", j.invocation.Principal, owner.Principal)
	}
	if j.isChild() {
		return c.childOf(j)
	}
	asked := owner.requests[j.command.ID]
	if asked == nil || asked.Tool != j.tool || !sameJSON(asked.Arguments, j.arguments) {
		return fmt.Sprintf("nobody asked for %s %s", j.tool, j.arguments)
	}
	return ""
}

// refusal tells whether a frame refuses an invocation. It has the id of a job that there will not be (TI-2).
func (c *trial) refusal(s *testimony, f *frame) bool {
	r := s.requests[f.CorrelationID]
	return f.Type == "job.failed" && r != nil && r.Type == "tool.invoke" && (f.JobID == "" || c.jobs[f.JobID] == nil && r.Lease != nil)
}

// outcomeOf says why a job must not end as it did, if that is so.
func (c *trial) outcomeOf(j *job, events []*frame) string {
	end := events[len(events)-1]
	p := end.read()
	switch {
	case end.Type == "job.cancelled":
		if !c.cancelAsked(j) && !c.orphaned(j) && !c.childCancelled(j) {
			return "cancelled, and nobody asked for that"
		}
		return ""
	case end.Type == "job.failed" && p.Code == "ABORTED" && (j.tool != "delegate" || j.attempts() == c.MaxAttempts):
		if n := j.attempts(); n < c.MaxAttempts {
			return fmt.Sprintf("given up after %d attempts of %d", n, c.MaxAttempts)
		}
		return ""
	}
	attempt := events
	for i, f := range events {
		if f.Type == "job.started" {
			attempt = events[i+1 : len(events)-1]
		}
	}
	if reason, bounded := c.leaseOf(j, attempt, end, p); bounded {
		return reason
	}
	switch {
	case j.tool == "delegate":
		return c.delegatedOf(j, end, p)
	case j.tool == "ask" && end.Type == "job.completed":
		return c.permissionOf(j, p)
	}
	return outcomeOfTool(j, attempt, end, p)
}

// orphaned tells whether a job was started by one that has ended, so that it need not go on.
func (c *trial) orphaned(j *job) bool {
	p := c.parent(j)
	if p == nil {
		return false
	}
	_, over := p.ended()
	return over != nil
}

// outcomeOfTool judges a job that its tool ended, by what that tool does. attempt is what the last attempt said before
// its end.
func outcomeOfTool(j *job, attempt []*frame, end *frame, p payload) string {
	var a struct {
		MS, To, Lines int
		Code          string
	}
	if err := json.Unmarshal(j.arguments, &a); err != nil {
		return "arguments: " + err.Error()
	}
	var result struct {
		SleptMS     int `json:"slept_ms"`
		Counted     int `json:"counted"`
		Lines       int `json:"lines"`
		ResumedFrom int `json:"resumed_from"`
	}
	_ = json.Unmarshal(p.Value, &result) // what is no object reads as nothing, and is judged as that
	want := "job.completed"
	if j.tool == "fail" || j.tool == "panic" {
		want = "job.failed"
	}
	if end.Type != want {
		return fmt.Sprintf("%s ended with %s %s", j.tool, end.Type, end.Payload)
	}
	bad := false
	switch j.tool {
	case "echo":
		bad = !sameJSON(p.Value, j.arguments)
	case "sleep":
		bad = result.SleptMS != a.MS
	case "count", "attempt":
		if bad = result.Counted != a.To; !bad {
			return progressOf(attempt, result.ResumedFrom, a.To)
		}
	case "log":
		if bad = result.Lines != a.Lines; !bad {
			return linesOf(attempt, a.Lines)
		}
	case "collect":
		return collectedOf(j, p)
	case "chunks", "stream", "artifact":
		return saidOf(j, attempt, p)
	case "fail":
		bad = p.Code != a.Code
	case "panic":
		bad = p.Code != "INTERNAL"
	}
	if bad {
		return fmt.Sprintf("%s %s gave %s", j.tool, j.arguments, end.Payload)
	}
	return ""
}

// progressOf says what is missing of the steps of an attempt.
func progressOf(attempt []*frame, from, to int) string {
	next := from + 1
	for _, f := range attempt {
		if f.Type != "job.progress" {
			continue
		}
		if got := int(f.read().Current); got != next {
			return fmt.Sprintf("step %d was shown where %d was due", got, next)
		}
		next++
	}
	if next != to+1 {
		return fmt.Sprintf("the steps end at %d of %d", next-1, to)
	}
	return ""
}

// linesOf says what is missing of the lines of an attempt.
func linesOf(attempt []*frame, lines int) string {
	n := 0
	for _, f := range attempt {
		if f.Type != "log" {
			continue
		}
		n++
		if want := fmt.Sprintf("line %d of %d", n, lines); f.read().Message != want {
			return fmt.Sprintf("%q was shown where %q was due", f.read().Message, want)
		}
	}
	if n != lines {
		return fmt.Sprintf("the lines end at %d of %d", n, lines)
	}
	return ""
}

// attempts returns the highest attempt that spoke about the job.
func (j *job) attempts() (n int) {
	for _, r := range j.events {
		n = max(n, r.Attempt)
	}
	return n
}

func (c *trial) cancelAsked(j *job) bool {
	for _, s := range c.sessions {
		for _, r := range s.Requests {
			if r.Type == "cancel" && r.Job == j.id && s.Principal == j.invocation.Principal {
				return true
			}
		}
	}
	return false
}

// sameJSON tells whether two texts say the same.
func sameJSON(a, b json.RawMessage) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}
