package edge

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestQuotasForgetWhoHoldsNothing(t *testing.T) {
	q := newQuotas(2)
	for range 3 {
		one, err := q.admit("alice", "sess_1")
		require.NoError(t, err)
		again, err := q.admit("alice", "sess_1") // a resume, while the old connection is still there
		require.NoError(t, err)
		require.Same(t, one, again)
		_, err = q.admit("alice", "sess_2")
		require.NoError(t, err)
		_, err = q.admit("alice", "sess_3")
		require.ErrorContains(t, err, "2 sessions of a principal")
		_, err = q.admit("bob", "sess_3")
		require.NoError(t, err)

		q.release("alice", "sess_1")
		_, err = q.admit("alice", "sess_3")
		require.Error(t, err, "one of its connections is left")
		q.release("alice", "sess_1")
		q.release("alice", "sess_2")
		q.release("bob", "sess_3")
		require.Empty(t, q.tallies)
	}
}

func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var none *pace
		require.Zero(t, none.take(t.Context(), time.Now()), "no rate, no limit")

		const perSecond = 10
		p := newPace(perSecond)
		for n := range rateBurst * perSecond {
			require.Zero(t, p.take(t.Context(), time.Now()), n)
		}
		wait := p.take(t.Context(), time.Now())
		require.Equal(t, time.Second/perSecond, wait)
		<-time.After(wait) // fake
		require.Zero(t, p.take(t.Context(), time.Now()), "what it said was true")

		begin := time.Now()
		refused := 0
		for time.Since(begin) < 10*time.Second {
			if p.take(t.Context(), time.Now()) > 0 {
				refused++
			}
		}
		require.InDelta(t, 10*brakeFactor*perSecond, refused, 2*perSecond, "a flood is read no faster than that")
	})
}
