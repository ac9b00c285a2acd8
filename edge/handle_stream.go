package edge

import (
	"context"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// maxStreams bounds the streams that a client has open in a session.
const maxStreams = 64

// inputStream is a stream that the client of a session says something in.
type inputStream struct {
	job  envelope.JobID // "" for one that is for subscribers
	rule envelope.StreamRule
}

// handleStream takes a message of a stream from the client to a job, and puts it on the job's input lane, where its worker
// hears it, now or when it takes the job; or, if it names no job, where subscribers of the principal find it. Who may speak
// to a job is who may cancel it. It is not answered, unless it is refused.
func handleStream(c *conn, s *session, msg *envelope.Envelope) {
	row, _ := envelope.Lookup(msg.Type)
	if err := msg.Decode(row.New()); err != nil {
		c.receiveBad(s, err)
		return
	}
	if msg.StreamID == "" {
		s.nack(msg, envelope.CodeInvalidArgument, "stream_id: missing")
		return
	}
	stream, err := s.streamOf(msg)
	if err == nil {
		stream.rule, err = stream.rule.Take(msg)
	}
	if err != nil {
		s.nack(msg, envelope.CodeOf(err), errorText(err))
		return
	}
	if stream.job != "" && !s.passToJob(c, stream.job, msg) {
		return
	}
	if stream.job == "" {
		s.sayToOthers(msg)
	}
	if s.streams == nil {
		s.streams = make(map[envelope.StreamID]inputStream)
	}
	s.streams[msg.StreamID] = stream
	if stream.rule.Ended {
		delete(s.streams, msg.StreamID)
	}
}

// streamOf returns the stream that a message belongs to. Where the client had opened it on a connection before this one it
// goes on with whatever comes: the worker of the job knows how far it is.
func (s *session) streamOf(msg *envelope.Envelope) (inputStream, error) {
	stream, known := s.streams[msg.StreamID]
	switch {
	case known && msg.JobID != "" && msg.JobID != stream.job:
		return stream, envelope.Errorf(envelope.CodeInvalidArgument, "job_id: is not the job that the stream was opened to")
	case known:
		return stream, nil
	case len(s.streams) >= maxStreams:
		return stream, envelope.Errorf(envelope.CodeResourceExhausted, "stream_id: the session has %d streams open, the limit", maxStreams)
	}
	stream.job = msg.JobID
	if msg.Type != envelope.TypeStreamOpen && s.epoch > 1 {
		stream.rule = envelope.AdoptedStream()
	}
	return stream, nil
}

// passToJob puts a message of the client on the input lane of a job, and reports whether the job may have it.
func (s *session) passToJob(c *conn, job envelope.JobID, msg *envelope.Envelope) bool {
	ctx, cancel := context.WithTimeout(c.ctx, storeTimeout)
	defer cancel()
	invocation, _, refusal, err := s.runningJob(ctx, string(job))
	switch {
	case err != nil:
		s.notStored(msg.ID, err)
	case refusal != "":
		delete(s.streams, msg.StreamID)
		s.nack(msg, interruptCodes[refusal], refusal)
	default:
		s.pass(invocation, msg)
		return true
	}
	return false
}

// cancelStream cancels a stream (open dialect CX-6): one of a job of the principal, which ends it with stream.error
// CANCELLED, or one that the client itself has open, which is ended for it. The job is the one that the cancel names, so
// that any session of the principal can do it, or one of this session.
func (s *session) cancelStream(ctx context.Context, c *conn, msg *envelope.Envelope, payload *envelope.Cancel) (refusal string, err error) {
	id, err := envelope.ParseStreamID(payload.TargetID)
	if err != nil {
		return refusedStream, nil
	}
	if own, open := s.streams[id]; open {
		return s.endInput(c, msg, payload, id, own)
	}
	job := msg.JobID
	if job == "" {
		s.mu.Lock()
		job, _ = s.view.StreamJob(id)
		s.mu.Unlock()
	}
	if job == "" {
		return refusedStream, nil
	}
	invocation, started, refusal, err := s.runningJob(ctx, string(job))
	if err != nil {
		return "", err
	}
	if refusal != "" || !started {
		return refusedStream, nil
	}
	if open, err := s.hasStream(ctx, invocation, id); err != nil || !open {
		return refusedStream, err
	}
	rec, err := s.recordOf(subjects.JobInput(invocation.Subject), s.cancelOf(envelope.JobID(invocation.Subject.Job), msg, payload))
	if err == nil {
		_, err = s.srv.log.PublishWait(ctx, rec)
	}
	if err != nil {
		return "", err
	}
	s.reply(s.answer(msg, envelope.TypeCancelAccepted, &envelope.CancelAccepted{TargetID: payload.TargetID}))
	return "", nil
}

// hasStream reports whether a job has a stream open, as the log has it.
func (s *session) hasStream(ctx context.Context, invocation *record.Record, id envelope.StreamID) (open bool, err error) {
	var run view.Run
	err = s.srv.log.ReadJob(ctx, subjects.JobEvents(invocation.Subject), func(rec *record.Record) bool {
		if run.Hear(rec) {
			run.Note(rec)
		}
		return true
	})
	return run.HasStream(id), err
}

// endInput ends a stream of the client's own.
func (s *session) endInput(c *conn, msg *envelope.Envelope, payload *envelope.Cancel, id envelope.StreamID, own inputStream) (refusal string, err error) {
	reason := payload.Reason
	if reason == "" {
		reason = "cancelled by the client"
	}
	end, err := envelope.New(envelope.TypeStreamError, &envelope.StreamError{Code: envelope.CodeCancelled, Message: reason})
	if err != nil {
		return "", err
	}
	end.StreamID = id
	delete(s.streams, id)
	if own.job == "" {
		s.sayToOthers(end)
	} else if !s.passToJob(c, own.job, end) {
		return refusedStream, nil
	}
	s.reply(s.answer(msg, envelope.TypeCancelAccepted, &envelope.CancelAccepted{TargetID: payload.TargetID}))
	return "", nil
}
