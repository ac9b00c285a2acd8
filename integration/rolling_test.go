package integration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/wstest"
)

// TestRollingRestart restarts every edge and every worker, one after the other, each with SIGTERM, while clients keep
// jobs running. Nothing is lost: every job completes, and a session sees each of its envelopes. Nothing is repeated: no
// job is stored twice, and none needs a second attempt.
func TestRollingRestart(t *testing.T) {
	c := startProcesses(t)
	edges := []*process{c.edge("edge-0"), c.edge("edge-1")}
	workers := []*process{c.worker("worker-0"), c.worker("worker-1")}
	var urls []string
	for _, e := range edges {
		urls = append(urls, e.ready["edge"])
		untilServed(t, e.ready["edge"], "echo")
	}
	before := countTypes(t, c.nats, "job.accepted")

	var enough atomic.Bool
	var load errgroup.Group
	var done atomic.Int64
	sessions := make([]*client.Session, 4)
	for i := range sessions {
		s, err := client.Dial(t.Context(), client.Config{URLs: []string{urls[i%2], urls[1-i%2]}, Token: aliceToken})
		require.NoError(t, err)
		sessions[i] = s
		for lane := range 4 {
			load.Go(func() error {
				for n := 0; !enough.Load(); n++ {
					if err := countOnce(t.Context(), s, fmt.Sprintf("%d-%d-%d", i, lane, n)); err != nil {
						enough.Store(true)
						return fmt.Errorf("session %d, job %d: %w", i, n, err)
					}
					done.Add(1)
				}
				return nil
			})
		}
	}
	// Some jobs pass between two restarts, so that each process that is stopped has work.
	settled := func() {
		mark := done.Load() + 20
		require.Eventually(t, func() bool { return done.Load() >= mark || enough.Load() }, wstest.Wait, 10*time.Millisecond)
	}
	for i := range edges {
		settled()
		edges[i].terminate()
		require.Equal(t, 0, edges[i].exit())
		address := strings.TrimSuffix(strings.TrimPrefix(urls[i], "ws://"), "/arcp")
		edges[i] = c.edge(fmt.Sprintf("edge-%d", i), "--listen", address)
	}
	for i := range workers {
		settled()
		workers[i].terminate()
		require.Equal(t, 0, workers[i].exit())
		workers[i] = c.worker(fmt.Sprintf("worker-%d", i))
	}
	settled()
	enough.Store(true)
	require.NoError(t, load.Wait())

	resumes := uint64(0)
	for _, s := range sessions {
		stats := s.Stats()
		require.Zero(t, stats.Gaps)
		require.Zero(t, stats.Repeats)
		resumes += stats.Resumes
		require.NoError(t, s.Close(t.Context()))
	}
	require.GreaterOrEqual(t, resumes, uint64(len(sessions)), "every session has lost an edge")
	require.EqualValues(t, done.Load(), countTypes(t, c.nats, "job.accepted")-before, "each job is stored once")
	t.Logf("%d jobs, %d resumes", done.Load(), resumes)
}

// countOnce runs a job of count and checks its whole story.
func countOnce(ctx context.Context, s *client.Session, key string) error {
	const to = 20
	job, err := s.Invoke(ctx, "count", map[string]any{"to": to, "every_ms": 5}, client.WithIdempotencyKey(key))
	if err != nil {
		return err
	}
	started, at := 0, 0
	for e, err := range job.Events(ctx) {
		if err != nil {
			return err
		}
		switch e.Type {
		case envelope.TypeJobStarted:
			started++
		case envelope.TypeJobProgress:
			at++
			p, err := envelope.DecodePayload[envelope.JobProgress](e)
			if err != nil {
				return err
			}
			if int(p.Current) != at {
				return fmt.Errorf("progress %s after %d", e.Payload, at-1)
			}
		}
	}
	result, err := job.Wait(ctx)
	if err != nil {
		return err
	}
	var value struct{ Counted int }
	if err := json.Unmarshal(result.Value, &value); err != nil {
		return err
	}
	if started != 1 || at != to || value.Counted != to {
		return fmt.Errorf("%d attempts, %d steps, result %d", started, at, value.Counted)
	}
	return nil
}

// countTypes returns how many records of a log hold an envelope of a type.
func countTypes(t testing.TB, url, typ string) int {
	t.Helper()
	conn, err := nats.Connect(url)
	require.NoError(t, err)
	defer conn.Close()
	js, err := natsjs.New(conn)
	require.NoError(t, err)
	consumer, err := js.OrderedConsumer(t.Context(), "ARCP_LOG_0", natsjs.OrderedConsumerConfig{HeadersOnly: true})
	require.NoError(t, err)
	stream, err := js.Stream(t.Context(), "ARCP_LOG_0")
	require.NoError(t, err)
	last := stream.CachedInfo().State.LastSeq
	found := 0
	for seq := uint64(0); seq < last; {
		batch, err := consumer.FetchNoWait(500)
		require.NoError(t, err)
		for m := range batch.Messages() {
			meta, err := m.Metadata()
			require.NoError(t, err)
			if seq = meta.Sequence.Stream; seq <= last && strings.Contains(","+m.Headers().Get("Arcp-Types")+",", ","+typ+",") {
				found++
			}
		}
		require.NoError(t, batch.Error())
	}
	return found
}
