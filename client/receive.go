package client

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/arcp-nats/arcp/envelope"
)

// receiveAll handles what comes over l, in order, until l ends.
func (s *Session) receiveAll(l *link) error {
	for {
		m, err := l.read()
		if err != nil {
			return err
		}
		if err := s.receive(l, m); err != nil {
			return fatalError{err}
		}
	}
}

// receive handles one frame. An error ends the session.
func (s *Session) receive(l *link, m message) error {
	e, seq := s.decode(m)
	if seq > 0 {
		if fresh, err := s.count(seq); err != nil || !fresh {
			return err
		}
	}
	if e == nil {
		return nil
	}
	if l.fence != "" && e.CorrelationID == l.fence {
		l.fence = ""
		l.resend <- s.settle(l.epoch)
		return nil
	}
	switch e.Type {
	case envelope.TypeSessionPing:
		s.pong(e)
	case envelope.TypeSessionRefresh:
		s.renew(l, e)
	case envelope.TypeSessionAccepted:
		s.renewed(e)
	case envelope.TypeSessionUnauthenticated:
		s.log.Warn("the session's lease was not renewed", "session", s.id, "error", refusal(e))
	case envelope.TypeSessionClosed:
		return ErrClosed
	case envelope.TypeSessionEvicted:
		return s.evicted(e)
	default:
		s.dispatch(e, len(m.raw))
	}
	return nil
}

// decode reads a frame and shows it to the hook. A frame that this client does not know still has its number, since a
// later edge may send types that are new.
func (s *Session) decode(m message) (e *envelope.Envelope, seq uint64) {
	raw := m.raw
	if e = m.e; e != nil {
		if s.cfg.OnEnvelope == nil {
			return e, e.EventSeq
		}
		raw, err := e.Encode()
		if err == nil {
			s.cfg.OnEnvelope(raw, e)
		}
		return e, e.EventSeq
	}
	e, err := envelope.DecodeWith(raw, envelope.Limits{MaxBytes: s.cfg.MaxMessageBytes, MaxKeys: s.cfg.MaxMessageBytes}, s.Speaks)
	if err != nil {
		e = nil
		var numbered struct {
			EventSeq uint64 `json:"event_seq"`
		}
		// What fails here as well has no number that could be missed.
		_ = json.Unmarshal(raw, &numbered)
		seq = numbered.EventSeq
		s.mu.Lock()
		s.stats.Undecodable++
		s.mu.Unlock()
		s.log.Debug("undecodable frame", "session", s.id, "error", err)
	} else {
		seq = e.EventSeq
	}
	if s.cfg.OnEnvelope != nil {
		s.cfg.OnEnvelope(raw, e)
	}
	return e, seq
}

// count checks that seq is the next number (open dialect FC-1).
func (s *Session) count(seq uint64) (fresh bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch next := s.stats.LastEventSeq + 1; {
	case seq < next:
		s.stats.Repeats++
		return false, nil
	case seq > next:
		s.stats.Gaps++
		return false, &GapError{Want: next, Got: seq}
	}
	s.stats.LastEventSeq = seq
	s.stats.Events++
	if seq-s.acked >= uint64(s.cfg.AckEvery) {
		select {
		case s.ackDue <- struct{}{}:
		default: // the writer has been told
		}
	}
	return true, nil
}

// dispatch hands e to the request that it answers and to the jobs that it is about.
func (s *Session) dispatch(e *envelope.Envelope, size int) {
	if e.CorrelationID != "" {
		s.settleRequest(e)
		if e.Type == envelope.TypeNack {
			s.tellNacks(e)
		}
	}
	if e.SubscriptionID != "" {
		s.dispatchSubscribed(e, size)
		return
	}
	if e.JobID == "" || e.Type == envelope.TypeJobSubscribed {
		return // the latter is an answer, and no event
	}
	s.mu.Lock()
	jobs := s.jobs[e.JobID]
	s.mu.Unlock()
	if len(jobs) == 0 {
		return
	}
	for _, j := range jobs {
		if !j.events.push(s, e, size) {
			s.mu.Lock()
			s.stats.Overflows++
			s.mu.Unlock()
		}
	}
	if row, _ := envelope.Lookup(e.Type); !row.Terminal {
		return
	}
	s.mu.Lock()
	delete(s.jobs, e.JobID)
	for _, j := range jobs {
		if j.key != "" {
			s.ended.add(e)
			break
		}
	}
	s.mu.Unlock()
	for _, j := range jobs {
		j.end(outcome(e))
	}
}

// settleRequest gives e to the request that it answers, if one still waits. For a tool.invoke only three answers count:
// the acceptance, a failure in its place, and a nack.
func (s *Session) settleRequest(e *envelope.Envelope) {
	s.mu.Lock()
	r := s.pending[e.CorrelationID]
	s.mu.Unlock()
	if r == nil {
		return
	}
	if r.job == nil {
		if s.take(r.id) != nil {
			if r.subscription != nil && e.Type == envelope.TypeSubscribeAccepted {
				s.beginSubscription(r.subscription, e)
			}
			if r.watch != nil && e.Type == envelope.TypeJobSubscribed {
				s.beginWatch(r.watch, e)
			}
			r.answer(e, time.Now())
		}
		return
	}
	switch e.Type {
	case envelope.TypeJobAccepted:
		s.accept(r, e)
	case envelope.TypeNack:
		if s.take(r.id) != nil {
			r.fail(nackError(e))
		}
	case envelope.TypeJobFailed: // open dialect TI-2, ID-4: refused without an acceptance
		if s.take(r.id) != nil {
			_, err := outcome(e)
			r.fail(err)
		}
	default: // an event of the job that a lost acceptance named; the acceptance comes first in any replay
	}
}

// accept makes r's job a running one; the acceptance itself is then handed over as the job's first event. A retry that
// names a job which this session has seen end gets nothing after its acceptance (open dialect ID-3), so the end is
// handed over from memory.
func (s *Session) accept(r *request, e *envelope.Envelope) {
	if s.take(r.id) == nil {
		return
	}
	r.answer(e, time.Now())
	r.job.accept(e)
	s.mu.Lock()
	last := s.ended.find(e.JobID)
	if last == nil {
		s.jobs[e.JobID] = append(s.jobs[e.JobID], r.job)
	}
	s.mu.Unlock()
	if last != nil {
		r.job.events.push(s, e, len(e.Payload))
		r.job.events.push(s, last, len(last.Payload))
		r.job.end(outcome(last))
	}
}

// pong answers the edge's session.ping. With a full queue the answers in it will do.
func (s *Session) pong(ping *envelope.Envelope) {
	asked, err := envelope.DecodePayload[envelope.SessionPing](ping)
	if err != nil {
		return
	}
	e, err := envelope.New(envelope.TypeSessionPong,
		envelope.SessionPong{PingNonce: asked.Nonce, ReceivedAt: envelope.Now()})
	if err != nil {
		return
	}
	e.CorrelationID = ping.ID
	e.SessionID = s.id
	frame, err := e.Encode()
	if err != nil {
		return
	}
	select {
	case s.pongs <- frame:
	default:
	}
}

func (s *Session) evicted(e *envelope.Envelope) error {
	said, err := envelope.DecodePayload[envelope.SessionEvicted](e)
	if err != nil {
		return err
	}
	return &EvictedError{Session: s.id, Err: &envelope.Error{Code: said.Code, Message: said.Reason}}
}

// outcome reads a terminal event of a job.
func outcome(e *envelope.Envelope) (Result, error) {
	switch e.Type {
	case envelope.TypeJobCompleted:
		p, err := envelope.DecodePayload[envelope.JobCompleted](e)
		if err != nil {
			return Result{}, err
		}
		return Result{
			JobID: e.JobID, Value: p.Value, Ref: p.ResultRef,
			StreamID: p.ResultID, StreamSize: p.ResultSize, Summary: p.Summary,
		}, nil
	case envelope.TypeJobFailed:
		p, err := envelope.DecodePayload[envelope.JobFailed](e)
		if err != nil {
			return Result{}, err
		}
		return Result{JobID: e.JobID}, &envelope.Error{
			Code: p.Code, Message: p.Message, Details: p.Details, Retryable: p.Retryable,
		}
	case envelope.TypeJobCancelled:
		p, err := envelope.DecodePayload[envelope.JobCancelled](e)
		if err != nil {
			return Result{}, err
		}
		return Result{JobID: e.JobID}, &envelope.Error{Code: envelope.CodeCancelled, Message: p.Reason}
	default:
		return Result{}, fmt.Errorf("client: %s ends no job", e.Type)
	}
}

// endedJobs remembers how the last jobs with an idempotency key ended. It is bounded in number; results are bounded by
// what an envelope can carry.
type endedJobs struct {
	byID map[envelope.JobID]*envelope.Envelope
	ring [64]envelope.JobID
	next int
}

func (m *endedJobs) add(e *envelope.Envelope) {
	if m.byID == nil {
		m.byID = make(map[envelope.JobID]*envelope.Envelope)
	}
	delete(m.byID, m.ring[m.next])
	m.ring[m.next] = e.JobID
	m.next = (m.next + 1) % len(m.ring)
	m.byID[e.JobID] = e
}

func (m *endedJobs) find(id envelope.JobID) *envelope.Envelope { return m.byID[id] }

var errNoMoreEvents = errors.New("client: no more events")
