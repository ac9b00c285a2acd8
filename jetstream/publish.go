package jetstream

import (
	"context"
	"fmt"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
)

// Publish queues a record for storing and returns; it blocks while too many records or bytes are on their way, until
// ctx ends. The record must not be changed before done is called. done is called exactly once, unless Publish itself
// fails, always from the same goroutine, and must not block: with the record's position (a record whose MsgID is
// stored already counts as stored, at the position it has), or with a *envelope.Error:
//
//   - RESOURCE_EXHAUSTED: the log is full, or the record is larger than the broker takes (then not retryable);
//   - UNAVAILABLE: the log did not take it within Config.AckTimeout. Without a MsgID, which is sent once only, the
//     record may be stored all the same; so it may with one, if the broker was lost and did not come back in time.
//
// Records are stored in the order of the Publish calls, across reconnects too. Only a change of leader in a broker
// cluster may reorder those that are on their way at that moment.
func (c *Client) Publish(ctx context.Context, r *record.Record, done func(seq uint64, err error)) error {
	return c.publisher.publish(ctx, r, done)
}

// PublishWait stores a record and returns its position, with the errors of Publish. If ctx ends first, the outcome is
// unknown.
func (c *Client) PublishWait(ctx context.Context, r *record.Record) (seq uint64, err error) {
	type outcome struct {
		seq uint64
		err error
	}
	stored := make(chan outcome, 1)
	if err := c.Publish(ctx, r, func(seq uint64, err error) { stored <- outcome{seq, err} }); err != nil {
		return 0, err
	}
	select {
	case o := <-stored:
		return o.seq, o.err
	case <-ctx.Done():
		return 0, fmt.Errorf("publish: %w", ctx.Err())
	}
}

func unavailable(format string, args ...any) error {
	return envelope.Errorf(envelope.CodeUnavailable, "publish: "+format, args...)
}
