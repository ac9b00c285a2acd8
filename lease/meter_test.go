package lease_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/lease"
)

// TestMeter: what was spent already is taken off, also if it is more than is left; that is told at first, each twentieth, and when
// nothing is left.
func TestMeter(t *testing.T) {
	b := lease.NewBudget(&envelope.Lease{Budget: []envelope.Amount{{Currency: "USD", Value: envelope.DecimalFromMillionths(1_000_000)}}})
	spend := func(millionths int64) (float64, bool) {
		left, budgeted, tell := b.Meter(envelope.Amount{Currency: "USD", Value: envelope.DecimalFromMillionths(millionths)})
		require.True(t, budgeted)
		return left, tell
	}
	for _, step := range []struct {
		spent int64
		left  float64
		tell  bool
	}{
		{10_000, 0.99, true}, {10_000, 0.98, false}, {39_999, 0.940001, false}, {1, 0.94, true},
		{900_000, 0.04, true}, {40_000, 0, true}, {100_000, -0.1, false}, {100_000, -0.2, false},
	} {
		left, tell := spend(step.spent)
		require.InDelta(t, step.left, left, 1e-9)
		require.Equal(t, step.tell, tell, "%v", left)
	}
	_, budgeted, tell := b.Meter(envelope.Amount{Currency: "EUR", Value: envelope.DecimalFromMillionths(1)})
	require.False(t, budgeted || tell)
	require.True(t, b.Bounds("USD"))
	require.False(t, b.Bounds("EUR"))
}
