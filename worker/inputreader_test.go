package worker

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// sayTo is a client that says the n-th thing to a job.
func sayTo(t *testing.T, log *memLog, lane subjects.Subject, n int) *record.Record {
	t.Helper()
	e, err := envelope.New("arcpx.acme.v1", map[string]int{"n": n})
	require.NoError(t, err)
	r, err := record.New(lane, e)
	require.NoError(t, err)
	log.mu.Lock()
	defer log.mu.Unlock()
	r.Seq = log.append(r)
	return r
}

func numberOf(t *testing.T, e Extension) (n int) {
	t.Helper()
	var payload struct{ N int }
	require.NoError(t, json.Unmarshal(e.Payload, &payload))
	return payload.N
}

// TestAnInputReaderIsCompleteAndInOrder: whatever was said before, comes while it is read, or is more than it keeps.
func TestAnInputReaderIsCompleteAndInOrder(t *testing.T) {
	log := newMemLog()
	bus := log.bus()
	lane := subjects.JobInput(newInvocation(t, `{}`, nil).Subject)
	reader := inputReader[Extension]{pick: pickExtensions}
	const before, total = maxUnread * 2, maxUnread * 6
	for n := range before {
		sayTo(t, log, lane, n)
	}
	var speaking sync.WaitGroup
	speaking.Go(func() {
		for n := before; n < total; n++ {
			reader.offer(sayTo(t, log, lane, n))
		}
	})
	for n := range total {
		e, err := reader.next(t.Context(), bus, lane)
		require.NoError(t, err)
		require.Equal(t, n, numberOf(t, e))
		reader.mu.Lock()
		unread := len(reader.unread)
		reader.mu.Unlock()
		require.LessOrEqual(t, unread, maxUnread)
		if n == total/2 {
			speaking.Wait() // the rest is more than is kept
		}
	}
	speaking.Wait()
	reader.offer(&record.Record{Seq: 1}) // again
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := reader.next(ctx, bus, lane)
	require.ErrorIs(t, err, context.Canceled, "nothing came twice")
}

// TestAReaderFindsWhatItWasNotOffered: after a time in which clients could not be heard.
func TestAReaderFindsWhatItWasNotOffered(t *testing.T) {
	log := newMemLog()
	lane := subjects.JobInput(newInvocation(t, `{}`, nil).Subject)
	reader := inputReader[Extension]{pick: pickExtensions}
	reader.offer(sayTo(t, log, lane, 0))
	_, err := reader.next(t.Context(), log.bus(), lane)
	require.NoError(t, err)
	waiting := make(chan Extension)
	go func() {
		for range 2 {
			e, _ := reader.next(t.Context(), log.bus(), lane)
			waiting <- e
		}
	}()
	sayTo(t, log, lane, 1) // not heard
	reader.missed()
	require.Equal(t, 1, numberOf(t, <-waiting))
	reader.offer(sayTo(t, log, lane, 2))
	require.Equal(t, 2, numberOf(t, <-waiting))
}

// TestAReaderWaitsForWhatItHasHeardOf: the server that it asks may be behind the one that told it.
func TestAReaderWaitsForWhatItHasHeardOf(t *testing.T) {
	log := newMemLog()
	lane := subjects.JobInput(newInvocation(t, `{}`, nil).Subject)
	reader := inputReader[Extension]{pick: pickExtensions}
	reader.offer(&record.Record{Subject: lane, Seq: 1}) // not in the log yet
	said := make(chan struct{})
	go func() {
		defer close(said)
		sayTo(t, log, lane, 7)
	}()
	e, err := reader.next(t.Context(), log.bus(), lane)
	require.NoError(t, err)
	require.Equal(t, 7, numberOf(t, e))
	<-said
}

// TestAReaderWaitsForTheLog: a job that listens to its client does not fail because the log is away for a while.
func TestAReaderWaitsForTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		bus := log.bus()
		lane := subjects.JobInput(newInvocation(t, `{}`, nil).Subject)
		sayTo(t, log, lane, 7)
		away := make(chan struct{})
		bus.cut = away
		close(away)
		back := log.bus()
		later := &laterBus{memBus: bus, then: back, until: time.Now().Add(time.Minute)}
		reader := inputReader[Extension]{pick: pickExtensions}
		e, err := reader.next(t.Context(), later, lane)
		require.NoError(t, err)
		require.Equal(t, 7, numberOf(t, e))
		require.GreaterOrEqual(t, time.Now(), later.until)
	})
}

// laterBus is away until a time.
type laterBus struct {
	*memBus
	then  *memBus
	until time.Time
}

func (b *laterBus) ReadJob(ctx context.Context, s subjects.Subject, fn func(*record.Record) bool) error {
	if time.Now().Before(b.until) {
		return b.memBus.ReadJob(ctx, s, fn)
	}
	return b.then.ReadJob(ctx, s, fn)
}
