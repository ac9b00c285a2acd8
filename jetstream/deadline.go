package jetstream

import (
	"context"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
)

// Deadline notes when the lease of a job ends. A job that has an entry keeps it.
func (c *Client) Deadline(ctx context.Context, d record.Deadline) error {
	value, err := d.Encode()
	if err != nil {
		return envelope.Errorf(envelope.CodeInternal, "%w", err)
	}
	_, err = c.KV(BucketDeadlines).Create(ctx, d.Key(), value)
	if envelope.CodeOf(err) == envelope.CodeAlreadyExists {
		return nil
	}
	return err
}
