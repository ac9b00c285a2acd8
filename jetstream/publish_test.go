package jetstream_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/natstest"
	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/jetstream/embedded"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

func TestPublishStoresWhatLastOfReads(t *testing.T) {
	c := client(t)
	ctx := patient(t)
	subject := eventOf("edge-1", "sess_1", "job_1")
	subject.Principal = strings.Repeat("über.lang ", 20)
	want := &record.Record{
		Subject: subject, Principal: subject.Principal,
		Types: []envelope.Type{envelope.TypeJobProgress, envelope.TypeLog}, Attempt: 3, Sender: "worker 1",
		Codes: envelope.Vocabulary11, TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		MsgID: "msg_1", Body: []byte("{\"a\":1}\n{\"b\":\"ü\"}"),
	}
	seq, err := c.PublishWait(ctx, want)
	require.NoError(t, err)
	require.EqualValues(t, 1, seq)

	got, err := c.LastOf(ctx, subject)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), got.Time, patience)
	want.Seq, want.Time = 1, got.Time
	require.Equal(t, want, got)

	_, err = c.LastOf(ctx, eventOf("edge-1", "sess_1", "job_2"))
	requireCode(t, envelope.CodeNotFound, err)
}

func TestPublishStoresAMessageIDOnce(t *testing.T) {
	c := client(t)
	r := numbered(eventOf("f", "s", "j"), 1)
	require.Equal(t, store(t, c, r), store(t, c, r))
	r.MsgID = ""
	require.NotEqual(t, store(t, c, r), store(t, c, r))
}

func TestPublishKeepsTheOrderOfEachPublisher(t *testing.T) {
	c := client(t)
	ctx := patient(t)
	const publishers, each = 8, 500
	var answered atomic.Int64
	all := make(chan struct{})
	var group errgroup.Group
	for p := range publishers {
		group.Go(func() error {
			for i := range each {
				err := c.Publish(ctx, numbered(eventOf("f", "s", fmt.Sprint(p)), i), func(_ uint64, err error) {
					if err == nil && answered.Add(1) == publishers*each {
						close(all)
					}
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	receive(t, ctx, all)
	requireOrder(t, c, publishers*each)
}

// requireOrder reads the session "s" of feed "f" and wants n records, those of each job in ascending order.
func requireOrder(t *testing.T, c *jetstream.Client, n int) map[string]map[int]int {
	t.Helper()
	first, last, err := c.Bounds(patient(t), 0)
	require.NoError(t, err)
	require.EqualValues(t, n, last-first+1)
	counts, before := make(map[string]map[int]int), make(map[string]int)
	require.NoError(t, c.ReadSession(patient(t), eventOf("f", "s", ""), 1, last, func(r *record.Record) bool {
		job, i := r.Subject.Job, number(t, r)
		if counts[job] == nil {
			counts[job] = make(map[int]int)
		} else {
			require.Greater(t, i, before[job], "job %s at %d", job, r.Seq)
		}
		before[job] = i
		counts[job][i]++
		n--
		return true
	}))
	require.Zero(t, n)
	return counts
}

func TestPublishToAFullLog(t *testing.T) {
	srv := natstest.Start(t)
	c := natstest.Connect(t, jetstream.Config{InProcess: srv.InProcess()})
	topology := natstest.Topology()
	topology.MaxBytes = 16 << 10
	natstest.Ensure(t, c, topology)
	ctx := patient(t)

	var full error
	for i := 0; full == nil && i < 1000; i++ {
		_, full = c.PublishWait(ctx, numbered(eventOf("f", "s", "j"), i))
	}
	requireCode(t, envelope.CodeResourceExhausted, full)
	require.True(t, full.(*envelope.Error).IsRetryable())
	first, last, err := c.Bounds(ctx, 0)
	require.NoError(t, err)
	require.EqualValues(t, 1, first, "a full log drops nothing")
	require.Greater(t, last, uint64(10))

	// A burst meets the same wall: every record of it is answered.
	errs := outcomes(100)
	for i := range 100 {
		require.NoError(t, c.Publish(ctx, numbered(eventOf("f", "s", "j"), 2000+i), func(_ uint64, err error) { errs <- err }))
	}
	for range 100 {
		requireCode(t, envelope.CodeResourceExhausted, receive(t, ctx, errs))
	}

	purge(t, srv)
	store(t, c, numbered(eventOf("f", "s", "j"), 3000))
}

func purge(t *testing.T, srv *embedded.Server) {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(connector(srv.InProcess())))
	require.NoError(t, err)
	defer nc.Close()
	js, err := natsjs.New(nc)
	require.NoError(t, err)
	s, err := js.Stream(patient(t), subjects.StreamName(0))
	require.NoError(t, err)
	require.NoError(t, s.Purge(patient(t)))
}

func TestPublishOfATooLargeRecordIsNotRetryable(t *testing.T) {
	c := client(t)
	r := numbered(eventOf("f", "s", "j"), 1)
	r.Body = []byte(strings.Repeat("x", 9<<20))
	_, err := c.PublishWait(patient(t), r)
	requireCode(t, envelope.CodeResourceExhausted, err)
	require.False(t, err.(*envelope.Error).IsRetryable())
}

func TestPublishWithoutALogIsUnavailable(t *testing.T) {
	srv := natstest.Start(t)
	c := natstest.Connect(t, jetstream.Config{InProcess: srv.InProcess(), AckTimeout: 200 * time.Millisecond})
	_, err := c.PublishWait(patient(t), numbered(eventOf("f", "s", "j"), 1))
	requireCode(t, envelope.CodeUnavailable, err)

	// The way is open again as soon as there is a log.
	natstest.Ensure(t, c, natstest.Topology())
	store(t, c, numbered(eventOf("f", "s", "j"), 2))
}

func TestPublishBlocksWhileTheWindowIsFull(t *testing.T) {
	b := newBroker(t)
	c := b.client(jetstream.Config{MaxPending: 4, AckTimeout: patience})
	gone := make(chan struct{})
	var once sync.Once
	c.OnState(func(connected bool) {
		if !connected {
			once.Do(func() { close(gone) })
		}
	})
	b.srv.Shutdown()
	receive(t, patient(t), gone)

	errs := outcomes(5)
	done := func(_ uint64, err error) { errs <- err }
	for i := range 4 {
		require.NoError(t, c.Publish(patient(t), numbered(eventOf("f", "s", "j"), i), done))
	}
	short, cancel := context.WithTimeout(patient(t), 20*time.Millisecond)
	defer cancel()
	err := c.Publish(short, numbered(eventOf("f", "s", "j"), 4), done)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	// What waited is stored when the broker is back, in order.
	b.start()
	for range 4 {
		require.NoError(t, receive(t, patient(t), errs))
	}
	requireOrder(t, c, 4)
}

func TestPublishBoundsBytes(t *testing.T) {
	b := newBroker(t)
	c := b.client(jetstream.Config{MaxPendingBytes: 64 << 10, AckTimeout: 500 * time.Millisecond})
	b.srv.Shutdown()
	errs := outcomes(3)
	big := func(i int) *record.Record {
		r := numbered(eventOf("f", "s", "j"), i)
		r.Body = []byte(strings.Repeat("x", 40<<10))
		return r
	}
	done := func(_ uint64, err error) { errs <- err }
	require.NoError(t, c.Publish(patient(t), big(1), done))
	// The second has no room until the first has run out of time.
	require.NoError(t, c.Publish(patient(t), big(2), done))
	requireCode(t, envelope.CodeUnavailable, receive(t, patient(t), errs))
	require.Empty(t, errs, "the second got in before its own time was over")
	requireCode(t, envelope.CodeUnavailable, receive(t, patient(t), errs))
}

// The broker is stopped and started again while thousands of records are on their way.
func TestPublishAcrossARestart(t *testing.T) {
	b := newBroker(t)
	c := b.client(jetstream.Config{MaxPending: 10000, AckTimeout: patience})
	ctx := patient(t)
	const publishers, each = 4, 5000
	type key struct {
		job string
		i   int
	}
	var mu sync.Mutex
	answers := make(map[key]int)
	failures := 0
	var answered sync.WaitGroup
	answered.Add(publishers * each)
	halfway := make(chan struct{})
	var published atomic.Int64
	var group errgroup.Group
	for p := range publishers {
		group.Go(func() error {
			for i := range each {
				k := key{fmt.Sprint(p), i}
				err := c.Publish(ctx, numbered(eventOf("f", "s", k.job), i), func(_ uint64, err error) {
					mu.Lock()
					defer mu.Unlock()
					answers[k]++
					if err != nil {
						failures++
					}
					answered.Done()
				})
				if err != nil {
					return err
				}
				if published.Add(1) == publishers*each/3 {
					close(halfway)
				}
			}
			return nil
		})
	}
	receive(t, ctx, halfway)
	b.restart()
	require.NoError(t, group.Wait())
	answered.Wait()

	require.Len(t, answers, publishers*each)
	for k, n := range answers {
		require.Equal(t, 1, n, "done of %v", k)
	}
	require.Zero(t, failures, "the broker was back within the time limit")
	stored := requireOrder(t, c, publishers*each)
	for k := range answers {
		require.Equal(t, 1, stored[k.job][k.i], "%v in the log", k)
	}
}

// Without a message id a record is sent once; the loss of the connection leaves its outcome open.
func TestPublishWithoutMessageIDAcrossARestart(t *testing.T) {
	b := newBroker(t)
	c := b.client(jetstream.Config{AckTimeout: patience})
	ctx := patient(t)
	const n = 3000
	var failures, successes atomic.Int64
	var answered sync.WaitGroup
	answered.Add(n)
	for i := range n {
		r := numbered(eventOf("f", "s", "j"), i)
		r.MsgID = ""
		require.NoError(t, c.Publish(ctx, r, func(_ uint64, err error) {
			if err != nil {
				if envelope.CodeOf(err) != envelope.CodeUnavailable {
					t.Errorf("wrong code: %v", err)
				}
				failures.Add(1)
			} else {
				successes.Add(1)
			}
			answered.Done()
		}))
		if i == n/2 {
			b.restart()
		}
	}
	answered.Wait()
	require.EqualValues(t, n, failures.Load()+successes.Load())
	first, last, err := c.Bounds(ctx, 0)
	require.NoError(t, err)
	require.GreaterOrEqual(t, last-first+1, uint64(successes.Load()))
	require.LessOrEqual(t, last-first+1, uint64(n))
	requireOrder(t, c, int(last-first+1))
}

func TestCloseAnswersWhatIsOnItsWay(t *testing.T) {
	b := newBroker(t)
	ctx := patient(t)
	c, err := jetstream.Connect(ctx, jetstream.Config{URLs: []string{b.srv.URL()}, AckTimeout: patience})
	require.NoError(t, err)
	b.srv.Shutdown()
	errs := outcomes(10)
	for i := range 10 {
		require.NoError(t, c.Publish(ctx, numbered(eventOf("f", "s", "j"), i), func(_ uint64, err error) { errs <- err }))
	}
	c.Close()
	require.Len(t, errs, 10)
	for range 10 {
		requireCode(t, envelope.CodeUnavailable, <-errs)
	}
	err = c.Publish(ctx, numbered(eventOf("f", "s", "j"), 1), func(uint64, error) { t.Error("done after a failed Publish") })
	requireCode(t, envelope.CodeUnavailable, err)
	c.Close()
}
