package chaos

import (
	"encoding/json"
	"fmt"
	"time"
)

// permissionOf is LE-5: a job that asks is told what somebody of its principal has said, the first time; a grant outlives the
// worker that asked for it.
func (c *trial) permissionOf(j *job, p payload) string {
	var result struct{ Granted bool }
	if err := json.Unmarshal(p.Value, &result); err != nil {
		return "the result: " + err.Error()
	}
	said := map[bool]string{true: "permission.grant", false: "permission.deny"}[result.Granted]
	if !c.answered(j, said) {
		return fmt.Sprintf("granted is %t, and nobody has sent a %s", result.Granted, said)
	}
	granted := 0 // the attempt that has used a grant
	var since time.Time
	for _, r := range j.events {
		for typ, line := range r.Lines() {
			switch {
			case typ == "lease.granted":
				granted, since = max(granted, r.Attempt), r.Time
			// What was asked before, by a worker that the log could not hear, may stand after it.
			case typ == "permission.request" && granted > 0 && r.Attempt > granted && decode(line).Timestamp.After(since):
				return fmt.Sprintf("attempt %d asked for what attempt %d had been granted", r.Attempt, granted)
			}
		}
	}
	if granted > 0 && !result.Granted {
		return "denied, though it had been granted"
	}
	return ""
}

// answered tells whether a session of the job's principal has answered it with a type.
func (c *trial) answered(j *job, typ string) bool {
	for _, s := range c.sessions {
		for _, r := range s.Requests {
			if r.Type == typ && r.Job == j.id && s.Principal == j.invocation.Principal {
				return true
			}
		}
	}
	return false
}
