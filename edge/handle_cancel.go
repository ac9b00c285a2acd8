package edge

import (
	"context"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// Reasons of cancel.refused (open dialect CX-1). They are the original's words, as clients know them.
const (
	refusedMalformed  = "malformed job id"
	refusedUnknown    = "no such in-flight job"
	refusedNotAllowed = "permission denied: not authorized to cancel this job"
	refusedEnded      = "job is no longer in-flight"
	refusedStream     = "no such open stream"
	refusedSession    = "no such session"
)

// handleCancel is open dialect CX-1 to CX-6, with what the original lacks: a job that has ended is refused, and every
// cancel is answered.
func handleCancel(c *conn, s *session, msg *envelope.Envelope) {
	payload, err := envelope.DecodePayload[envelope.Cancel](msg)
	if err != nil {
		c.receiveBad(s, err)
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, storeTimeout)
	defer cancel()
	refusal := ""
	switch payload.Target {
	case envelope.TargetJob:
		refusal, err = s.cancelByID(ctx, msg, payload)
	case envelope.TargetSession:
		refusal = s.cancelSession(msg, payload)
	case envelope.TargetStream:
		refusal, err = s.cancelStream(ctx, msg, payload)
	}
	switch {
	case err != nil:
		s.notStored(msg.ID, err)
	case refusal != "":
		s.reply(s.answer(msg, envelope.TypeCancelRefused, &envelope.CancelRefused{TargetID: payload.TargetID, Reason: refusal}))
	}
}

// cancelByID cancels a job of the session's principal, wherever it was submitted: who may cancel is written in the
// job's own record, so it outlives the connection and the session that it came from (CX-2).
func (s *session) cancelByID(ctx context.Context, msg *envelope.Envelope, payload *envelope.Cancel) (refusal string, err error) {
	invocation, started, refusal, err := s.runningJob(ctx, payload.TargetID)
	if err != nil || refusal != "" {
		return refusal, err
	}
	rec, err := s.recordOf(subjects.JobInput(invocation.Subject), s.cancelOf(envelope.JobID(invocation.Subject.Job), msg, payload))
	if err == nil {
		_, err = s.srv.log.PublishWait(ctx, rec)
	}
	if err == nil && !started {
		err = s.endUnstarted(ctx, invocation, payload.Reason)
	}
	if err != nil {
		return "", err
	}
	if started {
		s.srv.orphans.add(invocation.Subject)
	}
	s.reply(s.answer(msg, envelope.TypeCancelAccepted, &envelope.CancelAccepted{TargetID: payload.TargetID}))
	return "", nil
}

// runningJob returns the invocation of a job that has not ended and that the session's principal may talk to, and whether
// a worker has begun with it; or why there is none.
func (s *session) runningJob(ctx context.Context, id string) (invocation *record.Record, started bool, refusal string, err error) {
	job, err := envelope.ParseJobID(id)
	if err != nil {
		return nil, false, refusedMalformed, nil
	}
	// Anybody's, in one look: of two looks the second may find what the first did not, on another replica, and then an
	// own job would seem to be somebody else's.
	invocation, err = s.srv.log.FindInvocation(ctx, "", job)
	if envelope.CodeOf(err) == envelope.CodeNotFound {
		invocation, err = s.findShown(ctx, job)
	}
	switch {
	case envelope.CodeOf(err) == envelope.CodeNotFound:
		return nil, false, refusedUnknown, nil
	case err != nil:
		return nil, false, "", err
	case invocation.Principal != s.principal, s.traits.OwnerCancels && invocation.Subject.Session != string(s.id):
		return nil, false, refusedNotAllowed, nil
	}
	last, err := s.srv.log.LastOf(ctx, subjects.JobEvents(invocation.Subject))
	if envelope.CodeOf(err) == envelope.CodeNotFound {
		return invocation, false, "", nil
	}
	ended := false
	if err == nil {
		ended, err = jobEnded(ctx, s.srv.log, last)
	}
	switch {
	case err != nil:
		return nil, false, "", err
	case ended:
		return nil, false, refusedEnded, nil
	}
	return invocation, true, "", nil
}

// findShown looks for a job again when everything that was shown here can be found.
func (s *session) findShown(ctx context.Context, job envelope.JobID) (*record.Record, error) {
	shards, err := s.srv.log.Shards(ctx)
	if err != nil {
		return nil, err
	}
	for _, shard := range shards {
		if err := awaitLeader(ctx, s.srv.log, shard, s.srv.hub.offered(shard)); err != nil {
			return nil, err
		}
	}
	return s.srv.log.FindInvocation(ctx, "", job)
}

// tellJob puts a cancel where the job's worker hears it, now or when it takes the job.
func (s *session) tellJob(job subjects.Subject, msg *envelope.Envelope, payload *envelope.Cancel) {
	s.write(subjects.JobInput(job), msg.ID, s.cancelOf(envelope.JobID(job.Job), msg, payload))
}

// cancelOf is what the worker of a job is told.
func (s *session) cancelOf(job envelope.JobID, msg *envelope.Envelope, payload *envelope.Cancel) *envelope.Envelope {
	e := s.answer(msg, envelope.TypeCancel, payload)
	e.JobID = job
	return e
}

// endUnstarted ends a job that no worker has begun: the client need not wait for one to come. A worker that takes the
// job at this moment finds the cancel, which was stored before; what it says after this event is not shown. The cancel is
// accepted after that, so a client whose cancel was accepted can rely on the end.
func (s *session) endUnstarted(ctx context.Context, invocation *record.Record, reason string) error {
	if reason == "" {
		reason = "cancelled by the client"
	}
	e, err := endOf(invocation, envelope.TypeJobCancelled, &envelope.JobCancelled{Reason: reason})
	if err != nil {
		return err
	}
	rec, err := s.recordOf(subjects.JobEvents(invocation.Subject), e)
	if err != nil {
		return err
	}
	if _, err = s.srv.log.PublishWait(ctx, rec); err != nil {
		return err
	}
	return s.srv.tellParent(ctx, invocation)
}

// endOf builds a terminal event of the runtime's own, with the ids that the job's other events have.
func endOf(invocation *record.Record, typ envelope.Type, payload any) (*envelope.Envelope, error) {
	e, err := envelope.New(typ, payload)
	if err != nil {
		return nil, err
	}
	e.SessionID = envelope.SessionID(invocation.Subject.Session)
	e.JobID = envelope.JobID(invocation.Subject.Job)
	for typ, line := range invocation.Lines() {
		if typ != envelope.TypeToolInvoke {
			continue
		}
		command, err := envelope.DecodeStored(line)
		if err != nil {
			return nil, err
		}
		e.CorrelationID, e.TraceID = command.ID, command.TraceID
	}
	return e, nil
}

// cancelSession cancels every job of this session and ends it with session.evicted (CX-6). Another session of the
// principal is closed by its own client.
func (s *session) cancelSession(msg *envelope.Envelope, payload *envelope.Cancel) (refusal string) {
	if payload.TargetID != string(s.id) {
		return refusedSession
	}
	reason := payload.Reason
	if reason == "" {
		reason = "session cancelled"
	}
	s.inTurn(msg, true, func() { // with the jobs that wait for credentials
		s.reply(s.answer(msg, envelope.TypeCancelAccepted, &envelope.CancelAccepted{TargetID: payload.TargetID}))
		s.wind(msg, reason, &envelope.SessionEvicted{Code: envelope.CodeCancelled, Reason: reason})
	})
	return ""
}
