package edgecmd

import (
	"context"
	"log/slog"
	"time"

	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/registry"
)

// directory keeps a table of the cluster's tools up to date.
type directory struct {
	*registry.Table
	client  *jetstream.Client
	logger  *slog.Logger
	read    chan struct{} // closed when everything that was there has been read
	changed chan struct{} // a token after a change
}

func newDirectory(client *jetstream.Client, logger *slog.Logger) *directory {
	return &directory{
		Table: registry.NewTable(), client: client, logger: logger,
		read: make(chan struct{}), changed: make(chan struct{}, 1),
	}
}

// watch follows the tools bucket until ctx ends.
func (d *directory) watch(ctx context.Context) {
	err := d.client.KV(jetstream.BucketTools).Watch(ctx, func() { close(d.read) }, func(key string, value []byte, at time.Time) {
		d.Apply(key, value, at)
		select {
		case d.changed <- struct{}{}:
		default:
		}
	})
	if ctx.Err() == nil {
		d.logger.Error("the tools of the cluster are not watched any more", "error", err)
	}
}

// wait returns when the table has been read and, unless reference is empty, when a worker offers that tool. It is
// false if ctx ended first.
func (d *directory) wait(ctx context.Context, reference string) bool {
	select {
	case <-d.read:
	case <-ctx.Done():
		return false
	}
	for reference != "" && !d.Knows(reference) {
		select {
		case <-d.changed:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
