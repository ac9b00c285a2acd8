package chaos

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var small = Shape{Edges: 2, Workers: 3, NATS: 1, Duration: time.Minute, MinGap: 500 * time.Millisecond, MaxGap: 2 * time.Second}

func TestScheduleIsTheSeeds(t *testing.T) {
	first := Schedule(7, small)
	require.Equal(t, first, Schedule(7, small))
	require.NotEqual(t, first, Schedule(8, small))
}

func TestScheduleKeepsItsShape(t *testing.T) {
	targets := make(map[Kind]int)
	for _, k := range faultKinds {
		targets[k.kind] = k.targets(small)
	}
	for seed := range uint64(50) {
		at := time.Duration(0)
		seen := make(map[Kind]bool)
		for i, f := range Schedule(seed, small) {
			at += f.After
			require.GreaterOrEqual(t, f.After, small.MinGap)
			require.LessOrEqual(t, f.After, small.MaxGap)
			require.Less(t, f.Target, targets[f.Kind], "%s", f)
			require.GreaterOrEqual(t, f.Target, 0)
			require.Positive(t, f.Lasts)
			if i < len(faultKinds) {
				require.False(t, seen[f.Kind], "every kind comes once before one comes again: %s", f)
			}
			seen[f.Kind] = true
		}
		require.Less(t, at, small.Duration)
		require.Len(t, seen, len(faultKinds))
	}
}

// TestSuiteHasEveryFault: the short runs of the test suite leave no kind of fault out.
func TestSuiteHasEveryFault(t *testing.T) {
	found := make(map[Kind]bool)
	for _, seed := range suite {
		for _, f := range Schedule(seed, Shape{
			Edges: 2, Workers: 2, NATS: 1, Duration: 8 * time.Second, MinGap: 500 * time.Millisecond, MaxGap: 1500 * time.Millisecond,
		}) {
			found[f.Kind] = true
		}
	}
	require.Len(t, found, len(faultKinds))
}
