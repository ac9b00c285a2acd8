package chaos

import (
	"encoding/json"
	"fmt"
)

// delegation is what the arguments of a job say that delegates.
type delegation struct {
	Tool      string          `json:"tool"`
	Arguments json.RawMessage `json:"arguments"`
}

// parent returns the job that has started a job, nil if a client has.
func (c *trial) parent(j *job) *job { return c.jobs[j.invocation.Parent] }

// isChild tells whether a job was started by another one.
func (j *job) isChild() bool { return j.invocation.Parent != "" }

// childOf says what is wrong with a job that another one has started, if anything: it is what that one was to start, it is
// the only one, and it does not outlive it.
func (c *trial) childOf(j *job) string {
	p := c.parent(j)
	switch {
	case p == nil:
		return "a child of " + j.invocation.Parent + ", which there is not"
	case p.invocation.Principal != j.invocation.Principal || p.invocation.Subject.Session != j.invocation.Subject.Session:
		return "a child of a job of another session"
	}
	for _, other := range c.jobs {
		if other != j && other.invocation.Parent == p.id {
			return p.id + " has another child, " + other.id
		}
	}
	var asked delegation
	if err := json.Unmarshal(p.arguments, &asked); err != nil || p.tool != "delegate" || asked.Tool != j.tool || !sameJSON(asked.Arguments, j.arguments) {
		return fmt.Sprintf("%s %s was started by %s %s", j.tool, j.arguments, p.tool, p.arguments)
	}
	_, end := j.ended()
	_, over := p.ended()
	if late := end.Timestamp.Sub(over.Timestamp); late > c.Slack {
		return fmt.Sprintf("it ended %v after its parent", late)
	}
	return ""
}

// childOfJob returns the job that a job has started, nil for none.
func (c *trial) childOfJob(j *job) *job {
	for _, other := range c.jobs {
		if other.invocation.Parent == j.id {
			return other
		}
	}
	return nil
}

// childCancelled tells whether the job that a job waits for was cancelled, so that it has ended in that way too.
func (c *trial) childCancelled(j *job) bool {
	child := c.childOfJob(j)
	if child == nil {
		return false
	}
	_, over := child.ended()
	return over != nil && over.Type == "job.cancelled"
}

// delegatedOf: a job that delegates ends as its child does.
func (c *trial) delegatedOf(j *job, end *frame, p payload) string {
	child := c.childOfJob(j)
	if child == nil {
		return fmt.Sprintf("it has no child, and ended with %s %s", end.Type, end.Payload)
	}
	_, over := child.ended()
	if over == nil {
		return "" // I1 says so
	}
	said := over.read()
	switch {
	case over.Type == "job.completed":
		var result struct {
			JobID string          `json:"job_id"`
			Value json.RawMessage `json:"value"`
		}
		_ = json.Unmarshal(p.Value, &result) // none is wrong
		want := said.Value
		if want == nil {
			want = json.RawMessage("null")
		}
		if end.Type != "job.completed" || result.JobID != child.id || !sameJSON(result.Value, want) {
			return fmt.Sprintf("the child gave %s, and it ended with %s %s", over.Payload, end.Type, end.Payload)
		}
	case end.Type != "job.failed":
		return fmt.Sprintf("the child ended with %s, and it with %s %s", over.Type, end.Type, end.Payload)
	case over.Type == "job.cancelled", p.Code != said.Code:
		return fmt.Sprintf("the child ended with %s %s, and it with %s", over.Type, over.Payload, end.Payload)
	}
	return ""
}
