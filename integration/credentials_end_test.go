package integration_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/credential"
	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/internal/wstest"
	"github.com/arcp-nats/arcp/worker"
)

// TestCR4AnEdgeIsKilledWhileItAsks: the issuer has made a credential, and nobody has heard of it. The next edge asks what it
// was and revokes it; and it revokes what belongs to a job that ended while there was no edge.
func TestCR4AnEdgeIsKilledWhileItAsks(t *testing.T) {
	i := newIssuer(t)
	c := startProcesses(t)
	seal := filepath.Join(c.dir, "seal.key")
	require.NoError(t, credential.CreateKeyFile(seal))
	flags := []string{"--credential-endpoint", i.url, "--seal-key-file", seal}
	e := c.edge("edge-1", flags...)
	c.worker("worker-1")
	untilServed(t, e.ready["edge"], "sleep")
	p := wstest.Dial(t, e.ready["edge"])
	p.Open(aliceToken)
	invokeLeased(p, "sleep", map[string]any{"ms": 1000})
	p.Until("job.started")
	i.with(func() { i.gate = make(chan struct{}) })
	invokeLeased(p, "sleep", map[string]any{"ms": 1000})
	conn, err := nats.Connect(c.nats)
	require.NoError(t, err)
	defer conn.Close()
	js, err := natsjs.New(conn)
	require.NoError(t, err)
	ledger, err := js.KeyValue(t.Context(), "arcp_credentials")
	require.NoError(t, err)
	ids := func() (ids []string) {
		keys, err := ledger.Keys(t.Context())
		if !errors.Is(err, natsjs.ErrNoKeysFound) {
			require.NoError(t, err)
		}
		return keys
	}
	require.Eventually(t, func() bool { return len(ids()) == 2 && i.waiting() == 1 }, wstest.Wait, 5*time.Millisecond)
	e.kill()
	require.Eventually(t, func() bool { return len(i.outstanding()) == 2 }, wstest.Wait, 5*time.Millisecond, "made for nobody")
	for _, key := range ids() { // a minute later
		got, err := ledger.Get(t.Context(), key)
		require.NoError(t, err)
		var entry map[string]any
		require.NoError(t, json.Unmarshal(got.Value(), &entry))
		if entry["state"] == "asking" {
			entry["at"] = time.Now().Add(-time.Hour)
			data, err := json.Marshal(entry)
			require.NoError(t, err)
			_, err = ledger.Update(t.Context(), key, data, got.Revision())
			require.NoError(t, err)
		}
	}
	i.with(func() { i.gate = nil })
	c.edge("edge-2", flags...)
	i.allRevoked(t)
	require.Eventually(t, func() bool { return len(ids()) == 0 }, wstest.Wait, 5*time.Millisecond)
}

// TestCR4RevokedHoweverTheRuntimeEndsAJob: cancelled before a worker has it, for too long with one, given up on with its worker.
func TestCR4RevokedHoweverTheRuntimeEndsAJob(t *testing.T) {
	c, i := newCredentialCluster(t)
	forever := func(ctx context.Context, _ *worker.Job) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	once := func(w *worker.Worker) {
		require.NoError(t, w.Handle("once", "1", forever, worker.Options{MaxAttempts: 1}))
	}
	never := c.worker("worker-1", only(t, "never", forever))
	gone := c.worker("worker-2", once)
	e := c.edge("edge-1", func(cfg *edge.Config) { cfg.MaxRuntime = 30 * time.Second })
	e.knows(t, "never")
	e.knows(t, "once")
	never.drain()
	<-never.done
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	invokeLeased(p, "never", 1)
	accepted := p.Expect("job.accepted")
	require.NotEmpty(t, value(t, accepted))
	p.Send("cancel", map[string]any{"target": "job", "target_id": accepted.Str("job_id")})
	p.Until("job.cancelled")
	i.allRevoked(t)

	invokeLeased(p, "once", 1)
	p.Until("job.started")
	require.Len(t, i.outstanding(), 1)
	gone.Stop()
	c.worker("worker-3", once)
	require.Equal(t, "ABORTED", last(p.Until("job.failed")).Payload()["code"])
	i.allRevoked(t)

	short := c.edge("edge-2", func(cfg *edge.Config) { cfg.MaxRuntime = 300 * time.Millisecond })
	short.knows(t, "sleep")
	q := wstest.Dial(t, short.url)
	q.Open(aliceToken)
	invokeLeased(q, "sleep", map[string]any{"ms": 60_000})
	require.Equal(t, "DEADLINE_EXCEEDED", last(q.Until("job.failed")).Payload()["code"])
	i.allRevoked(t)
	require.Eventually(t, func() bool { return len(c.grants()) == 0 }, wstest.Wait, 5*time.Millisecond)
}
