package edge

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// answer builds an envelope that answers msg, with the ids that the open dialect's table 4.1 asks for: the
// session's, and the answered message's as correlation. msg may be nil. It carries the request's trace on.
func answer(session envelope.SessionID, msg *envelope.Envelope, typ envelope.Type, payload any) *envelope.Envelope {
	e, err := envelope.New(typ, payload)
	if err != nil {
		panic("edge: own payload does not encode: " + err.Error()) // payloads are our own structs
	}
	e.SessionID = session
	if msg != nil {
		e.CorrelationID = msg.ID
		e.TraceID = msg.TraceID
	}
	return e
}

// answer builds an envelope of this session.
func (s *session) answer(msg *envelope.Envelope, typ envelope.Type, payload any) *envelope.Envelope {
	return answer(s.id, msg, typ, payload)
}

// nack refuses a message; the session goes on.
func (s *session) nack(msg *envelope.Envelope, code envelope.Code, text string) {
	e := s.newNack(msg.ID, code, text, nil)
	e.TraceID = msg.TraceID
	s.reply(e)
}

// nackID is nack for a message of which at most the id could be read.
func (s *session) nackID(id envelope.MessageID, code envelope.Code, text string) {
	s.reply(s.newNack(id, code, text, nil))
}

func (s *session) newNack(id envelope.MessageID, code envelope.Code, text string, details json.RawMessage) *envelope.Envelope {
	s.srv.metrics.nack(code)
	e := s.answer(nil, envelope.TypeNack, &envelope.Nack{Code: s.codes.Code(code), Message: text, Details: details})
	e.CorrelationID = id
	return e
}

// reply says something countable to the client that is about no job, or about one that does not exist: it goes into
// the log, and the view shows it. Several envelopes become visible together.
func (s *session) reply(envelopes ...*envelope.Envelope) {
	s.write(s.subject, envelopes[0].CorrelationID, envelopes...)
}

// replyGranted is reply with a job.accepted that has credentials while they are good; grant may be "".
func (s *session) replyGranted(grant string, envelopes ...*envelope.Envelope) {
	cause := envelopes[0].CorrelationID
	rec, err := s.recordOf(s.subject, envelopes...)
	if err != nil {
		s.notStored(cause, err)
		return
	}
	rec.Grant = grant
	s.publish(rec, cause, func(uint64, error) {})
}

// write writes one record on a subject. What the log cannot take is told to the client by a nack that is not counted and
// correlates with the message that caused the record.
func (s *session) write(subject subjects.Subject, cause envelope.MessageID, envelopes ...*envelope.Envelope) {
	rec, err := s.recordOf(subject, envelopes...)
	if err != nil {
		s.notStored(cause, err)
		return
	}
	s.publish(rec, cause, func(uint64, error) {})
}

// recordOf makes a record of what this edge says.
func (s *session) recordOf(subject subjects.Subject, envelopes ...*envelope.Envelope) (*record.Record, error) {
	rec, err := record.New(subject, envelopes...)
	if err != nil {
		return nil, envelope.Errorf(envelope.CodeInternal, "record: %v", err)
	}
	rec.Sender = s.srv.cfg.Name
	rec.Codes = s.codes
	return rec, nil
}

// publish sends a record on its way to the log. It waits only while too much of the session is on its way already.
// done is told where the record stands, or why it does not, unless the connection ends first; it must not block.
func (s *session) publish(rec *record.Record, cause envelope.MessageID, done func(seq uint64, err error)) {
	select {
	case s.inFlight <- struct{}{}: // also when the connection has just ended
	default:
		select {
		case s.inFlight <- struct{}{}:
		case <-s.conn.ctx.Done():
			return
		}
	}
	began := time.Now()
	err := s.srv.log.Publish(s.srv.ctx, rec, func(seq uint64, err error) {
		done(seq, err)
		<-s.inFlight
		if err != nil {
			s.notStored(cause, err)
			return
		}
		s.srv.metrics.published.Observe(time.Since(began).Seconds())
	})
	if err != nil {
		done(0, err)
		<-s.inFlight
		s.notStored(cause, err)
	}
}

// errorText is what a person reads of an error; the code travels beside it.
func errorText(err error) string {
	var coded *envelope.Error
	if errors.As(err, &coded) {
		return coded.Message
	}
	return err.Error()
}

// retryLater are the details of a refusal that a retry may mend.
var retryLater = json.RawMessage(`{"retryable":true}`)

// isRetryable is the code's own word, unless the error knows better: what is too large for the log never fits.
func isRetryable(code envelope.Code, err error) bool {
	var coded *envelope.Error
	if errors.As(err, &coded) && coded.Retryable != nil {
		return *coded.Retryable
	}
	return code.Retryable()
}

// notStored tells the client that a message of its had no effect because the log could not take the record.
func (s *session) notStored(cause envelope.MessageID, err error) {
	code := envelope.CodeOf(err)
	if code == envelope.CodeDeadlineExceeded || code == envelope.CodeCancelled { // of the edge's own patience
		err = envelope.Errorf(envelope.CodeUnavailable, "the log did not answer in time")
		code = envelope.CodeUnavailable
	}
	details := json.RawMessage(`{"retryable":false}`)
	if isRetryable(code, err) {
		details = retryLater
		s.conn.dedup.forget(cause)
	}
	s.logger.Warn("the log did not take a record", "code", code, "error", err)
	s.conn.send(s.newNack(cause, code, errorText(err), details))
}
