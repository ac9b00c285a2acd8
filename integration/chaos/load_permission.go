package chaos

import (
	"context"
	"math/rand/v2"
	"time"
)

// deciding answers what jobs ask permission for: those of the client's session until they have an answer, and now and then
// one of another session, of its own principal or not.
type deciding struct {
	open map[string]question // by job
}

// question is a request for a permission.
type question struct {
	job, id                         string
	permission, resource, operation string
	again                           time.Time
}

func newDeciding() *deciding { return &deciding{open: make(map[string]question)} }

func (d *deciding) begin(ctx context.Context, c *client) error {
	q, ok := c.work.shared.question(c.random, c.notes.Principal, c.random.IntN(4) > 0)
	if !ok {
		return nil
	}
	return d.answer(ctx, c, q)
}

// answer grants or denies.
func (d *deciding) answer(ctx context.Context, c *client, q question) error {
	r := Request{Type: "permission.grant", Job: q.job}
	body := map[string]any{"permission": q.permission, "resource": q.resource, "operation": q.operation, "lease_seconds": 3600}
	if c.random.IntN(3) == 0 {
		r.Type = "permission.deny"
		body = map[string]any{"permission": q.permission, "reason": "chaos"}
	}
	if c.random.IntN(4) > 0 { // else the job says what is meant
		r.Answers = q.id
	}
	return c.sendOne(ctx, r, body)
}

// isAnswer tells whether a type answers a request for a permission.
func isAnswer(typ string) bool { return typ == "permission.grant" || typ == "permission.deny" }

func (d *deciding) due(ctx context.Context, c *client, now time.Time) (bool, error) {
	for job, q := range d.open {
		if now.After(q.again) {
			q.again = now.Add(askAgain)
			d.open[job] = q
			return true, d.answer(ctx, c, q)
		}
	}
	return false, nil
}

func (d *deciding) learn(c *client, f *frame) {
	switch {
	case f.Type == "permission.request" && c.work.open[f.JobID]:
		p := f.read()
		q := question{
			job: f.JobID, id: f.ID, permission: p.Permission, resource: p.Resource, operation: p.Operation,
			again: time.Now().Add(between(c.random, 0, time.Second)),
		}
		d.open[f.JobID] = q
		c.work.shared.wondered(c.notes.Principal, q)
	case f.Type == "lease.granted", f.terminal():
		delete(d.open, f.JobID)
	}
}

func (d *deciding) settled() bool { return true } // the job is waited for

func (s *shared) wondered(principal string, q question) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.questions[principal] = append(s.questions[principal], q)
}

// question returns one of the latest that jobs of a principal have, or of another one.
func (s *shared) question(random *rand.Rand, principal string, own bool) (question, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return ofPrincipal(random, s.questions, principal, own)
}
