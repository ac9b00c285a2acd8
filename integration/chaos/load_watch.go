package chaos

import (
	"context"
	"maps"
	"slices"
	"time"
)

// maxWatched bounds the jobs that a client watches.
const maxWatched = 3

// watching subscribes to jobs of other sessions, of its own principal or not.
type watching struct {
	pending *asking
	met     map[string]bool // jobs that the session knows already
	open    map[string]bool // jobs that are watched
}

func newWatching() *watching {
	return &watching{met: make(map[string]bool), open: make(map[string]bool)}
}

func (w *watching) begin(ctx context.Context, c *client) error {
	n := c.random.IntN(10)
	if n == 0 && len(w.open) > 0 {
		job := slices.Sorted(maps.Keys(w.open))[0]
		delete(w.open, job)
		return c.sendOne(ctx, Request{Type: "job.unsubscribe", Job: job}, map[string]any{"job_id": job})
	}
	job, ok := c.work.shared.job(c.random, c.notes.Principal, n < 9)
	if !ok || w.pending != nil || w.met[job] || len(w.open) >= maxWatched {
		return nil
	}
	r := Request{Type: "job.subscribe", Job: job, History: c.random.IntN(3) > 0}
	body := map[string]any{"job_id": job}
	if r.History {
		body["history"] = true
		if c.random.IntN(3) == 0 {
			r.After = 1 + uint64(c.random.IntN(2*int(c.seq)+1))
			body["from_event_seq"] = r.After
		}
	}
	w.pending = &asking{request: r, body: body}
	return w.pending.ask(ctx, c)
}

func (w *watching) due(ctx context.Context, c *client, now time.Time) (bool, error) {
	return w.pending.due(ctx, c, now)
}

func (w *watching) learn(_ *client, f *frame) {
	if f.JobID != "" {
		w.met[f.JobID] = true
	}
	if w.pending.answeredBy(f) {
		w.pending = nil
	}
	switch {
	case f.Type == "job.subscribed":
		w.open[f.JobID] = true
	case f.terminal():
		delete(w.open, f.JobID)
	}
}

func (w *watching) settled() bool { return w.pending == nil }
