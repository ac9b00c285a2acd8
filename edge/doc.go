// Package edge is an ARCP edge node: it holds client connections and is otherwise a reader of the log with sockets.
//
// Who owns what:
//
//	Server ── hub ── feed            one reader of the log a feed, its own and those of sessions resumed here
//	   │               └─ session …  offered the records that are for it, in log order
//	   └── conn                      one WebSocket: a reader (the HTTP handler), a writer, an outbox bounded in bytes
//	         └─ session              a view of the log; live, behind, or ended
//
// A message from a client is decoded once, checked, and published to the log without waiting. What the client sees
// comes back from the log through the session's view, which numbers it. So an edge can be killed at any moment: what
// was not in the log was never shown, and what is in the log is shown by the edge that the session is resumed on.
//
// Only what is not counted (the handshake, pings, list answers) goes to a socket without having been in the log.
package edge
