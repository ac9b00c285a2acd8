package edge

import "github.com/arcp-nats/arcp/envelope"

// LogConnected is to be called when the connection to the log goes or comes back. Sessions stay open meanwhile and are
// told with backpressure, out of band: an invocation that cannot be stored is refused with UNAVAILABLE, running jobs
// go on, and what they say is shown when the log is back. It does not block.
func (srv *Server) LogConnected(connected bool) {
	_, sessions := srv.holdings()
	for _, s := range sessions {
		payload := &envelope.Backpressure{Reason: "the log is back"}
		if !connected {
			none := uint32(0)
			payload = &envelope.Backpressure{DesiredRatePerSecond: &none, Reason: "the log cannot be reached"}
		}
		s.backpressure(payload)
	}
}
