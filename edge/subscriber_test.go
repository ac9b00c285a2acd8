package edge

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// eventAt is a record of a job with one line of each type.
func eventAt(seq uint64, job string, attempt int, types ...envelope.Type) *record.Record {
	lines := make([]string, len(types))
	for i, typ := range types {
		lines[i] = fmt.Sprintf(`{"arcp":"1.1","id":"msg_%d.%d","timestamp":"2026-07-01T09:00:00Z","type":%q,"session_id":"sess_1","payload":{}}`, seq, i+1, typ)
	}
	return &record.Record{
		Subject: subjects.Subject{Lane: subjects.Event, Feed: "f", Principal: "alice", Session: "sess_1", Job: job},
		Types:   types, Attempt: attempt, Sender: fmt.Sprint("w", attempt), Body: []byte(strings.Join(lines, "\n")), Seq: seq,
	}
}

// TestHeardLeavesOutWhatTheJobsSessionIsNotShown, as far as it can know, in whatever order it looks.
func TestHeardLeavesOutWhatTheJobsSessionIsNotShown(t *testing.T) {
	h := newHeard(nil)
	said := func(want bool, seq uint64, attempt int, types ...envelope.Type) {
		t.Helper()
		require.Equal(t, want, h.hears(eventAt(seq, "job_1", attempt, types...)), "position %d", seq)
	}
	said(true, 10, 1, "job.started")
	said(true, 11, 1, "log")
	said(true, 20, 2, "job.started")
	said(false, 21, 1, "log")
	said(false, 22, 1, "job.completed")
	said(true, 23, 2, "log")
	said(true, 30, 2, "log", "job.completed")
	said(false, 31, 2, "log")
	said(false, 32, 1, "log")
	for range 2 { // again, from the log
		said(true, 11, 1, "log")
		said(false, 22, 1, "job.completed")
		said(true, 23, 2, "log")
		said(true, 30, 2, "log", "job.completed")
		said(false, 31, 2, "log")
	}
	require.True(t, h.hears(eventAt(33, "", 0, "nack")), "what is about no job is always heard")
	require.True(t, h.hears(eventAt(34, "job_2", 1, "log")))

	// The end by a worker that was given up on before this began to look is not the job's.
	require.True(t, h.hears(eventAt(40, "job_3", 1, "job.completed")))
	require.True(t, h.hears(eventAt(41, "job_3", 2, "log")))
	// The runtime's own word is.
	require.True(t, h.hears(eventAt(50, "job_4", 0, "job.cancelled")))
	require.False(t, h.hears(eventAt(51, "job_4", 1, "job.started")))

	for n := range uint64(3 * maxHeardJobs) {
		h.hears(eventAt(100+n, fmt.Sprint("job_x", n), 1, "job.started"))
	}
	require.LessOrEqual(t, len(h.jobs)+len(h.older), 2*maxHeardJobs)
}

// TestASubscriberKnowsItsGaps: what it was offered is told as it is only where nothing can have been missed before, and
// what it keeps is bounded.
func TestASubscriberKnowsItsGaps(t *testing.T) {
	sub := view.Subscription{Filter: envelope.SubscribeFilter{Types: []string{"log"}}, Pos: map[int]uint64{0: 5}}
	u := newSubscriber(nil, "sub_1", sub, func() {})
	u.offer(eventAt(9, "job_1", 1, "log"), true)
	require.Empty(t, u.strands, "the tap has not begun")
	u.begin(0, 10)
	u.begin(0, 8)
	u.offer(eventAt(10, "job_1", 1, "log"), true)
	q, gap := u.offered(0, 5)
	require.Nil(t, q)
	require.Equal(t, uint64(10), gap, "what stands between 5 and 10 was never offered")

	_, gap = u.offered(0, 10)
	require.Zero(t, gap)
	u.offer(eventAt(12, "job_1", 1, "log"), true)
	u.offer(eventAt(13, "job_1", 1, "job.progress"), true)
	u.offer(eventAt(14, "job_1", 1, "log"), false) // not heard
	u.offer(eventAt(15, "job_1", 1, "log", "log"), true)
	u.offer(eventAt(12, "job_1", 1, "log"), true) // again
	u.offer(eventAt(16, "job_1", 1, "job.progress"), true)
	q, _ = u.offered(0, 10)
	require.Equal(t, &view.Quoted{ID: "sub_1", At: []uint64{12, 15}, To: 16}, q)
	shown, ok := u.take(view.Quote{ID: "sub_1", At: []uint64{12, 15}})
	require.True(t, ok)
	require.Len(t, shown, 2)
	_, ok = u.take(view.Quote{ID: "sub_1", At: []uint64{11, 12}})
	require.False(t, ok)
	q, gap = u.offered(0, 16)
	require.Nil(t, q)
	require.Zero(t, gap)

	for n := range uint64(maxScanned) { // nothing of it matches, and that is worth a note
		u.offer(eventAt(20+n, "job_1", 1, "job.progress"), true)
	}
	q, _ = u.offered(0, 16)
	require.Equal(t, &view.Quoted{ID: "sub_1", To: 20 + maxScanned - 1}, q)

	const from = 10_000
	for n := range uint64(4*maxShownRecords + 1) { // nobody takes them
		u.offer(eventAt(from+n, "job_1", 1, "log"), true)
	}
	require.LessOrEqual(t, len(u.strands[0].matched), maxShownRecords)
	_, gap = u.offered(0, 9_999)
	require.NotZero(t, gap, "what was let go is in the log")
	require.LessOrEqual(t, gap, uint64(from+4*maxShownRecords))
}

// TestLineOfLooksAtIDsOnly: a message is not found where its id is only mentioned, nor in a mark.
func TestLineOfLooksAtIDsOnly(t *testing.T) {
	rec := eventAt(7, "job_1", 1, "log", "_mark", "log")
	require.Equal(t, 1, lineOf(rec, "msg_7.1"))
	require.Zero(t, lineOf(rec, "msg_7.2"))
	require.Equal(t, 3, lineOf(rec, "msg_7.3"))
	require.Zero(t, lineOf(rec, "msg_7"))
	rec.Body = []byte(strings.ReplaceAll(string(rec.Body), `"payload":{}`, `"payload":{"id":"msg_8"}`))
	require.Zero(t, lineOf(rec, "msg_8"))
}

// TestHeardReadsThePastOfAJobThatItMeetsInTheMiddle: two workers were given the same attempt, as a broker that was killed had
// forgotten the first delivery, and the one that started last is listened to, whoever speaks first here.
func TestHeardReadsThePastOfAJobThatItMeetsInTheMiddle(t *testing.T) {
	by := func(worker string, rec *record.Record) *record.Record {
		rec.Sender = worker
		return rec
	}
	log := []*record.Record{
		by("first", eventAt(10, "job_1", 1, envelope.TypeJobStarted)), by("second", eventAt(20, "job_1", 1, envelope.TypeJobStarted)),
		by("first", eventAt(30, "job_1", 1, envelope.TypeLog)), by("second", eventAt(31, "job_1", 1, envelope.TypeJobCompleted)),
		by("first", eventAt(40, "job_1", 1, envelope.TypeJobCompleted)),
	}
	reads := 0
	h := newHeard(func(rec *record.Record, fn func(*record.Record)) error {
		reads++
		for _, before := range log {
			if before.Seq < rec.Seq {
				fn(before)
			}
		}
		return nil
	})
	for i, want := range map[int]bool{2: false, 3: true, 4: false} {
		require.Equal(t, want, newHeard(h.past).hears(log[i]), "met at %d", log[i].Seq)
	}
	reads = 0
	for i, want := range []bool{true, true, false, true, false} { // the history is read after what came meanwhile
		_ = h.hears(log[2])
		require.Equal(t, want, h.hears(log[i]), "position %d", log[i].Seq)
	}
	require.Equal(t, 1, reads, "once a job")
	failing := newHeard(func(*record.Record, func(*record.Record)) error { return errors.New("the log is away") })
	require.True(t, failing.hears(log[2]), "somebody is listened to")
}
