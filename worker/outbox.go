package worker

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
)

// Bounds of a job's outbox. What is on its way to the log comes on top, once.
const (
	outboxBytes = 256 << 10
	outboxLines = 1024
	recordBytes = 256 << 10
	recordLines = 256
)

// linger is how long an event may wait for company before it is sent. A short
// job's start and end then go out as one record, half the writes; on a longer
// job nobody sees a millisecond.
const linger = time.Millisecond

// confirmAfter is when a record of unknown fate is looked for in the log
// before it is sent again. It is well inside the time for which the log
// remembers message ids, so that a retry after a long outage stores nothing
// twice.
const confirmAfter = 20 * time.Second

// line is one encoded envelope.
type line struct {
	typ  envelope.Type
	id   envelope.MessageID
	body []byte
}

// outbox carries what one attempt at a job says to the log, in order. At most
// one record is on its way; what is said meanwhile goes into the next one.
//
// A log that is full or away is tried again, with the same message id, until
// ctx ends: the job's events wait, and then its handler does.
type outbox struct {
	bus    Bus
	ctx    context.Context // the record context
	header record.Record   // subject and header of every record
	// published is told how long each record took; may be nil.
	published prometheus.Observer

	mu       sync.Mutex
	pending  []line
	bytes    int // of pending
	said     uint64
	stored   uint64
	pos      uint64 // of the last record, in the log
	flushing bool
	armed    bool
	closed   bool
	err      error         // why nothing can be stored any more
	changed  chan struct{} // closed at the next change; nil while nobody waits
}

func newOutbox(ctx context.Context, bus Bus, header record.Record) *outbox {
	return &outbox{bus: bus, ctx: ctx, header: header}
}

// add queues an envelope. While the outbox is full it waits until ctx ends,
// and then returns ctx's cause.
func (o *outbox) add(ctx context.Context, l line) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.closed && o.err == nil && o.full(l) {
		wait := o.wait()
		o.mu.Unlock()
		select {
		case <-wait:
			o.mu.Lock()
		case <-ctx.Done():
			o.mu.Lock()
			return context.Cause(ctx)
		}
	}
	return o.push(l)
}

// offer queues an envelope if there is room, and tells whether it did.
func (o *outbox) offer(l line) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.closed && o.err == nil && !o.full(l) && o.push(l) == nil
}

// full tells whether l has to wait. One envelope always fits: emptiness bounds
// what size cannot.
func (o *outbox) full(l line) bool {
	return len(o.pending) > 0 && (len(o.pending) >= outboxLines || o.bytes+len(l.body) > outboxBytes)
}

func (o *outbox) push(l line) error {
	switch {
	case o.closed:
		return ErrJobEnded
	case o.err != nil:
		return o.err
	}
	o.pending = append(o.pending, l)
	o.bytes += len(l.body)
	o.said++
	if !o.flushing && !o.armed {
		o.armed = true
		time.AfterFunc(linger, o.flush)
	}
	return nil
}

// sync waits until everything said so far is in the log.
func (o *outbox) sync(ctx context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	upto := o.said
	if len(o.pending) > 0 && !o.flushing {
		// On a goroutine of its own: the log may be away for longer than ctx.
		go o.flush()
	}
	for o.stored < upto && o.err == nil {
		wait := o.wait()
		o.mu.Unlock()
		select {
		case <-wait:
			o.mu.Lock()
		case <-ctx.Done():
			o.mu.Lock()
			return context.Cause(ctx)
		}
	}
	return o.err
}

// close queues the last envelopes, whatever the bounds say, refuses all later
// ones, and returns when everything is in the log or cannot get there.
func (o *outbox) close(last ...line) error {
	o.mu.Lock()
	if !o.closed && o.err == nil {
		for _, l := range last {
			o.pending = append(o.pending, l)
			o.bytes += len(l.body)
			o.said++
		}
	}
	o.closed = true
	o.notify()
	o.mu.Unlock()

	o.flush()

	o.mu.Lock()
	defer o.mu.Unlock()
	for o.flushing || (len(o.pending) > 0 && o.err == nil) {
		wait := o.wait()
		o.mu.Unlock()
		<-wait // bounded: the flusher ends with the record context
		o.mu.Lock()
	}
	return o.err
}

// abandon drops what is not on its way to the log yet, refuses all that is said
// later with why, and returns when nothing is on its way any more.
func (o *outbox) abandon(why error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = why
	}
	o.pending, o.bytes = nil, 0
	o.notify()
	for o.flushing {
		wait := o.wait()
		o.mu.Unlock()
		<-wait // bounded, as in close
		o.mu.Lock()
	}
}

// flush stores what is pending, record by record, unless someone else is at
// it. It runs on the goroutine of whoever is in a hurry, or on the timer's.
func (o *outbox) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.armed = false
	if o.flushing {
		return
	}
	o.flushing = true
	for len(o.pending) > 0 && o.err == nil {
		batch := o.take()
		o.notify() // there is room again
		o.mu.Unlock()
		err := o.store(batch)
		o.mu.Lock()
		if err != nil {
			o.err = err
			o.pending, o.bytes = nil, 0
		} else {
			o.stored += uint64(len(batch))
		}
		o.notify()
	}
	o.flushing = false
	o.notify()
}

// take removes the lines of the next record from pending.
func (o *outbox) take() []line {
	n, size := 1, len(o.pending[0].body)
	for n < len(o.pending) && n < recordLines && size+1+len(o.pending[n].body) <= recordBytes {
		size += 1 + len(o.pending[n].body)
		n++
	}
	batch := o.pending[:n:n]
	o.pending = o.pending[n:]
	if len(o.pending) == 0 {
		o.pending = nil // the batch owns the array now
	}
	for _, l := range batch {
		o.bytes -= len(l.body)
	}
	return batch
}

// store publishes a batch and waits until it is in the log. It is one record,
// unless the log takes no records of that size.
func (o *outbox) store(batch []line) error {
	err := o.storeRecord(o.record(batch))
	if half := len(batch) / 2; half > 0 && err != nil && tooLargeForLog(err) {
		if err = o.store(batch[:half]); err == nil {
			err = o.store(batch[half:])
		}
	}
	return err
}

func (o *outbox) storeRecord(r *record.Record) error {
	began := time.Now()
	type answer struct {
		pos uint64
		err error
	}
	answers := make(chan answer, 1)
	try := func() error {
		var a answer
		a.err = o.bus.Publish(o.ctx, r, func(pos uint64, err error) { answers <- answer{pos, err} })
		if a.err == nil {
			select {
			case a = <-answers:
			case <-o.ctx.Done():
				return context.Cause(o.ctx)
			}
		}
		if a.err != nil && worthAnotherTry(a.err) && time.Since(began) > confirmAfter {
			if pos, there := o.inLog(r); there {
				a = answer{pos: pos}
			}
		}
		switch {
		case a.err == nil:
			o.mu.Lock()
			o.pos = max(o.pos, a.pos)
			o.mu.Unlock()
			return nil
		case !worthAnotherTry(a.err):
			return backoff.Permanent(a.err)
		default:
			return a.err
		}
	}
	err := retry(o.ctx, try)
	if err == nil && o.published != nil {
		o.published.Observe(time.Since(began).Seconds())
	}
	return err
}

func (o *outbox) record(batch []line) *record.Record {
	r := o.header
	r.MsgID = string(batch[0].id)
	r.Types = make([]envelope.Type, len(batch))
	size := len(batch) - 1
	for i, l := range batch {
		r.Types[i] = l.typ
		size += len(l.body)
	}
	r.Body = make([]byte, 0, size)
	for i, l := range batch {
		if i > 0 {
			r.Body = append(r.Body, '\n')
		}
		r.Body = append(r.Body, l.body...)
	}
	return &r
}

// inLog tells whether r is the last thing that was said about the job, and
// where it stands. If it was stored and is not the last, a later attempt has
// spoken since, and then readers pass over whatever this attempt says.
func (o *outbox) inLog(r *record.Record) (pos uint64, there bool) {
	last, err := o.bus.LastOf(o.ctx, r.Subject)
	if err != nil || last.Attempt != r.Attempt || !bytes.Equal(last.Body, r.Body) {
		return 0, false
	}
	return last.Seq, true
}

// position is where the last record stands in the log; 0: there is none.
func (o *outbox) position() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.pos
}

// wait returns a channel that is closed at the next change. Called with mu.
func (o *outbox) wait() <-chan struct{} {
	if o.changed == nil {
		o.changed = make(chan struct{})
	}
	return o.changed
}

func (o *outbox) notify() {
	if o.changed != nil {
		close(o.changed)
		o.changed = nil
	}
}
