package worker

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/arcp-nats/arcp/artifact"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memLog is a log with queues, in memory, for tests in fake time. What workers
// promise to the real one is tested in bus_test.go.
type memLog struct {
	mu        sync.Mutex
	changed   chan struct{}
	log       []*record.Record
	queues    map[string]*memQueue
	tools     map[string][]byte
	deadlines []record.Deadline
	ranged    int // records that ReadRange has passed
	largest   int // most jobs that were out at once
	out       int

	// Hooks, set before the log is used or under mu.
	publish func(*record.Record) error // an error instead of storing, if not nil
	shards  func() ([]int, error)
}

type memQueue struct {
	jobs []*memJob
}

type memJob struct {
	rec      *record.Record
	attempts int
	free     time.Time // when it may be handed out, while it is not out
	held     int       // the attempt that is out, or 0
	beats    int
	done     bool
	timer    *time.Timer
}

func newMemLog() *memLog {
	return &memLog{changed: make(chan struct{}), queues: map[string]*memQueue{}, tools: map[string][]byte{}}
}

// bump tells everyone who waits that something has changed. Called with mu.
func (m *memLog) bump() {
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *memLog) append(r *record.Record) uint64 {
	for _, old := range m.log {
		if r.MsgID != "" && old.MsgID == r.MsgID {
			return old.Seq
		}
	}
	stored := *r
	stored.Seq = uint64(len(m.log) + 1)
	stored.Time = time.Now()
	m.log = append(m.log, &stored)
	if stored.Subject.Lane == subjects.Invoke {
		q := m.queue(stored.Subject.Queue)
		q.jobs = append(q.jobs, &memJob{rec: &stored})
	}
	m.bump()
	return stored.Seq
}

func (m *memLog) queue(name string) *memQueue {
	if m.queues[name] == nil {
		m.queues[name] = &memQueue{}
	}
	return m.queues[name]
}

// memBus is one worker's connection to a memLog. A bus that was cut loses
// everything, as a dead process does.
type memBus struct {
	*memLog
	cut chan struct{}
}

func (m *memLog) bus() *memBus { return &memBus{memLog: m, cut: make(chan struct{})} }

var errAway = envelope.Errorf(envelope.CodeUnavailable, "the log is away")

func (b *memBus) gone() bool {
	select {
	case <-b.cut:
		return true
	default:
		return false
	}
}

func (b *memBus) Deadline(ctx context.Context, d record.Deadline) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone() {
		return errAway
	}
	b.deadlines = append(b.deadlines, d)
	return ctx.Err()
}

func (b *memBus) Artifacts() artifact.Store { return nil }

func (b *memBus) Shards(context.Context) ([]int, error) {
	if b.shards != nil {
		return b.shards()
	}
	return []int{0}, nil
}

func (b *memBus) Publish(ctx context.Context, r *record.Record, done func(uint64, error)) error {
	go func() {
		b.mu.Lock()
		var err error
		if b.publish != nil {
			err = b.publish(r)
		}
		if b.gone() {
			err = errAway
		}
		seq := uint64(0)
		if err == nil {
			seq = b.append(r)
		}
		b.mu.Unlock()
		done(seq, err)
	}()
	return nil
}

func (b *memBus) LastOf(ctx context.Context, s subjects.Subject) (*record.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone() {
		return nil, errAway
	}
	for _, r := range slices.Backward(b.log) {
		if r.Subject == s {
			return r, nil
		}
	}
	return nil, envelope.Errorf(envelope.CodeNotFound, "nothing there")
}

func (b *memBus) ReadJob(ctx context.Context, s subjects.Subject, fn func(*record.Record) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	log := slices.Clone(b.log)
	b.mu.Unlock()
	if b.gone() {
		return errAway
	}
	for _, r := range log {
		if r.Subject == s && !fn(r) {
			return nil
		}
	}
	return nil
}

func (b *memBus) ReadRange(ctx context.Context, s subjects.Subject, from, until uint64, fn func(*record.Record) bool) error {
	return b.ReadJob(ctx, s, func(r *record.Record) bool {
		if r.Seq < from {
			return true
		}
		b.mu.Lock()
		b.ranged++
		b.mu.Unlock()
		return r.Seq <= until && fn(r)
	})
}

func (b *memBus) Inputs(ctx context.Context, shard int, ready func(uint64), fn func(*record.Record)) error {
	b.mu.Lock()
	next := len(b.log)
	b.mu.Unlock()
	ready(uint64(next))
	for {
		b.mu.Lock()
		fresh, changed := slices.Clone(b.log[next:]), b.changed
		next = len(b.log)
		b.mu.Unlock()
		for _, r := range fresh {
			if r.Subject.Lane == subjects.Input && r.Subject.Shard == shard && !b.gone() {
				fn(r)
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *memBus) Queue(_ context.Context, shard int, queue string, ackWait time.Duration) (Queue, error) {
	return &memConsumer{bus: b, queue: queue, shard: shard, ackWait: ackWait}, nil
}

type memConsumer struct {
	bus     *memBus
	queue   string
	shard   int
	ackWait time.Duration
}

func (c *memConsumer) Fetch(ctx context.Context, n int, fn func(Delivery)) error {
	for n > 0 {
		b := c.bus
		b.mu.Lock()
		var next *memJob
		wait := time.Hour
		for _, j := range b.queue(c.queue).jobs {
			if j.done || j.held > 0 || j.rec.Subject.Shard != c.shard || b.gone() {
				continue
			}
			if left := time.Until(j.free); left > 0 {
				wait = min(wait, left)
				continue
			}
			next = j
			break
		}
		changed := b.changed
		if next != nil {
			next.attempts++
			next.held = next.attempts
			b.out++
			b.largest = max(b.largest, b.out)
			r := &memReceipt{bus: b, job: next, attempt: next.attempts, ackWait: c.ackWait}
			next.timer = time.AfterFunc(c.ackWait, r.expire)
			b.mu.Unlock()
			fn(Delivery{Record: next.rec, Attempt: r.attempt, Asked: time.Now(), Receipt: r})
			n--
			continue
		}
		b.mu.Unlock()
		select {
		case <-changed:
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

type memReceipt struct {
	bus     *memBus
	job     *memJob
	attempt int
	ackWait time.Duration
}

// locked runs fn if the job is out. As with JetStream, an answer to an older
// delivery counts for the job all the same.
func (r *memReceipt) locked(fn func()) error {
	r.bus.mu.Lock()
	defer r.bus.mu.Unlock()
	if r.bus.gone() {
		return errAway
	}
	if r.job.held > 0 {
		fn()
	}
	return nil
}

func (r *memReceipt) back(free time.Time) {
	r.job.timer.Stop()
	r.job.held, r.job.free = 0, free
	r.bus.out--
	r.bus.bump()
}

func (r *memReceipt) expire() {
	r.bus.mu.Lock()
	defer r.bus.mu.Unlock()
	if r.job.held == r.attempt {
		r.back(time.Now())
	}
}

func (r *memReceipt) Ack(context.Context) error {
	return r.locked(func() { r.job.done = true; r.back(time.Time{}) })
}

func (r *memReceipt) Nak(delay time.Duration) error {
	return r.locked(func() { r.back(time.Now().Add(delay)) })
}

func (r *memReceipt) InProgress() error {
	return r.locked(func() { r.job.timer.Reset(r.ackWait); r.job.beats++ })
}

func (b *memBus) Tools() Tools { return memTools{b} }

type memTools struct{ b *memBus }

func (t memTools) Put(_ context.Context, key string, value []byte) error {
	t.b.mu.Lock()
	defer t.b.mu.Unlock()
	t.b.tools[key] = value
	t.b.bump()
	return nil
}

func (t memTools) PutTTL(ctx context.Context, key string, value []byte, _ time.Duration) error {
	return t.Put(ctx, key, value)
}

func (t memTools) Delete(_ context.Context, key string) error {
	t.b.mu.Lock()
	defer t.b.mu.Unlock()
	delete(t.b.tools, key)
	t.b.bump()
	return nil
}

func (t memTools) Watch(ctx context.Context, ready func(), fn func(string, []byte, time.Time)) error {
	known := map[string][]byte{}
	for first := true; ; first = false {
		t.b.mu.Lock()
		now, changed := maps.Clone(t.b.tools), t.b.changed
		t.b.mu.Unlock()
		for key, value := range now {
			if string(known[key]) != string(value) {
				fn(key, value, time.Now())
			}
		}
		for key := range known {
			if _, there := now[key]; !there {
				fn(key, nil, time.Now())
			}
		}
		known = now
		if first {
			ready()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// bench is a log and the workers on it.
type bench struct {
	t   *testing.T
	log *memLog
}

func newBench(t *testing.T) *bench { return &bench{t: t, log: newMemLog()} }

// running is a worker that runs.
type running struct {
	*Worker
	bus   *memBus
	drain context.CancelFunc
	done  chan error
}

// worker starts a worker with one tool, "tool@1", and waits until it is ready.
func (b *bench) worker(cfg Config, opts Options, h Handler) *running {
	b.t.Helper()
	if cfg.Name == "" {
		cfg.Name = "worker-1"
	}
	if cfg.Queue == "" {
		cfg.Queue = "q"
	}
	r := &running{bus: b.log.bus(), done: make(chan error, 1)}
	var err error
	r.Worker, err = New(r.bus, cfg)
	require.NoError(b.t, err)
	require.NoError(b.t, r.Handle("tool", "1", h, opts))
	ctx, cancel := context.WithCancel(context.Background())
	r.drain = cancel
	go func() { r.done <- r.Run(ctx) }()
	<-r.Ready()
	return r
}

// end drains the worker and wants it to end well.
func (r *running) end(t *testing.T) {
	t.Helper()
	r.drain()
	require.NoError(t, <-r.done)
}

// kill makes the worker's process disappear, as far as the log can tell.
func (r *running) kill() {
	r.bus.mu.Lock()
	close(r.bus.cut)
	r.bus.mu.Unlock()
	r.Stop()
	<-r.done
}

// invocation makes a job for tool@1.
func newInvocation(t testing.TB, arguments string, change func(*envelope.Envelope, *record.Record)) *record.Record {
	t.Helper()
	session, job := envelope.NewSessionID(), envelope.NewJobID()
	invoke, err := envelope.New(envelope.TypeToolInvoke, &envelope.ToolInvoke{Tool: "tool", Arguments: []byte(arguments)})
	require.NoError(t, err)
	invoke.SessionID, invoke.JobID = session, job
	var r record.Record
	if change != nil {
		change(invoke, &r)
	}
	accepted, err := envelope.New(envelope.TypeJobAccepted, &envelope.JobAccepted{JobID: job})
	require.NoError(t, err)
	accepted.SessionID, accepted.JobID, accepted.CorrelationID = session, job, invoke.ID
	made, err := record.New(subjects.Subject{
		Lane: subjects.Invoke, Queue: "q", Tool: "tool@1", Feed: "edge-1",
		Principal: "alice", Session: string(session), Job: string(job),
	}, accepted, invoke)
	require.NoError(t, err)
	made.Codes, made.TraceParent, made.TraceState = r.Codes, r.TraceParent, r.TraceState
	return made
}

// submit puts a job into the log.
func (b *bench) submit(arguments string, change func(*envelope.Envelope, *record.Record)) *record.Record {
	r := newInvocation(b.t, arguments, change)
	b.put(r)
	return r
}

func (b *bench) put(r *record.Record) {
	b.log.mu.Lock()
	defer b.log.mu.Unlock()
	r.Seq = b.log.append(r)
}

// said is one event of a job.
type said struct {
	typ     envelope.Type
	attempt int
	env     *envelope.Envelope // nil for markers
	record  uint64             // its position
	at      time.Time
}

// events returns what was said about a job so far.
func (b *bench) events(invoke *record.Record) []said {
	b.t.Helper()
	b.log.mu.Lock()
	defer b.log.mu.Unlock()
	var all []said
	for _, r := range b.log.log {
		if r.Subject != subjects.JobEvents(invoke.Subject) {
			continue
		}
		for typ, body := range r.Lines() {
			s := said{typ: typ, attempt: r.Attempt, record: r.Seq, at: r.Time}
			if typ[0] != '_' {
				env, err := envelope.Decode(body, envelope.DefaultLimits())
				require.NoError(b.t, err)
				s.env = env
			}
			all = append(all, s)
		}
	}
	return all
}

// await waits until the last event of a job is of this type, and returns all.
func (b *bench) await(invoke *record.Record, typ envelope.Type) []said {
	b.t.Helper()
	for began := time.Now(); ; {
		b.log.mu.Lock()
		changed := b.log.changed
		b.log.mu.Unlock()
		if all := b.events(invoke); len(all) > 0 && all[len(all)-1].typ == typ {
			return all
		}
		select {
		case <-changed:
		case <-time.After(time.Hour): // fake
		}
		if time.Since(began) > 3*time.Hour {
			b.t.Fatalf("no %s; so far %v", typ, types(b.events(invoke)))
		}
	}
}

func types(all []said) (list []envelope.Type) {
	for _, s := range all {
		list = append(list, s.typ)
	}
	return list
}

// forget lets the broker forget that it has handed a job out: it does so again, as the same attempt.
func (b *bench) forget(invoke *record.Record) {
	b.log.mu.Lock()
	defer b.log.mu.Unlock()
	for _, j := range b.log.queue(invoke.Subject.Queue).jobs {
		if j.rec.Subject.Job == invoke.Subject.Job {
			j.timer.Stop()
			j.attempts, j.held = j.attempts-1, 0
			b.log.out--
			b.log.bump()
		}
	}
}

func (b *bench) job(invoke *record.Record) memJob {
	b.log.mu.Lock()
	defer b.log.mu.Unlock()
	for _, j := range b.log.queue(invoke.Subject.Queue).jobs {
		if j.rec.Subject.Job == invoke.Subject.Job {
			return *j
		}
	}
	b.t.Fatal("no such job")
	return memJob{}
}

func payload[T any](t testing.TB, s said) *T {
	t.Helper()
	p, err := envelope.DecodePayload[T](s.env)
	require.NoError(t, err)
	return p
}

var errHandler = errors.New("handler says no")

// lockedBuilder collects a log.
type lockedBuilder struct {
	mu  sync.Mutex
	buf []byte
}

func (b *lockedBuilder) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf = append(b.buf, p...)
	return len(p), nil
}

func (b *lockedBuilder) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.buf)
}
