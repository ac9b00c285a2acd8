// Package natsbus lets workers work on a log that is kept in NATS: it is where package worker and package jetstream,
// which do not know each other, meet.
package natsbus

import (
	"context"
	"time"

	"github.com/arcp-nats/arcp/artifact"
	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/worker"
)

// New returns the log behind client as a worker needs it. Closing the client stays with the caller, after the worker's
// Run has returned.
func New(client *jetstream.Client) worker.Bus { return bus{client} }

// bus is where the shapes of the two packages differ by a name.
type bus struct{ *jetstream.Client }

func (b bus) Queue(ctx context.Context, shard int, name string, ackWait time.Duration) (worker.Queue, error) {
	q, err := b.Client.Queue(ctx, shard, name, ackWait)
	if err != nil {
		return nil, err
	}
	return queue{q}, nil
}

func (b bus) Artifacts() artifact.Store { return b.Client.Artifacts() }

func (b bus) Tools() worker.Tools { return tools{b.KV(jetstream.BucketTools)} }

type queue struct{ q *jetstream.Queue }

func (q queue) Fetch(ctx context.Context, n int, fn func(worker.Delivery)) error {
	return q.q.Fetch(ctx, n, func(d *jetstream.Delivery) {
		fn(worker.Delivery{Record: d.Record, Attempt: d.Attempt, Asked: d.Asked, Receipt: d})
	})
}

type tools struct{ *jetstream.KV }

func (t tools) Put(ctx context.Context, key string, value []byte) error {
	_, err := t.KV.Put(ctx, key, value)
	return err
}

func (t tools) PutTTL(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	_, err := t.KV.PutTTL(ctx, key, value, ttl)
	return err
}
