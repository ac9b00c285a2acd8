package jetstream_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/natstest"
	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/jetstream/embedded"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// connector makes a provider for nats.go of what embedded returns.
type connector func() (net.Conn, error)

func (f connector) InProcessConn() (net.Conn, error) { return f() }

// follower collects what a Follow passes on, in a goroutine that ends with the test.
type follower struct {
	ready   chan uint64
	records chan *record.Record
	ended   chan error
	cancel  context.CancelFunc
}

func follow(t testing.TB, c *jetstream.Client, feed string, from uint64) *follower {
	ctx, cancel := context.WithCancel(t.Context())
	f := &follower{
		ready: make(chan uint64, 2), records: make(chan *record.Record, 100_000), ended: make(chan error, 1), cancel: cancel,
	}
	go func() {
		f.ended <- c.Follow(ctx, 0, feed, from, func(pos uint64) { f.ready <- pos }, func(r *record.Record) { f.records <- r })
	}()
	return f
}

func (f *follower) stop(t testing.TB) {
	t.Helper()
	f.cancel()
	require.ErrorIs(t, receive(t, context.Background(), f.ended), context.Canceled)
}

func TestFollowSeesAFeedFromNowOn(t *testing.T) {
	c := client(t)
	ctx := patient(t)
	store(t, c, numbered(eventOf("f", "s", "j"), 1))
	last := store(t, c, numbered(eventOf("f", "s", "j"), 2))
	f := follow(t, c, "f", 0)
	require.Equal(t, last, receive(t, ctx, f.ready))

	store(t, c, numbered(eventOf("g", "s", "j"), 3)) // another feed
	input := numbered(eventOf("f", "s", "j"), 4)     // another lane
	input.Subject = subjects.JobInput(input.Subject)
	input.MsgID += "-input"
	store(t, c, input)
	store(t, c, numbered(invokeOf("q", "f", "s", "j2"), 5))
	store(t, c, numbered(eventOf("f", "s", "j"), 6))
	for _, want := range []int{5, 6} {
		require.Equal(t, want, number(t, receive(t, ctx, f.records)))
	}
	f.stop(t)
	require.Empty(t, f.records)
	require.Empty(t, f.ready, "ready is called once")
}

func TestFollowFromAPosition(t *testing.T) {
	c := client(t)
	ctx := patient(t)
	for i := range 10 {
		store(t, c, numbered(eventOf("f", "s", "j"), i))
	}
	f := follow(t, c, "f", 4)
	require.EqualValues(t, 3, receive(t, ctx, f.ready))
	for i := 3; i < 10; i++ {
		r := receive(t, ctx, f.records)
		require.Equal(t, i, number(t, r))
		require.EqualValues(t, i+1, r.Seq)
	}
	f.stop(t)
}

func TestFollowOfNoLog(t *testing.T) {
	c := client(t)
	requireCode(t, envelope.CodeNotFound, c.Follow(patient(t), 7, "f", 0, nil, func(*record.Record) {}))
}

func TestInputsSeesOnlyWhatClientsSay(t *testing.T) {
	c := client(t)
	ctx, cancel := context.WithCancel(patient(t))
	ready, got, ended := make(chan uint64, 1), make(chan *record.Record, 10), make(chan error, 1)
	go func() {
		ended <- c.Inputs(ctx, 0, func(pos uint64) { ready <- pos }, func(r *record.Record) { got <- r })
	}()
	require.Zero(t, receive(t, ctx, ready))
	store(t, c, numbered(eventOf("f", "s", "j"), 1))
	input := numbered(eventOf("f", "s", "j"), 2)
	input.Subject = subjects.JobInput(input.Subject)
	store(t, c, input)
	require.Equal(t, input.Subject, receive(t, ctx, got).Subject)
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.Empty(t, got)
}

// Brokers come and go while records are written; the follower sees each once, in order.
func TestFollowAcrossRestarts(t *testing.T) {
	b := newBroker(t)
	c := b.client(jetstream.Config{AckTimeout: patience})
	reader := natstest.Connect(t, jetstream.Config{URLs: []string{b.srv.URL()}})
	f := follow(t, reader, "f", 0)
	require.Zero(t, receive(t, patient(t), f.ready))

	const n = 6000
	var answered sync.WaitGroup
	answered.Add(n)
	var failures atomic.Int64
	for i := range n {
		require.NoError(t, c.Publish(patient(t), numbered(eventOf("f", fmt.Sprint(i%7), "j"), i), func(_ uint64, err error) {
			if err != nil {
				failures.Add(1)
			}
			answered.Done()
		}))
		if i%2000 == 1000 {
			b.restart()
		}
	}
	answered.Wait()
	require.Zero(t, failures.Load())
	for i := range n {
		r := receive(t, patient(t), f.records)
		require.EqualValues(t, i+1, r.Seq)
		require.Equal(t, i, number(t, r))
	}
	f.stop(t)
	require.Empty(t, f.records)
	require.Empty(t, f.ready)
}

// A consumer that is deleted behind the follower's back is replaced.
func TestFollowSurvivesTheLossOfItsConsumer(t *testing.T) {
	srv := natstest.Start(t)
	c := natstest.Client(t, srv)
	ctx := patient(t)
	f := follow(t, c, "f", 0)
	receive(t, ctx, f.ready)
	store(t, c, numbered(eventOf("f", "s", "j"), 0))
	receive(t, ctx, f.records)

	for _, name := range consumers(t, srv) {
		require.NoError(t, upstream(t, srv).DeleteConsumer(ctx, subjects.StreamName(0), name))
	}
	for i := 1; i < 4; i++ {
		store(t, c, numbered(eventOf("f", "s", "j"), i))
	}
	for i := 1; i < 4; i++ {
		require.Equal(t, i, number(t, receive(t, ctx, f.records)))
	}
	f.stop(t)
}

// fn may be as slow as it likes: the rest waits, and nothing is missed.
func TestFollowWithASlowReader(t *testing.T) {
	c := client(t)
	const n = 50_000 // more than may wait in the client
	ctx, cancel := context.WithCancel(patient(t))
	defer cancel()
	gate, ready, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	next := 0
	go func() {
		ended <- c.Follow(ctx, 0, "f", 0, func(uint64) { close(ready) }, func(r *record.Record) {
			if next == 0 {
				<-gate
			}
			if number(t, r) != next {
				t.Errorf("got %s, want %d", r.Body, next)
				cancel()
			}
			if next++; next == n {
				cancel()
			}
		})
	}()
	receive(t, ctx, ready)
	storeMany(t, c, n, func(i int) *record.Record { return numbered(eventOf("f", "s", "j"), i) })
	close(gate)
	require.ErrorIs(t, <-ended, context.Canceled)
	require.Equal(t, n, next)
}

// If the broker lost the end of its log, going on would give old positions to new records.
func TestFollowReportsALogThatLostItsEnd(t *testing.T) {
	b := newBroker(t)
	c := b.client(jetstream.Config{})
	for i := range 5 {
		store(t, c, numbered(eventOf("f", "s", "j"), i))
	}
	f := follow(t, c, "f", 1)
	for range 5 {
		receive(t, patient(t), f.records)
	}
	js := upstream(t, b.srv)
	require.NoError(t, js.DeleteStream(patient(t), subjects.StreamName(0)))
	natstest.Ensure(t, c, natstest.Topology())
	b.restart()
	requireCode(t, envelope.CodeDataLoss, receive(t, patient(t), f.ended))
	f.cancel()
}

func TestReadSessionReadsOneSession(t *testing.T) {
	srv := natstest.Start(t)
	c := natstest.Client(t, srv)
	var mine []uint64
	for i := range 300 {
		session := fmt.Sprint("s", i%3)
		subject := eventOf("f", session, fmt.Sprint("j", i%5))
		switch i % 4 {
		case 0:
			subject = invokeOf("q", "f", session, fmt.Sprint("k", i))
		case 1:
			subject.Job = ""
		}
		if seq := store(t, c, numbered(subject, i)); session == "s1" {
			mine = append(mine, seq)
		}
	}
	from, until := mine[10], mine[60]
	var got []uint64
	require.NoError(t, c.ReadSession(patient(t), eventOf("f", "s1", ""), from, until, func(r *record.Record) bool {
		got = append(got, r.Seq)
		return true
	}))
	require.Equal(t, mine[10:61], got)

	got = nil
	require.NoError(t, c.ReadSession(patient(t), eventOf("f", "s1", ""), 1, until, func(r *record.Record) bool {
		got = append(got, r.Seq)
		return len(got) < 7
	}))
	require.Equal(t, mine[:7], got)

	// Reading leaves nothing behind at the broker.
	require.Eventually(t, func() bool { return len(consumers(t, srv)) == 0 }, patience, 1e6)
}

func TestReadSessionOfWhatIsGone(t *testing.T) {
	c := client(t)
	last := store(t, c, numbered(eventOf("f", "s", "j"), 0))
	never := func(*record.Record) bool { t.Error("a record of nobody"); return true }
	requireCode(t, envelope.CodeNotFound, c.ReadSession(patient(t), eventOf("f", "other", ""), 1, last, never))
	got := 0
	err := c.ReadSession(patient(t), eventOf("f", "s", ""), 1, last+5, func(*record.Record) bool { got++; return true })
	requireCode(t, envelope.CodeNotFound, err)
	require.Equal(t, 1, got)
	require.NoError(t, c.ReadSession(patient(t), eventOf("f", "s", ""), last+1, last, never))
}

// A reader that is slower than the broker gets everything, although not all of it fits into the client at once.
func TestReadSessionWithASlowReader(t *testing.T) {
	c := client(t)
	const n = 5000
	storeMany(t, c, n, func(i int) *record.Record { return numbered(eventOf("f", "s", "j"), i) })
	next := 0
	other := 0
	require.NoError(t, c.ReadSession(patient(t), eventOf("f", "s", ""), 1, n, func(r *record.Record) bool {
		require.Equal(t, next, number(t, r))
		if next++; next%500 == 1 {
			// Something that takes longer than the broker needs to send the rest.
			require.NoError(t, c.ReadSession(patient(t), eventOf("f", "s", ""), 1, n, func(*record.Record) bool { other++; return true }))
		}
		return true
	}))
	require.Equal(t, n, next)
	require.Equal(t, 10*n, other)
}

func TestReadJob(t *testing.T) {
	c := client(t)
	subject := eventOf("f", "s", "j")
	require.NoError(t, c.ReadJob(patient(t), subject, func(*record.Record) bool { t.Error("nothing is there"); return true }))
	for i := range 20 {
		store(t, c, numbered(eventOf("f", "s", fmt.Sprint("j", i%2)), i))
	}
	var got []int
	require.NoError(t, c.ReadJob(patient(t), eventOf("f", "s", "j1"), func(r *record.Record) bool {
		got = append(got, number(t, r))
		return true
	}))
	require.Equal(t, []int{1, 3, 5, 7, 9, 11, 13, 15, 17, 19}, got)
}

// Messages that are no records are skipped, not fatal.
func TestForeignMessagesAreSkipped(t *testing.T) {
	srv := natstest.Start(t)
	c := natstest.Client(t, srv)
	f := follow(t, c, "f", 0)
	receive(t, patient(t), f.ready)
	_, err := upstream(t, srv).Publish(patient(t), eventOf("f", "s", "j").String(), []byte("hello"))
	require.NoError(t, err)
	_, err = upstream(t, srv).Publish(patient(t), "arcp.0.event.f.x", nil)
	require.NoError(t, err)
	store(t, c, numbered(eventOf("f", "s", "j"), 7))
	require.Equal(t, 7, number(t, receive(t, patient(t), f.records)))
	f.stop(t)
}

// upstream is a plain JetStream connection beside our client.
func upstream(t testing.TB, srv *embedded.Server) natsjs.JetStream {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(connector(srv.InProcess())))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := natsjs.New(nc)
	require.NoError(t, err)
	return js
}

func consumers(t testing.TB, srv *embedded.Server) []string {
	t.Helper()
	s, err := upstream(t, srv).Stream(patient(t), subjects.StreamName(0))
	require.NoError(t, err)
	var names []string
	lister := s.ConsumerNames(patient(t))
	for name := range lister.Name() {
		names = append(names, name)
	}
	require.NoError(t, lister.Err())
	return names
}
