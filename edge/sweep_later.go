package edge

import (
	"context"
	"time"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// maxLater bounds the scheduled jobs that a sweep keeps in mind. One that does not fit fails when all times are up, not
// when it has waited for MaxQueue.
const maxLater = 4096

// laterTime is a scheduled job that is to be judged when it has waited for MaxQueue.
type laterTime struct {
	Subject string    `json:"subject"` // of the invocation
	Due     time.Time `json:"due"`
}

func isScheduled(invocation *record.Record) bool { return !invocation.NotBefore.IsZero() }

// later keeps a scheduled job in mind, if there is room.
func (s *sweepState) later(invocation *record.Record) {
	if len(s.Later) < maxLater {
		s.Later = append(s.Later, laterTime{Subject: invocation.Subject.String(), Due: invocation.NotBefore})
	}
}

// judgeLater fails the scheduled jobs that no worker has taken in time, and returns those whose time has not come.
func (w *sweeper) judgeLater(ctx context.Context, later []laterTime, now time.Time) (left []laterTime, err error) {
	for i, l := range later {
		if now.Sub(l.Due) < w.srv.cfg.MaxQueue {
			left = append(left, l)
			continue
		}
		if err := w.judgeScheduled(ctx, l); err != nil {
			return append(left, later[i:]...), err
		}
	}
	return left, nil
}

func (w *sweeper) judgeScheduled(ctx context.Context, l laterTime) error {
	sub, err := subjects.Parse(l.Subject)
	if err != nil {
		return nil //nolint:nilerr // nothing can be done about it, now or later
	}
	invocation, err := w.srv.log.LastOf(ctx, sub)
	if envelope.CodeOf(err) == envelope.CodeNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	last, err := w.srv.log.LastOf(ctx, subjects.JobEvents(invocation.Subject))
	if err != nil && envelope.CodeOf(err) != envelope.CodeNotFound {
		return err
	}
	reason, err := w.queuedTooLong(last)
	if err != nil || reason == "" {
		return err
	}
	return w.fail(ctx, invocation, reason)
}
