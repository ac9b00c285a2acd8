package integration_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestBackpressureFromAClient: it says how fast its events are to come, or that none are, and gets them so; what is not
// counted passes, and nothing is lost.
func TestBackpressureFromAClient(t *testing.T) {
	_, _, p, _ := session(t)
	p.Send("backpressure", obj{"buffer_remaining_bytes": 0, "reason": "full"})
	p.Invoke("count", obj{"to": 40})
	for range 3 {
		p.Send("ping", obj{"nonce": "n"})
		p.Expect("pong") // and no event before it
	}
	const rate = 50
	began := time.Now()
	p.Send("backpressure", obj{"desired_rate_per_second": rate})
	for n := range 20 {
		require.Equal(t, n+1, p.Next().Seq())
	}
	require.GreaterOrEqual(t, time.Since(began), 18*time.Second/rate)
	p.Send("backpressure", obj{"desired_rate_per_second": 0})
	p.Send("ping", obj{"nonce": "stopped"})
	seq := 20
	for m := p.Next(); m.Type() != "pong"; m = p.Next() { // what was on its way
		seq++
		require.Equal(t, seq, m.Seq())
	}
	p.Send("ping", obj{"nonce": "still"})
	p.Expect("pong")
	p.Send("backpressure", obj{})
	for ended := false; !ended; {
		m := p.Next()
		seq++
		require.Equal(t, seq, m.Seq())
		ended = m.Type() == "job.completed"
	}
	require.Equal(t, 43, seq)
	p.Quiet()
}

// TestAPausedClientThatClosesIsToldHowItsJobsEnd: it cannot want the close and not the ends.
func TestAPausedClientThatClosesIsToldHowItsJobsEnd(t *testing.T) {
	_, _, p, _ := session(t)
	p.Invoke("sleep", obj{"ms": 600_000})
	p.Until("job.started")
	p.Send("backpressure", obj{"desired_rate_per_second": 0})
	p.Send("session.close", obj{})
	require.Equal(t, "job.cancelled", p.Next().Type())
	require.Equal(t, 1000, p.Closed())
}
