package jetstream_test

import (
	"context"
	"errors"
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

func TestEnsureMakesTheTopology(t *testing.T) {
	srv := natstest.Start(t)
	c := natstest.Connect(t, jetstream.Config{InProcess: srv.InProcess()})
	ctx := patient(t)
	shards, err := c.Shards(ctx)
	require.NoError(t, err)
	require.Empty(t, shards)

	topology := jetstream.Topology{Shards: 3, MaxBytes: 1 << 20}
	natstest.Ensure(t, c, topology)
	natstest.Ensure(t, c, topology)
	shards, err = c.Shards(ctx)
	require.NoError(t, err)
	require.Equal(t, []int{0, 1, 2}, shards)

	cfg := streamConfig(t, upstream(t, srv), "ARCP_LOG_1")
	require.Equal(t, []string{"arcp.1.>"}, cfg.Subjects)
	require.Equal(t, natsjs.FileStorage, cfg.Storage)
	require.Equal(t, natsjs.DiscardNew, cfg.Discard)
	require.Equal(t, natsjs.LimitsPolicy, cfg.Retention)
	require.Equal(t, natsjs.NoCompression, cfg.Compression)
	require.Equal(t, 72*time.Hour, cfg.MaxAge)
	require.Equal(t, 2*time.Minute, cfg.Duplicates)
	require.EqualValues(t, 1<<20, cfg.MaxBytes)
	require.True(t, cfg.AllowDirect)
	require.Equal(t, 10*time.Minute, streamConfig(t, upstream(t, srv), "KV_arcp_sessions").MaxAge)
	require.Equal(t, 24*time.Hour, streamConfig(t, upstream(t, srv), "KV_arcp_idempotency").MaxAge)
	require.True(t, streamConfig(t, upstream(t, srv), "KV_arcp_tools").AllowMsgTTL)
}

func streamConfig(t *testing.T, js natsjs.JetStream, name string) natsjs.StreamConfig {
	t.Helper()
	s, err := js.Stream(patient(t), name)
	require.NoError(t, err)
	return s.CachedInfo().Config
}

func TestEnsureRaces(t *testing.T) {
	srv := natstest.Start(t)
	var group sync.WaitGroup
	for range 6 {
		c := natstest.Connect(t, jetstream.Config{InProcess: srv.InProcess()})
		group.Go(func() {
			drift, err := c.Ensure(patient(t), jetstream.Topology{Shards: 4})
			if err != nil || len(drift) > 0 {
				t.Errorf("drift %q, error %v", drift, err)
			}
		})
	}
	group.Wait()
}

func TestEnsureChangesWhatLosesNothing(t *testing.T) {
	srv := natstest.Start(t)
	c := natstest.Connect(t, jetstream.Config{InProcess: srv.InProcess()})
	natstest.Ensure(t, c, jetstream.Topology{MaxBytes: 1 << 20, Retention: 2 * time.Hour})
	store(t, c, numbered(eventOf("f", "s", "j"), 1))
	natstest.Ensure(t, c, jetstream.Topology{
		MaxBytes: 2 << 20, Retention: time.Hour, DedupWindow: time.Minute, ResumeWindow: 5 * time.Minute, IdempotencyTTL: time.Hour,
	})
	cfg := streamConfig(t, upstream(t, srv), "ARCP_LOG_0")
	require.EqualValues(t, 2<<20, cfg.MaxBytes)
	require.Equal(t, time.Hour, cfg.MaxAge)
	require.Equal(t, time.Minute, cfg.Duplicates)
	require.Equal(t, 5*time.Minute, streamConfig(t, upstream(t, srv), "KV_arcp_sessions").MaxAge)
	first, last, err := c.Bounds(patient(t), 0)
	require.NoError(t, err)
	require.EqualValues(t, 1, last-first+1)
}

func TestEnsureReportsWhatItLeaves(t *testing.T) {
	srv := natstest.Start(t)
	js := upstream(t, srv)
	ctx := patient(t)
	_, err := js.CreateStream(ctx, natsjs.StreamConfig{
		Name: subjects.StreamName(0), Subjects: []string{"arcp.0.>"}, Storage: natsjs.MemoryStorage, MaxAge: time.Hour,
		Discard: natsjs.DiscardOld, Duplicates: time.Second,
	})
	require.NoError(t, err)
	c := natstest.Connect(t, jetstream.Config{InProcess: srv.InProcess()})
	old := store(t, c, numbered(eventOf("f", "s", "j"), 1))
	r, err := c.LastOf(ctx, eventOf("f", "s", "j"))
	require.NoError(t, err)

	// The oldest record is older than the wanted retention in a moment.
	topology := jetstream.Topology{Replicas: 3, Retention: 200 * time.Millisecond, DedupWindow: 100 * time.Millisecond}
	require.Eventually(t, func() bool { return time.Since(r.Time) > topology.Retention }, patience, 1e6)
	var drift []string
	drift, err = c.Ensure(ctx, topology)
	requireCode(t, envelope.CodeInternal, err) // three replicas of what is missing need three servers
	require.Len(t, drift, 3)
	require.Contains(t, drift[0], "ARCP_LOG_0: storage: wanted file, found memory: it cannot be changed")
	require.Contains(t, drift[1], "ARCP_LOG_0: retention: wanted 200ms, found 1h0m0s: the oldest record is")
	require.Contains(t, drift[2], "ARCP_LOG_0: replicas: wanted 3, found 1:")

	first, _, err := c.Bounds(ctx, 0)
	require.NoError(t, err)
	require.Equal(t, old, first, "nothing is lost")
	require.Equal(t, natsjs.DiscardNew, streamConfig(t, js, "ARCP_LOG_0").Discard)
}

func TestConnectGivesUpWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(patient(t), 50*time.Millisecond)
	defer cancel()
	_, err := jetstream.Connect(ctx, jetstream.Config{URLs: []string{"nats://127.0.0.1:1"}})
	requireCode(t, envelope.CodeUnavailable, err)
}

func TestStateIsReported(t *testing.T) {
	b := newBroker(t)
	c := b.client(jetstream.Config{})
	states := make(chan bool, 10)
	c.OnState(func(connected bool) { states <- connected })
	require.True(t, c.Connected())
	b.srv.Shutdown()
	require.False(t, receive(t, patient(t), states))
	require.False(t, c.Connected())
	b.start()
	require.True(t, receive(t, patient(t), states))
	require.True(t, c.Connected())
}

// ConnectRetrying finds a broker that comes late, and ends with its context.
func TestConnectRetrying(t *testing.T) {
	ctx, cancel := context.WithCancelCause(patient(t))
	enough := errors.New("enough")
	cancel(enough)
	_, err := jetstream.ConnectRetrying(ctx, jetstream.Config{URLs: []string{"nats://127.0.0.1:1"}})
	require.ErrorIs(t, err, enough)

	srv := natstest.Start(t)
	c, err := jetstream.ConnectRetrying(patient(t), jetstream.Config{InProcess: srv.InProcess()})
	require.NoError(t, err)
	c.Close()
}
