package edge

import (
	"cmp"
	"context"
	"math/bits"
	"slices"
	"sync"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

const (
	// maxReads bounds what an edge reads back from the log at the same time, beside its feeds.
	maxReads = 16
	// maxAlone bounds the reads of one session each in one part of a feed.
	maxAlone = 2
	// apiece is the number of records that may be read for nothing to spare one session a read of its own: that read
	// costs the broker some ten milliseconds, and so does passing on this many records.
	apiece = 8192
	// classStep is the length, in records, below which reads of a feed are not told apart by their length.
	classStep = 4096
)

// groupedLog is a Log that reads back for many sessions at once. The broker's search for the records of one session
// costs more than passing on hundreds of records that follow each other; so, when many sessions come back at the same
// time, one read of the feed serves them all.
//
// A read starts at once while few run. Those that come meanwhile are gathered, without a timer, and read together as
// soon as that is cheaper than to read them one by one. Reads of very different length are not gathered: the short one
// would wait for the long one.
//
// Reads run in goroutines that groupedLog owns; the functions that are given to ReadSession are called from them, and
// must not block.
type groupedLog struct {
	Log
	ctx   context.Context // ends all reads that are shared
	wg    sync.WaitGroup
	slots chan struct{} // one each read that runs

	mu      sync.Mutex
	parts   map[groupKey]*groupPart
	flights map[int]*boundsFlights // by shard
}

// groupKey is a part of a feed: the reads whose length is within a factor of two.
type groupKey struct {
	place view.Place
	class int
}

// groupPart is what goes on in a part. There is none where nothing does.
type groupPart struct {
	alone   int          // reads of one session each that run
	reading bool         // a read together runs
	waiting []*groupRead // for either
}

func newGroupedLog(ctx context.Context, log Log) *groupedLog {
	return &groupedLog{
		Log: log, ctx: ctx, slots: make(chan struct{}, maxReads),
		parts: make(map[groupKey]*groupPart), flights: make(map[int]*boundsFlights),
	}
}

// wait returns when all reads have ended; the context must have.
func (g *groupedLog) wait() { g.wg.Wait() }

// groupRead is one caller's read.
type groupRead struct {
	ctx     context.Context // of the caller
	session subjects.Subject
	token   string // of its principal
	from    uint64
	until   uint64
	done    chan error // has room for the one answer

	mu   sync.Mutex
	next uint64 // first position that has not been passed
	fn   func(*record.Record) bool
	over bool
}

// pass hands over a record of the session, and reports whether no more is wanted.
func (r *groupRead) pass(rec *record.Record) (over bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over || rec.Seq < r.next {
		return r.over
	}
	r.next = rec.Seq + 1
	r.over = !r.fn(rec) || rec.Seq >= r.until
	return r.over
}

// abandon makes sure that fn is not called any more.
func (r *groupRead) abandon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
}

func (r *groupRead) isOver() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.over
}

// rest returns the first position that has not been passed.
func (r *groupRead) rest() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next
}

// ReadSession is Log.ReadSession. fn may be called from another goroutine, though never after the return.
func (g *groupedLog) ReadSession(ctx context.Context, session subjects.Subject, from, until uint64, fn func(*record.Record) bool) error {
	if from > until {
		return nil
	}
	key := groupKey{place: view.Place{Shard: session.Shard, Feed: session.Feed}, class: bits.Len64((until - from) / classStep)}
	r := &groupRead{ctx: ctx, session: session, token: session.PrincipalToken(), from: from, until: until, done: make(chan error, 1), next: from, fn: fn}
	g.enter(key, r)
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		r.abandon()
		return context.Cause(ctx)
	}
}

// enter has a read wait for its turn, which may have come.
func (g *groupedLog) enter(key groupKey, r *groupRead) {
	g.mu.Lock()
	defer g.mu.Unlock()
	part := g.parts[key]
	if part == nil {
		part = new(groupPart)
		g.parts[key] = part
	}
	part.waiting = append(part.waiting, r)
	g.advance(key, part)
}

// ended notes the end of a read, and begins what can begin now.
func (g *groupedLog) ended(key groupKey, part *groupPart, note func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	note()
	g.advance(key, part)
}

// advance begins the reads of a part whose turn it is. It needs the lock.
func (g *groupedLog) advance(key groupKey, part *groupPart) {
	if !part.reading {
		if group := part.takeGroup(); group != nil {
			part.reading = true
			g.wg.Go(func() {
				g.readGroup(key.place, group)
				g.ended(key, part, func() { part.reading = false })
			})
		}
	}
	for !part.reading && part.alone < maxAlone && len(part.waiting) > 0 {
		r := part.waiting[0]
		part.waiting = part.waiting[1:]
		part.alone++
		g.wg.Go(func() {
			r.done <- g.read(r)
			g.ended(key, part, func() { part.alone-- })
		})
	}
	if part.alone == 0 && !part.reading {
		delete(g.parts, key)
	}
}

// takeGroup takes those that are better read together, nil if there are none: reads that follow each other closely in
// the log, and enough of them.
func (p *groupPart) takeGroup() []*groupRead {
	p.waiting = slices.DeleteFunc(p.waiting, func(r *groupRead) bool { return r.ctx.Err() != nil }) // nobody waits
	byStart := slices.SortedFunc(slices.Values(p.waiting), func(a, b *groupRead) int { return cmp.Compare(a.from, b.from) })
	for len(byStart) > 1 {
		n, until := 1, byStart[0].until
		for n < len(byStart) && byStart[n].from <= until+classStep {
			until = max(until, byStart[n].until)
			n++
		}
		if group := byStart[:n]; n > 1 && until-group[0].from <= apiece*uint64(n) {
			p.waiting = slices.DeleteFunc(p.waiting, func(r *groupRead) bool { return slices.Contains(group, r) })
			return group
		}
		byStart = byStart[n:]
	}
	return nil
}

// readGroup reads for a group, in the order of where they start, and answers each of it.
func (g *groupedLog) readGroup(place view.Place, group []*groupRead) {
	until := uint64(0)
	for _, r := range group {
		until = max(until, r.until)
	}
	err := g.readFeed(place, group, group[0].from, until)
	for _, r := range group {
		switch {
		case r.isOver(): // answered, or gone
		case err == nil || envelope.CodeOf(err) == envelope.CodeNotFound:
			// It did not meet the record that it was to end with. What the log says to that is found out for it alone.
			r.done <- g.read(r)
		default:
			r.done <- err
		}
	}
}

// read reads what is left of one read.
func (g *groupedLog) read(r *groupRead) error {
	if err := g.slot(r.ctx); err != nil {
		return err
	}
	defer g.free()
	return g.Log.ReadSession(r.ctx, r.session, r.rest(), r.until, func(rec *record.Record) bool { return !r.pass(rec) })
}

// readFeed reads the feed from one position to another and passes each record to those of the group that want it. It
// answers those that need no more as soon as that is so.
func (g *groupedLog) readFeed(place view.Place, group []*groupRead, from, until uint64) error {
	if err := g.slot(g.ctx); err != nil {
		return err
	}
	defer g.free()
	wanted := make(map[string][]*groupRead, len(group))
	for _, r := range group {
		wanted[r.session.Session] = append(wanted[r.session.Session], r)
	}
	return g.Log.ReadFeed(g.ctx, place.Shard, place.Feed, from, until, func(rec *record.Record) bool {
		id := rec.Subject.Session
		readers := wanted[id]
		if len(readers) == 0 {
			return true
		}
		token := rec.Subject.PrincipalToken()
		readers = slices.DeleteFunc(readers, func(r *groupRead) bool {
			if r.token != token || !r.pass(rec) {
				return false
			}
			r.done <- nil
			return true
		})
		if len(readers) == 0 {
			delete(wanted, id)
		} else {
			wanted[id] = readers
		}
		return len(wanted) > 0
	})
}

// slot waits for a turn to read.
func (g *groupedLog) slot(ctx context.Context) error {
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g *groupedLog) free() { <-g.slots }
