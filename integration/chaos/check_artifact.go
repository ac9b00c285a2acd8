package chaos

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
)

// stored is an artifact, as the answer to its put says.
type stored struct{ principal, content string }

// checkArtifacts is AR-1 to AR-6: what was put can be fetched by its principal as it was, and by nobody else.
func (c *trial) checkArtifacts() {
	all, released := make(map[string]stored), make(map[string]bool)
	for _, s := range c.sessions {
		for _, r := range s.requests {
			if r.Type == "artifact.release" {
				released[r.Artifact] = true
			}
		}
		for _, f := range s.counted {
			r := s.requests[f.CorrelationID]
			if r == nil || r.Type != "artifact.put" || f.Type != "artifact.ref" {
				continue
			}
			said := f.read().Artifact
			all[said.ArtifactID] = stored{s.Principal, r.Content}
			if said.SHA256 != r.Content {
				c.blame(Violation{Rule: "AR", Client: s.Client, Request: r.ID, Detail: fmt.Sprintf("%s was put, and %s stored", r.Content, said.SHA256)})
			}
		}
	}
	for _, s := range c.sessions {
		for _, f := range s.frames {
			r := s.requests[f.CorrelationID]
			if r == nil || r.Type != "artifact.fetch" && r.Type != "artifact.put" {
				continue
			}
			if reason := fetchedRight(s, r, f, all[r.Artifact], released[r.Artifact]); reason != "" {
				c.blame(Violation{Rule: "AR", Client: s.Client, Request: r.ID, Detail: reason})
			}
		}
	}
}

// fetchedRight says what is wrong with an answer about an artifact, if anything.
func fetchedRight(s *testimony, r *Request, f *frame, what stored, released bool) string {
	p := f.read()
	switch {
	case f.Type == "artifact.ref":
		return ""
	case f.Type == "artifact.put" && what.principal != s.Principal:
		return fmt.Sprintf("%s of %q was shown", r.Artifact, what.principal)
	case f.Type == "artifact.put":
		data, err := base64.StdEncoding.DecodeString(p.text())
		if sum := sha256.Sum256(data); err != nil || hex.EncodeToString(sum[:]) != what.content {
			return fmt.Sprintf("%s is not what was put", r.Artifact)
		}
		return ""
	case f.Type == "nack" && lacksLog(p):
		return "" // checkNacks judges it
	case f.Type == "nack" && p.Code == "NOT_FOUND" && r.Type == "artifact.fetch" && (released || what.principal != s.Principal):
		return ""
	}
	return fmt.Sprintf("%s of %s was answered by %s %s", r.Type, r.Artifact, f.Type, f.Payload)
}

// releasedSince tells whether an answer says that there is no such artifact where the log has one that a session of the principal
// asked to release: it went between the answer and its delivery.
func (c *trial) releasedSince(s *testimony, got, want []byte) bool {
	shown, logged := decode(got), decode(want)
	if shown.Type != "nack" || shown.read().Code != "NOT_FOUND" || logged.Type != "artifact.put" || shown.ID != logged.ID || shown.CorrelationID != logged.CorrelationID {
		return false
	}
	asked := s.requests[logged.CorrelationID]
	return asked != nil && slices.ContainsFunc(c.sessions, func(other *testimony) bool {
		return other.Principal == s.Principal && slices.ContainsFunc(other.Requests, func(r Request) bool {
			return r.Type == "artifact.release" && r.Artifact == asked.Artifact
		})
	})
}

// sameFetched tells whether two artifact.puts are the same but for the content, which is not in the log.
func sameFetched(got, want []byte) bool {
	var a, b map[string]any
	if json.Unmarshal(got, &a) != nil || json.Unmarshal(want, &b) != nil || a["type"] != "artifact.put" {
		return false
	}
	for _, e := range []map[string]any{a, b} {
		payload, _ := e["payload"].(map[string]any)
		e["payload"] = payload["media_type"]
	}
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && bytes.Equal(x, y)
}
