package jetstream

import (
	"context"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Watch passes every value of the bucket and then every change to fn, a nil value for a key that has gone, until ctx
// ends. ready is called once, after the values that were there. created is when the value was stored. fn and ready are
// called from the calling goroutine.
//
// After an interruption the bucket is read again: fn sees each present value once more, and a nil for each key that has
// gone meanwhile, so that a watcher's table is right whatever it missed. The bucket is read from any replica, but from none
// that has fewer keys than the leader: a key that it has not heard of yet would be taken for gone. NOT_FOUND: there is no
// such bucket.
func (k *KV) Watch(ctx context.Context, ready func(), fn func(key string, value []byte, created time.Time)) error {
	w := watching{prefix: k.prefix(), ready: ready, fn: fn, known: make(map[string]bool)}
	for try := 0; ; try++ {
		keys, err := k.keys(ctx)
		if err == nil {
			w.least, w.short = keys, false
			err = k.c.read(ctx, reading{
				stream:  "KV_" + k.name,
				filters: []string{w.prefix + ">"},
				started: w.started,
				fn:      w.message,
			})
			if !w.short {
				return err
			}
		} else if ctx.Err() != nil || !retryable(err) {
			return err
		}
		if err := k.c.pause(ctx, try); err != nil {
			return failed(ctx, "watch "+k.name, err)
		}
	}
}

// keys is how many keys the leader of the bucket has, those that were removed a moment ago included.
func (k *KV) keys(ctx context.Context) (uint64, error) {
	op, cancel := k.c.bounded(ctx)
	defer cancel()
	stream, err := k.c.stream(op, "KV_"+k.name)
	if err != nil {
		return 0, failed(ctx, "watch "+k.name, err)
	}
	info, err := stream.Info(op)
	if err != nil {
		return 0, failed(ctx, "watch "+k.name, err)
	}
	return info.State.NumSubjects, nil
}

// watching is the state of a watch across interruptions.
type watching struct {
	prefix string
	ready  func()
	fn     func(key string, value []byte, created time.Time)

	least uint64 // keys that the leader has
	short bool   // the replica that was read from has fewer

	known   map[string]bool // keys with a value, as fn has been told
	seen    map[string]bool // while the bucket is read: keys that came up
	pending uint64          // while the bucket is read: values to come
}

func (w *watching) started(pending uint64) bool {
	if pending < w.least {
		w.short = true
		return false
	}
	w.seen, w.pending = make(map[string]bool, pending), pending
	if pending == 0 {
		w.complete()
	}
	return true
}

func (w *watching) message(m *nats.Msg, at *nats.MsgMetadata) bool {
	key := strings.TrimPrefix(m.Subject, w.prefix)
	value := m.Data
	switch {
	case isRemoval(m.Header):
		value = nil
	case value == nil:
		value = []byte{}
	}
	if value != nil || w.known[key] {
		w.fn(key, value, at.Timestamp)
	}
	w.note(key, value != nil)
	if w.seen != nil {
		w.seen[key] = true
		// A value that changes while the bucket is read comes later than counted, or not at all.
		if w.pending--; w.pending == 0 || at.NumPending == 0 {
			w.complete()
		}
	}
	return true
}

// complete tells fn of the keys that have gone since the last time.
func (w *watching) complete() {
	for key := range w.known {
		if !w.seen[key] {
			w.fn(key, nil, time.Now())
			delete(w.known, key)
		}
	}
	w.seen = nil
	if w.ready != nil {
		w.ready()
		w.ready = nil
	}
}

func (w *watching) note(key string, present bool) {
	if present {
		w.known[key] = true
	} else {
		delete(w.known, key)
	}
}
