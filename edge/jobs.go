package edge

import (
	"context"
	"time"

	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// Jobs is the log as a listing of jobs needs it. In a cluster what it brings may be a moment old. All methods are safe for
// concurrent use.
type Jobs interface {
	// Shards returns the numbers of the log's shards, in order.
	Shards(ctx context.Context) ([]int, error)
	// Invocations returns invocations of jobs of a set, in log order: those from position from on, at most limit. next is
	// where to go on; end says that there were no more when the log was asked.
	Invocations(ctx context.Context, set subjects.JobSet, from uint64, limit int) (found []*record.Record, next uint64, end bool, err error)
	// ReadEvents passes the events of jobs, given by their invocations, to fn: those of one job in log order. fn returns
	// false when it has heard enough of a job.
	ReadEvents(ctx context.Context, jobs []*record.Record, fn func(job int, rec *record.Record) (more bool)) error
	// PositionAt returns the position of the first record of a shard that was stored at a time or after it, or NOT_FOUND.
	PositionAt(ctx context.Context, shard int, at time.Time) (uint64, error)
	// Bounds returns the positions of the first and the last record that the shard holds.
	Bounds(ctx context.Context, shard int) (first, last uint64, err error)
}
