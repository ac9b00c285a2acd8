package edge

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/arcp-nats/arcp/envelope"
)

// quotas counts what each principal holds on this edge. It knows of no other edge: a principal can have as much again
// on each. It is safe for concurrent use.
type quotas struct {
	maxSessions int // Config.MaxSessionsPerPrincipal

	mu      sync.Mutex
	tallies map[string]*tally // of the principals that hold anything
}

// tally is what one principal holds.
type tally struct {
	// sessions counts the connections that hold each session: two while one takes over from the other. Guarded by
	// quotas.mu.
	sessions map[envelope.SessionID]int
	// jobs is the number of open jobs of these sessions.
	jobs atomic.Int64
}

// tooManySessions refuses a session.
type tooManySessions struct{ have, limit int }

func (e *tooManySessions) Error() string {
	return fmt.Sprintf("the principal has %d sessions on this edge, the limit is %d sessions of a principal; "+
		"close one, or try again", e.have, e.limit)
}

func newQuotas(maxSessions int) *quotas {
	return &quotas{maxSessions: maxSessions, tallies: make(map[string]*tally)}
}

// admit counts a session in, or fails with *tooManySessions. A session that is held here already is let in: its old
// connection may be dead without the edge having noticed. Each success needs a release.
func (q *quotas) admit(principal string, id envelope.SessionID) (*tally, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t := q.tallies[principal]
	if t == nil {
		t = &tally{sessions: make(map[envelope.SessionID]int)}
	}
	if have := len(t.sessions); have >= q.maxSessions && t.sessions[id] == 0 {
		return nil, &tooManySessions{have: have, limit: q.maxSessions}
	}
	t.sessions[id]++
	q.tallies[principal] = t
	return t, nil
}

// release counts a session out.
func (q *quotas) release(principal string, id envelope.SessionID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t := q.tallies[principal]
	if t.sessions[id]--; t.sessions[id] == 0 {
		delete(t.sessions, id)
	}
	if len(t.sessions) == 0 {
		delete(q.tallies, principal)
	}
}

// jobCount is the session's open jobs: those that the view has seen begin and not end, and those that it has not met
// yet. So a client that does not read what comes of its jobs cannot start jobs without end. It needs the lock.
func (s *session) jobCount() int { return s.view.OpenJobCount() + len(s.pending) }

// recount brings the principal's tally up to date with this session. It needs the lock.
func (s *session) recount() {
	now := 0
	if s.state != ended {
		now = s.jobCount()
	}
	s.tally.jobs.Add(int64(now - s.counted))
	s.counted = now
}

// submitting counts a job from before its invocation is on its way to the log.
func (s *session) submitting(job envelope.JobID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending[job] = struct{}{}
	s.recount()
}

// notSubmitted notes that a job which was counted does not come.
func (s *session) notSubmitted(job envelope.JobID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pending, job)
	s.recount()
}

// submitted notes what came of it: not stored, or stored at a position that the view may have passed already, if the
// invocation had been stored before.
func (s *session) submitted(job envelope.JobID, seq uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || (seq <= s.view.Pos() && s.view.Place() == s.feed.key) {
		delete(s.pending, job)
		s.recount()
	}
}

// roomForJob refuses an invocation that is one too many for its session or its principal. Sessions that ask at the
// same moment may pass the principal's limit by one each.
func (s *session) roomForJob(inv *invocation) []*envelope.Envelope {
	switch whose, text := s.crowded(inv); whose {
	case "session":
		return inv.fail(&envelope.Error{Code: envelope.CodeResourceExhausted, Message: text})
	case "principal":
		return []*envelope.Envelope{s.newNack(inv.msg.ID, envelope.CodeResourceExhausted, text, retryLater)}
	}
	return nil
}

// crowded says in whose limit an invocation does not fit, session or principal, "" if it does; the invocation itself may
// have been counted already.
func (s *session) crowded(inv *invocation) (whose, text string) {
	s.mu.Lock()
	open, own := s.jobCount(), 0
	if _, counted := s.pending[inv.job]; counted {
		own = 1
	}
	s.mu.Unlock()
	cfg := &s.srv.cfg
	if open -= own; open >= cfg.MaxJobsPerSession {
		return "session", fmt.Sprintf("the session has %d open jobs, the limit is %d jobs of a session", open, cfg.MaxJobsPerSession)
	}
	if all := s.tally.jobs.Load() - int64(own); all >= int64(cfg.MaxJobsPerPrincipal) {
		return "principal", fmt.Sprintf("the principal has %d open jobs on this edge, the limit is %d jobs of a principal", all, cfg.MaxJobsPerPrincipal)
	}
	return "", ""
}
