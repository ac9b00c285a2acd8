package edge

import "github.com/arcp-nats/arcp/envelope"

// handlePing answers at once, nonce included; an answer is not counted and passes the events that wait (open
// dialect HB-1, where the original loses the nonce).
func handlePing(c *conn, s *session, msg *envelope.Envelope) {
	ping, err := envelope.DecodePayload[envelope.Ping](msg)
	if err != nil {
		c.receiveBad(s, err)
		return
	}
	c.send(s.answer(msg, envelope.TypePong, &envelope.Pong{Nonce: ping.Nonce}))
}

// handleSessionPing is open dialect HB-2.
func handleSessionPing(c *conn, s *session, msg *envelope.Envelope) {
	ping, err := envelope.DecodePayload[envelope.SessionPing](msg)
	if err != nil {
		c.receiveBad(s, err)
		return
	}
	c.send(s.answer(msg, envelope.TypeSessionPong, &envelope.SessionPong{PingNonce: ping.Nonce, ReceivedAt: envelope.Now()}))
}

// handleSessionAck notes what the client has processed, so that a later resume starts near there. There is no answer
// (open dialect FC-4).
func handleSessionAck(c *conn, s *session, msg *envelope.Envelope) {
	ack, err := envelope.DecodePayload[envelope.SessionAck](msg)
	if err != nil {
		c.receiveBad(s, err)
		return
	}
	s.acknowledge(ack.LastProcessedSeq)
}

// handleSecondOpen refuses what would swap the session under its jobs (open dialect HS-10).
func handleSecondOpen(_ *conn, s *session, msg *envelope.Envelope) {
	s.nack(msg, envelope.CodeFailedPrecondition, "session.open: the session is open already")
}
