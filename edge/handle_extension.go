package edge

import (
	"context"
	"slices"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// speaks reports whether the session has negotiated an extension that has messages.
func (s *session) speaks(extension string) bool {
	return extension != envelope.CheckpointExtension && slices.Contains(s.capabilities.Extensions, extension)
}

// handleExtension puts a message of an extension that the session has negotiated on the input lane of the job that it
// names, where its worker hears it, now or when it takes the job. Who may speak to a job is who may cancel it. It is not
// answered, unless it is refused; what the job makes of it is for its tool to say.
func handleExtension(c *conn, s *session, msg *envelope.Envelope) {
	if msg.JobID == "" {
		s.nack(msg, envelope.CodeInvalidArgument, "job_id: a message of an extension is for a job, and names none")
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, storeTimeout)
	defer cancel()
	invocation, _, refusal, err := s.runningJob(ctx, string(msg.JobID))
	switch {
	case err != nil:
		s.notStored(msg.ID, err)
	case refusal != "":
		s.nack(msg, interruptCodes[refusal], refusal)
	default:
		s.pass(invocation, msg)
	}
}

// pass stores a client's message whole, but for the members that are not the client's to set, on the input lane of a job.
// What it is stored under is the edge's own: ids of clients are theirs to choose, and another one's must not stand in its
// way.
func (s *session) pass(invocation *record.Record, msg *envelope.Envelope) {
	e := *msg
	e.SessionID, e.JobID, e.EventSeq = s.id, envelope.JobID(invocation.Subject.Job), 0
	rec, err := s.recordOf(subjects.JobInput(invocation.Subject), &e)
	if err != nil {
		s.notStored(msg.ID, err)
		return
	}
	rec.MsgID = string(envelope.NewMessageID())
	s.publish(rec, msg.ID, func(uint64, error) {})
}
