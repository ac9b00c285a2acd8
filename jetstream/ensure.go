package jetstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/arcp-nats/arcp/subjects"
)

// Ensure makes the streams and buckets of a topology that are missing, and changes those that differ where that loses
// nothing. It may be called again, and by several processes at a time. What it could not or would not change comes back
// as drift, one sentence each: which field of what, wanted, found, and why it stays. It never deletes anything, and
// never shortens a retention if records would go with it.
func (c *Client) Ensure(ctx context.Context, t Topology) (drift []string, err error) {
	for _, spec := range t.Streams() {
		found, err := c.ensure(ctx, spec.config(), func(ctx context.Context) error {
			_, err := c.js.CreateStream(ctx, spec.config())
			return err
		})
		if err != nil {
			return drift, failed(ctx, "stream "+spec.Name, err)
		}
		drift = append(drift, found...)
	}
	for _, spec := range t.Buckets() {
		found, err := c.ensure(ctx, spec.streamConfig(), func(ctx context.Context) error {
			_, err := c.js.CreateKeyValue(ctx, spec.config())
			return err
		})
		if err != nil {
			return drift, failed(ctx, "bucket "+spec.Name, err)
		}
		drift = append(drift, found...)
	}
	for _, spec := range t.Objects() {
		found, err := c.ensure(ctx, spec.streamConfig(), func(ctx context.Context) error {
			_, err := c.js.CreateStream(ctx, spec.streamConfig())
			return err
		})
		if err != nil {
			return drift, failed(ctx, "object store "+spec.Name, err)
		}
		drift = append(drift, found...)
	}
	return drift, nil
}

// EnsureRetrying is Ensure, but it tries again, and says so in the log, while the broker is there and has no answer: a
// cluster chooses a leader, or too few of its servers are up. It fails with the cause of ctx when that ends.
func (c *Client) EnsureRetrying(ctx context.Context, t Topology) (drift []string, err error) {
	for try := 0; ; try++ {
		op, cancel := c.bounded(ctx)
		drift, err = c.Ensure(op, t)
		cancel()
		switch {
		case err == nil:
			return drift, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case !retryable(err) && !errors.Is(err, context.DeadlineExceeded):
			return drift, err
		}
		c.log.Warn("the log cannot be set up yet, trying again", "error", err)
		if err := c.pause(ctx, try); err != nil {
			return nil, err
		}
	}
}

// Shards returns the numbers of the log streams that exist, in order.
func (c *Client) Shards(ctx context.Context) ([]int, error) {
	var shards []int
	names := c.js.StreamNames(ctx)
	for name := range names.Name() {
		if shard, ok := shardOf(name); ok {
			shards = append(shards, shard)
		}
	}
	slices.Sort(shards)
	return shards, failed(ctx, "listing the log streams", names.Err())
}

// shardOf returns which shard a stream holds, if it is one of the log's.
func shardOf(stream string) (shard int, ok bool) {
	number, ok := strings.CutPrefix(stream, "ARCP_LOG_")
	if !ok {
		return 0, false
	}
	shard, err := strconv.Atoi(number)
	return shard, err == nil && subjects.StreamName(shard) == stream
}

func (s StreamSpec) config() natsjs.StreamConfig {
	cfg := natsjs.StreamConfig{
		Name:        s.Name,
		Subjects:    s.Subjects,
		Retention:   natsjs.LimitsPolicy,
		Storage:     natsjs.FileStorage,
		Discard:     natsjs.DiscardNew,
		Replicas:    s.Replicas,
		MaxAge:      s.MaxAge,
		MaxBytes:    s.MaxBytes,
		Duplicates:  s.Dedup,
		AllowDirect: true,
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = -1
	}
	return cfg
}

func (b BucketSpec) config() natsjs.KeyValueConfig {
	return natsjs.KeyValueConfig{
		Bucket:         b.Name,
		History:        1,
		TTL:            b.TTL,
		Storage:        natsjs.FileStorage,
		Replicas:       b.Replicas,
		LimitMarkerTTL: b.MarkerTTL,
	}
}

// streamConfig is what of a bucket's stream Ensure looks at.
func (b BucketSpec) streamConfig() natsjs.StreamConfig {
	return natsjs.StreamConfig{
		Name:                   "KV_" + b.Name,
		Subjects:               []string{"$KV." + b.Name + ".>"},
		Retention:              natsjs.LimitsPolicy,
		Storage:                natsjs.FileStorage,
		Discard:                natsjs.DiscardNew,
		Replicas:               b.Replicas,
		MaxAge:                 b.TTL,
		MaxBytes:               -1,
		Duplicates:             dedupOf(b.TTL),
		AllowDirect:            true,
		AllowMsgTTL:            b.MarkerTTL > 0,
		SubjectDeleteMarkerTTL: b.MarkerTTL,
	}
}

// streamConfig is an object store as other NATS clients know it, and with a time to live a message.
func (o ObjectSpec) streamConfig() natsjs.StreamConfig {
	cfg := natsjs.StreamConfig{
		Name:        objectStream(o.Name),
		Subjects:    []string{chunkSubject(o.Name, ">"), "$O." + o.Name + ".M.>"},
		Retention:   natsjs.LimitsPolicy,
		Storage:     natsjs.FileStorage,
		Discard:     natsjs.DiscardNew,
		Replicas:    o.Replicas,
		MaxBytes:    o.MaxBytes,
		Duplicates:  dedupOf(0),
		AllowDirect: true,
		AllowRollup: true,
		AllowMsgTTL: true,
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = -1
	}
	return cfg
}

// dedupOf is the dedup window that nats.go gives a bucket.
func dedupOf(ttl time.Duration) time.Duration {
	if window := 2 * time.Minute; ttl <= 0 || ttl > window {
		return window
	}
	return ttl
}

// ensure makes one stream, or reconciles the one that is there.
func (c *Client) ensure(ctx context.Context, want natsjs.StreamConfig, create func(context.Context) error) (drift []string, err error) {
	info, err := c.streamInfo(ctx, want.Name)
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		err = create(ctx)
		if err == nil {
			return nil, nil
		}
		if !errors.Is(err, natsjs.ErrStreamNameAlreadyInUse) && !errors.Is(err, natsjs.ErrBucketExists) {
			return nil, err
		}
		info, err = c.streamInfo(ctx, want.Name) // another process was faster
	}
	if err != nil {
		return nil, err
	}
	for _, f := range fields {
		if f.same(&want, &info.Config) {
			continue
		}
		why := "it cannot be changed"
		if f.set != nil {
			if why = f.refuse(&want, info); why == "" {
				cfg := info.Config
				f.set(&cfg, &want)
				updated, err := c.js.UpdateStream(ctx, cfg)
				if err == nil {
					c.log.Info("stream changed", "stream", want.Name, "field", f.name, "from", f.show(&info.Config), "to", f.show(&cfg))
					info = updated.CachedInfo()
					continue
				}
				if ctx.Err() != nil {
					return drift, err
				}
				why = err.Error()
			}
		}
		drift = append(drift, fmt.Sprintf("%s: %s: wanted %s, found %s: %s", want.Name, f.name, f.show(&want), f.show(&info.Config), why))
	}
	return drift, nil
}

func (c *Client) streamInfo(ctx context.Context, name string) (*natsjs.StreamInfo, error) {
	stream, err := c.js.Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	return stream.CachedInfo(), nil
}
