package edge

import (
	"fmt"
	"sync"

	"github.com/arcp-nats/arcp/envelope"
)

// maxTurns bounds the requests for jobs of a session that wait for their turn.
const maxTurns = 64

// turns are the requests for jobs of a session, and what ends the session with its jobs: they are handled in their order
// (open dialect TI-7), although one of them may have to wait for credentials. The reader goes on with everything else. The
// zero value is ready to use. Only the reader adds.
type turns struct {
	mu      sync.Mutex
	waiting []turn
	running bool // also while the last one is handled
}

// turn is a message that waits.
type turn struct {
	ready <-chan struct{} // closed when it can be handled; nil: it can
	do    func()
	// dropped is called instead if the session leaves this connection before; nil for nothing.
	dropped func()
}

// busy reports whether something waits or is being handled.
func (t *turns) busy() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.running
}

// add queues a message, and starts run if it does not run. It is false if too many wait; there is as much room again for what
// is urgent.
func (t *turns) add(next turn, urgent bool, start func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	limit := maxTurns
	if urgent {
		limit *= 2
	}
	if len(t.waiting) >= limit {
		return false
	}
	t.waiting = append(t.waiting, next)
	if !t.running {
		t.running = true
		start()
	}
	return true
}

// next returns the first that waits; without one, run has ended.
func (t *turns) next() (first turn, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) == 0 {
		t.waiting, t.running = nil, false
		return turn{}, false
	}
	first = t.waiting[0]
	t.waiting = t.waiting[1:]
	return first, true
}

// runTurns handles what waits, one after the other, each with the session's place held, until there is nothing. What waits
// when the session has left is dropped, as is what a client says to a connection that is closing.
func (s *session) runTurns() {
	for {
		next, ok := s.turns.next()
		if !ok {
			return
		}
		if next.ready != nil {
			select {
			case <-next.ready:
			case <-s.conn.ctx.Done():
			}
		}
		if s.gone() {
			if next.dropped != nil {
				next.dropped()
			}
			continue
		}
		s.route.RLock()
		next.do()
		s.route.RUnlock()
	}
}

// gone reports whether the session has left this connection, or is about to.
func (s *session) gone() bool {
	if s.conn.ctx.Err() != nil || s.conn.closing() {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == ended
}

// inTurn handles a message when those before it have been: now, on the reader, if none waits. If too many wait the message
// is refused; one that is urgent, as it ends them all, has room of its own.
func (s *session) inTurn(msg *envelope.Envelope, urgent bool, do func()) {
	if !s.turns.busy() {
		do()
		return
	}
	s.addTurn(msg, urgent, turn{do: do})
}

// addTurn queues a message and reports whether there was room; if not, it is refused.
func (s *session) addTurn(msg *envelope.Envelope, urgent bool, next turn) bool {
	added := s.turns.add(next, urgent, func() { s.conn.wg.Go(s.runTurns) })
	if !added {
		s.reply(s.newNack(msg.ID, envelope.CodeResourceExhausted,
			fmt.Sprintf("too many jobs of the session wait for credentials, the limit is %d", maxTurns), retryLater))
	}
	return added
}
