package edge

import (
	"errors"
	"sync"
)

var (
	errOutboxClosed = errors.New("outbox closed")
	errOutboxFull   = errors.New("outbox full of control answers")
)

// frame is one message for a socket.
type frame struct {
	text []byte
	// content is put into the text as it is written; nil: the text is whole.
	content *content
}

// outbox is what waits to be written to one socket: control answers first, events after them, so that a pong is
// never stuck behind a job's output. It is bounded in bytes:
//
//   - events are let in past the bound by at most one record, and then full says so: the session stops following and
//     reads the log again later;
//   - control answers past their bound are refused, and the connection is closed: the peer asks and does not read.
//
// It is safe for concurrent use, with one reader.
type outbox struct {
	eventLimit   int
	controlLimit int

	mu           sync.Mutex
	control      []frame
	events       []frame
	controlBytes int
	eventBytes   int
	inFlight     int // event bytes handed to the writer by the last take
	closed       bool
	taken        chan struct{} // holds a token when control answers have been taken
	ready        chan struct{} // holds a token while there may be something to take
	drained      func()        // called, without the lock, when events fall to half the bound
}

func newOutbox(eventLimit, controlLimit int, drained func()) *outbox {
	return &outbox{
		eventLimit: eventLimit, controlLimit: controlLimit,
		taken: make(chan struct{}, 1), ready: make(chan struct{}, 1), drained: drained,
	}
}

// pushControl queues an answer that is not counted.
func (o *outbox) pushControl(text []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return errOutboxClosed
	case o.controlBytes+len(text) > o.controlLimit && len(o.control) > 0:
		return errOutboxFull
	}
	o.control = append(o.control, frame{text: text})
	o.controlBytes += len(text)
	o.signal()
	return nil
}

// pushEvent queues an event and reports whether the bound has been reached.
func (o *outbox) pushEvent(f frame) (full bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return true
	}
	o.events = append(o.events, f)
	o.eventBytes += len(f.text)
	o.signal()
	return o.eventBytes+o.inFlight >= o.eventLimit
}

// room reports whether so many bytes may wait besides the events that do, at most twice of what those are bounded by.
func (o *outbox) room(n int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.eventBytes+o.inFlight+n <= 2*o.eventLimit
}

// roomy reports whether a session that fell behind may go on.
func (o *outbox) roomy() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.closed && o.eventBytes+o.inFlight <= o.eventLimit/2
}

// waiting reports whether there is something that the socket has not taken.
func (o *outbox) waiting() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.eventBytes+o.inFlight+o.controlBytes > 0
}

// take waits for frames and returns them, control answers first. The caller has written the frames of the take
// before when it calls again. It is false once the outbox is closed and empty.
func (o *outbox) take() (frames []frame, ok bool) {
	for {
		o.mu.Lock()
		wasFull := o.inFlight > 0 && o.eventBytes+o.inFlight > o.eventLimit/2
		o.inFlight = 0
		notify := wasFull && o.eventBytes <= o.eventLimit/2
		if len(o.control)+len(o.events) > 0 {
			frames = append(o.control, o.events...)
			o.inFlight = o.eventBytes
			o.control, o.events = nil, nil
			o.controlBytes, o.eventBytes = 0, 0
			o.mu.Unlock()
			select {
			case o.taken <- struct{}{}:
			default:
			}
			if notify {
				o.drained()
			}
			return frames, true
		}
		closed := o.closed
		o.mu.Unlock()
		if closed {
			return nil, false
		}
		if notify {
			o.drained()
		}
		<-o.ready
	}
}

// controlTaken waits until no control answer waits, so that there is room for a large one. It is for one goroutine at a
// time, and false once the outbox is closed or done is.
func (o *outbox) controlTaken(done <-chan struct{}) bool {
	for {
		o.mu.Lock()
		waiting, closed := len(o.control), o.closed
		o.mu.Unlock()
		if closed || waiting == 0 {
			return !closed
		}
		select {
		case <-o.taken:
		case <-done:
			return false
		}
	}
}

// close lets take return what is queued and then end. It is idempotent.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.signal()
}

// signal must be called with the lock held.
func (o *outbox) signal() {
	select {
	case o.ready <- struct{}{}:
	default:
	}
}
