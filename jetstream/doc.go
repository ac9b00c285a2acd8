// Package jetstream keeps the log and the buckets in NATS JetStream. It is the only importer of nats.go; edges and
// workers see it through small interfaces of their own.
//
// The log is one stream a shard. Publish stores records, pipelined. Follow and Inputs read on as records come,
// ReadSession and ReadJob read back, Queue hands out jobs. A KV is a bucket. Ensure makes what is missing.
//
// Every method that talks to the broker returns errors with a protocol code (envelope.CodeOf): UNAVAILABLE while the
// broker cannot be reached or does not answer, RESOURCE_EXHAUSTED when it refuses for lack of room, NOT_FOUND,
// ALREADY_EXISTS, ABORTED for a lost compare-and-set. When a context ends, its own error is wrapped.
package jetstream
