package edge

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// hub holds the feeds that this edge reads: its own for as long as it runs, and a foreign one for as long as it
// holds a session of it. It is safe for concurrent use.
type hub struct {
	log      Log
	logger   *slog.Logger
	ctx      context.Context // ends the readers
	wg       sync.WaitGroup
	listener func(*record.Record) // is passed all that is read; nil for nobody, set before the first use

	mu    sync.Mutex
	feeds map[view.Place]*feed
}

// feed is one reader of the log and the sessions that it serves. A feed is the slice of a shard that one edge writes
// its new sessions to.
type feed struct {
	key    view.Place
	cancel context.CancelFunc
	ready  chan struct{} // closed when the reader has begun
	pos    atomic.Uint64 // everything of the feed at or before it has been offered
	begun  atomic.Uint64 // nothing after it has been offered

	users int // guarded by hub.mu

	mu       sync.Mutex
	sessions map[string][]*session // by session id; two for one id while one takes over from the other
	watchers map[string][]*watcher // by the id of the watched job
}

func newHub(ctx context.Context, log Log, logger *slog.Logger) *hub {
	return &hub{log: log, logger: logger, ctx: ctx, feeds: make(map[view.Place]*feed)}
}

// use returns the feed, reading. Each successful use needs a release.
func (h *hub) use(ctx context.Context, key view.Place) (*feed, error) {
	h.mu.Lock()
	f := h.feeds[key]
	if f == nil {
		readCtx, cancel := context.WithCancel(h.ctx)
		f = &feed{key: key, cancel: cancel, ready: make(chan struct{}),
			sessions: make(map[string][]*session), watchers: make(map[string][]*watcher)}
		h.feeds[key] = f
		h.wg.Go(func() { h.read(readCtx, f) })
	}
	f.users++
	h.mu.Unlock()

	select {
	case <-f.ready:
		return f, nil
	case <-ctx.Done():
		h.release(f)
		return nil, fmt.Errorf("feed %s of shard %d is not read yet: %w", key.Feed, key.Shard, context.Cause(ctx))
	case <-h.ctx.Done():
		h.release(f)
		return nil, fmt.Errorf("feed %s of shard %d: %w", key.Feed, key.Shard, context.Cause(h.ctx))
	}
}

// release ends a use; the reader stops with the last one.
func (h *hub) release(f *feed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f.users--
	if f.users == 0 {
		f.cancel()
		delete(h.feeds, f.key)
	}
}

// count is how many feeds are read.
func (h *hub) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.feeds)
}

// wait returns when all readers have ended.
func (h *hub) wait() { h.wg.Wait() }

// read follows the feed until ctx ends, through failures of the log.
func (h *hub) read(ctx context.Context, f *feed) {
	var once sync.Once
	begun := func(pos uint64) {
		once.Do(func() {
			f.pos.Store(pos)
			close(f.ready)
		})
	}
	wait := backoff.NewExponentialBackOff()
	wait.MaxInterval = 5 * time.Second
	for ctx.Err() == nil {
		from := uint64(0)
		if isClosed(f.ready) {
			from = f.pos.Load() + 1
		}
		err := h.log.Follow(ctx, f.key.Shard, f.key.Feed, from, begun, func(rec *record.Record) {
			wait.Reset()
			f.offer(rec)
			if h.listener != nil {
				h.listener(rec)
			}
		})
		if ctx.Err() != nil {
			return
		}
		h.logger.Warn("feed reader failed, trying again", "feed", f.key.Feed, "shard", f.key.Shard, "error", err)
		select {
		case <-time.After(wait.NextBackOff()):
		case <-ctx.Done():
		}
	}
}

// offer hands a record to the sessions that it is for, and to those that watch its job.
func (f *feed) offer(rec *record.Record) {
	f.mu.Lock()
	f.begun.Store(rec.Seq)
	sessions := f.sessions[rec.Subject.Session]
	var watchers []*watcher
	if rec.Subject.Lane == subjects.Event && len(f.watchers) > 0 {
		watchers = f.watchers[rec.Subject.Job]
	}
	f.mu.Unlock()
	for _, s := range sessions {
		s.offer(rec)
	}
	for _, w := range watchers {
		w.offer(rec)
	}
	f.pos.Store(rec.Seq)
}

// attach makes the feed offer s what is read from now on.
func (f *feed) attach(s *session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := string(s.id)
	f.sessions[id] = append(slices.Clone(f.sessions[id]), s) // offer iterates over the old one
}

func (f *feed) detach(s *session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	without(f.sessions, string(s.id), s)
}

// watch makes the feed offer w the events of its job that stand after the position that it returns.
func (f *feed) watch(w *watcher) (after uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watchers[w.job] = append(slices.Clone(f.watchers[w.job]), w)
	return max(f.begun.Load(), f.pos.Load())
}

func (f *feed) unwatch(w *watcher) {
	f.mu.Lock()
	defer f.mu.Unlock()
	without(f.watchers, w.job, w)
}

// without takes one out of a list in a map. The list may be iterated over elsewhere; it is replaced, not changed.
func without[T comparable](lists map[string][]T, key string, one T) {
	rest := slices.DeleteFunc(slices.Clone(lists[key]), func(other T) bool { return other == one })
	if len(rest) == 0 {
		delete(lists, key)
		return
	}
	lists[key] = rest
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
