package edge

import "github.com/gorilla/websocket"

// Close codes that the edge sends. The number alone tells a client what to do next: after 1001, 1006, 1011 and 4001
// it should connect again (elsewhere, if it can) and resume; after 1000 it is done; after 4002 it
// needs a fresh credential and a new session; after the others it must mend
// what it sends first.
const (
	// closeNormal ends a session that the client closed.
	closeNormal = websocket.CloseNormalClosure // 1000
	// closeGoingAway: the edge is stopping, the session lives on.
	closeGoingAway = websocket.CloseGoingAway // 1001
	// closeInvalid: a text frame that is not UTF-8.
	closeInvalid = websocket.CloseInvalidFramePayloadData // 1007
	// closePolicy: too many messages before the handshake was done, or the handshake took too long.
	closePolicy = websocket.ClosePolicyViolation // 1008
	// closeTooBig: an envelope larger than its type may be.
	closeTooBig = websocket.CloseMessageTooBig // 1009
	// closeInternal: the edge cannot go on with this socket; the session lives on.
	closeInternal = websocket.CloseInternalServerErr // 1011
	// closeEvicted: the session is held by another connection now.
	closeEvicted = 4001
	// closeLeaseEnded: the client has not shown in time that it is still who it was.
	closeLeaseEnded = 4002
)
