package worker

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/registry"
)

// offered returns the worker's tools as the registry has them, sorted.
func (w *Worker) offered() []registry.Tool {
	w.mu.Lock()
	defer w.mu.Unlock()
	tools := make([]registry.Tool, 0, len(w.tools))
	for _, t := range w.tools {
		tools = append(tools, registry.Tool{
			Name:        t.ref.Name,
			Version:     t.ref.Version,
			Default:     t.opts.Default,
			Description: t.opts.Description,
		})
	}
	slices.SortFunc(tools, func(a, b registry.Tool) int { return strings.Compare(a.Ref().String(), b.Ref().String()) })
	return tools
}

// announce writes down what the worker's own queue serves, for good, and that
// this worker serves it now.
func (w *Worker) announce(ctx context.Context) error {
	entry, err := registry.QueueEntry{Queue: w.Queue(), Tools: w.offered()}.Encode()
	if err != nil {
		return err
	}
	return retry(ctx, func() error {
		err := w.bus.Tools().Put(ctx, registry.QueueKey(w.Queue()), entry)
		if err == nil {
			err = w.present(ctx, w.Queue())
		}
		if err != nil && ctx.Err() == nil {
			w.log.Warn("tools cannot be announced", "error", err)
			if !worthAnotherTry(err) && envelope.CodeOf(err) != envelope.CodeNotFound {
				return backoff.Permanent(err)
			}
		}
		return err
	})
}

// present says that this worker serves a queue.
func (w *Worker) present(ctx context.Context, queue string) error {
	value, err := registry.Presence{Queue: queue, Worker: w.cfg.Name}.Encode()
	if err != nil {
		return err
	}
	return w.bus.Tools().PutTTL(ctx, registry.PresenceKey(queue, w.cfg.Name), value, registry.PresenceTTL)
}

// showPresence renews the worker's presence at every queue that it serves.
func (w *Worker) showPresence(ctx context.Context) {
	for _, queue := range w.lanes.queues() {
		if err := w.present(ctx, queue); err != nil && ctx.Err() == nil {
			w.log.Warn("presence cannot be renewed", "queue", queue, "error", err)
		}
	}
}

// withdraw takes the worker's presence back, so that no more jobs are sent its
// way if others can take them. The queue stays known.
func (w *Worker) withdraw(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for _, queue := range w.lanes.queues() {
		if err := w.bus.Tools().Delete(ctx, registry.PresenceKey(queue, w.cfg.Name)); err != nil {
			w.log.Warn("presence cannot be withdrawn and will run out", "queue", queue, "error", err)
		}
	}
}

// follow keeps the worker's picture of all queues up to date until ctx ends,
// and serves the ones that come up.
func (w *Worker) follow(ctx context.Context, changed func()) {
	known := false
	_ = retry(ctx, func() error { // only ctx ends it
		err := w.bus.Tools().Watch(ctx, func() {
			if !known {
				close(w.tableKnown)
			}
			known = true
			changed()
		},
			func(key string, value []byte, created time.Time) {
				w.table.Apply(key, value, created)
				if known {
					changed()
				}
			})
		if ctx.Err() == nil {
			w.log.Warn("other queues cannot be watched", "error", err)
		}
		return envelope.Errorf(envelope.CodeUnavailable, "the watch on the tools ended")
	})
}

// serveQueues serves, on all shards, the worker's own queue and every known
// queue all of whose tools it has, and tells whether one was new. So the jobs
// that wait in the queue of an older worker's tool set are not stranded when
// the set grows.
func (w *Worker) serveQueues(ctx context.Context, shards []int) (fresh bool) {
	before := w.lanes.count()
	for _, queue := range append(w.table.QueuesWithin(w.offered()), w.Queue()) {
		for _, shard := range shards {
			w.serveLane(ctx, lane{shard, queue})
		}
	}
	return w.lanes.count() > before
}
