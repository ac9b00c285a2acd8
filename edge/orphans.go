package edge

import (
	"context"
	"log/slog"
	"time"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

const (
	// orphanPatience is what the worker of a cancelled job has to cancel the jobs that it has started.
	orphanPatience = 2 * time.Second
	// maxOrphaned bounds the cancelled jobs that are to be looked at; the next worker of what is over it does the work.
	maxOrphaned = 1024
	// maxDepth bounds the generations of jobs that one job's end is passed on to.
	maxDepth = 64
)

// parentEnded is why a child is cancelled.
const parentEnded = "the parent job has ended"

// orphans cancels the jobs that a cancelled job has started, if its worker does not: it may be lost, and another one may
// never come.
type orphans struct {
	srv     *Server
	logger  *slog.Logger
	waiting chan orphaned
}

// orphaned is a job that was cancelled.
type orphaned struct {
	job subjects.Subject // its invocation's
	at  time.Time        // when to look at it
}

func newOrphans(srv *Server) *orphans {
	return &orphans{srv: srv, logger: srv.logger, waiting: make(chan orphaned, maxOrphaned)}
}

// add has a cancelled job looked at after a while.
func (o *orphans) add(job subjects.Subject) {
	select {
	case o.waiting <- orphaned{job: job, at: time.Now().Add(orphanPatience)}:
	default:
	}
}

// run looks at jobs, in the order in which they were cancelled, until ctx ends.
func (o *orphans) run(ctx context.Context) {
	for {
		select {
		case next := <-o.waiting:
			select {
			case <-time.After(time.Until(next.at)):
			case <-ctx.Done():
				return
			}
			if err := o.look(ctx, next.job); err != nil && ctx.Err() == nil {
				o.logger.Warn("the children of a cancelled job may be open until it has ended", "job", next.job.Job, "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// look cancels the children of a job that has not ended. One that has ended has seen to that before.
func (o *orphans) look(ctx context.Context, job subjects.Subject) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	ended, err := endedJob(ctx, o.srv.log, job)
	if ended || err != nil {
		return err
	}
	return o.srv.endChildren(ctx, job, 0)
}

// endChildren cancels the jobs that a job has started, and theirs, but for the detached ones. A worker of the job may do the
// same at this moment: the log takes each cancel once.
func (srv *Server) endChildren(ctx context.Context, parent subjects.Subject, depth int) error {
	if depth == maxDepth {
		return nil
	}
	var children []record.Delegation
	err := srv.log.ReadJob(ctx, subjects.JobEvents(parent), func(rec *record.Record) bool {
		children = append(children, rec.Delegations()...) // of attempts that were given up as well
		return true
	})
	if err != nil {
		return err
	}
	for _, child := range children {
		if child.Detached {
			continue
		}
		if err := srv.endChild(ctx, child, depth); err != nil {
			return err
		}
	}
	return nil
}

// endChild tells the worker of a child to stop. A child that no worker has begun is ended here.
func (srv *Server) endChild(ctx context.Context, child record.Delegation, depth int) error {
	sub, err := subjects.Parse(child.Subject)
	if err != nil {
		return err
	}
	invocation, err := srv.log.LastOf(ctx, sub)
	if envelope.CodeOf(err) == envelope.CodeNotFound {
		return nil // it was written down, and never started
	}
	if err != nil {
		return err
	}
	last, err := srv.log.LastOf(ctx, subjects.JobEvents(sub))
	started := err == nil
	switch {
	case err != nil && envelope.CodeOf(err) != envelope.CodeNotFound:
		return err
	case started:
		if ended, err := jobEnded(ctx, srv.log, last); ended || err != nil {
			return err
		}
	}
	stop := &envelope.Cancel{Target: envelope.TargetJob, TargetID: sub.Job, Reason: parentEnded}
	if err := srv.tellChild(ctx, invocation, subjects.JobInput(invocation.Subject), "parent", envelope.TypeCancel, stop); err != nil {
		return err
	}
	if started {
		return srv.endChildren(ctx, sub, depth+1)
	}
	end := &envelope.JobCancelled{Reason: parentEnded}
	if err := srv.tellChild(ctx, invocation, subjects.JobEvents(invocation.Subject), "parent.end", envelope.TypeJobCancelled, end); err != nil {
		return err
	}
	return srv.tellParent(ctx, invocation)
}

// tellChild stores an envelope about a child, once for each reason, whoever does it: workers name the message the same.
func (srv *Server) tellChild(ctx context.Context, invocation *record.Record, to subjects.Subject, why string, typ envelope.Type, payload any) error {
	e, err := endOf(invocation, typ, payload)
	if err != nil {
		return err
	}
	rec, err := record.New(to, e)
	if err != nil {
		return err
	}
	rec.Sender, rec.MsgID = srv.cfg.Name, why+"."+to.Job
	_, err = srv.log.PublishWait(ctx, rec)
	return err
}
