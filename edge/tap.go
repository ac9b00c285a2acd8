package edge

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// shardsEvery is how often a tap looks for shards that were added.
const shardsEvery = 30 * time.Second

// taps holds what this edge reads for its subscribers. It is safe for concurrent use.
type taps struct {
	log    Log
	logger *slog.Logger
	ctx    context.Context // ends the readers
	wg     sync.WaitGroup

	mu   sync.Mutex
	open map[string]*tap
}

// tap reads all that the sessions of a principal say, in every shard, while there are subscribers to it on this edge: one
// reader a shard, however many subscribers. Its members are told of each record in log order; they keep what they need, and
// read the log where they could not keep up, so a tap never waits for them.
type tap struct {
	key    string
	tokens []string // of the principals
	cancel context.CancelFunc
	heard  *heard

	users int // guarded by taps.mu

	mu      sync.Mutex
	offered map[int]uint64 // by shard that is read: what stands after it will be offered
	members []*subscriber  // replaced, not changed
}

func newTaps(ctx context.Context, log Log, logger *slog.Logger) *taps {
	return &taps{log: log, logger: logger, ctx: ctx, open: make(map[string]*tap)}
}

// use returns the tap of some principals. Each use needs a release.
func (ts *taps) use(tokens []string) *tap {
	key := strings.Join(slices.Sorted(slices.Values(tokens)), " ") // no token has a space
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.open[key]
	if t == nil {
		ctx, cancel := context.WithCancel(ts.ctx)
		t = &tap{key: key, tokens: tokens, cancel: cancel, heard: newHeard(ts.past), offered: make(map[int]uint64)}
		ts.open[key] = t
		ts.wg.Go(func() { ts.read(ctx, t) })
	}
	t.users++
	return t
}

// past reads what stands in the log of a job's events before a record.
func (ts *taps) past(rec *record.Record, fn func(*record.Record)) error {
	ctx, cancel := context.WithTimeout(ts.ctx, storeTimeout)
	defer cancel()
	return ts.log.ReadJob(ctx, subjects.JobEvents(rec.Subject), func(before *record.Record) bool {
		if before.Seq < rec.Seq {
			fn(before)
		}
		return before.Seq < rec.Seq
	})
}

// release ends a use; the readers stop with the last one.
func (ts *taps) release(t *tap) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t.users--
	if t.users == 0 {
		t.cancel()
		delete(ts.open, t.key)
	}
}

// count is how many taps are open.
func (ts *taps) count() int {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return len(ts.open)
}

// wait returns when all readers have ended.
func (ts *taps) wait() { ts.wg.Wait() }

// read follows every shard, those that are added later as well, until ctx ends.
func (ts *taps) read(ctx context.Context, t *tap) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wait := backoff.NewExponentialBackOff()
	followed := make(map[int]bool)
	for {
		again := shardsEvery
		shards, err := ts.log.Shards(ctx)
		if err != nil {
			again = wait.NextBackOff()
		}
		for _, shard := range shards {
			if !followed[shard] {
				followed[shard] = true
				wg.Go(func() { ts.follow(ctx, t, shard) })
			}
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return
		}
	}
}

// follow passes on what stands in one shard until ctx ends, through failures of the log.
func (ts *taps) follow(ctx context.Context, t *tap, shard int) {
	wait := backoff.NewExponentialBackOff()
	wait.MaxInterval = 5 * time.Second
	from := uint64(0)
	for ctx.Err() == nil {
		err := ts.log.FollowPrincipals(ctx, shard, t.tokens, from, func(pos uint64) {
			from = pos + 1
			t.begin(shard, pos)
		}, func(rec *record.Record) {
			wait.Reset()
			from = rec.Seq + 1
			t.offer(rec)
		})
		if ctx.Err() != nil {
			return
		}
		ts.logger.Warn("reading for subscribers failed, trying again", "shard", shard, "error", err)
		select {
		case <-time.After(wait.NextBackOff()):
		case <-ctx.Done():
		}
	}
}

// begin notes that what stands after a position of a shard will be offered.
func (t *tap) begin(shard int, pos uint64) {
	t.mu.Lock()
	_, begun := t.offered[shard]
	if !begun {
		t.offered[shard] = pos
	}
	members := t.members
	t.mu.Unlock()
	if begun {
		return // again, after a failure; nothing was missed
	}
	for _, m := range members {
		m.begin(shard, pos)
	}
}

func (t *tap) offer(rec *record.Record) {
	t.mu.Lock()
	t.offered[rec.Subject.Shard] = rec.Seq
	members := t.members
	t.mu.Unlock()
	heard := t.heard.hears(rec)
	for _, m := range members {
		m.offer(rec, heard)
	}
}

// attach makes the tap offer m what it reads from now on.
func (t *tap) attach(m *subscriber) {
	t.mu.Lock()
	defer t.mu.Unlock() // so that m has begun before anything is offered to it
	t.members = append(slices.Clone(t.members), m)
	for shard, pos := range t.offered {
		m.begin(shard, pos)
	}
}

func (t *tap) detach(m *subscriber) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.members = slices.DeleteFunc(slices.Clone(t.members), func(other *subscriber) bool { return other == m })
}
