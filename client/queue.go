package client

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/arcp-nats/arcp/envelope"
)

// entryOverhead is what an event costs in memory beside its frame, about.
const entryOverhead = 512

// eventQueue holds the events of one job that nobody has read yet. One goroutine pushes, any may read.
type eventQueue struct {
	mu       sync.Mutex
	events   []queued
	bytes    int
	shared   *atomic.Int64  // what the session's running jobs hold together; nil before the first push and after finish
	overflow *OverflowError // set once: later events were dropped
	finished bool
	err      error // after the last event; nil: none

	// Both hold at most one signal, which whoever takes it passes on while it still holds true.
	readable chan struct{}
	writable chan struct{}
}

type queued struct {
	e    *envelope.Envelope
	cost int
}

func newEventQueue() *eventQueue {
	return &eventQueue{readable: make(chan struct{}, 1), writable: make(chan struct{}, 1)}
}

// push appends e, whose frame had size bytes. It returns false, once, if e is the first event that found no room. With
// Backpressure it waits for room until the session ends.
func (q *eventQueue) push(s *Session, e *envelope.Envelope, size int) bool {
	cost := size + entryOverhead
	q.mu.Lock()
	defer q.mu.Unlock()
	q.shared = &s.buffered
	for s.cfg.Backpressure && len(q.events) > 0 && q.bytes+cost > s.cfg.JobBuffer {
		q.mu.Unlock()
		select {
		case <-q.writable:
		case <-s.ctx.Done():
			q.mu.Lock()
			return true
		}
		q.mu.Lock()
	}
	if q.overflow != nil {
		return true
	}
	if !s.cfg.Backpressure {
		limit := 0
		switch {
		case q.bytes+cost > s.cfg.JobBuffer:
			limit = s.cfg.JobBuffer
		case int(s.buffered.Load())+cost > s.cfg.SessionBuffer:
			limit = s.cfg.SessionBuffer
		}
		if limit > 0 {
			q.overflow = &OverflowError{Job: e.JobID, Limit: limit}
			signal(q.readable)
			return false
		}
	}
	q.events = append(q.events, queued{e, cost})
	q.bytes += cost
	q.shared.Add(int64(cost))
	signal(q.readable)
	return true
}

// next takes the oldest event, waiting for one. It returns errNoMoreEvents after the last.
func (q *eventQueue) next(ctx context.Context) (*envelope.Envelope, error) {
	for {
		if e, err, ok := q.pop(); ok {
			return e, err
		}
		select {
		case <-q.readable:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (q *eventQueue) pop() (e *envelope.Envelope, err error, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case len(q.events) > 0:
		first := q.events[0]
		q.events[0] = queued{}
		q.events = q.events[1:]
		q.bytes -= first.cost
		if q.shared != nil {
			q.shared.Add(int64(-first.cost))
		}
		signal(q.writable)
		e = first.e
	case q.overflow != nil:
		err = q.overflow
	case q.finished && q.err != nil:
		err = q.err
	case q.finished:
		err = errNoMoreEvents
	default:
		return nil, nil, false
	}
	signal(q.readable) // another reader may find more
	return e, err, true
}

// finish says that no event follows; err is what readers get after the last one. What is unread from here on is held
// by whoever holds the job, and no longer counted for the session.
func (q *eventQueue) finish(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.finished, q.err = true, err
	if q.shared != nil {
		q.shared.Add(int64(-q.bytes))
		q.shared = nil
	}
	signal(q.readable)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
