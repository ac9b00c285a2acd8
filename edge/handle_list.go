package edge

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
)

// ListScope says whose jobs session.list_jobs lists.
type ListScope string

const (
	// ListPrincipal lists the jobs of all sessions of the principal: one that comes back finds its jobs.
	ListPrincipal ListScope = "principal"
	// ListSession lists those of the asking session (open dialect LJ-1).
	ListSession ListScope = "session"
)

const (
	listDefault = 100  // jobs of a page, if the client does not say
	listMax     = 1000 // however many it asks for

	maxListings     = 4  // that an edge works on at a time
	maxListsWaiting = 16 // of one session
	listTimeout     = 15 * time.Second
)

// handleListJobs checks a session.list_jobs and leaves the rest to the session's lister (open dialect LJ-1 to LJ-5).
func handleListJobs(c *conn, s *session, msg *envelope.Envelope) {
	payload, err := envelope.DecodePayload[envelope.SessionListJobs](msg)
	if err != nil {
		c.receiveBad(s, err)
		return
	}
	req := listRequest{msg: msg, limit: listDefault}
	if payload.Limit != nil {
		if *payload.Limit == 0 {
			s.nack(msg, envelope.CodeInvalidArgument, "limit: must be at least 1")
			return
		}
		req.limit = int(min(*payload.Limit, listMax))
	}
	only := ""
	if s.srv.cfg.ListScope == ListSession {
		only = string(s.id)
	}
	req.query = newListQuery(s.principal, only, payload.Filter)
	if payload.Cursor != "" {
		from, ok := decodeListCursor(payload.Cursor, req.query)
		if !ok && !s.traits.TellsAll { // there, a listing begins anew
			s.nack(msg, envelope.CodeInvalidArgument, "cursor: not one of this listing: its filter must stay the same")
			return
		}
		req.from = from
	}
	if !s.lister.add(req, func() { c.wg.Go(s.list) }) {
		s.refuseList(msg, envelope.Errorf(envelope.CodeResourceExhausted, "%d listings of the session are waiting, the limit", maxListsWaiting))
	}
}

// lister is the listings of a session: one at a time, beside the reader. The zero value is ready to use.
type lister struct {
	mu      sync.Mutex
	waiting []listRequest
	running bool
}

// listRequest is a session.list_jobs that was found in order.
type listRequest struct {
	msg   *envelope.Envelope
	query listQuery
	limit int
	from  listCursor // nil: from the start
}

// add queues a request and starts the lister if it does not run. It is false if too many wait.
func (l *lister) add(req listRequest, start func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == maxListsWaiting {
		return false
	}
	l.waiting = append(l.waiting, req)
	if !l.running {
		l.running = true
		start()
	}
	return true
}

// take returns the next request; without one the lister has ended.
func (l *lister) take() (listRequest, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.running = false
		return listRequest{}, false
	}
	req := l.waiting[0]
	l.waiting = l.waiting[1:]
	return req, true
}

// list answers the session's requests until there are none. The answers are not counted, and not in the log. A client
// that does not read them gets no more of them.
func (s *session) list() {
	for {
		req, ok := s.lister.take()
		if !ok {
			return
		}
		answer, err := s.listPage(req)
		if !s.conn.out.controlTaken(s.conn.ctx.Done()) {
			return
		}
		if err != nil {
			s.refuseList(req.msg, err)
			continue
		}
		s.conn.send(s.answer(req.msg, envelope.TypeSessionJobs, answer))
	}
}

// refuseList says, not counted, why there is no page: the log could not be read, or there is too much to do.
func (s *session) refuseList(msg *envelope.Envelope, err error) {
	if errors.Is(err, context.DeadlineExceeded) {
		err = envelope.Errorf(envelope.CodeUnavailable, "the log did not answer within %s", listTimeout)
	}
	code := envelope.CodeOf(err)
	details := json.RawMessage(`{"retryable":false}`)
	if code == envelope.CodeResourceExhausted || code.Retryable() {
		details = json.RawMessage(`{"retryable":true}`)
	}
	s.logger.Warn("jobs not listed", "code", code, "error", err)
	s.conn.send(s.newNack(msg.ID, code, errorText(err), details))
}

func (s *session) listPage(req listRequest) (*envelope.SessionJobs, error) {
	ctx, cancel := context.WithTimeout(s.conn.ctx, listTimeout)
	defer cancel()
	select {
	case s.srv.listings <- struct{}{}:
		defer func() { <-s.srv.listings }()
	case <-ctx.Done():
		return nil, envelope.Errorf(envelope.CodeUnavailable, "too many listings at a time")
	}
	shards, err := s.srv.log.Shards(ctx)
	if err != nil {
		return nil, err
	}
	l := listing{
		log: s.srv.log, query: req.query, limit: req.limit, begun: time.Now(),
		queues: newJobQueues(s.srv.log, req.query, shards, req.from, min(req.limit, 255)+1, s.newestJob()),
		known:  s.srv.knownJob, tellsAll: s.traits.TellsAll,
	}
	next, err := l.page(ctx)
	if err != nil {
		return nil, err
	}
	answer := &envelope.SessionJobs{RequestID: string(req.msg.ID), Jobs: l.jobs}
	if next != nil {
		text := next.encode(req.query)
		answer.NextCursor = &text
	}
	return answer, nil
}

// newestJob is the newest acceptance that the session has been shown at the place where it is.
func (s *session) newestJob() seenJob {
	s.mu.Lock()
	defer s.mu.Unlock()
	return seenJob{shard: s.view.Place().Shard, pos: s.view.Accepted()}
}

// knownJob returns what the view of the session that submitted a job knows of it, if this edge holds the session. The
// event_seq is a function of all that the session was sent: nobody else can know it without reading all of that.
func (srv *Server) knownJob(invocation *record.Record) (last uint64, how envelope.JobState) {
	for _, s := range srv.hub.sessionsOf(invocation.Subject.Session) {
		s.mu.Lock()
		if s.state != ended {
			last, how, _ = s.view.Job(envelope.JobID(invocation.Subject.Job))
		}
		s.mu.Unlock()
		if last > 0 {
			break
		}
	}
	return last, how
}

// sessionsOf returns the sessions of an id that are read for here: one, or two for a moment.
func (h *hub) sessionsOf(id string) (found []*session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.feeds {
		f.mu.Lock()
		found = append(found, f.sessions[id]...)
		f.mu.Unlock()
	}
	return found
}
