package integration_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/arcp-nats/arcp/auth"
	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/internal/natstest"
	"github.com/arcp-nats/arcp/internal/wstest"
	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/jetstream/embedded"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/registry"
	"github.com/arcp-nats/arcp/subjects"
	"github.com/arcp-nats/arcp/worker"
	"github.com/arcp-nats/arcp/worker/demo"
	"github.com/arcp-nats/arcp/worker/natsbus"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(exit int) {
		removeBinary()
		os.Exit(exit)
	}))
}

// Tokens of the cluster's principals.
const (
	aliceToken = "token-of-alice-0123456789"
	bobToken   = "token-of-bob-0123456789"
)

// cluster is a NATS server, edges and workers in this process, on real sockets.
type cluster struct {
	t    testing.TB
	nats *embedded.Server // nil: the server of url, in another process
	url  string
	logs *lockedBuffer // nil: logs are thrown away

	credentials func(*jetstream.Client) *edge.Credentials // of every edge; nil: jobs get none
	lastOf      func() error                              // of every edge, before it asks for a last record; nil: nothing
}

// blindLog is a log that may not be able to say what stands last on a subject.
type blindLog struct {
	edge.Log
	lastOf func() error
}

func (l blindLog) LastOf(ctx context.Context, subject subjects.Subject) (*record.Record, error) {
	if err := l.lastOf(); err != nil {
		return nil, err
	}
	return l.Log.LastOf(ctx, subject)
}

// newCluster starts the NATS server. Everything ends with the test.
func newCluster(t testing.TB) *cluster {
	t.Helper()
	return &cluster{t: t, nats: natstest.Start(t), logs: new(lockedBuffer)}
}

// newStack starts a NATS server, an edge and a worker with the demo tools, and returns the edge.
func newStack(t testing.TB) (*cluster, *testEdge) {
	t.Helper()
	c := newCluster(t)
	c.worker("worker-1", nil)
	return c, c.edge("edge-1", nil)
}

// client connects to the NATS server, for an edge or a worker.
func (c *cluster) client() *jetstream.Client {
	c.t.Helper()
	if c.nats != nil {
		return natstest.Client(c.t, c.nats)
	}
	client := natstest.Connect(c.t, jetstream.Config{URLs: []string{c.url}, Name: c.t.Name()})
	natstest.Ensure(c.t, client, natstest.Topology())
	return client
}

func (c *cluster) logger() *slog.Logger {
	if c.logs == nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(c.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// jetStream is a connection to the NATS server that is nobody's in the cluster.
func (c *cluster) jetStream() natsjs.JetStream {
	c.t.Helper()
	url := c.url
	if c.nats != nil {
		url = c.nats.URL()
	}
	conn, err := nats.Connect(url)
	require.NoError(c.t, err)
	c.t.Cleanup(conn.Close)
	js, err := natsjs.New(conn)
	require.NoError(c.t, err)
	return js
}

// testEdge is a running edge.
type testEdge struct {
	url    string
	client *jetstream.Client
	drain  context.CancelFunc
	done   chan struct{}
	tools  *registry.Table
}

// edge starts an edge; change may adjust its configuration.
func (c *cluster) edge(name string, change func(*edge.Config)) *testEdge {
	c.t.Helper()
	client := c.client()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(c.t, err)
	set, err := auth.Config{
		Tokens: []string{aliceToken + "=alice", bobToken + "=bob"}, Anonymous: true,
	}.Load()
	require.NoError(c.t, err)
	cfg := edge.Config{Name: name, Auth: set, Logger: c.logger().With("edge", name)}
	if change != nil {
		change(&cfg)
	}
	tools := registry.NewTable()
	var credentials *edge.Credentials
	if c.credentials != nil {
		credentials = c.credentials(client)
	}
	var log edge.Log = client
	if c.lastOf != nil {
		log = blindLog{client, c.lastOf}
	}
	server, err := edge.New(edge.Params{
		Config: cfg, Log: log, Tools: tools, Artifacts: client.Artifacts(), Credentials: credentials,
		Sessions: client.KV(jetstream.BucketSessions), Idempotency: client.KV(jetstream.BucketIdempotency),
		Deadlines: client.KV(jetstream.BucketDeadlines),
	})
	require.NoError(c.t, err)

	ctx, cancel := context.WithCancel(context.Background())
	e := &testEdge{url: "ws://" + listener.Addr().String() + "/arcp", client: client, drain: cancel, done: make(chan struct{}), tools: tools}
	known, ready := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	watch, stopWatch := context.WithCancel(context.Background())
	wg.Go(func() {
		_ = client.KV(jetstream.BucketTools).Watch(watch, func() { close(known) }, tools.Apply)
	})
	<-known
	wg.Go(func() {
		defer close(e.done)
		if err := server.Serve(ctx, listener, func() { close(ready) }); err != nil {
			c.t.Errorf("edge %s: %v", name, err)
		}
	})
	c.t.Cleanup(func() {
		server.Stop()
		cancel()
		<-e.done
		stopWatch()
		wg.Wait()
	})
	<-ready
	return e
}

// knows waits until the edge can resolve a tool.
func (e *testEdge) knows(t testing.TB, reference string) {
	t.Helper()
	require.Eventually(t, func() bool { return e.tools.Knows(reference) }, wstest.Wait, 5*time.Millisecond)
}

// testWorker is a running worker.
type testWorker struct {
	*worker.Worker
	drain context.CancelFunc
	done  chan struct{}
}

// worker starts a worker with the demo tools and those that add registers.
func (c *cluster) worker(name string, add func(*worker.Worker)) *testWorker {
	c.t.Helper()
	client := c.client()
	w, err := worker.New(natsbus.New(client), worker.Config{
		Name: name, AckWait: 2 * time.Second, Logger: c.logger().With("worker", name),
	})
	require.NoError(c.t, err)
	require.NoError(c.t, demo.Register(w))
	if add != nil {
		add(w)
	}
	ctx, cancel := context.WithCancel(context.Background())
	running := &testWorker{Worker: w, drain: cancel, done: make(chan struct{})}
	go func() {
		defer close(running.done)
		if err := w.Run(ctx); err != nil {
			c.t.Errorf("worker %s: %v", name, err)
		}
	}()
	c.t.Cleanup(func() {
		w.Stop()
		cancel()
		<-running.done
	})
	return running
}

// lockedBuffer collects the logs of everything in the cluster.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// deaf is a handler that hears nothing until release is closed.
func deaf(release <-chan struct{}) worker.Handler {
	return func(context.Context, *worker.Job) (any, error) {
		<-release
		return "too late", nil
	}
}

// count returns how many messages of the log are of a type.
func (c *cluster) count(typ string) int {
	c.t.Helper()
	stream, err := c.jetStream().Stream(c.t.Context(), "ARCP_LOG_0")
	require.NoError(c.t, err)
	info, err := stream.Info(c.t.Context())
	require.NoError(c.t, err)
	found := 0
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
		if m, err := stream.GetMsg(c.t.Context(), seq); err == nil && m.Header.Get("Arcp-Types") == typ {
			found++
		}
	}
	return found
}
