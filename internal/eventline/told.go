package eventline

import "github.com/arcp-nats/arcp/envelope"

// FormatTold is Format for an event of any session, with the id of the message, by which it can be referred to, and the
// end of the session's id.
func FormatTold(e *envelope.Envelope) string {
	return short(string(e.ID)) + "  " + short(shortID(string(e.SessionID))) + "  " + Format(e)
}
