package jetstream

import (
	"context"

	"github.com/arcp-nats/arcp/artifact"
)

// SetChunkSize makes an upload that has not begun use chunks of another size.
func SetChunkSize(u artifact.Upload, bytes int) { u.(*upload).size = bytes }

// CheckPosition is what a reading asks when it goes on after an interruption.
func (c *Client) CheckPosition(ctx context.Context, stream string, next uint64) error {
	return c.checkPosition(ctx, stream, next)
}
