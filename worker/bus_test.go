package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/natstest"
	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/jetstream/embedded"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
	"github.com/arcp-nats/arcp/worker"
	"github.com/arcp-nats/arcp/worker/demo"
	"github.com/arcp-nats/arcp/worker/natsbus"
)

// These tests run workers on a real broker.

const patience = 30 * time.Second

// stage is a broker, and a client that submits to it and reads its events.
type stage struct {
	t      testing.TB
	srv    *embedded.Server
	client *jetstream.Client

	mu      sync.Mutex
	changed chan struct{}
	said    map[string][]event
}

// event is one line of a job's events.
type event struct {
	typ     envelope.Type
	attempt int
	sender  string
	body    []byte
}

func newStage(t testing.TB) *stage {
	s := &stage{t: t, srv: natstest.Start(t), changed: make(chan struct{}), said: map[string][]event{}}
	s.client = natstest.Client(t, s.srv)
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		_ = s.client.Follow(ctx, 0, "edge-1", 0, func(uint64) { close(ready) }, s.hear)
	}()
	t.Cleanup(func() { cancel(); <-done })
	<-ready
	return s
}

func (s *stage) hear(r *record.Record) {
	if r.Subject.Lane != subjects.Event {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for typ, body := range r.Lines() {
		s.said[r.Subject.Job] = append(s.said[r.Subject.Job], event{typ, r.Attempt, r.Sender, body})
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// until waits until ok says yes to the events of a job, and returns them.
func (s *stage) until(inv *record.Record, what string, ok func([]event) bool) []event {
	s.t.Helper()
	late := time.After(patience)
	for {
		s.mu.Lock()
		all, changed := s.said[inv.Subject.Job], s.changed
		s.mu.Unlock()
		if ok(all) {
			return all
		}
		select {
		case <-changed:
		case <-late:
			s.t.Fatalf("%s: so far %v", what, all)
		}
	}
}

func (s *stage) ended(inv *record.Record) []event {
	s.t.Helper()
	return s.until(inv, "no terminal event", func(all []event) bool {
		if len(all) == 0 {
			return false
		}
		row, _ := envelope.Lookup(all[len(all)-1].typ)
		return row.Terminal
	})
}

func (s *stage) count(inv *record.Record, typ envelope.Type, n int) []event {
	s.t.Helper()
	return s.until(inv, fmt.Sprintf("not %d %s", n, typ), func(all []event) bool {
		got := 0
		for _, e := range all {
			if e.typ == typ {
				got++
			}
		}
		return got >= n
	})
}

// submit puts a job of a demo tool into the log.
func (s *stage) submit(w *worker.Worker, tool, arguments string) *record.Record {
	s.t.Helper()
	session, job := envelope.NewSessionID(), envelope.NewJobID()
	invoke, err := envelope.New(envelope.TypeToolInvoke, &envelope.ToolInvoke{Tool: tool, Arguments: []byte(arguments)})
	require.NoError(s.t, err)
	accepted, err := envelope.New(envelope.TypeJobAccepted, &envelope.JobAccepted{JobID: job})
	require.NoError(s.t, err)
	for _, e := range []*envelope.Envelope{invoke, accepted} {
		e.SessionID, e.JobID = session, job
	}
	r, err := record.New(subjects.Subject{
		Lane: subjects.Invoke, Queue: w.Queue(), Tool: tool + "@1", Feed: "edge-1",
		Principal: "alice", Session: string(session), Job: string(job),
	}, accepted, invoke)
	require.NoError(s.t, err)
	_, err = s.client.PublishWait(s.t.Context(), r)
	require.NoError(s.t, err)
	return r
}

// member is a worker of the stage, with a connection of its own.
type member struct {
	*worker.Worker
	client *jetstream.Client
	drain  context.CancelFunc
	done   chan error
}

func (s *stage) worker(name string, change func(*worker.Config)) *member {
	s.t.Helper()
	cfg := worker.Config{Name: name, AckWait: 2 * time.Second}
	if change != nil {
		change(&cfg)
	}
	m := &member{client: natstest.Connect(s.t, jetstream.Config{Name: name, URLs: []string{s.srv.URL()}}), done: make(chan error, 1)}
	var err error
	m.Worker, err = worker.New(natsbus.New(m.client), cfg)
	require.NoError(s.t, err)
	require.NoError(s.t, demo.Register(m.Worker))
	ctx, cancel := context.WithCancel(context.Background())
	m.drain = cancel
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.done <- m.Run(ctx)
	}()
	s.t.Cleanup(func() {
		m.Stop()
		<-ended
		cancel()
	})
	select {
	case <-m.Ready():
	case <-time.After(patience):
		s.t.Fatal("worker is not ready")
	}
	return m
}

func (m *member) end(t testing.TB) {
	t.Helper()
	m.drain()
	select {
	case err := <-m.done:
		require.NoError(t, err)
	case <-time.After(patience):
		t.Fatal("worker does not end")
	}
}

func value(t testing.TB, e event) string {
	t.Helper()
	var env struct {
		Payload struct{ Value json.RawMessage }
	}
	require.NoError(t, json.Unmarshal(e.body, &env))
	return string(env.Payload.Value)
}

func TestDemoTools(t *testing.T) {
	s := newStage(t)
	w := s.worker("worker-1", nil)
	for _, c := range []struct{ tool, arguments, want, value string }{
		{"echo", `{"a":[1,"x"]}`, "job.completed", `{"a":[1,"x"]}`},
		{"echo", `null`, "job.completed", `null`},
		{"sleep", `{"ms":1}`, "job.completed", `{"slept_ms":1}`},
		{"sleep", `{"ms":-1}`, "job.failed", ""},
		{"sleep", `{"ms":"long"}`, "job.failed", ""},
		{"count", `{"to":3,"every_ms":1}`, "job.completed", `{"counted":3}`},
		{"count", `{"to":0}`, "job.completed", `{"counted":0}`},
		{"log", `{"lines":2,"level":"debug"}`, "job.completed", `{"lines":2}`},
		{"log", `{"lines":1,"level":"loud"}`, "job.failed", ""},
		{"fail", `{"code":"NOT_FOUND","message":"no"}`, "job.failed", ""},
		{"fail", `{"code":"NOPE"}`, "job.failed", ""},
		{"fail", `{"code":"CANCELLED","message":"never mind"}`, "job.cancelled", ""},
		{"panic", `{}`, "job.failed", ""},
		{"attempt", `{"to":4,"every_ms":1,"checkpoint_every":2}`, "job.completed", `{"counted":4,"attempts":1,"resumed_from":0}`},
		{"attempt", `{"to":4,"checkpoint_every":0}`, "job.failed", ""},
	} {
		t.Run(c.tool, func(t *testing.T) {
			all := s.ended(s.submit(w.Worker, c.tool, c.arguments))
			require.Equal(t, envelope.TypeJobStarted, all[0].typ)
			last := all[len(all)-1]
			require.EqualValues(t, c.want, last.typ, string(last.body))
			if c.value != "" {
				require.JSONEq(t, c.value, value(t, last))
			}
		})
	}
	w.end(t)
}

func TestManyJobsOnTwoWorkers(t *testing.T) {
	s := newStage(t)
	w1, w2 := s.worker("worker-1", nil), s.worker("worker-2", nil)
	require.Equal(t, w1.Queue(), w2.Queue())
	var invs []*record.Record
	for i := range 400 {
		invs = append(invs, s.submit(w1.Worker, "echo", fmt.Sprint(i)))
	}
	by := map[string]int{}
	for i, inv := range invs {
		all := s.ended(inv)
		require.Len(t, all, 2)
		require.Equal(t, fmt.Sprint(i), value(t, all[1]))
		by[all[1].sender]++
	}
	t.Log(by)
	w1.end(t)
	w2.end(t)
}

// Invariant: a worker that dies loses nothing. The next attempt goes on from
// the last checkpoint, after the ack wait.
func TestLostConnectionIsTheNextAttempt(t *testing.T) {
	s := newStage(t)
	w1 := s.worker("worker-1", nil)
	inv := s.submit(w1.Worker, "attempt", `{"to":40,"every_ms":25,"checkpoint_every":1}`)
	s.count(inv, envelope.TypeJobProgress, 5)
	w1.client.Close() // as far as the broker can tell, the process is gone
	w2 := s.worker("worker-2", nil)
	all := s.ended(inv)
	last := all[len(all)-1]
	require.Equal(t, envelope.TypeJobCompleted, last.typ, string(last.body))
	require.Equal(t, "worker-2", last.sender)
	var got struct{ Counted, Attempts, Resumed_from int }
	require.NoError(t, json.Unmarshal([]byte(value(t, last)), &got))
	require.Equal(t, 40, got.Counted)
	require.Equal(t, 2, got.Attempts)
	require.GreaterOrEqual(t, got.Resumed_from, 4)
	w2.end(t)
}

func TestDrainTimeoutHandsOverAtOnce(t *testing.T) {
	s := newStage(t)
	long := func(c *worker.Config) { c.AckWait, c.DrainTimeout = time.Minute, 50*time.Millisecond }
	w1 := s.worker("worker-1", long)
	inv := s.submit(w1.Worker, "attempt", `{"to":30,"every_ms":20,"checkpoint_every":1}`)
	s.count(inv, envelope.TypeJobProgress, 3)
	w2 := s.worker("worker-2", long)
	began := time.Now()
	w1.end(t)
	all := s.ended(inv)
	require.Less(t, time.Since(began), 20*time.Second, "not after the ack wait")
	require.Equal(t, 2, all[len(all)-1].attempt)
	require.Equal(t, "worker-2", all[len(all)-1].sender)
	w2.end(t)
}

func TestCancelThroughTheLog(t *testing.T) {
	s := newStage(t)
	w := s.worker("worker-1", nil)
	inv := s.submit(w.Worker, "sleep", `{"ms":600000}`)
	s.count(inv, envelope.TypeJobStarted, 1)
	cancel, err := envelope.New(envelope.TypeCancel, &envelope.Cancel{
		Target: envelope.TargetJob, TargetID: inv.Subject.Job, Reason: "enough",
	})
	require.NoError(t, err)
	r, err := record.New(subjects.JobInput(inv.Subject), cancel)
	require.NoError(t, err)
	_, err = s.client.PublishWait(t.Context(), r)
	require.NoError(t, err)
	all := s.ended(inv)
	require.Equal(t, envelope.TypeJobCancelled, all[len(all)-1].typ)
	require.Contains(t, string(all[len(all)-1].body), `"reason":"enough"`)
	w.end(t)
}

// The broker goes away while a job talks, and comes back: nothing is lost and
// nothing is said twice.
func TestBrokerRestart(t *testing.T) {
	dir := t.TempDir()
	srv := natstest.StartWith(t, embedded.Options{Dir: dir, Host: "127.0.0.1", Port: -1})
	url := srv.URL()
	s := &stage{t: t, srv: srv, changed: make(chan struct{}), said: map[string][]event{}}
	s.client = natstest.Connect(t, jetstream.Config{Name: "test", URLs: []string{url}})
	natstest.Ensure(t, s.client, natstest.Topology())
	ctx, cancel := context.WithCancel(context.Background())
	var following sync.WaitGroup
	ready := make(chan struct{})
	following.Go(func() { _ = s.client.Follow(ctx, 0, "edge-1", 0, func(uint64) { close(ready) }, s.hear) })
	defer func() { cancel(); following.Wait() }()
	<-ready

	w := s.worker("worker-1", func(c *worker.Config) { c.AckWait = 20 * time.Second })
	inv := s.submit(w.Worker, "count", `{"to":300,"every_ms":10}`)
	s.count(inv, envelope.TypeJobProgress, 20)
	var port int
	_, err := fmt.Sscanf(srv.Addr().String(), "127.0.0.1:%d", &port)
	require.NoError(t, err)
	srv.Shutdown()
	natstest.StartWith(t, embedded.Options{Dir: dir, Host: "127.0.0.1", Port: port})

	all := s.ended(inv)
	require.Equal(t, envelope.TypeJobCompleted, all[len(all)-1].typ, string(all[len(all)-1].body))
	next := 1
	for _, e := range all {
		if e.typ == envelope.TypeJobProgress {
			require.Contains(t, string(e.body), fmt.Sprintf(`"current":%d,`, next))
			next++
		}
	}
	require.Equal(t, 301, next)
	w.end(t)
}

func BenchmarkEcho(b *testing.B) { benchmarkEcho(b, 0) }

// BenchmarkEchoBesideScheduled is BenchmarkEcho while jobs of the same queue wait for their time.
func BenchmarkEchoBesideScheduled(b *testing.B) {
	for _, waiting := range []int{1000, 10_000, 100_000} {
		b.Run(strconv.Itoa(waiting), func(b *testing.B) { benchmarkEcho(b, waiting) })
	}
}

func benchmarkEcho(b *testing.B, waiting int) {
	s := newStage(b)
	w := s.worker("worker-1", func(c *worker.Config) { c.Concurrency = 256 })
	template := s.submit(w.Worker, "echo", `{"hello":"world"}`)
	s.ended(template)
	var stored sync.WaitGroup
	for range waiting {
		r := *template
		r.Subject.Job, r.MsgID, r.NotBefore = string(envelope.NewJobID()), "", time.Now().Add(time.Hour)
		stored.Add(1)
		require.NoError(b, s.client.Publish(b.Context(), &r, func(uint64, error) { stored.Done() }))
	}
	stored.Wait()
	s.ended(s.submit(w.Worker, "echo", `1`)) // stands behind them all
	b.ResetTimer()
	ids := make([]string, b.N)
	for i := range b.N {
		r := *template
		r.Subject.Job = string(envelope.NewJobID())
		r.MsgID = ""
		ids[i] = r.Subject.Job
		stored.Add(1)
		err := s.client.Publish(b.Context(), &r, func(_ uint64, err error) {
			if err != nil {
				b.Error(err)
			}
			stored.Done()
		})
		require.NoError(b, err)
	}
	stored.Wait()
	for _, id := range ids {
		r := *template
		r.Subject.Job = id
		s.ended(&r)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
	w.end(b)
}
