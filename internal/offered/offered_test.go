package offered

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/arcp-nats/arcp/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// That it waits for a worker is tested with the program, which has one.
func TestGivesUp(t *testing.T) {
	none := client.Config{URLs: []string{"ws://127.0.0.1:1/arcp"}}
	require.ErrorContains(t, Wait(t.Context(), none, "echo", time.Millisecond), "offered: echo: ")
	require.ErrorContains(t, Wait(t.Context(), none, "Echo", time.Hour), "offered: ")
	require.ErrorContains(t, Wait(t.Context(), client.Config{}, "echo", time.Millisecond), "URLs is empty")
}
