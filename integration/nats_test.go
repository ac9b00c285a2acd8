package integration_test

import (
	"net/url"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNATSKilledAndRestarted: while the log is away sessions stay open, and when it is back everything goes on: the
// running job completes, and the client sees 1..N.
func TestNATSKilledAndRestarted(t *testing.T) {
	c := startProcesses(t)
	e := c.edge("edge-1").ready["edge"]
	c.worker("worker-1")
	untilServed(t, e, "echo")
	u, err := url.Parse(c.nats)
	require.NoError(t, err)

	r := openReader(t, e)
	r.peer.Invoke("count", map[string]any{"to": 400, "every_ms": 5})
	for range 2 {
		r.readTo(r.seq + 40)
		c.server.kill()
		id := r.peer.Send("tool.invoke", map[string]any{"tool": "echo", "arguments": 1})
		told := false
		for { // what cannot be stored is refused, without a number
			m := r.peer.Next()
			told = told || m.Type() == "backpressure"
			if m.Type() == "nack" {
				require.Equal(t, id, m["correlation_id"])
				require.Equal(t, "UNAVAILABLE", m.Payload()["code"])
				require.Equal(t, map[string]any{"retryable": true}, m.Payload()["details"])
				require.Zero(t, m.Seq())
				require.True(t, told, "the session was told that the log is away")
				break
			}
			r.take(m)
		}
		c.server = start(t, "__nats", "-dir", filepath.Join(c.dir, "nats"), "-port", u.Port())
	}
	for r.ended == "" {
		require.True(t, r.next(), "the session went on")
	}
	require.Equal(t, "job.completed", r.ended)
	require.Equal(t, 403, r.seq)
}
