package edge

import (
	"context"
	"errors"
	"fmt"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// handleStream takes a message of a stream from the client to a job, and puts it on the job's input lane, where its worker
// hears it, now or when it takes the job; or, if it names no job, where subscribers of the principal find it. Who may speak
// to a job is who may cancel it. It is not answered, unless it is refused, and it is in the log before the client's next
// message is looked at: whatever answers that one tells that this one is stored, or was refused before.
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
	ctx, cancel := context.WithTimeout(c.ctx, storeTimeout)
	defer cancel()
	s.refuseStream(msg, s.streamTo(ctx, msg))
}

// streamTo takes the next message of a stream. The stream is where it was, unless the message is in the log.
func (s *session) streamTo(ctx context.Context, msg *envelope.Envelope) error {
	stream, err := s.streamOf(ctx, msg)
	if err != nil || stream.rule.Repeats(msg) {
		return err
	}
	if stream.rule, err = stream.rule.Take(msg); err != nil {
		return err
	}
	if err := s.sayIn(ctx, &stream, msg); err != nil {
		return err
	}
	s.streams.set(msg.StreamID, stream)
	return nil
}

// refuseStream says that a message of a stream was not taken.
func (s *session) refuseStream(msg *envelope.Envelope, err error) {
	switch code := envelope.CodeOf(err); {
	case err == nil:
	case code == envelope.CodeUnavailable, code == envelope.CodeInternal, code == envelope.CodeDeadlineExceeded,
		code == envelope.CodeCancelled, errors.Is(err, errNotStored):
		s.notStored(msg.ID, err)
	default:
		s.nack(msg, code, errorText(err))
	}
}

// sayIn stores a message of a stream.
func (s *session) sayIn(ctx context.Context, stream *inputStream, msg *envelope.Envelope) error {
	said := *msg
	to := subjects.JobInput(s.subject)
	said.SessionID, said.JobID, said.SubscriptionID, said.IdempotencyKey, said.EventSeq = s.id, "", "", "", 0
	if stream.job != "" {
		if err := s.entitle(ctx, stream); err != nil {
			if isEnded(err) { // anything else may be different when it is said again
				s.streams.forget(msg.StreamID)
			}
			return err
		}
		to = subjects.JobInput(stream.invocation.Subject)
		said.JobID = stream.job
	}
	rec, err := s.recordOf(to, &said)
	if err != nil {
		return err
	}
	// The log knows repeats by this, and clients may choose the same ids.
	rec.MsgID = string(envelope.NewMessageID())
	if _, err = s.srv.log.PublishWait(ctx, rec); err != nil {
		return fmt.Errorf("%w: %w", errNotStored, err)
	}
	return nil
}

// errNotStored says that the log did not take what a client said.
var errNotStored = errors.New("not stored")

// entitle makes sure that the job of a stream is one that the session may talk to, and that it has not ended.
func (s *session) entitle(ctx context.Context, stream *inputStream) error {
	if stream.invocation == nil {
		invocation, _, refusal, err := s.runningJob(ctx, string(stream.job))
		if err != nil {
			return err
		}
		if refusal != "" {
			return envelope.Errorf(interruptCodes[refusal], "%s", refusal)
		}
		stream.invocation = invocation
		return nil
	}
	ended, err := endedJob(ctx, s.srv.log, stream.invocation.Subject)
	if ended {
		return envelope.Errorf(interruptCodes[refusedEnded], "%s", refusedEnded)
	}
	return err
}

// cancelStream cancels a stream (open dialect CX-6): one of a job of the principal, which ends it with stream.error
// CANCELLED, or one that the client itself has open, which is ended for it. The job is the one that the cancel names, so
// that any session of the principal can do it, or one of this session.
func (s *session) cancelStream(ctx context.Context, msg *envelope.Envelope, payload *envelope.Cancel) (refusal string, err error) {
	id, err := envelope.ParseStreamID(payload.TargetID)
	if err != nil {
		return refusedStream, nil
	}
	if err := s.learnStreams(ctx, msg.JobID); err != nil {
		return "", err
	}
	if own, open := s.streams.open[id]; open {
		return s.endInput(ctx, msg, payload, id, own)
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
func (s *session) endInput(ctx context.Context, msg *envelope.Envelope, payload *envelope.Cancel, id envelope.StreamID, own inputStream) (refusal string, err error) {
	reason := payload.Reason
	if reason == "" {
		reason = "cancelled by the client"
	}
	end, err := envelope.New(envelope.TypeStreamError, &envelope.StreamError{Code: envelope.CodeCancelled, Message: reason})
	if err != nil {
		return "", err
	}
	end.StreamID = id
	switch err := s.sayIn(ctx, &own, end); {
	case errors.Is(err, errNotStored), isRetryable(envelope.CodeOf(err), err) && err != nil:
		return "", err
	case err != nil: // the job has ended, and the stream with it
		return refusedStream, nil
	}
	s.streams.forget(id)
	s.reply(s.answer(msg, envelope.TypeCancelAccepted, &envelope.CancelAccepted{TargetID: payload.TargetID}))
	return "", nil
}
