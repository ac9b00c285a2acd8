package edge

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// fakeJobs is a log of invocations in memory. asked is called before each read.
type fakeJobs struct {
	shards [][]*record.Record // position 1 first
	all    []*record.Record   // in the order of their creation
	events map[string][]*record.Record
	asked  func()
	first  uint64
	reads  int // of invocations
}

func (f *fakeJobs) add(shard int, principal string) *record.Record {
	n := len(f.all)
	rec := &record.Record{
		Subject: subjects.Subject{
			Shard: shard, Lane: subjects.Invoke, Queue: "q", Tool: "echo@1", Feed: "f", Principal: principal,
			Session: "sess_1", Job: fmt.Sprint("job_", n),
		},
		Types: []envelope.Type{envelope.TypeJobAccepted, envelope.TypeToolInvoke},
		Body:  []byte("{}\n" + `{"trace_id":"t","payload":{"tool":"echo"}}`),
		Seq:   uint64(len(f.shards[shard]) + 1), Time: time.Unix(1_000_000, int64(n)),
	}
	f.shards[shard] = append(f.shards[shard], rec)
	f.all = append(f.all, rec)
	return rec
}

func (f *fakeJobs) Shards(context.Context) ([]int, error) {
	shards := make([]int, len(f.shards))
	for i := range shards {
		shards[i] = i
	}
	return shards, nil
}

func (f *fakeJobs) Invocations(_ context.Context, set subjects.JobSet, from uint64, limit int) (found []*record.Record, next uint64, end bool, err error) {
	f.reads++
	if f.asked != nil {
		f.asked()
	}
	next = from
	for _, rec := range f.shards[set.Shard] {
		if rec.Seq < from {
			continue
		}
		if len(found) == limit {
			return found, next, false, nil
		}
		next = rec.Seq + 1
		if set.Holds(rec.Subject) {
			found = append(found, rec)
		}
	}
	return found, next, true, nil
}

func (f *fakeJobs) ReadEvents(_ context.Context, jobs []*record.Record, fn func(int, *record.Record) bool) error {
	for i, job := range jobs {
		for _, rec := range f.events[job.Subject.Job] {
			if !fn(i, rec) {
				break
			}
		}
	}
	return nil
}

func (f *fakeJobs) PositionAt(_ context.Context, shard int, at time.Time) (uint64, error) {
	for _, rec := range f.shards[shard] {
		if !rec.Time.Before(at) {
			return rec.Seq, nil
		}
	}
	return 0, envelope.Errorf(envelope.CodeNotFound, "none")
}

func (f *fakeJobs) Bounds(_ context.Context, shard int) (first, last uint64, err error) {
	return max(f.first, 1), uint64(len(f.shards[shard])), nil
}

// page lists one page as an edge does, cursor and all.
func (f *fakeJobs) page(t require.TestingT, q listQuery, limit int, cursor string, seen seenJob) (jobs []envelope.JobListEntry, next string) {
	var from listCursor
	if cursor != "" {
		var ok bool
		from, ok = decodeListCursor(cursor, q)
		require.True(t, ok)
	}
	shards, _ := f.Shards(context.Background())
	l := listing{
		log: f, query: q, limit: limit, begun: time.Now(),
		queues: newJobQueues(f, q, shards, from, min(limit, 255)+1, seen),
		known:  func(*record.Record) (uint64, envelope.JobState) { return 0, "" },
	}
	c, err := l.page(context.Background())
	require.NoError(t, err)
	if c == nil {
		return l.jobs, ""
	}
	return l.jobs, c.encode(q)
}

// TestEachJobOnceAndInOrder: whatever the pages, over however many shards, while jobs are being added to any of them: a
// listing is the principal's jobs in the order of their creation, with none left out and none twice.
func TestEachJobOnceAndInOrder(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		f := &fakeJobs{shards: make([][]*record.Record, rapid.IntRange(1, 4).Draw(r, "shards")), events: map[string][]*record.Record{}}
		later := 0
		add := func(label string) {
			rec := f.add(rapid.IntRange(0, len(f.shards)-1).Draw(r, "shard"), rapid.SampledFrom([]string{"ann", "ann", "bob"}).Draw(r, label))
			if rapid.Bool().Draw(r, "ended") {
				f.events[rec.Subject.Job] = []*record.Record{{Types: []envelope.Type{envelope.TypeJobFailed}}}
			}
		}
		for range rapid.IntRange(0, 150).Draw(r, "jobs") {
			add("principal")
		}
		before := len(f.all)
		f.asked = func() {
			for range rapid.IntRange(0, 3).Draw(r, "added") {
				if later++; later < 100 {
					add("later principal")
				}
			}
		}
		q := newListQuery("ann", "", &envelope.JobListFilter{Status: rapid.SampledFrom([][]string{nil, {"failed"}, {"queued", "failed"}, {"nonsense"}}).Draw(r, "status")})
		var got []string
		cursor := ""
		for {
			limit := rapid.IntRange(1, 20).Draw(r, "limit")
			jobs, next := f.page(r, q, limit, cursor, seenJob{})
			require.LessOrEqual(r, len(jobs), limit)
			for _, job := range jobs {
				got = append(got, string(job.JobID))
			}
			if cursor = next; cursor == "" {
				break
			}
		}
		var want []string
		least := 0
		for i, rec := range f.all {
			state := "queued"
			if f.events[rec.Subject.Job] != nil {
				state = "failed"
			}
			if rec.Subject.Principal == "ann" && (len(q.Status) == 0 || slices.Contains(q.Status, state)) {
				want = append(want, rec.Subject.Job)
				if i < before {
					least++
				}
			}
		}
		require.GreaterOrEqual(r, len(got), least)
		require.LessOrEqual(r, len(got), len(want))
		require.True(r, slices.Equal(want[:len(got)], got), "listed %v of %v", got, want)
	})
}

// TestListingStopsWhereTheTimesSay: created_after begins in the middle without reading what is before, created_before ends
// there, and both bounds are strict (LJ-2).
func TestListingStopsWhereTheTimesSay(t *testing.T) {
	f := &fakeJobs{shards: make([][]*record.Record, 2)}
	for i := range 4000 {
		f.add(i%2, "ann")
	}
	after, before := envelope.At(f.all[3000].Time), envelope.At(f.all[3006].Time)
	q := newListQuery("ann", "", &envelope.JobListFilter{CreatedAfter: &after, CreatedBefore: &before})
	jobs, next := f.page(t, q, 100, "", seenJob{})
	require.Empty(t, next)
	var got []string
	for _, job := range jobs {
		got = append(got, string(job.JobID))
	}
	require.Equal(t, []string{"job_3001", "job_3002", "job_3003", "job_3004", "job_3005"}, got)
	require.LessOrEqual(t, f.reads, 4)
}

// TestListingBoundsItsWork: a filter that matches nothing gets an empty page with a cursor after ten thousand jobs, and
// the cursors lead to the end.
func TestListingBoundsItsWork(t *testing.T) {
	f := &fakeJobs{shards: make([][]*record.Record, 1)}
	for range 2*listExamined + 500 {
		f.add(0, "ann")
	}
	last := f.add(0, "ann")
	last.Body = []byte("{}\n" + `{"payload":{"tool":"rare"}}`)
	q := newListQuery("ann", "", &envelope.JobListFilter{Agent: "rare"})
	pages, cursor := 0, ""
	for {
		jobs, next := f.page(t, q, 100, cursor, seenJob{})
		pages++
		if next == "" {
			require.Len(t, jobs, 1)
			break
		}
		require.Empty(t, jobs)
		cursor = next
	}
	require.GreaterOrEqual(t, pages, 3)
}

// TestListingBoundsThePage: references can be long; a page is not.
func TestListingBoundsThePage(t *testing.T) {
	f := &fakeJobs{shards: make([][]*record.Record, 1)}
	for range 20 {
		rec := f.add(0, "ann")
		rec.Body = fmt.Appendf(nil, "{}\n"+`{"payload":{"tool":"%0*d"}}`, 40<<10, 1)
	}
	q := newListQuery("ann", "", nil)
	seen, cursor := 0, ""
	for {
		jobs, next := f.page(t, q, 100, cursor, seenJob{})
		require.LessOrEqual(t, len(jobs), 4)
		seen += len(jobs)
		if cursor = next; cursor == "" {
			break
		}
	}
	require.Equal(t, 20, seen)
}

// TestListingHasWhatTheSessionWasShown: a replica that lags behind is asked again until it knows the acceptance that the
// session has seen, and not for one that has aged out of the log.
func TestListingHasWhatTheSessionWasShown(t *testing.T) {
	for _, stored := range []int{0, 5} {
		f := &fakeJobs{shards: make([][]*record.Record, 1)}
		for range stored {
			f.add(0, "ann")
		}
		reads := 0
		f.asked = func() {
			if reads++; reads == 3 {
				f.add(0, "ann")
			}
		}
		jobs, next := f.page(t, newListQuery("ann", "", nil), 100, "", seenJob{pos: uint64(stored + 1)})
		require.Empty(t, next)
		require.Len(t, jobs, stored+1)
	}
	f := &fakeJobs{shards: make([][]*record.Record, 1), first: 8}
	jobs, _ := f.page(t, newListQuery("ann", "", nil), 100, "", seenJob{pos: 7})
	require.Empty(t, jobs)
	require.Equal(t, 1, f.reads)
}

func TestCursorsAreOfOneListing(t *testing.T) {
	at := envelope.At(time.Unix(1000, 5))
	filter := func() *envelope.JobListFilter {
		return &envelope.JobListFilter{Status: []string{"queued", "failed", "failed"}, Agent: "a", CreatedAfter: &at}
	}
	q := newListQuery("ann", "", filter())
	c := listCursor{0: 17, 3: 1 << 60, 1: 0}
	text := c.encode(q)
	got, ok := decodeListCursor(text, newListQuery("ann", "", &envelope.JobListFilter{Status: []string{"failed", "queued"}, Agent: "a", CreatedAfter: &at}))
	require.True(t, ok, "the order of states means nothing")
	require.Equal(t, c, got)

	for name, other := range map[string]listQuery{
		"principal": newListQuery("bob", "", filter()),
		"session":   newListQuery("ann", "sess_1", filter()),
		"no filter": newListQuery("ann", "", nil),
	} {
		_, ok := decodeListCursor(text, other)
		require.False(t, ok, name)
	}
	for i := range text {
		for _, c := range []byte("AZz9-_=") {
			if text[i] == c {
				continue
			}
			changed := []byte(text)
			changed[i] = c
			_, ok := decodeListCursor(string(changed), q)
			require.False(t, ok, "%s", changed)
		}
	}
	for _, bad := range []string{"", "A", "====", text + "A", text[:len(text)-1], text + "\n", string(make([]byte, cursorMax+1))} {
		_, ok := decodeListCursor(bad, q)
		require.False(t, ok, "%q", bad)
	}
}

func FuzzListCursor(f *testing.F) {
	q := newListQuery("ann", "", nil)
	f.Add(listCursor{0: 1}.encode(q))
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if c, ok := decodeListCursor(text, q); ok {
			require.Equal(t, text, c.encode(q))
		}
	})
}
