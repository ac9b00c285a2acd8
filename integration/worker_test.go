package integration_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestWorkersKilledInTurn kills, with SIGKILL, each worker that has the job, until the last attempt that the job is
// allowed. The client sees one story: attempts that follow each other, none heard after the next one has begun, each
// going on from the last checkpoint, and one end (I1, I2).
func TestWorkersKilledInTurn(t *testing.T) {
	c := startProcesses(t)
	e := c.edge("edge-1").ready["edge"]
	other := c.edge("edge-2").ready["edge"]
	start := func(n int) *process { return c.worker(fmt.Sprintf("worker-%d", n), "--ack-wait", "1s") }
	working := start(1)
	untilServed(t, e, "echo")
	r := openReader(t, e)
	const to = 60
	r.peer.Invoke("attempt", map[string]any{"to": to, "every_ms": 10, "checkpoint_every": 5})

	attempt, current := 0, 0
	var result map[string]any
	for r.ended == "" {
		m := r.peer.Next()
		r.take(m)
		switch m.Type() {
		case "job.started":
			attempt++
			require.EqualValues(t, attempt, m.Payload()["attempt"])
		case "job.progress":
			at, _ := m.Payload()["current"].(float64)
			if int(at) > current {
				require.Equal(t, current+1, int(at), "no step is left out")
				current = int(at)
			} else {
				require.Greater(t, int(at), current-10, "an attempt goes on from near where the one before was")
			}
			if attempt < 3 && current == attempt*20 {
				working.kill()
				working = start(attempt + 1)
			}
		case "job.completed":
			result, _ = m.Payload()["value"].(map[string]any)
		}
	}
	require.Equal(t, "job.completed", r.ended)
	require.Equal(t, 3, attempt)
	require.EqualValues(t, to, result["counted"])
	require.EqualValues(t, 3, result["attempts"])
	require.Greater(t, result["resumed_from"], float64(30))
	r.finish(other, r.seq)
}

// TestAWorkerThatIsStoppedAndComesBack is given up on and then goes on talking: what it says is not shown (a zombie,
// SIGSTOP and SIGCONT).
func TestAWorkerThatIsStoppedAndComesBack(t *testing.T) {
	c := startProcesses(t)
	e := c.edge("edge-1").ready["edge"]
	other := c.edge("edge-2").ready["edge"]
	zombie := c.worker("worker-1", "--ack-wait", "1s")
	untilServed(t, e, "echo")
	r := openReader(t, e)
	r.peer.Invoke("count", map[string]any{"to": 100, "every_ms": 10})
	r.readTo(20)
	zombie.signal(stopped)
	c.worker("worker-2", "--ack-wait", "1s")
	for started := false; !started; {
		m := r.peer.Next()
		r.take(m)
		started = m.Type() == "job.started"
	}
	zombie.signal(continued)
	current := 0
	for r.ended == "" {
		m := r.peer.Next()
		r.take(m)
		if m.Type() == "job.progress" {
			current++
			require.EqualValues(t, current, m.Payload()["current"], "one attempt speaks")
		}
	}
	r.finish(other, r.seq)
}

// TestHB4ALostWorkersJobGoesOn: a worker is killed with SIGKILL in the middle of a job. As heartbeat_recovery says,
// the job does not fail: it stands still, then another worker goes on from its checkpoint, soon after --ack-wait.
func TestHB4ALostWorkersJobGoesOn(t *testing.T) {
	const ackWait = 2 * time.Second
	c := startProcesses(t)
	e := c.edge("edge-1").ready["edge"]
	other := c.edge("edge-2").ready["edge"]
	lost := c.worker("worker-1", "--ack-wait", ackWait.String())
	untilServed(t, e, "echo")
	r := openReader(t, e)
	const to, every = 60, 5
	r.peer.Invoke("attempt", map[string]any{"to": to, "every_ms": 10, "checkpoint_every": every})
	r.readTo(2 + 20) // accepted, started, 20 steps
	c.worker("worker-2", "--ack-wait", ackWait.String())
	lost.kill()
	killed := time.Now()
	var gap time.Duration
	var result map[string]any
	for r.ended == "" {
		m := r.peer.Next()
		r.take(m)
		switch m.Type() {
		case "job.started":
			gap = time.Since(killed)
			require.EqualValues(t, 2, m.Payload()["attempt"])
		case "job.completed":
			result, _ = m.Payload()["value"].(map[string]any)
		}
	}
	t.Logf("the next attempt began %s after the kill, with --ack-wait %s", gap, ackWait)
	require.NotZero(t, gap)
	require.Less(t, gap, 10*time.Second)
	require.EqualValues(t, to, result["counted"])
	require.EqualValues(t, 2, result["attempts"])
	require.GreaterOrEqual(t, result["resumed_from"], float64(20-every))
	r.finish(other, r.seq)
}
