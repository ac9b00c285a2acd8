package worker

import (
	"context"
	"time"

	"github.com/arcp-nats/arcp/artifact"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// Bus is what a worker needs of the log and its queues. Errors carry a
// protocol code (envelope.CodeOf): UNAVAILABLE while the log cannot be reached
// and RESOURCE_EXHAUSTED while it is full, both worth another try; NOT_FOUND
// when there is nothing. All methods are safe for concurrent use.
type Bus interface {
	// Shards returns the numbers of the log streams that exist.
	Shards(ctx context.Context) ([]int, error)
	// Queue returns the shared queue of one shard, creating it if need be. A
	// delivery that shows no sign of life for ackWait goes to another worker.
	Queue(ctx context.Context, shard int, queue string, ackWait time.Duration) (Queue, error)
	// Publish queues a record for storing; it blocks while too much is on its
	// way. done is called exactly once, unless Publish itself fails, and does
	// not block. A record with the MsgID of a stored one counts as stored.
	Publish(ctx context.Context, r *record.Record, done func(seq uint64, err error)) error
	// LastOf returns the last record on exactly this subject, or NOT_FOUND.
	LastOf(ctx context.Context, subject subjects.Subject) (*record.Record, error)
	// ReadJob passes the records that are now stored on exactly this subject
	// to fn, oldest first, until fn returns false. None is no error.
	ReadJob(ctx context.Context, subject subjects.Subject, fn func(*record.Record) bool) error
	// ReadRange passes the records on exactly this subject at positions from
	// one to another, where one is known to stand, to fn, oldest first, until
	// fn returns false. NOT_FOUND: it has aged out.
	ReadRange(ctx context.Context, subject subjects.Subject, from, until uint64, fn func(*record.Record) bool) error
	// Inputs passes what clients say to the jobs of a shard to fn, in log
	// order, each once, until ctx ends. ready is called once, with a position
	// that no record passed to fn stands at or before; nothing stored after
	// that position is missed. fn does not block.
	Inputs(ctx context.Context, shard int, ready func(pos uint64), fn func(*record.Record)) error
	// Deadline notes when the lease of a job ends, so that the job ends then
	// also if no worker has it. A job that has an entry keeps it.
	Deadline(ctx context.Context, d record.Deadline) error
	// Tools returns the bucket in which workers say what they offer.
	Tools() Tools
	// Artifacts returns the store of artifacts, nil if there is none.
	Artifacts() artifact.Store
}

// Queue hands out the jobs of one queue of one shard. Workers share it.
type Queue interface {
	// Fetch asks for exactly n jobs and passes those that come to fn, until n
	// have come, the queue ends the request, or ctx ends. A job that fn was
	// not called with was not handed out. fn does not block.
	Fetch(ctx context.Context, n int, fn func(Delivery)) error
}

// Delivery is a job in the hands of this worker.
type Delivery struct {
	// Record is the invocation: job.accepted and tool.invoke.
	Record *record.Record
	// Attempt counts the deliveries of this job, this one included, from 1.
	Attempt int
	// Asked is a moment before the queue handed the job out.
	Asked time.Time
	// Receipt answers for it.
	Receipt Receipt
}

// Receipt is how a worker answers for a delivery. After Ack or Nak it is spent.
type Receipt interface {
	// Ack says that the job needs no further attempt.
	Ack(ctx context.Context) error
	// InProgress says that the worker still has the job. It does not wait.
	InProgress() error
	// Nak gives the job back for another attempt, not before delay has passed.
	Nak(delay time.Duration) error
}

// Tools is the bucket in which workers say what they offer (package registry
// has its keys and values).
type Tools interface {
	// Put stores a value that stays.
	Put(ctx context.Context, key string, value []byte) error
	// PutTTL stores a value that goes after ttl unless it is stored again.
	PutTTL(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// Delete removes a value; one that is not there is no error.
	Delete(ctx context.Context, key string) error
	// Watch passes every value and every later change to fn, a nil value for
	// a key that has gone, until ctx ends. ready is called once, after the
	// values that were there.
	Watch(ctx context.Context, ready func(), fn func(key string, value []byte, created time.Time)) error
}
