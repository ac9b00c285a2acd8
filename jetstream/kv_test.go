package jetstream_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/natstest"
	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/subjects"
)

func TestKV(t *testing.T) {
	ctx := patient(t)
	kv := client(t).KV(jetstream.BucketSessions)
	key := subjects.Key("tenant a", "sess_1.*>")

	_, _, err := kv.Get(ctx, key)
	requireCode(t, envelope.CodeNotFound, err)
	_, err = kv.Update(ctx, key, []byte("x"), 7)
	requireCode(t, envelope.CodeAborted, err)

	rev, err := kv.Create(ctx, key, []byte("one"))
	require.NoError(t, err)
	_, err = kv.Create(ctx, key, []byte("two"))
	requireCode(t, envelope.CodeAlreadyExists, err)

	next, err := kv.Update(ctx, key, []byte("two"), rev)
	require.NoError(t, err)
	_, err = kv.Update(ctx, key, []byte("three"), rev)
	requireCode(t, envelope.CodeAborted, err)
	value, got, err := kv.Get(ctx, key)
	require.NoError(t, err)
	require.Equal(t, "two", string(value))
	require.Equal(t, next, got)

	require.NoError(t, kv.Delete(ctx, key))
	require.NoError(t, kv.Delete(ctx, key))
	_, _, err = kv.Get(ctx, key)
	requireCode(t, envelope.CodeNotFound, err)
	_, err = kv.Update(ctx, key, []byte("x"), next)
	requireCode(t, envelope.CodeAborted, err)
	_, err = kv.Create(ctx, key, []byte("again"))
	require.NoError(t, err)
	_, err = kv.Put(ctx, key, []byte("put"))
	require.NoError(t, err)

	_, err = kv.Put(ctx, "not a key", nil)
	requireCode(t, envelope.CodeInvalidArgument, err)
}

func TestKVOfNoBucket(t *testing.T) {
	c := client(t)
	_, _, err := c.KV("nowhere").Get(patient(t), "key")
	requireCode(t, envelope.CodeNotFound, err)
	requireCode(t, envelope.CodeNotFound, c.KV("nowhere").Watch(patient(t), nil, nil))
}

func TestKVWithoutABroker(t *testing.T) {
	b := newBroker(t)
	c := b.client(jetstream.Config{})
	kv := c.KV(jetstream.BucketSessions)
	_, err := kv.Put(patient(t), "k", nil)
	require.NoError(t, err)
	b.srv.Shutdown()
	_, _, err = kv.Get(patient(t), "k")
	requireCode(t, envelope.CodeUnavailable, err)
	_, err = kv.Create(patient(t), "k", nil)
	requireCode(t, envelope.CodeUnavailable, err)
	_, _, err = c.Bounds(patient(t), 0)
	requireCode(t, envelope.CodeUnavailable, err)
}

// Of many that create a key, one wins; of many that update a revision, one wins.
func TestKVRaces(t *testing.T) {
	ctx := patient(t)
	kv := client(t).KV(jetstream.BucketIdempotency)
	const racers = 8
	race := func(lost envelope.Code, try func() error) {
		var mu sync.Mutex
		wins := 0
		var group sync.WaitGroup
		for range racers {
			group.Go(func() {
				err := try()
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					wins++
				} else if envelope.CodeOf(err) != lost {
					t.Errorf("wrong error: %v", err)
				}
			})
		}
		group.Wait()
		require.Equal(t, 1, wins)
	}
	for i := range 10 {
		key := fmt.Sprint("key-", i)
		race(envelope.CodeAlreadyExists, func() error { _, err := kv.Create(ctx, key, nil); return err })
		_, rev, err := kv.Get(ctx, key)
		require.NoError(t, err)
		race(envelope.CodeAborted, func() error { _, err := kv.Update(ctx, key, nil, rev); return err })
	}
}

// change is what a watcher sees; "-" stands for gone.
type change struct{ key, value string }

type watcher struct {
	ready   chan struct{}
	changes chan change
	ended   chan error
	cancel  context.CancelFunc
}

func watch(t *testing.T, kv *jetstream.KV) *watcher {
	ctx, cancel := context.WithCancel(t.Context())
	w := &watcher{make(chan struct{}), make(chan change, 1000), make(chan error, 1), cancel}
	go func() {
		w.ended <- kv.Watch(ctx, func() { close(w.ready) }, func(key string, value []byte, created time.Time) {
			if age := time.Since(created); age < -time.Minute || age > time.Minute {
				t.Errorf("created %v", created)
			}
			if value == nil {
				value = []byte("-")
			}
			w.changes <- change{key, string(value)}
		})
	}()
	return w
}

func (w *watcher) stop(t *testing.T) {
	w.cancel()
	require.ErrorIs(t, receive(t, context.Background(), w.ended), context.Canceled)
}

func TestWatch(t *testing.T) {
	ctx := patient(t)
	kv := client(t).KV(jetstream.BucketTools)
	put := func(key, value string) {
		_, err := kv.Put(ctx, key, []byte(value))
		require.NoError(t, err)
	}
	empty := watch(t, kv)
	receive(t, ctx, empty.ready)
	empty.stop(t)

	put("a", "1")
	put("a", "2")
	put("b", "")
	put("c", "1")
	require.NoError(t, kv.Delete(ctx, "c"))
	w := watch(t, kv)
	receive(t, ctx, w.ready)
	require.Equal(t, change{"a", "2"}, receive(t, ctx, w.changes))
	require.Equal(t, change{"b", ""}, receive(t, ctx, w.changes))
	require.Empty(t, w.changes, "what had gone before is not mentioned")

	put("d", "1")
	require.NoError(t, kv.Delete(ctx, "a"))
	require.Equal(t, change{"d", "1"}, receive(t, ctx, w.changes))
	require.Equal(t, change{"a", "-"}, receive(t, ctx, w.changes))
	w.stop(t)
}

func TestPutTTLGoesByItself(t *testing.T) {
	ctx := patient(t)
	kv := client(t).KV(jetstream.BucketTools)
	w := watch(t, kv)
	receive(t, ctx, w.ready)
	_, err := kv.PutTTL(ctx, "worker.q.w", []byte("here"), time.Second)
	require.NoError(t, err)
	require.Equal(t, change{"worker.q.w", "here"}, receive(t, ctx, w.changes))
	require.Equal(t, change{"worker.q.w", "-"}, receive(t, ctx, w.changes))
	_, _, err = kv.Get(ctx, "worker.q.w")
	requireCode(t, envelope.CodeNotFound, err)
	_, err = kv.Create(ctx, "worker.q.w", []byte("again"))
	require.NoError(t, err)
	w.stop(t)
}

// A watcher that was away learns what has changed and what has gone meanwhile.
func TestWatchAcrossARestart(t *testing.T) {
	b := newBroker(t)
	c := b.client(jetstream.Config{})
	kv := c.KV(jetstream.BucketTools)
	ctx := patient(t)
	for _, key := range []string{"stays", "goes", "changes"} {
		_, err := kv.Put(ctx, key, []byte("1"))
		require.NoError(t, err)
	}
	w := watch(t, kv)
	table := make(map[string]string)
	wait := func(done func() bool) {
		t.Helper()
		for !done() {
			if ch := receive(t, patient(t), w.changes); ch.value == "-" {
				delete(table, ch.key)
			} else {
				table[ch.key] = ch.value
			}
		}
	}
	receive(t, ctx, w.ready)
	wait(func() bool { return len(table) == 3 })

	// While the watcher is away another client writes, past the watcher's back: over a server of its own on the same
	// folder.
	port := b.port
	b.srv.Shutdown()
	b.port = -1
	b.start()
	other := natstest.Connect(t, jetstream.Config{URLs: []string{b.srv.URL()}})
	okv := other.KV(jetstream.BucketTools)
	_, err := okv.Put(ctx, "changes", []byte("2"))
	require.NoError(t, err)
	// Not even a mark of the removal is left.
	js := upstream(t, b.srv)
	s, err := js.Stream(ctx, "KV_"+jetstream.BucketTools)
	require.NoError(t, err)
	require.NoError(t, okv.Delete(ctx, "goes"))
	require.NoError(t, s.Purge(ctx, natsjs.WithPurgeSubject("$KV."+jetstream.BucketTools+".goes")))
	b.srv.Shutdown()
	b.port = port
	b.start()

	wait(func() bool { return len(table) == 2 && table["changes"] == "2" })
	require.Equal(t, map[string]string{"stays": "1", "changes": "2"}, table)
	_, err = natstest.Connect(t, jetstream.Config{URLs: []string{b.srv.URL()}}).KV(jetstream.BucketTools).Put(ctx, "new", []byte("3"))
	require.NoError(t, err)
	wait(func() bool { return table["new"] == "3" })
	w.stop(t)
}
