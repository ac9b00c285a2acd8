package edge

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/record"
)

// TestKeptRecordsAreBoundedAndWithoutAGap: after one that found no room nothing is kept, however small.
func TestKeptRecordsAreBoundedAndWithoutAGap(t *testing.T) {
	var kept keptRecords
	add := func(seq uint64, size int) { kept.add(&record.Record{Seq: seq, Body: make([]byte, size)}, false) }
	add(1, maxKept/2)
	add(2, maxKept/2)
	add(3, 1)
	add(4, 0)
	require.Len(t, kept.records, 2)
	kept.restart()
	add(5, maxKept+1)
	require.Empty(t, kept.records)
	kept.restart()
	add(6, maxKept)
	require.Len(t, kept.records, 1)
	kept.restart()
	kept.add(&record.Record{Seq: 7}, true) // cannot be shown from here alone
	add(8, 1)
	require.Empty(t, kept.records)
}

// TestAResumeBeginsWithTheNewestStateThatTheClientHasSeen: whichever of the three it is.
func TestAResumeBeginsWithTheNewestStateThatTheClientHasSeen(t *testing.T) {
	place := view.Place{Feed: "edge-1"}
	state := func(seq, pos uint64) view.Checkpoint { return view.Checkpoint{Seq: seq, Place: place, Pos: pos} }
	recent := state(9, 90)
	rec := sessionRecord{Start: state(0, 5), Checkpoint: state(4, 40), Recent: &recent}
	for seen, pos := range map[uint64]uint64{0: 5, 3: 5, 4: 40, 8: 40, 9: 90, 12: 90} {
		require.Equal(t, pos, rec.startingView(seen).Pos(), "seen %d", seen)
	}
	rec.Checkpoint = state(10, 100) // acknowledged since
	require.EqualValues(t, 100, rec.startingView(12).Pos())
	require.EqualValues(t, 90, rec.startingView(9).Pos())
	rec.Checkpoint = view.Checkpoint{}
	idle := state(0, 70)
	rec.Recent = &idle
	require.EqualValues(t, 70, rec.startingView(0).Pos())
}

// TestARecordIsOutgrownByTheLog: when a resume would have to pass over many records, though not all the time.
func TestARecordIsOutgrownByTheLog(t *testing.T) {
	here, elsewhere := view.Place{Feed: "edge-1"}, view.Place{Feed: "edge-2"}
	now := time.Now()
	st := &sessionStore{savedAt: now.Add(-recentEvery), rec: sessionRecord{Start: view.Checkpoint{Place: here, Pos: 10}}}
	require.False(t, st.outgrown(now, here, 9+recentStep))
	require.True(t, st.outgrown(now, here, 10+recentStep))
	require.False(t, st.outgrown(now.Add(-time.Millisecond), here, 10+recentStep))
	require.True(t, st.outgrown(now, elsewhere, 1), "it has moved")
	st.rec.Recent = &view.Checkpoint{Place: here, Pos: 1000}
	require.False(t, st.outgrown(now, here, 10+recentStep))
}
