package jetstream

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/arcp-nats/arcp/envelope"
)

// KV is a bucket. Keys are made by subjects.Key. All methods are safe for concurrent use. One that gets no answer within
// Config.AckTimeout fails with UNAVAILABLE, though ctx may allow more.
type KV struct {
	c    *Client
	name string
}

// KV returns a bucket of the topology. Whether it exists shows at its first use.
func (c *Client) KV(bucket string) *KV { return &KV{c: c, name: bucket} }

// Create stores a value under a key that has none. ALREADY_EXISTS: it has one.
func (k *KV) Create(ctx context.Context, key string, value []byte) (revision uint64, err error) {
	op, cancel := k.c.bounded(ctx)
	defer cancel()
	b, err := k.c.bucket(op, k.name)
	if err == nil {
		revision, err = b.Create(op, key, value)
	}
	if apiCode(err) == envelope.CodeAborted {
		return 0, envelope.Errorf(envelope.CodeAlreadyExists, "create %s in %s: %w", key, k.name, err)
	}
	return revision, k.failed(ctx, "create", key, err)
}

// Get returns the value of a key and its revision. NOT_FOUND: it has none. It sees every write that was confirmed before.
func (k *KV) Get(ctx context.Context, key string) (value []byte, revision uint64, err error) {
	op, cancel := k.c.bounded(ctx)
	defer cancel()
	m, err := k.c.lastStored(op, "KV_"+k.name, k.prefix()+key)
	switch {
	case err != nil:
		return nil, 0, k.failed(ctx, "get", key, err)
	case isRemoval(m.Header):
		return nil, 0, envelope.Errorf(envelope.CodeNotFound, "get %s in %s: it was removed", key, k.name)
	}
	return m.Data, m.Sequence, nil
}

// Update replaces the value that has the given revision. ABORTED: the key has another revision, or no value.
func (k *KV) Update(ctx context.Context, key string, value []byte, revision uint64) (newRevision uint64, err error) {
	op, cancel := k.c.bounded(ctx)
	defer cancel()
	b, err := k.c.bucket(op, k.name)
	if err == nil {
		newRevision, err = b.Update(op, key, value, revision)
	}
	return newRevision, k.failed(ctx, "update", key, err)
}

// Put stores a value, whatever was there.
func (k *KV) Put(ctx context.Context, key string, value []byte) (revision uint64, err error) {
	op, cancel := k.c.bounded(ctx)
	defer cancel()
	b, err := k.c.bucket(op, k.name)
	if err == nil {
		revision, err = b.Put(op, key, value)
	}
	return revision, k.failed(ctx, "put", key, err)
}

// PutTTL stores a value that goes after ttl (whole seconds, at least one) unless it is stored again. Watchers see it go.
// Only the buckets of tools, deadlines and credentials allow it.
func (k *KV) PutTTL(ctx context.Context, key string, value []byte, ttl time.Duration) (revision uint64, err error) {
	op, cancel := k.c.bounded(ctx)
	defer cancel()
	ack, err := k.c.js.PublishMsg(op, &nats.Msg{Subject: k.prefix() + key, Data: value}, natsjs.WithMsgTTL(ttl))
	if err != nil {
		return 0, k.failed(ctx, "put", key, err)
	}
	return ack.Sequence, nil
}

// Delete removes a value; that there is none is no error.
func (k *KV) Delete(ctx context.Context, key string) error {
	op, cancel := k.c.bounded(ctx)
	defer cancel()
	b, err := k.c.bucket(op, k.name)
	if err != nil {
		return k.failed(ctx, "delete", key, err)
	}
	// Where nothing else ages, the mark that tells watchers of the removal must, or marks would pile up.
	if k.name == BucketTools || k.name == BucketDeadlines || k.name == BucketCredentials {
		err = b.Purge(op, key, natsjs.PurgeTTL(markerTTL))
	} else {
		err = b.Delete(op, key)
	}
	return k.failed(ctx, "delete", key, err)
}

func (k *KV) prefix() string { return "$KV." + k.name + "." }

func (k *KV) failed(ctx context.Context, doing, key string, err error) error {
	if err == nil {
		return nil
	}
	return failed(ctx, doing+" "+key+" in "+k.name, err)
}
