package edge

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/natstest"
	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// countedLog counts the reads of feeds, and holds up those of single sessions while told to.
type countedLog struct {
	Log
	feeds  atomic.Int64
	bounds atomic.Int64
	gate   atomic.Pointer[chan struct{}]
}

func (l *countedLog) ReadFeed(ctx context.Context, shard int, feed string, from, until uint64, fn func(*record.Record) bool) error {
	l.feeds.Add(1)
	return l.Log.ReadFeed(ctx, shard, feed, from, until, fn)
}

func (l *countedLog) ReadSession(ctx context.Context, session subjects.Subject, from, until uint64, fn func(*record.Record) bool) error {
	l.wait()
	return l.Log.ReadSession(ctx, session, from, until, fn)
}

func (l *countedLog) Bounds(ctx context.Context, shard int) (first, last uint64, err error) {
	l.bounds.Add(1)
	l.wait()
	return l.Log.Bounds(ctx, shard)
}

func (l *countedLog) wait() {
	if gate := l.gate.Load(); gate != nil {
		<-*gate
	}
}

// newTestLog is a log on a server of its own, and its grouped form. Both end with the test.
func newTestLog(t *testing.T) (*jetstream.Client, *countedLog, *groupedLog) {
	client := natstest.Client(t, natstest.Start(t))
	counted := &countedLog{Log: client}
	ctx, cancel := context.WithCancel(context.Background())
	grouped := newGroupedLog(ctx, counted)
	t.Cleanup(func() {
		cancel()
		grouped.wait()
		require.Empty(t, grouped.parts)
		require.Empty(t, grouped.flights)
	})
	return client, counted, grouped
}

func sessionIn(feed, principal string, n int) subjects.Subject {
	return subjects.Subject{Lane: subjects.Event, Feed: feed, Principal: principal, Session: fmt.Sprint("s", n)}
}

// fillLog stores records of many sessions in two feeds, and returns each session's positions.
func fillLog(t *testing.T, client *jetstream.Client, n, sessions int) map[subjects.Subject][]uint64 {
	at := make(map[subjects.Subject][]uint64)
	for i := range n {
		s := sessionIn([]string{"edge-1", "edge-2"}[rand.IntN(2)], []string{"ann", "bob"}[rand.IntN(2)], rand.IntN(sessions))
		where := s
		switch rand.IntN(4) {
		case 0:
			where.Lane, where.Queue, where.Tool, where.Job = subjects.Invoke, "q", "echo@1", fmt.Sprint("j", i)
		case 1:
			where.Job = "j"
		}
		seq, err := client.PublishWait(t.Context(), &record.Record{
			Subject: where, Types: []envelope.Type{envelope.TypeJobProgress}, Body: fmt.Append(nil, i),
		})
		require.NoError(t, err)
		at[s] = append(at[s], seq)
	}
	return at
}

// positions reads a session and returns the positions passed, at most limit.
func positions(ctx context.Context, log Log, s subjects.Subject, from, until uint64, limit int) (seen []uint64, err error) {
	err = log.ReadSession(ctx, s, from, until, func(rec *record.Record) bool {
		seen = append(seen, rec.Seq)
		return len(seen) < limit
	})
	return seen, err
}

// TestGroupedReadsAreTheSameReads asks for random parts of random sessions, many at a time, and compares what comes
// with what the log gives to each alone. Some ask for a record that is gone, some for the part that was deleted, and
// some walk away.
func TestGroupedReadsAreTheSameReads(t *testing.T) {
	client, counted, grouped := newTestLog(t)
	at := fillLog(t, client, 1500, 12)
	var sessions []subjects.Subject
	for s := range at {
		sessions = append(sessions, s)
	}
	gone := sessionIn("edge-1", "ann", 99) // has no record at all
	for range 8 {
		var group sync.WaitGroup
		for range 60 {
			s := sessions[rand.IntN(len(sessions))]
			from, until := uint64(1+rand.IntN(1500)), at[s][rand.IntN(len(at[s]))]
			limit := 1 + rand.IntN(200)
			switch rand.IntN(10) {
			case 0:
				until += uint64(rand.IntN(100)) // maybe not its own: then it is the next one of it, if there is one
			case 1:
				s = gone
			}
			ctx, cancel := context.WithCancel(t.Context())
			leaves := rand.IntN(8) == 0
			group.Go(func() {
				defer cancel()
				if leaves {
					cancel()
				}
				seen, err := positions(ctx, grouped, s, from, until, limit)
				want, wantErr := positions(t.Context(), client, s, from, until, limit)
				switch {
				case leaves && err != nil:
					if !errors.Is(err, context.Canceled) || len(seen) > len(want) {
						t.Errorf("a read that was left: %v, %v of %v", err, seen, want)
					}
				case fmt.Sprint(seen) != fmt.Sprint(want) || envelope.CodeOf(err) != envelope.CodeOf(wantErr):
					t.Errorf("%v from %d until %d: %v (%v), alone %v (%v)", s, from, until, seen, err, want, wantErr)
				}
			})
		}
		group.Wait()
	}
	require.NotZero(t, counted.feeds.Load(), "nothing was read together")
}

// TestReadsThatComeTogetherAreOne: while the first reads are under way the others gather, and one read of the feed
// serves them all.
func TestReadsThatComeTogetherAreOne(t *testing.T) {
	client, counted, grouped := newTestLog(t)
	at := fillLog(t, client, 500, 20)
	// A read that is under way, as far as the others can tell.
	part := groupKey{class: 0}
	part.place.Feed = "edge-1"
	grouped.mu.Lock()
	held := &groupPart{reading: true}
	grouped.parts[part] = held
	grouped.mu.Unlock()
	var group sync.WaitGroup
	n := 0
	for s, positionsOf := range at {
		if s.Feed != "edge-1" {
			continue
		}
		n++
		group.Go(func() {
			seen, err := positions(t.Context(), grouped, s, 1, positionsOf[len(positionsOf)-1], 1000)
			if err != nil || fmt.Sprint(seen) != fmt.Sprint(positionsOf) {
				t.Errorf("%v: %v %v, want %v", s, err, seen, positionsOf)
			}
		})
	}
	require.Eventually(t, func() bool {
		grouped.mu.Lock()
		defer grouped.mu.Unlock()
		return len(held.waiting) == n
	}, 10*time.Second, time.Millisecond)
	require.Zero(t, counted.feeds.Load())
	grouped.ended(part, held, func() { held.reading = false })
	group.Wait()
	require.EqualValues(t, 1, counted.feeds.Load())
}

// TestOnlyReadsThatAreNearEachOtherAreAGroup: what costs more together than apart is read apart.
func TestOnlyReadsThatAreNearEachOtherAreAGroup(t *testing.T) {
	read := func(from, until uint64) *groupRead {
		return &groupRead{ctx: t.Context(), from: from, until: until}
	}
	first, second := read(100_000, 100_100), read(100_050, 100_200)
	lone, long := read(1, 9), read(50_000, 100_000)
	part := &groupPart{waiting: []*groupRead{lone, second, first, long}}
	require.Nil(t, part.takeGroup(), "50,000 records for three")
	part.waiting = []*groupRead{lone, second, first}
	require.Equal(t, []*groupRead{first, second}, part.takeGroup())
	require.Equal(t, []*groupRead{lone}, part.waiting)
	require.Nil(t, part.takeGroup())
}

// TestBoundsAreNeverOlderThanTheQuestion: who asks while a question is on its way waits for the next one.
func TestBoundsAreNeverOlderThanTheQuestion(t *testing.T) {
	client, counted, grouped := newTestLog(t)
	fillLog(t, client, 3, 2)
	gate := make(chan struct{})
	counted.gate.Store(&gate)
	var group sync.WaitGroup
	ask := func(want uint64) {
		group.Go(func() {
			if _, last, err := grouped.Bounds(t.Context(), 0); err != nil || last < want {
				t.Errorf("bounds end at %d (%v), want at least %d", last, err, want)
			}
		})
	}
	ask(3)
	require.Eventually(t, func() bool { return counted.bounds.Load() == 1 }, 10*time.Second, time.Millisecond)
	fillLog(t, client, 1, 2)
	for range 20 {
		ask(4)
	}
	close(gate)
	group.Wait()
}
