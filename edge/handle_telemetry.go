package edge

import (
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/subjects"
)

// handleTelemetry stores what a client says for others to see: event.emit, log, metric, trace.span (open dialect 3.11).
// Subscribers of the principal see it. It is not answered, unless it is refused.
func handleTelemetry(c *conn, s *session, msg *envelope.Envelope) {
	row, _ := envelope.Lookup(msg.Type)
	payload := row.New()
	if err := msg.Decode(payload); err != nil {
		c.receiveBad(s, err)
		return
	}
	if event, ok := payload.(*envelope.EventEmit); ok && event.Name == envelope.EventBackfillComplete {
		s.nack(msg, envelope.CodeInvalidArgument, "payload.name: "+envelope.EventBackfillComplete+" is said by the runtime only")
		return
	}
	s.sayToOthers(msg)
}

// sayToOthers stores a message of the client on the lane input, beside no job, where subscribers find it. The client
// wrote it, and its word counts for what it says and not for who it is: the session is the connection's, and it is about
// no job, for whoever filters by a job wants to hear the runtime (open dialect section 6, items 24 and 35). The view of the
// session does not show it, so it takes no event_seq.
func (s *session) sayToOthers(msg *envelope.Envelope) {
	said := *msg
	said.SessionID, said.JobID, said.SubscriptionID = s.id, "", ""
	said.IdempotencyKey, said.EventSeq = "", 0
	rec, err := s.recordOf(subjects.JobInput(s.subject), &said)
	if err != nil {
		s.notStored(msg.ID, err)
		return
	}
	// The log knows repeats by this, and clients may choose the same ids.
	rec.MsgID = string(envelope.NewMessageID())
	s.publish(rec, msg.ID, func(uint64, error) {})
}
