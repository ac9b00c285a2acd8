// Package natstest gives tests a real broker of their own.
package natstest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/jetstream/embedded"
)

// patience bounds every wait of the helpers.
const patience = 20 * time.Second

// Start runs a server in a folder of its own, on any free port, until the test ends.
func Start(t testing.TB) *embedded.Server {
	t.Helper()
	return StartWith(t, embedded.Options{Dir: t.TempDir(), Port: -1})
}

// StartWith runs a server as the options say, until the test ends.
func StartWith(t testing.TB, o embedded.Options) *embedded.Server {
	t.Helper()
	srv, err := embedded.Start(o)
	require.NoError(t, err)
	t.Cleanup(srv.Shutdown)
	return srv
}

// Topology is small: one shard, one replica, 256 MiB.
func Topology() jetstream.Topology {
	return jetstream.Topology{Shards: 1, Replicas: 1, MaxBytes: 256 << 20}
}

// Client connects in process and makes the streams and buckets of Topology. It is closed when the test ends.
func Client(t testing.TB, srv *embedded.Server) *jetstream.Client {
	t.Helper()
	c := Connect(t, jetstream.Config{Name: t.Name(), InProcess: srv.InProcess()})
	Ensure(t, c, Topology())
	return c
}

// Connect connects as the configuration says, until the test ends.
func Connect(t testing.TB, cfg jetstream.Config) *jetstream.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := jetstream.Connect(ctx, cfg)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// Ensure makes the streams and buckets of a topology and wants no drift.
func Ensure(t testing.TB, c *jetstream.Client, topology jetstream.Topology) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	drift, err := c.Ensure(ctx, topology)
	require.NoError(t, err)
	require.Empty(t, drift)
}
