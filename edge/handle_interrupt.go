package edge

import (
	"context"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/subjects"
)

// handleInterrupt puts a client's prompt on the input lane of a job, where its worker hears it, now or when it takes the
// job. Who may interrupt is who may cancel. It is not answered, unless it is refused; what the job makes of it is for its
// tool to say.
func handleInterrupt(c *conn, s *session, msg *envelope.Envelope) {
	payload, err := envelope.DecodePayload[envelope.Interrupt](msg)
	if err != nil {
		c.receiveBad(s, err)
		return
	}
	if payload.Target != envelope.TargetJob {
		s.nack(msg, envelope.CodeInvalidArgument, "payload.target: only a job can be interrupted")
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, storeTimeout)
	defer cancel()
	invocation, _, refusal, err := s.runningJob(ctx, payload.TargetID)
	switch {
	case err != nil:
		s.notStored(msg.ID, err)
	case refusal != "":
		s.nack(msg, interruptCodes[refusal], refusal)
	default:
		e := s.answer(msg, envelope.TypeInterrupt, payload)
		e.JobID = envelope.JobID(invocation.Subject.Job)
		s.write(subjects.JobInput(invocation.Subject), msg.ID, e)
	}
}

// interruptCodes are the codes for the reasons of cancel.refused.
var interruptCodes = map[string]envelope.Code{
	refusedMalformed:  envelope.CodeInvalidArgument,
	refusedUnknown:    envelope.CodeJobNotFound,
	refusedNotAllowed: envelope.CodePermissionDenied,
	refusedEnded:      envelope.CodeFailedPrecondition,
}
