package jetstream

import (
	"context"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// FindInvocation returns the invocation of a job of a principal, in any of the shards, or NOT_FOUND. An empty principal
// stands for any. It sees every record that was confirmed before.
func (c *Client) FindInvocation(ctx context.Context, principal string, job envelope.JobID) (*record.Record, error) {
	op, cancel := c.bounded(ctx)
	defer cancel()
	shards, err := c.Shards(op)
	if err != nil {
		return nil, failed(ctx, "finding a job", err)
	}
	for _, shard := range shards {
		r, err := c.lastRecord(op, subjects.StreamName(shard), subjects.InvocationFilter(shard, principal, string(job)))
		if err = failed(ctx, "finding a job", err); envelope.CodeOf(err) == envelope.CodeNotFound {
			continue
		}
		return r, err
	}
	return nil, envelope.Errorf(envelope.CodeNotFound, "no such job")
}

// ReadInvocations passes the invocations that a shard now holds from position from on to fn, oldest first, until fn
// returns false. None is no error.
func (c *Client) ReadInvocations(ctx context.Context, shard int, from uint64, fn func(*record.Record) bool) error {
	filter := subjects.InvocationFilter(shard, "", "")
	op, cancel := c.bounded(ctx)
	defer cancel()
	last, err := c.lastStored(op, subjects.StreamName(shard), filter)
	if err = failed(ctx, "reading invocations", err); envelope.CodeOf(err) == envelope.CodeNotFound {
		return nil
	} else if err != nil {
		return err
	}
	err = c.readStored(ctx, shard, readBack{
		filters: []string{filter},
		wanted: func(subject string) bool {
			s, err := subjects.Parse(subject)
			return err == nil && s.Lane == subjects.Invoke
		},
		next: from, until: last.Sequence, fn: fn,
	})
	if envelope.CodeOf(err) == envelope.CodeNotFound {
		return nil // what was there has aged out meanwhile
	}
	return err
}
