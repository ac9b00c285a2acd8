package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

const (
	// maxOpen bounds the jobs of a client that have not ended.
	maxOpen = 10
	// askAgain is when a request without an answer is sent again.
	askAgain = 3 * time.Second
	// doomedMS is how long the jobs sleep that are there to be cancelled: longer than anybody waits.
	doomedMS = 10 * 60 * 1000
)

// call is an invocation that can be sent again.
type call struct {
	tool      string
	arguments json.RawMessage
	lease     json.RawMessage
	key       string
}

// work is what a client has to do, and remembers of it.
type work struct {
	shared *shared
	calls  map[string]call        // by message id, until answered
	asked  map[string]pendingCall // keyed calls without an answer, by key
	open   map[string]bool        // jobs of the session that have not ended
	others map[string]bool        // jobs that the session has subscribed to
	doomed map[string]time.Time   // those of them that never end by themselves; when to cancel next
	feeds  map[string]int         // chunks to stream to the job that a message asks for, by message id
	count  int                    // of invocations
	chores []chore
}

// pendingCall is a keyed call that must be accepted in the end.
type pendingCall struct {
	call
	again time.Time
}

func newWork(s *shared) *work {
	return &work{
		shared: s, calls: make(map[string]call), asked: make(map[string]pendingCall),
		feeds: make(map[string]int), open: make(map[string]bool), others: make(map[string]bool), doomed: make(map[string]time.Time), chores: newChores(),
	}
}

// shared is what clients know of each other's work.
type shared struct {
	mu    sync.Mutex
	keys  map[string][]call   // keyed calls, by principal
	taken map[string][]call   // those of them that were accepted
	jobs  map[string][]string // accepted jobs, by principal

	artifacts map[string][]string   // by principal
	questions map[string][]question // by principal
}

func newShared() *shared {
	return &shared{
		keys: make(map[string][]call), taken: make(map[string][]call), jobs: make(map[string][]string),
		artifacts: make(map[string][]string), questions: make(map[string][]question),
	}
}

func (s *shared) accepted(principal string, c call, job string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jobs[principal] = append(s.jobs[principal], job)
	if c.key != "" {
		s.taken[principal] = append(s.taken[principal], c)
	}
}

func (s *shared) asked(principal string, c call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[principal] = append(s.keys[principal], c)
}

// key returns one of the principal's latest keyed calls, which may not be accepted yet: two sessions race for it then.
func (s *shared) key(random *rand.Rand, principal string) (call, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return latest(random, s.keys[principal])
}

// takenKey returns one that stands for a job already, so that another request cannot have it.
func (s *shared) takenKey(random *rand.Rand, principal string) (call, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return latest(random, s.taken[principal])
}

// job returns one of the latest jobs of a principal, or of another one.
func (s *shared) job(random *rand.Rand, principal string, own bool) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return ofPrincipal(random, s.jobs, principal, own)
}

// ofPrincipal draws one of the latest of a principal's list, or of another one's.
func ofPrincipal[T any](random *rand.Rand, lists map[string][]T, principal string, own bool) (one T, ok bool) {
	for name, list := range lists {
		if (name == principal) == own {
			return latest(random, list)
		}
	}
	return one, false
}

// latest draws one of the last of a list.
func latest[T any](random *rand.Rand, list []T) (one T, ok bool) {
	if len(list) == 0 {
		return one, false
	}
	return list[len(list)-1-random.IntN(min(len(list), 20))], true
}

// asked remembers a request that was sent.
func (c *client) asked(r *Request) {
	if r.Type == "job.subscribe" {
		c.work.others[r.Job] = true
	}
	if r.Type != "tool.invoke" {
		return
	}
	it := call{tool: r.Tool, arguments: r.Arguments, lease: r.Lease, key: r.Key}
	c.work.calls[r.ID] = it
	if it.tool == "collect" {
		c.work.feeds[r.ID] = chunksFed(it.arguments)
	}
	if pending, ok := c.work.asked[r.Key]; ok {
		pending.again = r.At.Add(askAgain)
		c.work.asked[r.Key] = pending
	}
}

// learn takes in what the runtime says.
func (c *client) learn(f *frame) {
	w := c.work
	for _, chore := range w.chores {
		chore.learn(c, f)
	}
	switch {
	case f.Type == "job.accepted" && f.ParentJobID != "":
		if strings.HasPrefix(f.CorrelationID, c.idPrefix()) { // else of a job of another session, which is watched
			w.open[f.JobID] = true
			w.shared.accepted(c.notes.Principal, call{}, f.JobID)
		}
	case f.Type == "job.accepted":
		it, ours := w.calls[f.CorrelationID]
		if !ours {
			return
		}
		delete(w.calls, f.CorrelationID)
		delete(w.asked, it.key)
		if f.IdempotencyKey == "" { // not the repeated acceptance of a job that may be another session's
			w.open[f.JobID] = true
			if sleepsLong(it) {
				w.doomed[f.JobID] = time.Now().Add(between(c.random, 0, 2*time.Second))
			}
			w.shared.accepted(c.notes.Principal, it, f.JobID)
		}
	case f.Type == "job.started" && c.wire.vague() && !w.others[f.JobID]: // the acceptance may be lost
		w.open[f.JobID] = true
	case f.terminal():
		delete(w.open, f.JobID)
		delete(w.doomed, f.JobID)
		if it, ours := w.calls[f.CorrelationID]; ours { // it was refused: what is accepted is not among them
			delete(w.calls, f.CorrelationID)
			if pending, asked := w.asked[it.key]; asked && !f.read().Retryable && bytes.Equal(pending.call.arguments, it.arguments) {
				delete(w.asked, it.key) // the key is another request's
			}
		}
	}
}

// can tells whether a client can ask for a job that another one asks for: whether it can give the job what that waits for, and
// does not have to know of it to cancel it.
func (c *client) can(it call) bool {
	return !c.wire.vague() || it.tool != "ask" && it.tool != "collect" && !sleepsLong(it)
}

// sleepsLong tells whether a job never ends by itself, or waits for one that does not.
func sleepsLong(it call) bool {
	if it.lease != nil && it.tool == "sleep" {
		return false // its lease ends
	}
	var a struct {
		MS        int `json:"ms"`
		Arguments struct {
			MS int `json:"ms"`
		} `json:"arguments"`
	}
	return json.Unmarshal(it.arguments, &a) == nil && (a.MS == doomedMS || a.Arguments.MS == doomedMS)
}

// act does one piece of work. It is false when the connection is lost, or given up.
func (c *client) act(ctx context.Context) bool {
	now := time.Now()
	for _, pending := range c.work.asked {
		if now.After(pending.again) {
			return c.invoke(ctx, pending.call) == nil
		}
	}
	for job, at := range c.work.doomed {
		if now.After(at) {
			c.work.doomed[job] = now.Add(askAgain)
			return c.cancel(ctx, job) == nil
		}
	}
	settled := len(c.work.asked) == 0 && len(c.work.open) == 0
	for _, chore := range c.work.chores {
		if acted, err := chore.due(ctx, c, now); acted {
			return err == nil
		}
		settled = settled && chore.settled()
	}
	if c.settling.Load() {
		c.settled.Store(settled)
		return true
	}
	switch n := c.random.IntN(100); {
	case n < 54:
		if len(c.work.open)+len(c.work.asked) >= maxOpen {
			return true
		}
		it := c.newCall()
		if it.key != "" {
			c.work.asked[it.key] = pendingCall{call: it}
			c.work.shared.asked(c.notes.Principal, it)
		}
		return c.invoke(ctx, it) == nil
	case n < 68: // a retry of an own key or of another session's
		if it, ok := c.work.shared.key(c.random, c.notes.Principal); ok && c.can(it) {
			return c.invoke(ctx, it) == nil
		}
	case n < 71: // the key for something else
		if it, ok := c.work.shared.takenKey(c.random, c.notes.Principal); ok {
			it.arguments = c.arguments(map[string]any{"other": c.random.Int()})
			return c.invoke(ctx, it) == nil
		}
	case n < 80:
		if job, ok := c.work.shared.job(c.random, c.notes.Principal, true); ok {
			return c.cancel(ctx, job) == nil
		}
	case n < 83:
		if job, ok := c.work.shared.job(c.random, c.notes.Principal, false); ok {
			return c.cancel(ctx, job) == nil
		}
	case n < 85:
		return c.cancel(ctx, unknownJob) == nil
	case n < 87: // roam
		return false
	default:
		return c.work.chores[c.random.IntN(len(c.work.chores))].begin(ctx, c) == nil
	}
	return true
}

// unknownJob is a job that there never was.
const unknownJob = "job_00000000000000000000000000"

func (c *client) invoke(ctx context.Context, it call) error {
	body := map[string]any{"tool": it.tool, "arguments": it.arguments}
	if it.lease != nil {
		body["lease_request"] = it.lease
	}
	return c.sendOne(ctx, Request{
		Type: "tool.invoke", Tool: it.tool, Arguments: it.arguments, Lease: it.lease, Key: it.key, Owned: c.work.asked[it.key].key != "",
	}, body)
}

func (c *client) cancel(ctx context.Context, job string) error {
	return c.sendOne(ctx, Request{Type: "cancel", Job: job},
		map[string]any{"target": "job", "target_id": job, "reason": "chaos", "deadline_ms": 1000})
}
