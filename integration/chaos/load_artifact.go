package chaos

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"math/rand/v2"
	"time"
)

// maxContent bounds the bytes of an artifact.
const maxContent = 30_000

// archive puts artifacts and fetches them, its own and those of other sessions. Some are its secret: it releases those.
type archive struct {
	pending *asking
	private []string
}

func (a *archive) begin(ctx context.Context, c *client) error {
	if a.pending != nil {
		return nil
	}
	n := c.random.IntN(10)
	switch {
	case n < 4:
		a.put(c)
	case n < 9:
		id, ok := c.work.shared.artifact(c.random, c.notes.Principal, n < 8)
		if !ok {
			return nil
		}
		a.pending = &asking{request: Request{Type: "artifact.fetch", Artifact: id}, body: map[string]any{"artifact_id": id}}
	default:
		if len(a.private) == 0 {
			return nil
		}
		id := a.private[0]
		a.private = a.private[1:]
		if err := c.sendOne(ctx, Request{Type: "artifact.release", Artifact: id}, map[string]any{"artifact_id": id}); err != nil {
			return err
		}
		a.pending = &asking{request: Request{Type: "artifact.fetch", Artifact: id}, body: map[string]any{"artifact_id": id}}
	}
	return a.pending.ask(ctx, c)
}

func (a *archive) put(c *client) {
	data := make([]byte, 1+c.random.IntN(maxContent))
	for i := range data {
		data[i] = byte(c.random.Uint32())
	}
	copy(data, c.notes.Secret)
	sum := sha256.Sum256(data)
	body := map[string]any{"media_type": "application/octet-stream", "data": base64.StdEncoding.EncodeToString(data)}
	request := Request{Type: "artifact.put", Content: hex.EncodeToString(sum[:]), Private: c.random.IntN(4) == 0}
	if c.random.IntN(2) == 0 {
		body["sha256"] = request.Content
	}
	a.pending = &asking{request: request, body: body}
}

func (a *archive) due(ctx context.Context, c *client, now time.Time) (bool, error) {
	return a.pending.due(ctx, c, now)
}

func (a *archive) learn(c *client, f *frame) {
	if f.Type == "artifact.ref" && a.pending != nil && a.pending.ids[f.CorrelationID] {
		id := f.read().Artifact.ArtifactID
		if a.pending.request.Private {
			a.private = append(a.private, id)
		} else {
			c.work.shared.stored(c.notes.Principal, id)
		}
	}
	if a.pending.answeredBy(f) {
		a.pending = nil
	}
}

func (a *archive) settled() bool { return a.pending == nil }

func (s *shared) stored(principal, artifact string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.artifacts[principal] = append(s.artifacts[principal], artifact)
}

// artifact returns one of the latest artifacts of a principal, or of another one.
func (s *shared) artifact(random *rand.Rand, principal string, own bool) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return ofPrincipal(random, s.artifacts, principal, own)
}
