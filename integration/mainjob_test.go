package integration_test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/internal/cutproxy"
)

// rounds is how often each kind of trouble is tried, with random timing; a failing round prints its seed.
func rounds() int {
	if testing.Short() {
		return 3
	}
	return 20
}

// The job of these tests: it is accepted, started, counts and completes.
const (
	steps     = 60
	envelopes = steps + 3
)

func count(r *reader) {
	r.peer.Invoke("count", map[string]any{"to": steps, "every_ms": 2})
}

// random returns a source for one round and names its seed when the test fails.
func random(t *testing.T, round int) *rand.Rand {
	seed := rand.Uint64()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("round %d had seed %d", round, seed)
		}
	})
	return rand.New(rand.NewPCG(seed, uint64(round)))
}

// TestMainJobSurvives does with real processes what the demo does, again and again: the client sees every envelope
// of its session once, numbered 1..N, whatever happens to the edge or the socket between, and the other edge tells the
// same story in the same bytes (I2, I3).
func TestMainJobSurvives(t *testing.T) {
	c := startProcesses(t)
	steady := c.edge("edge-steady").ready["edge"]
	c.worker("worker-1")
	c.worker("worker-2")
	untilServed(t, steady, "echo")

	t.Run("edge killed", func(t *testing.T) {
		for round := range rounds() {
			rng := random(t, round)
			victim := c.edge(fmt.Sprintf("edge-%d", round%3)) // names come back, as after a restart
			untilServed(t, victim.ready["edge"], "echo")
			r := openReader(t, victim.ready["edge"])
			count(r)
			r.readTo(1 + rng.IntN(envelopes)) // what was not accepted is the client's to send again
			timer := time.AfterFunc(time.Duration(rng.IntN(20))*time.Millisecond, victim.kill)
			for r.ended == "" && r.next() {
			}
			timer.Stop()
			victim.kill()
			if r.ended == "" {
				r.resume(steady)
			}
			r.finish(steady, envelopes)
		}
	})

	t.Run("edge drained", func(t *testing.T) {
		for round := range rounds() {
			rng := random(t, round)
			victim := c.edge(fmt.Sprintf("edge-%d", round%3))
			untilServed(t, victim.ready["edge"], "echo")
			r := openReader(t, victim.ready["edge"])
			count(r)
			r.readTo(1 + rng.IntN(envelopes)) // what was not accepted is the client's to send again
			victim.terminate()
			for r.ended == "" && r.next() {
			}
			require.Equal(t, 0, victim.exit())
			if r.ended == "" {
				r.resume(steady)
			}
			r.finish(steady, envelopes)
		}
	})

	other := c.edge("edge-other").ready["edge"]
	untilServed(t, other, "echo")
	t.Run("socket cut at a random byte", func(t *testing.T) {
		for round := range rounds() {
			rng := random(t, round)
			u, err := url.Parse(steady)
			require.NoError(t, err)
			// The first connection lives long enough to open the session and to see some of the job; the next ones may
			// be cut anywhere, in the middle of the reply that brings the next resume token too.
			proxy, err := cutproxy.Start(u.Host, func(connection int) cutproxy.Cut {
				switch {
				case connection == 1:
					return cutproxy.Cut{Down: 4000 + rng.Int64N(10_000), Reset: rng.IntN(2) == 0}
				case connection <= 5:
					return cutproxy.Cut{Down: 1 + rng.Int64N(6000), Reset: rng.IntN(2) == 0}
				}
				return cutproxy.Cut{}
			})
			require.NoError(t, err)
			u.Host = proxy.Addr()
			r := openReader(t, u.String())
			count(r)
			for r.ended == "" {
				if !r.next() {
					r.resumeThrough(u.String())
				}
			}
			r.finish(other, envelopes)
			require.Greater(t, proxy.Cuts(), 0)
			require.NoError(t, proxy.Close())
		}
	})
}
