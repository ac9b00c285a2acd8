package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
)

// checkCredentials is CR-2 to CR-6: a credential is shown to the session that asked for the job, or that asks for it
// again with its key, or of the hello dialect to one of its principal that subscribes to the job, and to nobody else; it is nowhere in the log; it is good until the job has ended, and then it is
// revoked.
func (c *trial) checkCredentials() {
	byID := make(map[string]*Issued)
	for i := range c.Issued {
		one := &c.Issued[i]
		byID[one.ID] = one
		if one.Revoked.IsZero() {
			c.blame(Violation{Rule: "CR-4", Job: one.Job, Detail: one.ID + " was not revoked"})
		}
	}
	for _, r := range c.Log {
		if bytes.Contains(r.Body, []byte(issuedMark)) {
			c.blame(Violation{Rule: "CR-6", Job: r.Subject.Job, Detail: fmt.Sprintf("a credential is in the log, at %d", r.Seq)})
		}
	}
	for _, s := range c.sessions {
		for i, l := range s.Links {
			for k, data := range l.Frames {
				if bytes.Contains(data, []byte(issuedMark)) {
					if reason := c.shownRight(s, s.links[i][k], data, byID); reason != "" {
						c.blame(Violation{Rule: "CR-6", Client: s.Client, Job: s.links[i][k].JobID, Detail: reason})
					}
				}
			}
		}
	}
}

// issuedMark is in the value of every credential.
const issuedMark = "issued-value-"

// shownRight says what is wrong with a frame that has a credential in it, if anything.
func (c *trial) shownRight(s *testimony, f *frame, data []byte, byID map[string]*Issued) string {
	j := c.jobs[f.JobID]
	subscribed := f.Type == "job.subscribed" && s.Dialect == dialectHello // that dialect tells the job's principal then too
	switch {
	case f.Type != "job.accepted" && !subscribed:
		return "a credential was shown in " + f.Type
	case j == nil || j.invocation.Principal != s.Principal || !subscribed && j.invocation.Subject.Session != s.ID && f.IdempotencyKey == "":
		return "a credential was shown to somebody else"
	}
	for _, shown := range f.read().Credentials {
		one := byID[shown.ID]
		if one == nil || one.Value != shown.Value || one.Job != f.JobID || one.Principal != s.Principal {
			return fmt.Sprintf("%s is not what was issued: %s", shown.ID, data)
		}
		if _, end := j.ended(); end != nil && !one.Revoked.IsZero() && one.Revoked.Before(end.Timestamp) {
			return fmt.Sprintf("%s was revoked %v before the job ended", shown.ID, end.Timestamp.Sub(one.Revoked))
		}
	}
	return ""
}

// withoutCredentials returns a job.accepted as the log has it; anything else as it is.
func withoutCredentials(data []byte) []byte {
	if !bytes.Contains(data, []byte(issuedMark)) {
		return data
	}
	var e map[string]any
	if json.Unmarshal(data, &e) != nil {
		return data
	}
	payload, ok := e["payload"].(map[string]any)
	if !ok || e["type"] != "job.accepted" {
		return data
	}
	delete(payload, "credentials")
	stripped, err := json.Marshal(e)
	if err != nil {
		return data
	}
	return stripped
}

// sameAcceptance tells whether two payloads of a job.accepted are the same, but for credentials.
func sameAcceptance(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	var x, y map[string]any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	for _, name := range []string{"credentials", "agent"} { // the latter is told in one dialect
		delete(x, name)
		delete(y, name)
	}
	return reflect.DeepEqual(x, y)
}

// sameShown tells whether two frames are the same, but for credentials, which are shown while they are good.
func sameShown(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	x, y := withoutCredentials(a), withoutCredentials(b)
	return (len(x) != len(a) || len(y) != len(b)) && sameJSON(x, y)
}
