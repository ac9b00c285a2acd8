package embedded_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/jetstream/embedded"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func connect(t *testing.T, cfg jetstream.Config) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := jetstream.Connect(ctx, cfg)
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Ensure(ctx, jetstream.Topology{})
	require.NoError(t, err)
	shards, err := c.Shards(ctx)
	require.NoError(t, err)
	require.Equal(t, []int{0}, shards)
}

func TestInProcessOnly(t *testing.T) {
	srv, err := embedded.Start(embedded.Options{Dir: t.TempDir(), SyncAlways: true})
	require.NoError(t, err)
	require.Empty(t, srv.URL())
	connect(t, jetstream.Config{InProcess: srv.InProcess()})
	srv.Shutdown()
	srv.Shutdown()
}

func TestListening(t *testing.T) {
	dir := t.TempDir()
	srv, err := embedded.Start(embedded.Options{Dir: dir, Port: -1, Name: "one"})
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(srv.URL(), "nats://127.0.0.1:"))
	connect(t, jetstream.Config{URLs: []string{srv.URL()}})
	srv.Shutdown()
	require.Zero(t, srv.Clients())

	// What was made is there again.
	srv, err = embedded.Start(embedded.Options{Dir: dir, Port: -1})
	require.NoError(t, err)
	defer srv.Shutdown()
	connect(t, jetstream.Config{InProcess: srv.InProcess()})
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	_, err := embedded.Start(embedded.Options{})
	require.ErrorContains(t, err, "Dir")
	_, err = embedded.Start(embedded.Options{Dir: t.TempDir(), Port: 70000})
	require.ErrorContains(t, err, "Port")

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	var log lockedBuffer
	_, err = embedded.Start(embedded.Options{
		Dir: t.TempDir(), Port: taken.Addr().(*net.TCPAddr).Port, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	require.ErrorContains(t, err, "address already in use")
	require.Contains(t, log.String(), "address already in use")
}

func TestNoticesAreDebug(t *testing.T) {
	var log lockedBuffer
	srv, err := embedded.Start(embedded.Options{Dir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, err)
	srv.Shutdown()
	require.NotContains(t, log.String(), "level=INFO")
	require.NotContains(t, log.String(), "level=ERROR")

	log = lockedBuffer{}
	debug := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	srv, err = embedded.Start(embedded.Options{Dir: t.TempDir(), Logger: debug})
	require.NoError(t, err)
	srv.Shutdown()
	require.Contains(t, log.String(), "Server is ready")
}

// lockedBuffer is a buffer that several goroutines may write to.
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
