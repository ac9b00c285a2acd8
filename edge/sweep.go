package edge

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

const (
	// sweepBatch bounds the invocations that one sweep looks at for one limit.
	sweepBatch = 10_000
	// sweepMin and sweepMax bound the time between two sweeps.
	sweepMin, sweepMax = 200 * time.Millisecond, time.Minute
)

// sweeper fails what has waited or run for too long, so that an accepted job comes to an end before its invocation can
// age out of the log, also when no worker ever comes for it. One edge of a shard sweeps at a time, by a record that
// says who and how far; should two do it for a moment, the log takes what they write once.
type sweeper struct {
	srv      *Server
	shard    int
	interval time.Duration
}

// sweepState is the record of a shard's sweeping. Positions are of the last invocation that was judged.
type sweepState struct {
	Edge   string    `json:"edge"`
	At     time.Time `json:"at"`
	Queued uint64    `json:"queued"` // by MaxQueue
	Total  uint64    `json:"total"`  // by MaxQueue and MaxRuntime together
	// Scheduled is the position up to which scheduled jobs, whose times count from when they are due, have been judged by
	// all of it, MaxSchedule included. Later are those that were passed over by Queued and wait to be judged in time.
	Scheduled uint64      `json:"scheduled,omitempty"`
	Later     []laterTime `json:"later,omitempty"`
}

func newSweeper(srv *Server) *sweeper {
	interval := min(srv.cfg.MaxQueue, srv.cfg.MaxRuntime) / 10
	return &sweeper{srv: srv, shard: srv.cfg.Shard, interval: min(max(interval, sweepMin), sweepMax)}
}

// run sweeps until ctx ends.
func (w *sweeper) run(ctx context.Context) {
	tick := time.NewTicker(w.interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if err := w.sweep(ctx, now); err != nil && ctx.Err() == nil {
				w.srv.logger.Warn("overdue jobs could not be looked for", "shard", w.shard, "error", err)
			}
		}
	}
}

func (w *sweeper) key() string { return subjects.Key("sweep", strconv.Itoa(w.shard)) }

// sweep judges what has come due since the last sweep, unless another edge is at it.
func (w *sweeper) sweep(ctx context.Context, now time.Time) error {
	state, revision, err := w.load(ctx)
	if err != nil {
		return err
	}
	if state.Edge != "" && state.Edge != w.srv.cfg.Name && now.Sub(state.At) < 3*w.interval {
		return nil
	}
	cfg := &w.srv.cfg
	total := cfg.MaxQueue + cfg.MaxRuntime
	state.Queued, err = w.judge(ctx, state.Queued, now.Add(-cfg.MaxQueue), func(rec, last *record.Record) (string, error) {
		if isScheduled(rec) {
			state.later(rec)
			return "", nil
		}
		return w.queuedTooLong(last)
	})
	if err == nil {
		state.Total, err = w.judge(ctx, state.Total, now.Add(-total), func(rec, last *record.Record) (string, error) {
			if isScheduled(rec) {
				return "", nil
			}
			return w.tookTooLong(ctx, last, total, "it was accepted")
		})
	}
	if err == nil {
		state.Scheduled, err = w.judge(ctx, state.Scheduled, now.Add(-total-cfg.MaxSchedule), func(rec, last *record.Record) (string, error) {
			if !isScheduled(rec) {
				return "", nil
			}
			return w.tookTooLong(ctx, last, total, "it was due")
		})
	}
	if err == nil {
		state.Later, err = w.judgeLater(ctx, state.Later, now)
	}
	state.Edge, state.At = cfg.Name, now
	if saved := w.save(ctx, state, revision); err == nil && envelope.CodeOf(saved) != envelope.CodeAborted {
		err = saved
	}
	return err
}

// judge looks at the invocations after a position that were stored before a time, with the last event of each job,
// and fails those for which overdue gives a reason. It returns how far it came.
func (w *sweeper) judge(ctx context.Context, pos uint64, before time.Time, overdue func(rec, last *record.Record) (string, error)) (uint64, error) {
	var failed error
	judged := 0
	err := w.srv.log.ReadInvocations(ctx, w.shard, pos+1, func(rec *record.Record) bool {
		if rec.Time.After(before) || judged == sweepBatch {
			return false
		}
		last, err := w.srv.log.LastOf(ctx, subjects.JobEvents(rec.Subject))
		if err != nil && envelope.CodeOf(err) != envelope.CodeNotFound {
			failed = err
			return false
		}
		var reason string
		if reason, failed = overdue(rec, last); failed == nil && reason != "" {
			failed = w.fail(ctx, rec, reason)
		}
		if failed != nil {
			return false
		}
		judged++
		pos = rec.Seq
		return true
	})
	if failed != nil {
		err = failed
	}
	return pos, err
}

// queuedTooLong judges a job that has waited for MaxQueue.
func (w *sweeper) queuedTooLong(last *record.Record) (string, error) {
	if last != nil {
		return "", nil
	}
	return fmt.Sprintf("no worker took the job within %s", w.srv.cfg.MaxQueue), nil
}

// tookTooLong judges a job whose time is up.
func (w *sweeper) tookTooLong(ctx context.Context, last *record.Record, total time.Duration, since string) (string, error) {
	if last != nil {
		if ended, err := jobEnded(ctx, w.srv.log, last); ended || err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("the job has not ended %s after %s", total, since), nil
}

// fail tells the job's worker, if there is or will be one, to leave it alone, and ends the job.
func (w *sweeper) fail(ctx context.Context, invocation *record.Record, reason string) error {
	w.srv.logger.Warn("job failed: overdue", "job", invocation.Subject.Job, "principal", invocation.Principal, "reason", reason)
	retryable := true
	return w.srv.endJob(ctx, invocation, "overdue", &envelope.JobFailed{
		Code: envelope.CodeDeadlineExceeded, Retryable: &retryable, Message: reason,
	})
}

func (w *sweeper) load(ctx context.Context) (state sweepState, revision uint64, err error) {
	data, revision, err := w.srv.sessions.Get(ctx, w.key())
	if envelope.CodeOf(err) == envelope.CodeNotFound {
		return state, 0, nil
	}
	if err != nil {
		return state, 0, err
	}
	return state, revision, json.Unmarshal(data, &state)
}

// save writes the state. It fails with ABORTED or ALREADY_EXISTS if another edge was first, which then sweeps.
func (w *sweeper) save(ctx context.Context, state sweepState, revision uint64) error {
	data, err := json.Marshal(state)
	if err != nil {
		return err
	}
	if revision == 0 {
		_, err = w.srv.sessions.Create(ctx, w.key(), data)
	} else {
		_, err = w.srv.sessions.Update(ctx, w.key(), data, revision)
	}
	if envelope.CodeOf(err) == envelope.CodeAlreadyExists {
		return envelope.Errorf(envelope.CodeAborted, "another edge was first")
	}
	return err
}
