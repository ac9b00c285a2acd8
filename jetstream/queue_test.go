package jetstream_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/internal/natstest"
	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/subjects"
)

func openQueue(t testing.TB, c *jetstream.Client, name string, ackWait time.Duration) *jetstream.Queue {
	t.Helper()
	q, err := c.Queue(patient(t), 0, name, ackWait)
	require.NoError(t, err)
	return q
}

// fetch returns exactly n deliveries.
func fetch(t testing.TB, q *jetstream.Queue, n int) []*jetstream.Delivery {
	t.Helper()
	var got []*jetstream.Delivery
	require.NoError(t, q.Fetch(patient(t), n, func(d *jetstream.Delivery) { got = append(got, d) }))
	require.Len(t, got, n)
	return got
}

func TestQueueHandsOutItsInvocationsInOrder(t *testing.T) {
	c := client(t)
	q := openQueue(t, c, "tools.a/b *", time.Minute)
	for i := range 10 {
		store(t, c, numbered(invokeOf("tools.a/b *", "f", "s", fmt.Sprint(i)), i))
		store(t, c, numbered(invokeOf("other", "f", "s", fmt.Sprint("o", i)), i))
		store(t, c, numbered(eventOf("f", "s", fmt.Sprint(i)), i))
	}
	for i, d := range append(fetch(t, q, 4), fetch(t, q, 6)...) {
		require.Equal(t, i, number(t, d.Record))
		require.Equal(t, 1, d.Attempt)
		require.NotZero(t, d.Record.Seq)
		require.NoError(t, d.InProgress())
		require.NoError(t, d.Ack(patient(t)))
	}
}

func TestQueueCountsAttempts(t *testing.T) {
	c := client(t)
	q := openQueue(t, c, "q", 200*time.Millisecond)
	store(t, c, numbered(invokeOf("q", "f", "s", "j"), 1))
	require.Equal(t, 1, fetch(t, q, 1)[0].Attempt) // let lapse
	second := fetch(t, q, 1)[0]
	require.Equal(t, 2, second.Attempt)
	require.NoError(t, second.Nak(0))
	third := fetch(t, q, 1)[0]
	require.Equal(t, 3, third.Attempt)
	before := time.Now()
	require.NoError(t, third.Nak(300*time.Millisecond))
	fourth := fetch(t, q, 1)[0]
	require.Equal(t, 4, fourth.Attempt)
	require.GreaterOrEqual(t, time.Since(before), 250*time.Millisecond)
	require.NoError(t, fourth.Ack(patient(t)))
}

// Signs of life keep a delivery in the hands that have it.
func TestQueueInProgress(t *testing.T) {
	c := client(t)
	const ackWait = 400 * time.Millisecond
	q := openQueue(t, c, "q", ackWait)
	store(t, c, numbered(invokeOf("q", "f", "s", "j"), 1))
	d := fetch(t, q, 1)[0]
	ctx, cancel := context.WithTimeout(patient(t), 3*ackWait)
	defer cancel()
	alive, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(alive)
		ticker := time.NewTicker(ackWait / 8)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				_ = d.InProgress()
			case <-over:
				return
			}
		}
	}()
	err := q.Fetch(ctx, 1, func(*jetstream.Delivery) { t.Error("handed out twice") })
	close(over)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	<-alive
	require.NoError(t, d.Ack(patient(t)))
}

// A fetch asks for n, and no more than n are ever in this client's hands.
func TestQueueFetchesNothingAhead(t *testing.T) {
	srv := natstest.Start(t)
	c := natstest.Client(t, srv)
	q := openQueue(t, c, "q", time.Minute)
	for i := range 20 {
		store(t, c, numbered(invokeOf("q", "f", "s", fmt.Sprint(i)), i))
	}
	fetch(t, q, 3)
	consumer, err := upstream(t, srv).Consumer(patient(t), subjects.StreamName(0), subjects.ConsumerName("q"))
	require.NoError(t, err)
	require.Eventually(t, func() bool { // the broker counts what is stored a little later
		info, err := consumer.Info(patient(t))
		require.NoError(t, err)
		require.Equal(t, 3, info.NumAckPending)
		require.Zero(t, info.NumWaiting)
		return info.NumPending == 17
	}, patience, time.Millisecond)
}

func TestQueueFetchWaits(t *testing.T) {
	c := client(t)
	q := openQueue(t, c, "q", time.Minute)
	got := make(chan int, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- q.Fetch(patient(t), 1, func(d *jetstream.Delivery) { got <- number(t, d.Record) })
	}()
	store(t, c, numbered(invokeOf("q", "f", "s", "j"), 42))
	require.Equal(t, 42, receive(t, patient(t), got))
	require.NoError(t, receive(t, patient(t), ended))
	require.NoError(t, q.Fetch(patient(t), 0, nil))
}

// Fetches that are given up at any moment lose nothing: every invocation reaches fn once, well before ackWait.
func TestQueueGivenUpFetchesLoseNothing(t *testing.T) {
	srv := natstest.Start(t)
	c := natstest.Client(t, srv)
	q := openQueue(t, c, "q", time.Hour)
	const n = 400
	seen := make(map[int]int)
	ctx := patient(t)
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := range n {
			if _, err := c.PublishWait(ctx, numbered(invokeOf("q", "f", "s", fmt.Sprint(i)), i)); err != nil {
				t.Error(err)
			}
		}
	})
	for round := 0; len(seen) < n && ctx.Err() == nil; round++ {
		short, cancel := context.WithCancel(ctx)
		limit := time.Duration(round%7) * 300 * time.Microsecond
		timer := time.AfterFunc(limit, cancel)
		if round%2 == 0 {
			timer.Stop()
			short, cancel = context.WithTimeout(ctx, limit)
		}
		_ = q.Fetch(short, 8, func(d *jetstream.Delivery) {
			seen[number(t, d.Record)]++
			if err := d.Ack(ctx); err != nil {
				t.Error(err)
			}
		})
		timer.Stop()
		cancel()
	}
	writer.Wait()
	require.Len(t, seen, n)
	for i, times := range seen {
		require.Equal(t, 1, times, "invocation %d", i)
	}
}

func TestQueueIsSharedAndSurvivesARestart(t *testing.T) {
	b := newBroker(t)
	c := b.client(jetstream.Config{AckTimeout: patience})
	const workers, n = 3, 300
	type delivery struct{ worker, n int }
	got := make(chan delivery, 10*n)
	ctx, cancel := context.WithCancel(patient(t))
	var group sync.WaitGroup
	for w := range workers {
		wc := natstest.Connect(t, jetstream.Config{URLs: []string{b.srv.URL()}})
		q := openQueue(t, wc, "q", time.Second)
		group.Go(func() {
			for ctx.Err() == nil {
				_ = q.Fetch(ctx, 4, func(d *jetstream.Delivery) {
					if d.Ack(ctx) == nil {
						got <- delivery{w, number(t, d.Record)}
					}
				})
			}
		})
	}
	seen, byWorker := make(map[int]bool), make(map[int]int)
	for i := range n {
		store(t, c, numbered(invokeOf("q", "f", "s", fmt.Sprint(i)), i))
		if i == n/2 {
			b.restart()
		}
	}
	for len(seen) < n {
		d := receive(t, patient(t), got)
		seen[d.n] = true
		byWorker[d.worker]++
	}
	cancel()
	group.Wait()
	require.Len(t, byWorker, workers)
}

// A durable that somebody deleted is made again.
func TestQueueRecreatesItsConsumer(t *testing.T) {
	srv := natstest.Start(t)
	c := natstest.Client(t, srv)
	q := openQueue(t, c, "q", time.Minute)
	ended := make(chan error, 1)
	got := make(chan int, 1)
	go func() {
		ended <- q.Fetch(patient(t), 1, func(d *jetstream.Delivery) { got <- number(t, d.Record) })
	}()
	require.NoError(t, upstream(t, srv).DeleteConsumer(patient(t), subjects.StreamName(0), subjects.ConsumerName("q")))
	store(t, c, numbered(invokeOf("q", "f", "s", "j"), 9))
	require.Equal(t, 9, receive(t, patient(t), got))
	require.NoError(t, receive(t, patient(t), ended))
}

// What is no record can never be worked on; it must not come back for ever.
func TestQueueTerminatesForeignMessages(t *testing.T) {
	srv := natstest.Start(t)
	c := natstest.Client(t, srv)
	q := openQueue(t, c, "q", 100*time.Millisecond)
	_, err := upstream(t, srv).Publish(patient(t), invokeOf("q", "f", "s", "x").String(), []byte("hello"))
	require.NoError(t, err)
	store(t, c, numbered(invokeOf("q", "f", "s", "j"), 5))
	d := fetch(t, q, 1)[0]
	require.Equal(t, 5, number(t, d.Record))
	require.NoError(t, d.Ack(patient(t)))
	consumer, err := upstream(t, srv).Consumer(patient(t), subjects.StreamName(0), subjects.ConsumerName("q"))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		info, err := consumer.Info(patient(t))
		return err == nil && info.NumAckPending == 0
	}, patience, time.Millisecond)
}
