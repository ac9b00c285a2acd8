package integration_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFullLog: a log that is full refuses what is new and keeps what it promised. Jobs that were accepted wait with what
// they have to say, and end, in the attempt that they are in, when an edge has made room.
func TestFullLog(t *testing.T) {
	c := startProcesses(t)
	full := c.edge("edge-1", "--log-max-bytes", "262144", "--rate", "0")
	c.worker("worker-1")
	url := full.ready["edge"]
	untilServed(t, url, "echo")

	const events = 3000 // of about 300 bytes: more than the log holds
	counting := openReader(t, url)
	counting.peer.Invoke("count", map[string]any{"to": events, "every_ms": 1})
	counting.readTo(20)

	flood := openReader(t, url)
	accepted, ended := make(map[any]bool), make(map[any]bool)
	take := func() (refused bool) {
		m := flood.peer.Next()
		switch m.Type() {
		case "nack":
			require.Equal(t, "RESOURCE_EXHAUSTED", m.Payload()["code"])
			require.Equal(t, map[string]any{"retryable": true}, m.Payload()["details"])
			require.Zero(t, m.Seq())
			return true
		case "job.accepted":
			accepted[m["job_id"]] = true
		case "job.completed":
			ended[m["job_id"]] = true
		default:
			require.NotEqual(t, "job.failed", m.Type(), "%v", m)
		}
		flood.take(m)
		return false
	}
	refused := func(size int) bool {
		id := flood.peer.Send("tool.invoke", map[string]any{"tool": "echo", "arguments": strings.Repeat("x", size)})
		for before := len(accepted); len(accepted) == before; {
			if take() {
				require.Contains(t, string(flood.peer.Raw[len(flood.peer.Raw)-1]), id)
				return true
			}
		}
		return false
	}
	for _, size := range []int{8 << 10, 1 << 10, 1} { // until not even something small fits
		for !refused(size) {
		}
	}
	for began := time.Now(); time.Since(began) < time.Second; { // meanwhile the jobs are refused too
		require.True(t, refused(1))
	}
	require.NotEmpty(t, accepted)

	full.kill()
	url = c.edge("edge-1", "--log-max-bytes", "67108864").ready["edge"]
	counting.resume(url)
	for counting.ended == "" {
		require.True(t, counting.next())
	}
	require.Equal(t, "job.completed", counting.ended)
	require.Equal(t, events+3+heartbeats(counting), counting.seq, "one attempt, and nothing of it lost")
	flood.resume(url)
	for len(ended) < len(accepted) {
		require.False(t, take())
	}
	flood.peer.Invoke("echo", "there is room")
	for before := len(ended); len(ended) == before; {
		require.False(t, take())
	}
}
