package view_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

func status(t *testing.T, lines ...string) envelope.JobState {
	t.Helper()
	var s view.Status
	for i, line := range lines {
		s.Apply(parse(t, home.Feed, fmt.Sprint(i+1, " event job_1 ", line)))
	}
	return s.State()
}

func TestStatusFollowsWhatIsHeard(t *testing.T) {
	for _, c := range []struct {
		want  envelope.JobState
		lines []string
	}{
		{envelope.JobStateQueued, nil},
		{envelope.JobStateRunning, []string{"attempt=1 by=w1 job.started"}},
		{envelope.JobStateRunning, []string{"attempt=2 by=w1 log"}},
		{envelope.JobStateCompleted, []string{"attempt=1 by=w1 job.started,job.completed"}},
		{envelope.JobStateBlocked, []string{"attempt=1 by=w1 job.started,permission.request"}},
		{envelope.JobStateBlocked, []string{"attempt=1 by=w1 job.started,permission.request", "attempt=1 by=w1 log"}},
		{envelope.JobStateRunning, []string{"attempt=1 by=w1 job.started,permission.request", "attempt=1 by=w1 job.progress"}},
		// The last record on the subject is not what counts: an attempt that was given up on talks on.
		{envelope.JobStateRunning, []string{"attempt=1 by=w1 job.started", "attempt=2 by=w2 job.started", "attempt=1 by=w1 job.completed"}},
		{envelope.JobStateFailed, []string{"attempt=1 by=w1 job.started", "attempt=2 by=w2 job.failed", "attempt=1 by=w1 job.progress"}},
		// Nor is anything that comes after the first end: the edge ended what a worker then took.
		{envelope.JobStateCancelled, []string{"job.cancelled", "attempt=1 by=w1 job.started", "attempt=1 by=w1 job.completed"}},
		{envelope.JobStateCompleted, []string{"attempt=1 by=w1 job.started", "attempt=1 by=w2 job.started", "attempt=1 by=w1 job.failed", "attempt=1 by=w2 job.completed"}},
		{envelope.JobStateQueued, []string{"trace.span"}},
	} {
		require.Equal(t, c.want, status(t, c.lines...), "%q", c.lines)
	}
}

func TestStatusOfAHeartbeat(t *testing.T) {
	var s view.Status
	beat := func(state envelope.JobState) envelope.JobState {
		e, err := envelope.New(envelope.TypeJobHeartbeat, &envelope.JobHeartbeat{Sequence: 1, State: state})
		require.NoError(t, err)
		rec, err := record.New(subjects.Subject{Feed: home.Feed, Lane: subjects.Event, Session: "sess_1", Job: "job_1"}, e)
		require.NoError(t, err)
		rec.Attempt, rec.Sender = 1, "w1"
		if s.State() == envelope.JobStateQueued {
			s.Apply(parse(t, home.Feed, "1 event job_1 attempt=1 by=w1 job.started"))
		}
		s.Apply(rec)
		return s.State()
	}
	require.Equal(t, envelope.JobStatePaused, beat(envelope.JobStatePaused))
	require.Equal(t, envelope.JobStateBlocked, beat(envelope.JobStateBlocked))
	require.Equal(t, envelope.JobStateBlocked, beat(envelope.JobStateCompleted), "only an end ends a job")
	require.Equal(t, envelope.JobStateRunning, beat(envelope.JobStateRunning))
}

// TestStatusAgreesWithTheView: whatever the log holds, the events of one job alone tell the same of it as the view of the
// whole session does, and the view knows the number of the job's last envelope.
func TestStatusAgreesWithTheView(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		v := view.New(home, 0)
		folded := map[string]*view.Status{}
		started := map[string]bool{}
		last := map[string]uint64{}
		for _, line := range drawLog(t, r) {
			rec := parse(t, home.Feed, line)
			job := rec.Subject.Job
			if rec.Subject.Lane == subjects.Invoke {
				if folded[job] != nil {
					continue // a job is invoked once
				}
				folded[job] = new(view.Status)
			} else if job != "" && folded[job] != nil {
				folded[job].Apply(rec)
			}
			v.Apply(rec, func(f view.Frame) {
				if job != "" {
					last[job] = f.Seq
					started[job] = started[job] || rec.Attempt > 0
				}
			})
		}
		for job, s := range folded {
			seq, ended, known := v.Job(envelope.JobID(job))
			require.True(t, known)
			require.Equal(t, last[job], seq)
			switch {
			case ended != "":
				require.Equal(t, ended, s.State())
			case started[job]:
				require.Equal(t, envelope.JobStateRunning, s.State())
			default:
				require.Equal(t, envelope.JobStateQueued, s.State())
			}
		}
	})
}

// TestTheViewKnowsLastNumbersAfterARestart: those of open jobs are in the checkpoint, and where the last acceptance is.
func TestTheViewKnowsLastNumbersAfterARestart(t *testing.T) {
	v := view.New(home, 0)
	for _, line := range []string{
		"3 invoke job_1", "4 invoke job_2", "5 event job_1 attempt=1 by=w1 job.started,log", "6 event job_2 job.failed",
	} {
		v.Apply(parse(t, home.Feed, line), func(view.Frame) {})
	}
	_, ended, known := v.Job("job_2")
	require.True(t, known)
	require.Equal(t, envelope.JobStateFailed, ended)

	data, err := json.Marshal(v.Checkpoint())
	require.NoError(t, err)
	var c view.Checkpoint
	require.NoError(t, json.Unmarshal(data, &c))
	v = view.Restore(c)
	require.Equal(t, uint64(4), v.Accepted())
	last, ended, known := v.Job("job_1")
	require.Equal(t, []any{uint64(4), envelope.JobState(""), true}, []any{last, ended, known})
	_, _, known = v.Job("job_2")
	require.False(t, known)
	for _, line := range []string{"7 event job_1 attempt=1 by=w1 job.completed", "8 moved edge-2 20"} {
		v.Apply(parse(t, home.Feed, line), func(view.Frame) {})
	}
	require.Zero(t, v.Accepted())
}

// TestTheMemoryOfEndedJobsIsBounded: the last thousand are remembered.
func TestTheMemoryOfEndedJobsIsBounded(t *testing.T) {
	v := view.New(home, 0)
	var remembered []bool
	const jobs = 3000
	for i := range jobs {
		v.Apply(parse(t, home.Feed, fmt.Sprintf("%d invoke job_%d", 2*i+1, i)), func(view.Frame) {})
		v.Apply(parse(t, home.Feed, fmt.Sprintf("%d event job_%d job.failed", 2*i+2, i)), func(view.Frame) {})
	}
	for i := range jobs {
		last, _, known := v.Job(envelope.JobID(fmt.Sprint("job_", i)))
		if known {
			require.Equal(t, uint64(2*i+2), last)
		}
		remembered = append(remembered, known)
	}
	first := slices.Index(remembered, true)
	require.Equal(t, jobs-1024, first)
	require.NotContains(t, remembered[first:], false)
}
