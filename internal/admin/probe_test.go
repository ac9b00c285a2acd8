package admin_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/internal/admin"
)

func TestProbe(t *testing.T) {
	ctx, drain := context.WithCancel(t.Context())
	p, up := admin.NewProbe(ctx), false
	require.Equal(t, []string{"NATS is not connected", "starting"}, p.Missing())
	p.Connection(func() bool { return up })
	p.Started()
	require.Equal(t, []string{"NATS is not connected"}, p.Missing())
	up = true
	require.Empty(t, p.Missing())
	drain()
	require.Equal(t, []string{"draining"}, p.Missing())
}
