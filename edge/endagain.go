package edge

import (
	"context"
	"encoding/json"

	"github.com/cenkalti/backoff/v5"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
)

// waitsAnew returns the job of which a client waits for the end from here on, "" if an envelope says nothing of the kind: the
// acceptance repeats an earlier one, or answers a job.subscribe.
func waitsAnew(f *view.Frame) envelope.JobID {
	if f.Type != envelope.TypeJobAccepted && f.Type != envelope.TypeJobSubscribed || !f.Loose {
		return ""
	}
	var e struct {
		JobID envelope.JobID `json:"job_id"`
	}
	_ = json.Unmarshal(f.Line, &e) // else it is about none
	return e.JobID
}

// tellEndsAgain sees to it that clients of a dialect that tells all, which wait anew for jobs, are told how
// these ended: a job may have ended after the edge that took the request had looked, and before the answer was in the log.
// A client whose connection is lost by then asks again. It needs the lock.
func (s *session) tellEndsAgain(jobs []envelope.JobID) {
	for _, job := range jobs {
		if s.view.Watching(string(job)) || s.isOpen(job) {
			continue // its end is still to be shown
		}
		s.conn.wg.Go(func() {
			if err := s.tellEndAgain(s.conn.ctx, job); err != nil {
				s.logger.Warn("the end of a job is not told again", "job", job, "error", err)
			}
		})
	}
}

// isOpen reports whether a job of the session has not ended. It needs the lock.
func (s *session) isOpen(job envelope.JobID) bool {
	_, ended, known := s.view.Job(job)
	return known && ended == ""
}

// tellEndAgain writes a watch that shows how a job has ended, unless the connection ends before the log takes it.
func (s *session) tellEndAgain(ctx context.Context, job envelope.JobID) error {
	_, err := backoff.Retry(ctx, func() (uint64, error) {
		s.route.RLock() // the session does not move meanwhile
		defer s.route.RUnlock()
		invocation, err := s.srv.log.FindInvocation(ctx, s.principal, job)
		if err != nil {
			return 0, err
		}
		watch, err := s.srv.idempotency.watchOfEnd(ctx, invocation.Subject)
		if err != nil || watch == nil {
			return 0, err
		}
		return mark(ctx, s.srv.log, s.subject, view.TypeWatched, watch)
	}, backoff.WithMaxElapsedTime(0))
	return err
}
