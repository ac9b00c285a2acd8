package edge

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
)

const (
	// maxScanned is how many records may pass without a match before a mark notes that they have: after a resume they are
	// looked at again.
	maxScanned = 4096
	// notedEvery is how often a subscription to which nothing happens notes how far it has come, so that what ages out
	// of the log is known to have been of no concern to it.
	notedEvery = time.Hour
)

// subscriber writes the marks of one subscription of a session: it looks for what matches, and says in the session's log
// where it stands, one mark at a time. What comes meanwhile is told by the next, and while the client does not read,
// nothing is. It knows nothing that another one, after a resume, would not find out again from where the view is.
type subscriber struct {
	s      *session
	id     envelope.SubscriptionID
	sub    view.Subscription // as it was when this began; the filter does not change
	cancel context.CancelFunc
	more   chan struct{} // a token when there may be something to tell

	// Of the goroutine.
	scanned  map[int]uint64 // nothing matches between where the view is and here
	marked   map[int]uint64 // the last mark comes up to here
	complete bool           // the last mark ended the history

	mu      sync.Mutex
	strands map[int]*strand
	said    []*record.Record // what the last mark shows
}

// strand is what a subscriber knows of a shard: the records that match, of all that stand after one position up to
// another.
type strand struct {
	after, to uint64
	matched   []*record.Record
	bytes     int
	passed    int // records that did not match, since the last mark
}

func (st *strand) full() bool { return len(st.matched) >= maxShownRecords || st.bytes >= maxShownBytes }

// offer takes the record that comes next, which may match.
func (st *strand) offer(rec *record.Record, matches bool) {
	st.to = rec.Seq
	switch {
	case !matches:
		st.passed++
	case st.full(): // they are in the log
		*st = strand{after: rec.Seq, to: rec.Seq}
	default:
		st.matched, st.bytes = append(st.matched, rec), st.bytes+len(rec.Body)
	}
}

// drop forgets what stands up to a position.
func (st *strand) drop(pos uint64) {
	n := 0
	for n < len(st.matched) && st.matched[n].Seq <= pos {
		st.bytes -= len(st.matched[n].Body)
		n++
	}
	if n > 0 {
		st.matched = append([]*record.Record(nil), st.matched[n:]...)
	}
	st.after = max(st.after, min(pos, st.to))
}

func newSubscriber(s *session, id envelope.SubscriptionID, sub view.Subscription, cancel context.CancelFunc) *subscriber {
	return &subscriber{
		s: s, id: id, sub: sub, cancel: cancel, more: make(chan struct{}, 1),
		scanned: make(map[int]uint64), marked: make(map[int]uint64), strands: make(map[int]*strand),
	}
}

func (u *subscriber) nudge() {
	select {
	case u.more <- struct{}{}:
	default:
	}
}

// begin notes that what stands after a position of a shard will be offered.
func (u *subscriber) begin(shard int, pos uint64) {
	u.mu.Lock()
	if u.strands[shard] == nil {
		u.strands[shard] = &strand{after: pos, to: pos}
	}
	u.mu.Unlock()
	u.nudge()
}

// offer takes a record from the tap, which may have been offered before.
func (u *subscriber) offer(rec *record.Record, heard bool) {
	matches := heard && u.sub.Matches(rec)
	u.mu.Lock()
	st := u.strands[rec.Subject.Shard]
	if st == nil || rec.Seq <= st.to {
		u.mu.Unlock()
		return
	}
	st.offer(rec, matches)
	tell := matches || st.passed >= maxScanned
	u.mu.Unlock()
	if tell {
		u.nudge()
	}
}

// take returns the records that a mark shows, if it is the last one.
func (u *subscriber) take(q view.Quote) (shown []*record.Record, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, rec := range u.said {
		if _, named := slices.BinarySearch(q.At, rec.Seq); named && rec.Subject.Shard == q.Shard {
			shown = append(shown, rec)
		}
	}
	return shown, len(shown) == len(q.At)
}

// run tells what matches until ctx ends, through failures of the log.
func (u *subscriber) run(ctx context.Context) {
	t := u.s.srv.taps.use(u.sub.Principals)
	defer u.s.srv.taps.release(t)
	t.attach(u)
	defer t.detach(u)
	noted := time.NewTicker(notedEvery)
	defer noted.Stop()
	wait := backoff.NewExponentialBackOff()
	wait.MaxInterval = 2 * time.Second
	for {
		err := u.tell(ctx, t)
		again := (<-chan time.Time)(nil)
		switch {
		case ctx.Err() != nil:
			return
		case envelope.CodeOf(err) == envelope.CodeDataLoss:
			err = u.close(ctx, envelope.CodeDataLoss, errorText(err))
			if err == nil {
				return
			}
		}
		if err != nil {
			u.s.logger.Warn("a subscription failed, trying again", "subscription", u.id, "error", err)
			u.forget()
			again = time.After(wait.NextBackOff())
		} else {
			wait.Reset()
		}
		select {
		case <-u.more:
		case <-again:
		case <-noted.C:
			u.note(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// forget lets a mark whose fate is not known be written again: the view shows the first of the two.
func (u *subscriber) forget() {
	clear(u.marked)
	u.complete = false
}

// standing returns the subscription as the view has it, if a mark can be written now: the client reads, and the view has
// met the mark before.
func (u *subscriber) standing() (sub view.Subscription, ready bool) {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	sub, on := u.s.view.Subscription(u.id)
	if !on || u.s.state != live || u.complete && len(sub.Until) > 0 {
		return sub, false
	}
	for shard, pos := range u.marked {
		if sub.Pos[shard] < pos {
			return sub, false
		}
	}
	return sub, true
}

// tell writes marks until all that is known of has been told. DATA_LOSS: what comes next has aged out.
func (u *subscriber) tell(ctx context.Context, t *tap) error {
	for {
		sub, ready := u.standing()
		if !ready {
			return nil
		}
		q, err := u.next(ctx, t, sub)
		if err != nil || q == nil {
			return err
		}
		if err := u.mark(ctx, q); err != nil {
			return err
		}
	}
}

// mark writes a mark.
func (u *subscriber) mark(ctx context.Context, q *view.Quoted) error {
	u.s.route.RLock() // the session does not move meanwhile
	defer u.s.route.RUnlock()
	_, err := mark(ctx, u.s.srv.log, u.s.subject, view.TypeQuoted, q)
	if err != nil {
		return err
	}
	if q.Complete {
		u.complete = true
	} else {
		u.marked[q.Shard] = q.To
	}
	return nil
}

// next returns the mark that is to be written next, nil for none: first the history, shard by shard, then that it is
// complete, then what comes.
func (u *subscriber) next(ctx context.Context, t *tap, sub view.Subscription) (*view.Quoted, error) {
	for _, shard := range slices.Sorted(maps.Keys(sub.Until)) {
		for pos := u.position(sub, shard); pos < sub.Until[shard]; pos = u.position(sub, shard) {
			q, err := u.look(ctx, t, shard, pos, sub.Until[shard])
			if q != nil || err != nil {
				return q, err
			}
		}
	}
	if len(sub.Until) > 0 {
		return &view.Quoted{ID: u.id, Complete: true}, nil
	}
	u.mu.Lock()
	shards := slices.Sorted(maps.Keys(u.strands))
	u.mu.Unlock()
	for _, shard := range shards {
		for {
			pos := u.position(sub, shard)
			q, gap := u.offered(shard, pos)
			if q == nil && gap > pos {
				var err error
				if q, err = u.look(ctx, t, shard, pos, gap); err != nil {
					return nil, err
				}
				if q == nil {
					continue
				}
			}
			if q != nil {
				return q, nil
			}
			break
		}
	}
	return nil, nil
}

// position returns up to where nothing is left to be told of a shard.
func (u *subscriber) position(sub view.Subscription, shard int) uint64 {
	return max(sub.Pos[shard], u.scanned[shard])
}

// offered returns a mark of what the tap has offered after a position, if there is something and nothing is missing before
// it. Else it returns up to where the log has to be looked at, 0 for nowhere.
func (u *subscriber) offered(shard int, pos uint64) (q *view.Quoted, gap uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	st := u.strands[shard]
	if st.after > pos {
		return nil, st.after
	}
	st.drop(pos)
	if st.to <= pos || len(st.matched) == 0 && st.passed < maxScanned {
		return nil, 0
	}
	st.passed = 0
	return u.quote(shard, st.matched, st.to), 0
}

// quote makes a mark and keeps what it shows. It needs the lock.
func (u *subscriber) quote(shard int, matched []*record.Record, to uint64) *view.Quoted {
	q := &view.Quoted{ID: u.id, Shard: shard, To: to}
	for _, rec := range matched {
		q.At = append(q.At, rec.Seq)
	}
	u.said = slices.Clone(matched)
	return q
}

// look reads the log after a position up to another, and returns a mark of what matches. It may stop earlier. If nothing
// matches and it did not stop, there is no mark, and that is remembered.
func (u *subscriber) look(ctx context.Context, t *tap, shard int, after, until uint64) (*view.Quoted, error) {
	first, _, err := u.s.srv.log.Bounds(ctx, shard)
	if err != nil {
		return nil, err
	}
	if first > after+1 {
		return nil, envelope.Errorf(envelope.CodeDataLoss, "the log no longer holds what comes next")
	}
	piece, passed, to := strand{}, 0, until
	err = u.s.srv.log.ReadPrincipals(ctx, shard, u.sub.Principals, after+1, until, func(rec *record.Record) bool {
		if t.heard.hears(rec) && u.sub.Matches(rec) {
			piece.offer(rec, true)
		}
		passed++
		if piece.full() || passed >= maxScanned {
			to = rec.Seq
		}
		return to == until
	})
	if err != nil {
		return nil, err
	}
	if len(piece.matched) == 0 && to == until {
		u.scanned[shard] = until
		return nil, nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.quote(shard, piece.matched, to), nil
}

// note looks at the log up to its end and remembers in the session's how far nothing matches. What does is told as always.
func (u *subscriber) note(ctx context.Context) {
	sub, ready := u.standing()
	if !ready || len(sub.Until) > 0 {
		return
	}
	for shard, pos := range sub.Pos {
		_, last, err := u.s.srv.log.Bounds(ctx, shard)
		if err != nil || last <= pos || u.position(sub, shard) < pos {
			continue
		}
		found := false
		err = u.s.srv.log.ReadPrincipals(ctx, shard, u.sub.Principals, pos+1, last, func(*record.Record) bool {
			found = true
			return false
		})
		if err == nil && !found {
			_ = u.mark(ctx, &view.Quoted{ID: u.id, Shard: shard, To: last}) // else in an hour
		}
	}
}

// close ends the subscription for good, and tells the client why.
func (u *subscriber) close(ctx context.Context, code envelope.Code, reason string) error {
	u.s.route.RLock()
	defer u.s.route.RUnlock()
	closed := u.s.answer(nil, envelope.TypeSubscribeClosed, &envelope.SubscribeClosed{
		SubscriptionID: u.id, Code: u.s.codes.Code(code), Reason: reason,
	})
	closed.SubscriptionID = u.id
	ended, err := u.s.unsubscribed(u.id)
	if err != nil {
		return err
	}
	rec, err := u.s.recordOf(u.s.subject, closed, ended)
	if err != nil {
		return err
	}
	u.s.logger.Info("subscription closed", "subscription", u.id, "code", code, "reason", reason)
	_, err = u.s.srv.log.PublishWait(ctx, rec)
	return err
}
