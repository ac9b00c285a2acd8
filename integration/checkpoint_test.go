package integration_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/wstest"
)

// TestCheckpointsAreShownToWhoNegotiatedThem: numbered like any event and the same on another edge; to others they do not
// exist, and take no number.
func TestCheckpointsAreShownToWhoNegotiatedThem(t *testing.T) {
	c, e := newStack(t)
	second := c.edge("edge-2", nil)
	e.knows(t, "attempt")
	arguments := obj{"to": 4, "every_ms": 0, "checkpoint_every": 2}

	p := wstest.Dial(t, e.url)
	p.Send("session.open", withExtensions(envelope.CheckpointExtension))
	accepted := p.Expect("session.accepted")
	require.Equal(t, []any{envelope.CheckpointExtension}, accepted.Payload()["capabilities"].(obj)["extensions"])
	invoke := p.Invoke("attempt", arguments)
	all := p.Until("job.completed")
	ids := map[string]bool{}
	for i, m := range all {
		require.Equal(t, i+1, m.Seq())
		if m.Type() == "job.checkpoint" {
			require.Equal(t, invoke, m["correlation_id"])
			require.Contains(t, m.Payload(), "data")
			ids[m.Payload()["checkpoint_id"].(string)] = true
		}
	}
	require.NotEmpty(t, ids)
	p.Drop()
	p = wstest.Dial(t, second.url)
	p.Resume(token(accepted), 0)
	require.Equal(t, all, p.Until("job.completed"))

	q := wstest.Dial(t, e.url)
	q.Open(aliceToken)
	q.Invoke("attempt", arguments)
	bare := q.Until("job.completed")
	require.NotContains(t, types(bare), "job.checkpoint")
	require.Len(t, bare, len(all)-len(ids))
	require.Equal(t, len(bare), last(bare).Seq())
}
