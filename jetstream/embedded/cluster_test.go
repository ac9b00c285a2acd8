package embedded_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/jetstream/embedded"
)

// freePorts returns ports that nobody listens on at the moment.
func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer func() { _ = l.Close() }()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// A log with three replicas is set up once enough servers of a cluster have met, by a client that came before them; and
// one server may go.
func TestCluster(t *testing.T) {
	ports := freePorts(t, 3)
	var routes []string
	for _, port := range ports {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", port))
	}
	start := func(i int) *embedded.Server {
		srv, err := embedded.Start(embedded.Options{
			Dir: t.TempDir(), Port: -1, Name: fmt.Sprint("nats-", i),
			Cluster: &embedded.Cluster{Name: "test", Port: ports[i], Routes: routes},
		})
		require.NoError(t, err)
		t.Cleanup(srv.Shutdown)
		return srv
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	defer cancel()
	first := start(0)
	c, err := jetstream.Connect(ctx, jetstream.Config{URLs: []string{first.URL()}, AckTimeout: time.Second})
	require.NoError(t, err)
	defer c.Close()
	topology := jetstream.Topology{Replicas: 3}
	early, stop := context.WithTimeout(ctx, 1500*time.Millisecond)
	defer stop()
	_, err = c.EnsureRetrying(early, topology)
	require.ErrorIs(t, err, context.DeadlineExceeded, "it waits for the others")

	start(1)
	last := start(2)
	drift, err := c.EnsureRetrying(ctx, topology)
	require.NoError(t, err)
	require.Empty(t, drift)
	last.Shutdown()
	drift, err = c.EnsureRetrying(ctx, topology)
	require.NoError(t, err)
	require.Empty(t, drift)
}

func TestClusterNeedsNames(t *testing.T) {
	for _, o := range []embedded.Options{
		{Cluster: &embedded.Cluster{Name: "test"}},
		{Name: "one", Cluster: &embedded.Cluster{}},
	} {
		o.Dir = t.TempDir()
		_, err := embedded.Start(o)
		require.ErrorContains(t, err, "names")
	}
	_, err := embedded.Start(embedded.Options{
		Dir: t.TempDir(), Name: "one", Cluster: &embedded.Cluster{Name: "test", Routes: []string{"nats://%"}},
	})
	require.ErrorContains(t, err, "route")
}

// What cannot be set up ever is said at once.
func TestEnsureRetryingGivesUpOnWhatCannotBe(t *testing.T) {
	srv, err := embedded.Start(embedded.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	defer srv.Shutdown()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := jetstream.Connect(ctx, jetstream.Config{InProcess: srv.InProcess()})
	require.NoError(t, err)
	defer c.Close()
	_, err = c.EnsureRetrying(ctx, jetstream.Topology{Replicas: 3})
	require.ErrorContains(t, err, "replicas")
	require.NoError(t, ctx.Err())
}
