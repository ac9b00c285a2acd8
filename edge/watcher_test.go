package edge

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/record"
)

// TestAWatcherKnowsItsGaps: what it was offered counts as all there is only where nothing can have been missed before.
func TestAWatcherKnowsItsGaps(t *testing.T) {
	w := &watcher{more: make(chan struct{}, 1)}
	at := func(seq uint64, bytes int) *record.Record { return &record.Record{Seq: seq, Body: make([]byte, bytes)} }
	has := func(after, to uint64) (n int, ok bool) {
		shown, ok := w.take(view.Range{After: after, To: to})
		return len(shown), ok
	}
	w.offer(at(10, 1)) // others may have come before
	w.attached = true
	w.offer(at(12, 1))
	_, ok := has(5, 12)
	require.False(t, ok, "whatever stands between 5 and 10 was never offered")

	w.recent = tail{after: 12, to: 12} // as after a look at the log
	w.offer(at(15, 1))
	w.offer(at(15, 1)) // again
	w.offer(at(17, 1))
	n, ok := has(12, 15)
	require.True(t, ok)
	require.Equal(t, 1, n)
	n, ok = has(15, 17)
	require.True(t, ok)
	require.Equal(t, 1, n)

	for seq := range uint64(4 * maxShownRecords) { // nobody takes them
		w.offer(at(100+seq, 1))
	}
	require.LessOrEqual(t, len(w.recent.records), maxShownRecords)
	_, ok = has(17, 100+4*maxShownRecords-1)
	require.False(t, ok, "what was let go is read from the log")
}
