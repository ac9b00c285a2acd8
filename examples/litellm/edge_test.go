package main

import (
	"context"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/auth"
	"github.com/arcp-nats/arcp/credential"
	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/internal/natstest"
	"github.com/arcp-nats/arcp/internal/wstest"
	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/registry"
	"github.com/arcp-nats/arcp/worker"
	"github.com/arcp-nats/arcp/worker/natsbus"
)

// TestAJobOfARuntime goes all the way: a client's lease becomes a virtual key, which lives as long as its job.
func TestAJobOfARuntime(t *testing.T) {
	llm, provisioner := start(t)
	keys := filepath.Join(t.TempDir(), "seal.key")
	require.NoError(t, credential.CreateKeyFile(keys))
	ring, err := credential.LoadKeyring(keys)
	require.NoError(t, err)

	release := make(chan struct{})
	url := serve(t, func(bucket *jetstream.KV) *edge.Credentials {
		return &edge.Credentials{Provisioner: provisioner, Keys: ring, Ledger: bucket}
	}, func(ctx context.Context, _ *worker.Job) (any, error) {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return "done", nil
	})

	p := wstest.Dial(t, url)
	p.Open("token-of-alice")
	p.Send("tool.invoke", map[string]any{"tool": "think", "arguments": 1, "lease_request": map[string]any{
		"cost_budget": []string{"USD:0.25"}, "model_use": []string{"gpt-4o"},
	}})
	accepted := p.Until("job.accepted")[0]
	given := accepted.Payload()["credentials"].([]any)[0].(map[string]any)
	require.Equal(t, "sk-virtual-1", given["value"])
	llm.mu.Lock()
	key := llm.keys[given["id"].(string)]
	llm.mu.Unlock()
	require.InDelta(t, 0.25, key["max_budget"], 1e-9)
	require.Equal(t, []any{"gpt-4o"}, key["models"])
	require.Equal(t, "alice", key["metadata"].(map[string]any)["arcp_principal"])

	close(release)
	p.Until("job.completed")
	require.Eventually(t, func() bool {
		llm.mu.Lock()
		defer llm.mu.Unlock()
		return len(llm.keys) == 0
	}, wstest.Wait, 10*time.Millisecond)

	p.Send("tool.invoke", map[string]any{"tool": "think", "arguments": 1, "lease_request": map[string]any{"cost_budget": []string{"EUR:1"}}})
	refused := p.Expect("job.failed")
	require.Equal(t, "INVALID_ARGUMENT", refused.Payload()["code"])
}

// serve runs an edge and a worker whose tool is called think, until the test ends.
func serve(t *testing.T, credentials func(*jetstream.KV) *edge.Credentials, think worker.Handler) (url string) {
	t.Helper()
	nats := natstest.Start(t)
	client := natstest.Client(t, nats)
	w, err := worker.New(natsbus.New(natstest.Client(t, nats)), worker.Config{Name: "worker-1"})
	require.NoError(t, err)
	require.NoError(t, w.Handle("think", "1", think, worker.Options{}))
	set, err := auth.Config{Tokens: []string{"token-of-alice=alice"}}.Load()
	require.NoError(t, err)
	tools := registry.NewTable()
	server, err := edge.New(edge.Params{
		Config: edge.Config{Name: "edge-1", Auth: set}, Log: client, Tools: tools, Artifacts: client.Artifacts(),
		Sessions: client.KV(jetstream.BucketSessions), Idempotency: client.KV(jetstream.BucketIdempotency),
		Deadlines:   client.KV(jetstream.BucketDeadlines),
		Credentials: credentials(client.KV(jetstream.BucketCredentials)),
	})
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)

	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { _ = client.KV(jetstream.BucketTools).Watch(ctx, func() {}, tools.Apply) })
	wg.Go(func() { _ = w.Run(ctx) })
	wg.Go(func() { _ = server.Serve(ctx, listener, func() { close(ready) }) })
	t.Cleanup(func() {
		server.Stop()
		cancel()
		wg.Wait()
	})
	<-ready
	require.Eventually(t, func() bool { return tools.Knows("think") }, wstest.Wait, 5*time.Millisecond)
	return "ws://" + listener.Addr().String() + "/arcp"
}
