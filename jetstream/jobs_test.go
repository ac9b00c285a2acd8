package jetstream_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// jobLog stores a log of jobs, four records each, 64 jobs at a time. principal says whose the job of a number is. It
// returns where the invocations of each principal stand.
func jobLog(t testing.TB, c *jetstream.Client, jobs int, principal func(job int) string) map[string][]uint64 {
	t.Helper()
	const flight = 64
	records := jobs / flight * flight * 4
	for at := 0; at < records; at += 20_000 {
		storeMany(t, c, min(20_000, records-at), func(i int) *record.Record {
			round, in := (at+i)/(4*flight), (at+i)%(4*flight)
			return jobRecord(principal, round*flight+in%flight, in/flight)
		})
	}
	at := map[string][]uint64{}
	for job := range jobs / flight * flight {
		p := principal(job)
		at[p] = append(at[p], uint64(job/flight*4*flight+job%flight+1))
	}
	return at
}

// jobRecord is the record of a stage of a job: 0 is its invocation, 3 its end.
func jobRecord(principal func(job int) string, job, stage int) *record.Record {
	s := subjects.Subject{
		Lane: subjects.Event, Feed: "edge-1", Principal: principal(job),
		Session: fmt.Sprint("sess_", job%100), Job: fmt.Sprintf("job_01K8Q2W0A00000000000J%07d", job),
	}
	r := &record.Record{
		Subject: s, Principal: s.Principal, Attempt: 1, Sender: "worker-1", Body: body,
		Types: []envelope.Type{[]envelope.Type{"", envelope.TypeJobStarted, envelope.TypeJobProgress, envelope.TypeJobCompleted}[stage]},
	}
	if stage == 0 {
		r.Subject.Lane, r.Subject.Queue, r.Subject.Tool = subjects.Invoke, "q", "echo@1"
		r.Types, r.Attempt, r.Sender = []envelope.Type{envelope.TypeJobAccepted}, 0, ""
	}
	return r
}

// TestInvocationsOfMixedPrincipals: whoever asks, from wherever, in whatever steps, finds each of his invocations once and
// in order. The principals have all of a stretch of the log, every tenth job, more than a thousand jobs far apart, a handful
// far apart, or none: each is looked for in another way.
func TestInvocationsOfMixedPrincipals(t *testing.T) {
	c := client(t)
	const jobs = 32 * 1024
	stored := jobLog(t, c, jobs, func(job int) string {
		switch {
		case job%30 == 3:
			return "thousand"
		case job%9_000 == 17:
			return "few"
		case job > 5_000 && job < 9_000:
			return "stretch"
		case job%10 == 0:
			return "tenth"
		}
		return "others"
	})
	require.Greater(t, len(stored["thousand"]), 1024)
	last := uint64(jobs * 4)
	ctx := patient(t)
	rapid.Check(t, func(r *rapid.T) {
		principal := rapid.SampledFrom([]string{"thousand", "few", "stretch", "tenth", "others", "nobody"}).Draw(r, "principal")
		from := rapid.Uint64Range(0, last+10).Draw(r, "from")
		if rapid.Bool().Draw(r, "late") {
			from = rapid.Uint64Range(last-2000, last+1).Draw(r, "near the end")
		}
		want := stored[principal]
		first, _ := slices.BinarySearch(want, from)
		want = want[first:]
		for range rapid.IntRange(1, 5).Draw(r, "steps") {
			limit := rapid.IntRange(1, 150).Draw(r, "limit")
			found, next, end, err := c.Invocations(ctx, subjects.JobSet{Principal: principal}, from, limit)
			require.NoError(t, err)
			require.LessOrEqual(t, len(found), limit)
			for i, rec := range found {
				require.Equal(t, want[i], rec.Seq)
				require.Equal(t, principal, rec.Principal)
				require.False(t, rec.Time.IsZero())
			}
			want = want[len(found):]
			require.GreaterOrEqual(t, next, from)
			if end {
				require.Empty(t, want)
				break
			}
			require.NotEmpty(t, found)
			require.Greater(t, next, found[len(found)-1].Seq)
			if len(want) > 0 { // else that nothing follows is found out by the next one
				require.LessOrEqual(t, next, want[0])
			}
			from = next
		}
	})
}

func TestInvocationsOfASession(t *testing.T) {
	c := client(t)
	stored := jobLog(t, c, 1024, func(int) string { return "ann" })["ann"]
	found, _, end, err := c.Invocations(patient(t), subjects.JobSet{Principal: "ann", Session: "sess_7"}, 0, 100)
	require.NoError(t, err)
	require.True(t, end)
	require.Len(t, found, 11)
	for i, rec := range found {
		require.Equal(t, stored[7+100*i], rec.Seq)
	}
	found, next, end, err := c.Invocations(patient(t), subjects.JobSet{Principal: "ann"}, 1<<40, 1)
	require.NoError(t, err)
	require.True(t, end)
	require.Empty(t, found)
	require.Equal(t, uint64(1<<40), next)
}

// TestReadEventsOfManyJobs: jobs with no events, with some and with more than are read one by one.
func TestReadEventsOfManyJobs(t *testing.T) {
	c := client(t)
	counts := make([]int, 200)
	for i := range counts {
		counts[i] = i % 12
	}
	counts[50], counts[150] = 1300, 20_000
	ctx := patient(t)
	jobs := make([]*record.Record, len(counts))
	for i := range jobs {
		jobs[i] = &record.Record{Subject: invokeOf("q", "edge-1", "s", fmt.Sprint("j", i)), Types: []envelope.Type{envelope.TypeJobAccepted}, Body: body}
		jobs[i].Seq = store(t, c, jobs[i])
	}
	for i, n := range counts {
		storeMany(t, c, n, func(k int) *record.Record { return numbered(eventOf("edge-1", "s", fmt.Sprint("j", i)), k) })
	}
	heard := make([][]int, len(counts))
	require.NoError(t, c.ReadEvents(ctx, jobs, func(i int, rec *record.Record) bool {
		heard[i] = append(heard[i], number(t, rec))
		return true
	}))
	for i, n := range counts {
		want := make([]int, min(n, len(heard[i])))
		for k := range want {
			want[k] = k
		}
		if n == 20_000 {
			require.GreaterOrEqual(t, len(heard[i]), 16<<10)
			require.Less(t, len(heard[i]), n)
			want[len(want)-1] = n - 1
		} else {
			require.Len(t, heard[i], n)
		}
		require.ElementsMatch(t, want, heard[i])
		require.True(t, slices.IsSorted(heard[i]))
	}

	once := make([]int, len(counts))
	require.NoError(t, c.ReadEvents(ctx, jobs, func(i int, _ *record.Record) bool {
		once[i]++
		return false
	}))
	for i, n := range counts {
		require.Equal(t, min(n, 1), once[i])
	}
	require.NoError(t, c.ReadEvents(ctx, nil, nil))
}

func TestPositionAt(t *testing.T) {
	c := client(t)
	ctx := patient(t)
	_, err := c.PositionAt(ctx, 0, time.Now().Add(-time.Hour))
	requireCode(t, envelope.CodeNotFound, err)
	var times []time.Time
	for i := range 5 {
		store(t, c, numbered(eventOf("edge-1", "s", ""), i))
	}
	require.NoError(t, c.ReadJob(ctx, eventOf("edge-1", "s", ""), func(rec *record.Record) bool {
		times = append(times, rec.Time)
		return true
	}))
	for i, at := range times {
		seq, err := c.PositionAt(ctx, 0, at)
		require.NoError(t, err)
		require.Equal(t, uint64(i+1), seq)
	}
	_, err = c.PositionAt(ctx, 0, times[4].Add(time.Nanosecond))
	requireCode(t, envelope.CodeNotFound, err)
	_, err = c.PositionAt(ctx, 7, times[0])
	requireCode(t, envelope.CodeUnavailable, err)
}

// TestInvocationsThatAreLarge: they come in smaller numbers, and none is left out.
func TestInvocationsThatAreLarge(t *testing.T) {
	c := client(t)
	ctx := patient(t)
	const jobs, size = 40, 300 << 10
	large := make([]byte, size)
	for i := range jobs {
		store(t, c, &record.Record{
			Subject: invokeOf("q", "edge-1", "s", fmt.Sprint("j", i)), Types: []envelope.Type{envelope.TypeJobAccepted}, Body: large,
		})
	}
	from, got := uint64(1), 0
	for end := false; !end; {
		var found []*record.Record
		var err error
		found, from, end, err = c.Invocations(ctx, subjects.JobSet{Principal: "ann"}, from, 100)
		require.NoError(t, err)
		require.LessOrEqual(t, len(found)*size, 3<<20)
		for _, rec := range found {
			require.Equal(t, fmt.Sprint("j", got), rec.Subject.Job)
			got++
		}
	}
	require.Equal(t, jobs, got)
}
