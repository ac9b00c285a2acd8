package bench

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/arcp-nats/arcp/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOptionsAreChecked(t *testing.T) {
	_, err := Run(t.Context(), Options{Sessions: 1, Samples: 1, Jobs: 1, Concurrency: []int{4, 0}})
	require.ErrorContains(t, err, "at least 1")
	why := errors.New("no edge")
	_, err = Run(t.Context(), Options{
		Sessions: 1, Samples: 1, Jobs: 1,
		Dial: func(context.Context) (*client.Session, error) { return nil, why },
	})
	require.ErrorIs(t, err, why)
}

func TestSpread(t *testing.T) {
	sessions := make([]*client.Session, 3)
	calls := make(chan int, 100)
	took, all, err := spread(t.Context(), sessions, 4, 50, func(_ context.Context, _ *client.Session, n int) error {
		calls <- n
		return nil
	})
	require.NoError(t, err)
	require.Len(t, took, 50)
	require.Positive(t, all)
	require.Len(t, calls, 50)

	why := errors.New("broken")
	_, _, err = spread(t.Context(), sessions, 4, 1_000_000, func(context.Context, *client.Session, int) error { return why })
	require.ErrorIs(t, err, why)

	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	_, _, err = spread(ctx, sessions, 4, 50, func(context.Context, *client.Session, int) error { return nil })
	require.ErrorIs(t, err, why)
}

func TestQuantiles(t *testing.T) {
	var took []time.Duration
	for i := range 101 {
		took = append(took, time.Duration(100-i)*time.Microsecond)
	}
	require.Equal(t, Quantiles{P50: 50, P99: 99, Max: 100}, quantiles(took))
	require.Equal(t, Quantiles{P50: 1, P99: 1, Max: 1}, quantiles([]time.Duration{time.Microsecond}))
	require.Zero(t, ratio(1, 0))
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, Report{
		Tool: "echo", Latency: Compare{Job: Quantiles{P50: 1500}, Ratio: 3},
		Levels: []Level{{InFlight: 64, Jobs: 10, PerSecond: 1234.5}},
	}.Table(&out))
	require.Contains(t, out.String(), "1.50 ms")
	require.Contains(t, out.String(), "1234")
}
