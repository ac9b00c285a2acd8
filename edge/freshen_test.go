package edge

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/edge/view"
)

// TestAQuietFeedIsFreshened: a feed in which nothing is said gets a mark before the log has forgotten its last record,
// and only then.
func TestAQuietFeedIsFreshened(t *testing.T) {
	client, _, grouped := newTestLog(t)
	logger := slog.New(slog.DiscardHandler)
	srv := &Server{cfg: Config{Name: "edge-3"}, log: grouped, logger: logger, hub: newHub(t.Context(), client, logger)}
	place := view.Place{Feed: "edge-3"}
	f, err := srv.hub.use(t.Context(), place)
	require.NoError(t, err)
	defer srv.hub.wait()
	defer srv.hub.release(f)
	quiet := &session{srv: srv, feed: f, state: live, subject: sessionIn("edge-3", "ann", 1)}
	away := &session{srv: srv, feed: f, state: ended}

	fillLog(t, client, 10, 3) // in other feeds
	require.Zero(t, f.pos.Load())
	srv.freshen(t.Context(), []*session{away, quiet, quiet})
	require.Eventually(t, func() bool { return f.pos.Load() == 11 }, 10*time.Second, time.Millisecond)

	srv.freshen(t.Context(), []*session{quiet})
	_, last, err := client.Bounds(t.Context(), 0)
	require.NoError(t, err)
	require.EqualValues(t, 11, last, "one mark is enough")
}
