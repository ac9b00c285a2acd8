package edge

import (
	"context"
	"time"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// Log is the event log, as far as an edge needs it. Errors carry a protocol code (see envelope.CodeOf):
// RESOURCE_EXHAUSTED when the log is full, UNAVAILABLE when it cannot be reached, NOT_FOUND when there is nothing.
// All methods are safe for concurrent use.
type Log interface {
	Jobs
	Principals
	// Publish queues a record for storing and returns; it blocks while too much is on its way. done is called
	// exactly once, unless Publish itself fails, and must not block.
	Publish(ctx context.Context, rec *record.Record, done func(seq uint64, err error)) error
	// PublishWait stores a record and returns its position.
	PublishWait(ctx context.Context, rec *record.Record) (seq uint64, err error)
	// Follow passes every record of a feed that is stored after it is ready to fn, in log order, each once, until
	// ctx ends. ready is called once, with a position that no such record stands at or before.
	Follow(ctx context.Context, shard int, feed string, from uint64, ready func(pos uint64), fn func(*record.Record)) error
	// ReadSession passes the records of one session from position from to fn, in log order, and returns once fn has
	// returned false or a record at or after until was passed. There must be such a record.
	ReadSession(ctx context.Context, session subjects.Subject, from, until uint64, fn func(*record.Record) bool) error
	// ReadRange passes the records on exactly one subject from position from to fn, in log order, and returns once fn has
	// returned false or a record at or after until was passed. There must be such a record; NOT_FOUND: it has aged out.
	ReadRange(ctx context.Context, subject subjects.Subject, from, until uint64, fn func(*record.Record) bool) error
	// ReadJob passes the records that now stand on exactly one subject to fn, oldest first, until fn returns false.
	ReadJob(ctx context.Context, subject subjects.Subject, fn func(*record.Record) bool) error
	// ReadFeed passes the records of all sessions of a feed, like ReadSession. It is the cheaper way to read for many
	// sessions; it passes over what other feeds have in between.
	ReadFeed(ctx context.Context, shard int, feed string, from, until uint64, fn func(*record.Record) bool) error
	// LastOf returns the last record on one subject.
	LastOf(ctx context.Context, subject subjects.Subject) (*record.Record, error)
	// ReadInvocations passes the invocations that a shard now holds from position from on to fn, oldest first, until fn
	// returns false.
	ReadInvocations(ctx context.Context, shard int, from uint64, fn func(*record.Record) bool) error
	// FindInvocation returns the invocation of a job of a principal, any principal's if it is empty.
	FindInvocation(ctx context.Context, principal string, job envelope.JobID) (*record.Record, error)
}

// Principals is the log as subscribers need it: all that the sessions of some principals have, in any feed and lane. The
// principals are given by their tokens (see subjects.PrincipalToken). All methods are safe for concurrent use.
type Principals interface {
	// FollowPrincipals passes every record of the principals in a shard to fn, like Follow those of a feed.
	FollowPrincipals(ctx context.Context, shard int, tokens []string, from uint64, ready func(pos uint64), fn func(*record.Record)) error
	// ReadPrincipals passes the records of the principals at positions from one to another to fn, in log order, until fn
	// returns false. None is no error; nor is a gap where records have aged out.
	ReadPrincipals(ctx context.Context, shard int, tokens []string, from, until uint64, fn func(*record.Record) bool) error
	// ReadAt returns the records of a shard at some positions, or NOT_FOUND if one has aged out.
	ReadAt(ctx context.Context, shard int, positions []uint64) ([]*record.Record, error)
	// HasSession reports whether a session of a principal has a record in any shard.
	HasSession(ctx context.Context, principal string, session envelope.SessionID) (bool, error)
}

// Bucket is a key-value bucket. Create fails with ALREADY_EXISTS, Get with NOT_FOUND, Update with ABORTED if the
// revision has moved on. All methods are safe for concurrent use.
type Bucket interface {
	Create(ctx context.Context, key string, value []byte) (revision uint64, err error)
	Get(ctx context.Context, key string) (value []byte, revision uint64, err error)
	Update(ctx context.Context, key string, value []byte, revision uint64) (newRevision uint64, err error)
	Delete(ctx context.Context, key string) error
}

// WatchedBucket is a bucket that tells of its changes.
type WatchedBucket interface {
	Bucket
	// Watch passes every value and then every change to fn, nil for a key that has gone, until ctx ends. ready is called
	// once, after the values that were there.
	Watch(ctx context.Context, ready func(), fn func(key string, value []byte, created time.Time)) error
}

// Tools is what the workers of the cluster offer.
type Tools interface {
	// Resolve finds the tool (name@version) that a reference means and the queue to send its invocation to. It
	// fails with AGENT_NOT_AVAILABLE or AGENT_VERSION_NOT_AVAILABLE.
	Resolve(ref envelope.AgentRef) (tool envelope.AgentRef, queue string, err error)
	// Agents is the inventory for session.accepted.
	Agents() envelope.Agents
}
