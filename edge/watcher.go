package edge

import (
	"context"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

const (
	// maxShownRecords and maxShownBytes bound what one mark shows of a watched job, and what a watcher keeps of it. One
	// record more than fits is taken, so that a large one is shown at all.
	maxShownRecords = 256
	maxShownBytes   = 256 << 10
)

// watcher follows a job of another session for a session that watches it. When the job has said something, it writes a
// mark into the watching session's log that says up to where the job is shown, one mark at a time: what comes meanwhile
// is told by the next. The view shows it when it meets the mark. So a watched job costs small marks and no copies, and
// any edge shows the same. A watcher knows nothing that another one, after a resume, would not find out again.
type watcher struct {
	s      *session
	job    string
	events subjects.Subject // where the job's events stand
	name   string           // of that subject
	cancel context.CancelFunc
	more   chan struct{} // a token when there may be something to tell

	waits bool // for a number, see view.Watch.After; guarded by the session's mu
	// numbers are of the session that submitted the job, while the watch waits for one; sought says that a mark was written
	// which ends that. They belong to the goroutine that follows.
	numbers *numbering
	sought  bool

	mu       sync.Mutex
	told     uint64 // the job is shown up to here
	seen     uint64 // the job's last record that is known of
	attached bool   // nothing that comes after seen is missed
	recent   tail
}

// tail is a piece of a job's log without a gap: all records of the job after one position up to another.
type tail struct {
	after, to uint64
	records   []*record.Record
	bytes     int
}

// add appends the record that comes next.
func (t *tail) add(rec *record.Record) {
	t.records, t.to = append(t.records, rec), rec.Seq
	t.bytes += len(rec.Body)
}

// covers reports whether all records of a range are here.
func (t *tail) covers(rng view.Range) bool { return t.after <= rng.After && t.to >= rng.To }

// in returns the records of a range.
func (t *tail) in(rng view.Range) (records []*record.Record) {
	for _, rec := range t.records {
		if rec.Seq > rng.After && rec.Seq <= rng.To {
			records = append(records, rec)
		}
	}
	return records
}

func (t *tail) full() bool { return len(t.records) >= maxShownRecords || t.bytes >= maxShownBytes }

// drop forgets the records up to a position.
func (t *tail) drop(pos uint64) {
	n := 0
	for n < len(t.records) && t.records[n].Seq <= pos {
		t.bytes -= len(t.records[n].Body)
		n++
	}
	t.records = append([]*record.Record(nil), t.records[n:]...)
	t.after = max(t.after, min(pos, t.to))
}

// matchWatchers starts and ends watchers so that there is one for each job that the view watches. It needs the lock.
func (s *session) matchWatchers() {
	if len(s.watchers) == 0 && s.view.WatchCount() == 0 {
		return
	}
	watched := s.view.Watches()
	for job, w := range s.watchers {
		if _, on := watched[job]; !on {
			w.cancel()
			delete(s.watchers, job)
		}
	}
	for job, watch := range watched {
		if w := s.watchers[job]; w != nil && w.waits && watch.After == 0 {
			w.waits = false
			w.toldUpTo(watch.Pos)
			w.nudge()
		}
		if s.watchers[job] != nil || s.state == ended {
			continue
		}
		events, err := subjects.Parse(watch.Subject)
		if err != nil {
			continue // the view takes no such watch
		}
		ctx, cancel := context.WithCancel(s.conn.ctx)
		w := &watcher{
			s: s, job: job, events: events, name: watch.Subject, cancel: cancel, more: make(chan struct{}, 1), told: watch.Pos,
			waits: watch.After > 0,
		}
		if s.watchers == nil {
			s.watchers = make(map[string]*watcher)
		}
		s.watchers[job] = w
		s.conn.wg.Go(func() { w.run(ctx) })
	}
}

// tellWatchers makes the watchers look whether they have something to tell. It needs the lock.
func (s *session) tellWatchers() {
	if len(s.watchers) == 0 {
		return
	}
	watched := s.view.Watches()
	for job, w := range s.watchers {
		w.toldUpTo(watched[job].Pos)
		w.nudge()
	}
}

// endWatchers ends all watchers. It needs the lock.
func (s *session) endWatchers() {
	for job, w := range s.watchers {
		w.cancel()
		delete(s.watchers, job)
	}
}

// atHand returns the records of another session's log that a record shows, if the watcher still has them. It needs the
// lock.
func (s *session) atHand(rec *record.Record) (shown []*record.Record, ok bool) {
	if q, quotes := s.view.Quotes(rec); quotes {
		u := s.subscribers[q.ID]
		if u == nil {
			return nil, false
		}
		return u.take(q)
	}
	rng, shows := s.view.Shows(rec)
	if !shows {
		return nil, true
	}
	if w := s.watchers[rng.Job]; w != nil {
		return w.take(rng)
	}
	return nil, false
}

func (w *watcher) nudge() {
	select {
	case w.more <- struct{}{}:
	default:
	}
}

// run follows the job until ctx ends, through failures of the log.
func (w *watcher) run(ctx context.Context) {
	wait := backoff.NewExponentialBackOff()
	wait.MaxInterval = 2 * time.Second
	for ctx.Err() == nil {
		err := w.follow(ctx, wait)
		if ctx.Err() != nil {
			return
		}
		w.s.logger.Warn("watching a job failed, trying again", "job", w.job, "error", err)
		select {
		case <-time.After(wait.NextBackOff()):
		case <-ctx.Done():
		}
	}
}

// follow attaches to the job's feed and tells what comes.
func (w *watcher) follow(ctx context.Context, wait *backoff.ExponentialBackOff) error {
	f, err := w.s.srv.hub.use(ctx, view.Place{Shard: w.events.Shard, Feed: w.events.Feed})
	if err != nil {
		return err
	}
	defer w.s.srv.hub.release(f)
	w.mu.Lock()
	w.attached = false
	w.mu.Unlock()
	after := f.watch(w)
	defer f.unwatch(w)
	// What the feed has offered before has to be looked for, and the leader that is asked must have it.
	if err := awaitLeader(ctx, w.s.srv.log, w.events.Shard, after); err != nil {
		return err
	}
	last, err := w.s.srv.log.LastOf(ctx, w.events)
	if err != nil && envelope.CodeOf(err) != envelope.CodeNotFound {
		return err
	}
	w.mu.Lock()
	w.attached = true
	if last != nil {
		w.seen = max(w.seen, last.Seq)
	}
	w.mu.Unlock()
	for {
		if err := w.tell(ctx); err != nil {
			return err
		}
		wait.Reset()
		select {
		case <-w.more:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// offer takes a record of the job from the feed's reader.
func (w *watcher) offer(rec *record.Record) {
	w.mu.Lock()
	if w.attached && w.recent.to >= w.seen && rec.Seq > w.seen { // else there is a gap before it
		if w.recent.full() {
			w.recent = tail{after: w.recent.to, to: w.recent.to}
		}
		w.recent.add(rec)
	}
	w.seen = max(w.seen, rec.Seq)
	w.mu.Unlock()
	w.nudge()
}

// toldUpTo notes that the session is told of the job up to a position.
func (w *watcher) toldUpTo(pos uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = max(w.told, pos)
}

// take returns the records of a range if they are all here, and forgets them.
func (w *watcher) take(rng view.Range) (shown []*record.Record, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = max(w.told, rng.To)
	if !w.recent.covers(rng) {
		return nil, false
	}
	shown = w.recent.in(rng)
	w.recent.drop(rng.To)
	return shown, true
}

// tell writes marks until the session has been told of all that is known, or is behind: a client that does not read
// needs no marks.
func (w *watcher) tell(ctx context.Context) error {
	for {
		w.s.mu.Lock()
		over := w.s.state != live
		watch, on := w.s.view.Watch(w.job)
		w.s.mu.Unlock()
		if over || !on {
			return nil
		}
		if watch.After > 0 {
			return w.seek(ctx, watch)
		}
		w.numbers, w.sought = nil, false
		to, err := w.unsaid(ctx)
		if err != nil || to == 0 {
			return err
		}
		w.s.route.RLock() // the session does not move meanwhile
		_, err = mark(ctx, w.s.srv.log, w.s.subject, view.TypeShown, view.Shown{Job: w.job, To: to})
		w.s.route.RUnlock()
		if err != nil {
			return err
		}
		w.toldUpTo(to)
	}
}

// seek finds out whether the job has come to the number that the client asked for what comes after (open dialect JS-7), and
// if it has, writes a mark that says where that is.
func (w *watcher) seek(ctx context.Context, watch view.Watch) error {
	w.mu.Lock()
	seen := w.seen
	w.mu.Unlock()
	if w.sought || seen <= watch.Pos {
		return nil
	}
	if w.numbers == nil {
		invocation, err := w.s.srv.log.FindInvocation(ctx, "", envelope.JobID(w.job))
		if err != nil {
			return err
		}
		w.numbers, err = w.s.srv.newNumbering(ctx, invocation, watch.After)
		if envelope.CodeOf(err) == envelope.CodeDataLoss {
			w.numbers = nil
			return w.showAll(ctx, watch)
		}
		if err != nil {
			return err
		}
	}
	n := w.numbers
	err := n.upTo(ctx, seen)
	if envelope.CodeOf(err) == envelope.CodeDataLoss {
		return w.showAll(ctx, watch)
	}
	if err != nil {
		return err
	}
	w.s.route.RLock() // the session does not move meanwhile
	defer w.s.route.RUnlock()
	from := view.Watch{Subject: watch.Subject, Subscribed: true}
	switch {
	case n.cut != nil:
		from.Pos, from.Run, from.Skip = max(n.cut.pos, watch.Pos), n.cut.run, n.cut.skip
		_, err = mark(ctx, w.s.srv.log, w.s.subject, view.TypeWatched, from)
	case n.ended:
		_, err = mark(ctx, w.s.srv.log, w.s.subject, view.TypeUnwatched, view.Unwatched{Job: w.job, After: watch.After})
	case n.passed():
		from.Pos, from.Run = seen, n.run
		_, err = mark(ctx, w.s.srv.log, w.s.subject, view.TypeWatched, from)
	default:
		return nil
	}
	w.sought = err == nil
	return err
}

// showAll shows the job from where the watch began, as the numbers that would say where to begin are lost with what aged
// out of the log: more than was asked for is better than nothing.
func (w *watcher) showAll(ctx context.Context, watch view.Watch) error {
	w.s.route.RLock() // the session does not move meanwhile
	defer w.s.route.RUnlock()
	from := view.Watch{Subject: watch.Subject, Subscribed: true, Pos: watch.Pos, Run: watch.Run}
	_, err := mark(ctx, w.s.srv.log, w.s.subject, view.TypeWatched, from)
	w.sought = err == nil
	return err
}

// unsaid returns the position up to which the next mark shows the job, 0 for nothing to show. What it shows is in
// recent then, read from the log if need be, so that the view finds it there.
func (w *watcher) unsaid(ctx context.Context) (to uint64, err error) {
	w.mu.Lock()
	told, seen := w.told, w.seen
	switch {
	case seen <= told:
		if w.recent.to < told { // nothing has come after told, so there is no gap from there on
			w.recent, w.seen = tail{after: told, to: told}, told
		}
		w.mu.Unlock()
		return 0, nil
	case w.recent.after <= told && w.recent.to > told:
		to = w.recent.to
		w.mu.Unlock()
		return to, nil
	}
	w.mu.Unlock()

	piece := tail{after: told, to: told}
	err = w.s.srv.log.ReadRange(ctx, w.events, told+1, seen, func(rec *record.Record) bool {
		piece.add(rec)
		return !piece.full()
	})
	if err != nil {
		return 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if piece.to == told {
		return 0, envelope.Errorf(envelope.CodeDataLoss, "the log no longer holds what job %s said", w.job)
	}
	w.recent = piece
	return piece.to, nil
}
