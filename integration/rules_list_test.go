package integration_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/internal/natstest"
	"github.com/arcp-nats/arcp/internal/wstest"
	"github.com/arcp-nats/arcp/jetstream"
)

// answerTo reads until the answer to a request, past the events that come meanwhile.
func answerTo(p *wstest.Peer, id string) wstest.Message {
	for {
		if m := p.Next(); m.Str("correlation_id") == id && (m.Type() == "session.jobs" || m.Type() == "nack") {
			return m
		}
	}
}

// list sends a session.list_jobs and returns the jobs of the answer and its cursor, "" for none.
func list(t testing.TB, p *wstest.Peer, payload map[string]any) (jobs []wstest.Message, cursor string) {
	t.Helper()
	id := p.Send("session.list_jobs", payload)
	m := answerTo(p, id)
	require.Equal(t, "session.jobs", m.Type(), "%v", m)
	require.NotContains(t, m, "event_seq", "a listing is not counted")
	require.Equal(t, id, m.Payload()["request_id"])
	require.Contains(t, m.Payload(), "next_cursor")
	for _, job := range m.Payload()["jobs"].([]any) {
		jobs = append(jobs, job.(map[string]any))
	}
	cursor, _ = m.Payload()["next_cursor"].(string)
	return jobs, cursor
}

func idsOf(jobs []wstest.Message) (ids []string) {
	for _, job := range jobs {
		ids = append(ids, job.Str("job_id"))
	}
	return ids
}

// runToEnd invokes a tool, reads to the job's end and returns its id and the number of its last envelope.
func runToEnd(t testing.TB, p *wstest.Peer, tool string, arguments any, members ...any) (job string, seq int) {
	t.Helper()
	id := p.Invoke(tool, arguments, members...)
	for {
		m := p.Next()
		if m.Str("correlation_id") != id {
			continue
		}
		switch m.Type() {
		case "job.completed", "job.failed", "job.cancelled":
			return m.Str("job_id"), m.Seq()
		}
	}
}

// TestLJ1JobsOfThePrincipal: whichever session they are of, and whichever has ended; nobody else's.
func TestLJ1JobsOfThePrincipal(t *testing.T) {
	c, e, p, accepted := session(t)
	jobs, cursor := list(t, p, map[string]any{})
	require.Empty(t, jobs)
	require.Empty(t, cursor)

	before := time.Now()
	first, seq := runToEnd(t, p, "echo", 1, "trace_id", "trace-1")
	p.Invoke("no-such-tool", 1) // is refused: there is no job
	p.Until("job.failed")
	other := wstest.Dial(t, e.url)
	other.Open(aliceToken)
	second, _ := runToEnd(t, other, "fail", map[string]any{"code": "ABORTED", "message": "m"})

	for _, asking := range []*wstest.Peer{p, other} {
		jobs, cursor = list(t, asking, map[string]any{})
		require.Empty(t, cursor)
		require.Equal(t, []string{first, second}, idsOf(jobs))
	}
	require.Equal(t, "completed", jobs[0]["status"])
	require.Equal(t, "failed", jobs[1]["status"])
	require.Equal(t, "trace-1", jobs[0]["trace_id"])
	require.NotContains(t, jobs[1], "trace_id")
	require.Equal(t, float64(seq), jobs[0]["last_event_seq"], "of the submitter's session")
	at, err := time.Parse(time.RFC3339Nano, jobs[0].Str("created_at"))
	require.NoError(t, err)
	require.WithinRange(t, at, before, time.Now())

	// Those of another edge's sessions have no number here: what it would be only that edge knows.
	elsewhere := wstest.Dial(t, c.edge("edge-2", nil).url)
	elsewhere.Open(aliceToken)
	jobs, _ = list(t, elsewhere, map[string]any{})
	require.Equal(t, []string{first, second}, idsOf(jobs))
	require.Equal(t, 0.0, jobs[0]["last_event_seq"])

	// Not with a session of alice in the envelope, and not to an anonymous one; each of those is a principal of its own.
	stranger := wstest.Dial(t, e.url)
	stranger.Open(bobToken)
	id := stranger.Send("session.list_jobs", map[string]any{}, "session_id", accepted.Str("session_id"))
	require.Empty(t, answerTo(stranger, id).Payload()["jobs"])
	var mine []string
	for range 2 {
		anonymous := wstest.Dial(t, e.url)
		payload := wstest.OpenPayload("")
		payload["auth"] = map[string]any{"scheme": "none"}
		payload["capabilities"] = map[string]any{"anonymous": true}
		anonymous.Send("session.open", payload)
		anonymous.Expect("session.accepted")
		job, _ := runToEnd(t, anonymous, "echo", 1)
		jobs, _ = list(t, anonymous, map[string]any{})
		require.Equal(t, []string{job}, idsOf(jobs))
		mine = append(mine, job)
	}
	require.NotEqual(t, mine[0], mine[1])
}

func TestLJ1JobsOfTheSessionOnly(t *testing.T) {
	c := newCluster(t)
	c.worker("worker-1", nil)
	e := c.edge("edge-1", func(cfg *edge.Config) { cfg.ListScope = edge.ListSession })
	e.knows(t, "echo")
	p, other := wstest.Dial(t, e.url), wstest.Dial(t, e.url)
	p.Open(aliceToken)
	other.Open(aliceToken)
	mine, _ := runToEnd(t, p, "echo", 1)
	runToEnd(t, other, "echo", 1)
	jobs, _ := list(t, p, map[string]any{})
	require.Equal(t, []string{mine}, idsOf(jobs))
}

// TestLJ2StatesAreTold: a job that waits for a worker, one that runs, and the three ends.
func TestLJ2StatesAreTold(t *testing.T) {
	c, _, p, _ := session(t)
	want := map[string]string{}
	job, _ := runToEnd(t, p, "echo", 1)
	want[job] = "completed"
	job, _ = runToEnd(t, p, "fail", map[string]any{"code": "ABORTED", "message": "m"})
	want[job] = "failed"
	p.Invoke("sleep", map[string]any{"ms": 60_000})
	job = p.Until("job.started")[0].Str("job_id")
	p.Send("cancel", map[string]any{"target": "job", "target_id": job})
	p.Until("job.cancelled")
	want[job] = "cancelled"
	p.Invoke("sleep", map[string]any{"ms": 60_000})
	job = last(p.Until("job.started")).Str("job_id") // the cancel may be accepted in between
	want[job] = "running"

	states := func(asking *wstest.Peer) map[string]string {
		found := map[string]string{}
		jobs, _ := list(t, asking, map[string]any{})
		for _, job := range jobs {
			found[job.Str("job_id")] = job.Str("status")
		}
		return found
	}
	require.Equal(t, want, states(p))
	elsewhere := wstest.Dial(t, c.edge("edge-2", nil).url) // knows nothing but the log
	elsewhere.Open(aliceToken)
	require.Equal(t, want, states(elsewhere))

	for status, n := range map[string]int{"completed": 1, "running": 1, "queued": 0, "no such state": 0} {
		jobs, _ := list(t, elsewhere, map[string]any{"filter": map[string]any{"status": []string{status}}})
		require.Len(t, jobs, n, status)
		for _, job := range jobs {
			require.Equal(t, status, job["status"])
		}
	}
	jobs, _ := list(t, p, map[string]any{"filter": map[string]any{"status": []string{"failed", "cancelled"}}})
	require.Len(t, jobs, 2)
}

// TestLJ2AQueuedJob: no worker takes it.
func TestLJ2AQueuedJob(t *testing.T) {
	c := newCluster(t)
	w := c.worker("worker-1", nil)
	e := c.edge("edge-1", nil)
	e.knows(t, "echo")
	w.drain()
	<-w.done
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	p.Invoke("echo", 1)
	job := p.Expect("job.accepted").Str("job_id")
	jobs, _ := list(t, p, map[string]any{})
	require.Equal(t, []string{job}, idsOf(jobs))
	require.Equal(t, "queued", jobs[0]["status"])
	require.Equal(t, 1.0, jobs[0]["last_event_seq"])
}

func TestLJ2FilterByTimeIsStrict(t *testing.T) {
	_, _, p, _ := session(t)
	for range 4 {
		runToEnd(t, p, "echo", 1)
	}
	all, _ := list(t, p, map[string]any{})
	require.Len(t, all, 4)
	at := func(i int) string { return all[i].Str("created_at") }
	for _, c := range []struct {
		filter map[string]any
		want   []wstest.Message
	}{
		{map[string]any{"created_after": at(1)}, all[2:]},
		{map[string]any{"created_before": at(1)}, all[:1]},
		{map[string]any{"created_after": at(0), "created_before": at(3)}, all[1:3]},
		{map[string]any{"created_after": at(2), "created_before": at(1)}, nil},
		{map[string]any{"created_after": time.Now().Add(time.Hour).Format(time.RFC3339)}, nil},
		{map[string]any{"created_before": "2020-01-01T00:00:00Z"}, nil},
	} {
		jobs, cursor := list(t, p, map[string]any{"filter": c.filter})
		require.Equal(t, idsOf(c.want), idsOf(jobs), "%v", c.filter)
		require.Empty(t, cursor)
	}
}

// TestLJ4PagesWhileJobsAreAdded: pages of any size, while other sessions invoke on edges of three shards, give each job
// once, in the order of creation; and every edge takes the cursor of another.
func TestLJ4PagesWhileJobsAreAdded(t *testing.T) {
	c := newCluster(t)
	natstest.Ensure(t, natstest.Client(t, c.nats), jetstream.Topology{Shards: 3, MaxBytes: 64 << 20})
	c.worker("worker-1", nil)
	const invoked = 60 // in each of three sessions, before and while they are listed
	var edges []*testEdge
	var readers []*wstest.Peer
	for shard := range 3 {
		e := c.edge(fmt.Sprint("edge-", shard), func(cfg *edge.Config) { cfg.Shard = shard })
		e.knows(t, "echo")
		edges = append(edges, e)
		p := wstest.Dial(t, e.url)
		p.Open(aliceToken)
		readers = append(readers, p)
	}
	var mu sync.Mutex
	accepted := map[string]bool{}
	invoke := func(e *testEdge, n int) {
		p := wstest.Dial(t, e.url)
		p.Open(aliceToken)
		for range n {
			p.Invoke("echo", 1)
			job := p.Expect("job.accepted").Str("job_id")
			p.Until("job.completed")
			mu.Lock()
			accepted[job] = true
			mu.Unlock()
		}
	}
	var wg sync.WaitGroup
	for _, e := range edges {
		wg.Go(func() { invoke(e, invoked) })
	}
	wg.Wait()
	mu.Lock()
	before := len(accepted)
	mu.Unlock()
	for _, e := range edges {
		wg.Go(func() { invoke(e, invoked) })
	}
	var got []wstest.Message
	seen := map[string]bool{}
	for cursor, page := "", 0; ; page++ {
		request := map[string]any{"limit": 1 + page*7%23}
		if cursor != "" {
			request["cursor"] = cursor
		}
		jobs, next := list(t, readers[page%3], request)
		require.LessOrEqual(t, len(jobs), request["limit"])
		got = append(got, jobs...)
		if cursor = next; cursor == "" {
			break
		}
	}
	wg.Wait()
	require.GreaterOrEqual(t, len(got), before)
	last := time.Time{}
	for _, job := range got {
		require.True(t, accepted[job.Str("job_id")])
		require.False(t, seen[job.Str("job_id")], "listed twice")
		seen[job.Str("job_id")] = true
		at, err := time.Parse(time.RFC3339Nano, job.Str("created_at"))
		require.NoError(t, err)
		require.False(t, at.Before(last), "not in order")
		last = at
	}
	// Whoever asks after an acceptance finds it.
	jobs, cursor := list(t, readers[0], map[string]any{"limit": 5000})
	require.Empty(t, cursor)
	require.Len(t, jobs, 6*invoked)
}

func TestLJ4WhatIsNoPage(t *testing.T) {
	_, e, p, _ := session(t)
	for range 2 {
		runToEnd(t, p, "echo", 1)
	}
	_, cursor := list(t, p, map[string]any{"limit": 1})
	require.NotEmpty(t, cursor)
	for _, c := range []struct {
		payload map[string]any
		names   string
	}{
		{map[string]any{"limit": 0}, "limit"},
		{map[string]any{"limit": -1}, "limit"},
		{map[string]any{"cursor": "forged"}, "cursor"},
		{map[string]any{"cursor": cursor[:len(cursor)-1]}, "cursor"},
		{map[string]any{"cursor": cursor, "filter": map[string]any{"agent": "echo"}}, "cursor"},
		{map[string]any{"filter": map[string]any{"created_after": "yesterday"}}, "created_after"},
	} {
		m := answerTo(p, p.Send("session.list_jobs", c.payload))
		require.Equal(t, "nack", m.Type(), "%v", c.payload)
		require.Equal(t, "INVALID_ARGUMENT", m.Payload()["code"])
		require.Contains(t, m.Payload()["message"], c.names)
		require.NotZero(t, m.Seq())
	}
	bob := wstest.Dial(t, e.url)
	bob.Open(bobToken)
	m := answerTo(bob, bob.Send("session.list_jobs", map[string]any{"cursor": cursor}))
	require.Equal(t, "INVALID_ARGUMENT", m.Payload()["code"], "a cursor is of its principal")
	jobs, cursor := list(t, p, map[string]any{"limit": 2, "cursor": cursor})
	require.Len(t, jobs, 1)
	require.Empty(t, cursor)
}

func TestLJ5AgentAsWritten(t *testing.T) {
	_, _, p, _ := session(t)
	bare, _ := runToEnd(t, p, "echo", 1)
	full, _ := runToEnd(t, p, "echo@1", 1)
	for agent, job := range map[string]string{"echo": bare, "echo@1": full} {
		jobs, _ := list(t, p, map[string]any{"filter": map[string]any{"agent": agent}})
		require.Equal(t, []string{job}, idsOf(jobs))
		require.Equal(t, agent, jobs[0]["agent"])
	}
	jobs, _ := list(t, p, map[string]any{"filter": map[string]any{"agent": "ech"}})
	require.Empty(t, jobs)
}

// TestListingsWaitTheirTurn: a client that asks faster than it is answered gets every answer, or is told to come back; its
// session goes on meanwhile and after.
func TestListingsWaitTheirTurn(t *testing.T) {
	_, _, p, _ := session(t)
	for range 30 {
		runToEnd(t, p, "echo", 1)
	}
	const asked = 200
	for range asked {
		p.Send("session.list_jobs", map[string]any{})
	}
	p.Send("ping", map[string]any{"nonce": "n"})
	var pages, refused, pongs int
	for pages+refused < asked || pongs == 0 {
		switch m := p.Next(); m.Type() {
		case "session.jobs":
			require.Len(t, m.Payload()["jobs"], 30)
			pages++
		case "nack":
			require.Equal(t, "RESOURCE_EXHAUSTED", m.Payload()["code"])
			require.Equal(t, map[string]any{"retryable": true}, m.Payload()["details"])
			require.Zero(t, m.Seq())
			refused++
		case "pong":
			pongs++
		}
	}
	require.GreaterOrEqual(t, pages, 16)
	runToEnd(t, p, "echo", 1)
}

// TestLastEventSeqAfterAResume: the edge that took the session over knows the numbers of open jobs from the checkpoint and
// the replay.
func TestLastEventSeqAfterAResume(t *testing.T) {
	c, _, p, accepted := session(t)
	p.Invoke("sleep", map[string]any{"ms": 60_000})
	started := p.Until("job.started")
	job, seq := started[1].Str("job_id"), started[1].Seq()
	for range 3 {
		_, seq = runToEnd(t, p, "echo", 1)
	}
	p.Send("session.ack", map[string]any{"last_processed_seq": seq})
	p.Drop()
	q := wstest.Dial(t, c.edge("edge-2", nil).url)
	q.Resume(accepted.Payload().Str("resume_token"), seq)
	require.Eventually(t, func() bool { // the replay is not done when the answer is there
		jobs, _ := list(t, q, map[string]any{"filter": map[string]any{"status": []string{"running"}}})
		return len(jobs) == 1 && jobs[0].Str("job_id") == job && jobs[0]["last_event_seq"] == float64(started[1].Seq())
	}, wstest.Wait, 10*time.Millisecond)
}

// TestListingWithoutALog: it is refused, not counted, and the session goes on.
func TestListingWithoutALog(t *testing.T) {
	c, _, p, _ := session(t)
	c.nats.Shutdown()
	m := answerTo(p, p.Send("session.list_jobs", map[string]any{}))
	require.Equal(t, "UNAVAILABLE", m.Payload()["code"])
	require.Equal(t, map[string]any{"retryable": true}, m.Payload()["details"])
	require.Zero(t, m.Seq())
}
