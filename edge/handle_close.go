package edge

import (
	"context"

	"github.com/arcp-nats/arcp/edge/dialect"
	"github.com/arcp-nats/arcp/envelope"
)

// handleSessionClose ends the session, as the configuration says: its jobs are cancelled, what they still say is
// delivered, then the connection ends, without an acknowledgement (open dialect SC-1); or the client is told
// session.closed, the connection ends, and the jobs live on, as does the session for those who resume it (SC-2).
func handleSessionClose(c *conn, s *session, msg *envelope.Envelope) {
	payload, err := envelope.DecodePayload[envelope.SessionClose](msg)
	if err != nil {
		c.receiveBad(s, err)
		return
	}
	reason := payload.Reason
	if reason == "" {
		reason = "session closed"
	}
	s.inTurn(msg, true, func() { // with the jobs that wait for credentials
		switch leaving := c.codec.Leaving(); {
		case leaving == dialect.LeaveForGood:
			s.sayClosed(payload.Reason)
			s.mu.Lock()
			s.closed = true
			s.mu.Unlock()
			c.wg.Go(s.sayGoodbye)
			return
		case leaving == dialect.LeaveResumable:
			s.sayClosed(payload.Reason)
			c.close(closeNormal, "session closed, its jobs go on")
			return
		case s.srv.cfg.OnSessionClose == CloseDetach:
			closed := s.answer(nil, envelope.TypeSessionClosed, &envelope.SessionClosed{})
			c.sendLast(closed)
			c.close(closeNormal, "session closed, its jobs go on")
			return
		}
		s.wind(msg, reason, nil)
	})
}

// sayClosed acknowledges that the client leaves.
func (s *session) sayClosed(reason string) {
	s.conn.sendLast(s.answer(nil, envelope.TypeSessionClosed, &envelope.SessionClosed{Reason: reason}))
}

// wind cancels the session's jobs and ends the connection when their ends have been delivered; last is said before.
func (s *session) wind(msg *envelope.Envelope, reason string, last *envelope.SessionEvicted) {
	s.settle()
	for _, job := range s.openJobs() {
		s.cancelJob(msg, job, reason)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing, s.lastWord = true, last
	s.unthrottle()
	s.finishClose()
}

// finishClose ends the connection of a closing session once no job of it is open. It needs the lock.
func (s *session) finishClose() {
	if !s.closing || s.state != live || s.view.OpenJobCount() > 0 || len(s.withheld) > 0 {
		return
	}
	s.closing, s.closed = false, true
	s.conn.wg.Go(s.sayGoodbye)
}

// sayGoodbye removes the session's record and then ends the connection: a client that has seen the end can rely on it.
func (s *session) sayGoodbye() {
	ctx, cancel := context.WithTimeout(s.conn.ctx, storeTimeout)
	defer cancel()
	if err := s.store.remove(ctx); err != nil {
		s.logger.Warn("the record of a closed session stays until it expires", "error", err)
	}
	if s.lastWord != nil {
		s.conn.sendLast(s.answer(nil, envelope.TypeSessionEvicted, s.lastWord))
	}
	s.conn.close(closeNormal, "session closed")
}

// cancelJob tells the worker of an open job of this session to stop.
func (s *session) cancelJob(msg *envelope.Envelope, job envelope.JobID, reason string) {
	subject := s.subject
	subject.Job = string(job)
	s.tellJob(subject, msg, &envelope.Cancel{Target: envelope.TargetJob, TargetID: string(job), Reason: reason})
}

// settle waits until the view has seen every invocation that the session has sent to the log: they were published
// before the mark, so they are read before it.
func (s *session) settle() {
	ctx, cancel := context.WithTimeout(s.conn.ctx, storeTimeout)
	defer cancel()
	pos, err := mark(ctx, s.srv.log, s.subject, typeSync, held{Edge: s.srv.cfg.Name})
	if err == nil {
		err = s.awaitMark(ctx, pos)
	}
	if err != nil {
		s.logger.Warn("the session's last invocations may not be known", "error", err)
	}
}
