// Package arcp is the root of a distributed runtime for ARCP, a protocol in which clients invoke tools as jobs and
// follow them over a WebSocket. It holds no code; this is where to go on:
//
//   - client is for programs that invoke tools.
//   - worker is for programs that offer tools; worker/program makes a tool of any executable.
//   - edge takes clients' connections; edge/view is the pure function that says what a session sees.
//   - envelope is the wire: messages, ids, codes, and the catalogue of message types.
//   - record and subjects say what the log holds and where.
//   - registry says what the workers of a cluster offer.
//   - jetstream keeps the log and the buckets in NATS JetStream; jetstream/embedded runs a server in the process.
//   - auth decides who a session belongs to.
//
// The programs are cmd/arcp-edge, cmd/arcp-worker and cmd/arcp. The documents are in docs: architecture.md says how it
// works, protocol.md what is spoken.
package arcp

//go:generate go run ./internal/gen/support -o docs/protocol-support.md
