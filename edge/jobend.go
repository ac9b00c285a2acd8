package edge

import (
	"context"
	"slices"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// jobEnded reports whether a job has ended, given the last record of its events. An end that stands last is not the
// job's if its attempt had been given up on: then a later attempt runs. Only the job's whole story tells.
func jobEnded(ctx context.Context, log Log, last *record.Record) (bool, error) {
	if !ends(last) {
		return false, nil
	}
	return toldEnded(ctx, log, subjects.JobEvents(last.Subject))
}

// toldEnded reports whether the whole story of a job, which stands on a subject, has its end in it.
func toldEnded(ctx context.Context, log Log, events subjects.Subject) (bool, error) {
	var status view.Status
	err := log.ReadJob(ctx, events, func(rec *record.Record) bool {
		status.Apply(rec)
		return !status.State().Terminal()
	})
	return status.State().Terminal(), err
}

// endedJob reports whether the job of an invocation's subject has ended.
func endedJob(ctx context.Context, log Log, job subjects.Subject) (bool, error) {
	last, err := log.LastOf(ctx, subjects.JobEvents(job))
	if envelope.CodeOf(err) == envelope.CodeNotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return jobEnded(ctx, log, last)
}

// endJob fails a job that no worker ends: it tells the job's worker, if there is or will be one, to leave it alone, and says
// the end. However many edges do it for the same reason, why, the log takes it once.
func (srv *Server) endJob(ctx context.Context, invocation *record.Record, why string, failed *envelope.JobFailed) error {
	stop, err := endOf(invocation, envelope.TypeCancel, &envelope.Cancel{
		Target: envelope.TargetJob, TargetID: invocation.Subject.Job, Reason: failed.Message,
	})
	if err != nil {
		return err
	}
	end, err := endOf(invocation, envelope.TypeJobFailed, failed)
	if err != nil {
		return err
	}
	for _, step := range []struct {
		subject subjects.Subject
		e       *envelope.Envelope
	}{
		{subjects.JobInput(invocation.Subject), stop},
		{subjects.JobEvents(invocation.Subject), end},
	} {
		rec, err := record.New(step.subject, step.e)
		if err != nil {
			return err
		}
		rec.Sender = srv.cfg.Name
		rec.MsgID = why + "." + string(step.e.Type) + "." + invocation.Subject.Job
		if _, err := srv.log.PublishWait(ctx, rec); err != nil {
			return err
		}
	}
	if srv.provision != nil { // the job may be of a feed that nobody reads any more
		srv.provision.revoker.hearEnd(invocation.Subject.Job)
	}
	if err := srv.endChildren(ctx, invocation.Subject, 0); err != nil {
		return err
	}
	return srv.tellParent(ctx, invocation)
}

// tellParent tells the worker of a job's parent, if it has one, that the runtime has ended the job: no worker of the job may
// ever come and do it.
func (srv *Server) tellParent(ctx context.Context, invocation *record.Record) error {
	rec, err := record.ChildEnded(invocation)
	if err != nil || rec == nil {
		return err
	}
	rec.Sender = srv.cfg.Name
	_, err = srv.log.PublishWait(ctx, rec)
	return err
}

// ends reports whether a record of a job holds a terminal event.
func ends(rec *record.Record) bool { return slices.ContainsFunc(rec.Types, terminal) }

func terminal(typ envelope.Type) bool {
	row, known := envelope.Lookup(typ)
	return known && row.Terminal
}
