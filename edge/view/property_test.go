package view_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
)

// drawOthers draws the log of a job of another session, which may be watched.
func drawOthers(t *testing.T, r *rapid.T) (others []*record.Record) {
	t.Helper()
	for n := range rapid.IntRange(0, 30).Draw(r, "others") {
		types := rapid.SampledFrom([]string{"job.started", "job.progress", "log,log", "log,job.completed"}).Draw(r, "types")
		line := fmt.Sprintf("%d event job_9 attempt=%d by=w1 %s", 5*n+5, rapid.IntRange(1, 2).Draw(r, "attempt"), types)
		others = append(others, parseOf(t, "edge-9", "sess_9", line))
	}
	return others
}

// drawLog draws a log of a few jobs with workers that are given up on, come back, and talk past the end.
func drawLog(t *testing.T, r *rapid.T) []string {
	t.Helper()
	var lines []string
	pos := 0
	for range rapid.IntRange(0, 60).Draw(r, "records") {
		pos += rapid.IntRange(1, 3).Draw(r, "step")
		job := fmt.Sprintf("job_%d", rapid.IntRange(1, 3).Draw(r, "job"))
		attempt := rapid.IntRange(1, 3).Draw(r, "attempt")
		worker := rapid.SampledFrom([]string{"w1", "w2"}).Draw(r, "worker")
		switch rapid.IntRange(0, 7).Draw(r, "kind") {
		case 0:
			lines = append(lines, fmt.Sprintf("%d invoke %s", pos, job))
		case 1:
			lines = append(lines, fmt.Sprintf("%d event - nack", pos))
		case 2:
			lines = append(lines, fmt.Sprintf("%d event - _session.held", pos))
		case 3:
			lines = append(lines, fmt.Sprintf("%d watched job_9 %d", pos, rapid.IntRange(0, 40).Draw(r, "after")))
		case 4:
			lines = append(lines, fmt.Sprintf("%d shown job_9 %d", pos, rapid.IntRange(0, 150).Draw(r, "to")))
		default:
			types := rapid.SampledFrom([]string{
				"job.started", "job.progress", "log,log", "job.completed", "job.progress,job.failed", "job.cancelled",
			}).Draw(r, "types")
			lines = append(lines, fmt.Sprintf("%d event %s attempt=%d by=%s %s", pos, job, attempt, worker, types))
		}
	}
	return lines
}

// TestI2NumbersAreGapFreeAndI1OneTerminalEvent: whatever the log holds, what is rendered is numbered 1, 2, 3, ..., and
// a job ends at most once between two acceptances.
func TestI2NumbersAreGapFreeAndI1OneTerminalEvent(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		v := view.New(home, 0)
		others := drawOthers(t, r)
		last := uint64(0)
		open := map[envelope.JobID]bool{}
		for _, line := range drawLog(t, r) {
			rec := parse(t, home.Feed, line)
			shown := shownBy(v, rec, others)
			if len(shown) > 0 {
				v.Apply(rec, func(f view.Frame) { last++; require.Equal(t, last, f.Seq) }, shown...)
				continue
			}
			job := envelope.JobID(rec.Subject.Job)
			v.Apply(rec, func(f view.Frame) {
				require.Equal(t, last+1, f.Seq)
				last = f.Seq
				row, _ := envelope.Lookup(f.Type)
				switch {
				case f.Type == envelope.TypeJobAccepted:
					require.False(t, open[job])
					open[job] = true
				case row.Terminal:
					require.True(t, open[job], "terminal event of a job that is not open")
					open[job] = false
				case job != "":
					require.True(t, open[job], "event of a job that is not open")
				}
			})
		}
		require.Equal(t, last, v.Seq())
	})
}

// TestI3CheckpointAnywhere: an edge that goes on from a checkpoint taken anywhere renders the same bytes with the
// same numbers as the one that never stopped, overlapping reads included.
func TestI3CheckpointAnywhere(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var records []*record.Record
		for _, line := range drawLog(t, r) {
			records = append(records, parse(t, home.Feed, line))
		}
		others := drawOthers(t, r)
		type shown struct {
			seq  uint64
			line string
		}
		fold := func(v *view.View, records []*record.Record) (all []shown) {
			for _, rec := range records {
				v.Apply(rec, func(f view.Frame) { all = append(all, shown{f.Seq, string(f.Line)}) }, shownBy(v, rec, others)...)
			}
			return all
		}
		cut := rapid.IntRange(0, len(records)).Draw(r, "cut")
		overlap := rapid.IntRange(0, cut).Draw(r, "overlap")
		one, two := view.New(home, 0), view.New(home, 0)
		first, second := fold(one, records), fold(two, records[:cut])

		data, err := json.Marshal(two.Checkpoint())
		require.NoError(t, err)
		var c view.Checkpoint
		require.NoError(t, json.Unmarshal(data, &c))
		two = view.Restore(c)
		second = append(second, fold(two, records[cut-overlap:])...)
		require.Equal(t, first, second)
		require.Equal(t, one.Checkpoint(), two.Checkpoint())
	})
}

// TestHistoryNeverRunsAhead: the checkpoint that an acknowledgement chooses never holds more than the client has
// seen, and the memory for it is bounded.
func TestHistoryNeverRunsAhead(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		v := view.New(home, 0)
		var h view.History
		pos := uint64(0)
		for range rapid.IntRange(1, 8).Draw(r, "rounds") {
			for range rapid.IntRange(1, 200).Draw(r, "events") {
				pos++
				v.Apply(parse(t, home.Feed, fmt.Sprintf("%d event - nack", pos)), func(view.Frame) {})
				h.Note(v)
			}
			ack := uint64(rapid.IntRange(0, int(v.Seq())).Draw(r, "ack"))
			if c, ok := h.Acknowledged(ack); ok {
				require.LessOrEqual(t, c.Seq, ack)
				require.Equal(t, c.Seq, c.Pos, "in this log every record is one envelope")
			}
		}
	})
}
