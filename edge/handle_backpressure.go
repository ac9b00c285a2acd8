package edge

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/arcp-nats/arcp/envelope"
)

// handleBackpressure lets the client say how fast what is counted may come on this connection: so many envelopes a second,
// none while its buffer has no room, or, if it says neither, as fast as it reads. What waits stands in the log. It is not
// answered, and what is not counted is not held back.
func handleBackpressure(c *conn, s *session, msg *envelope.Envelope) {
	payload, err := envelope.DecodePayload[envelope.Backpressure](msg)
	if err != nil {
		c.receiveBad(s, err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.throttle.set(payload, time.Now())
	s.passOn()
}

// throttle is how fast a client wants to be sent what is counted. The zero value holds nothing back. It belongs to a session,
// with its lock.
type throttle struct {
	limit  *rate.Limiter // nil: none
	paused bool
	timer  *time.Timer // set while something waits for its time
}

func (t *throttle) set(said *envelope.Backpressure, now time.Time) {
	t.paused, t.limit = false, nil
	if room := said.BufferRemainingBytes; room != nil && *room == 0 {
		t.paused = true
	}
	switch most := said.DesiredRatePerSecond; {
	case most == nil:
	case *most == 0:
		t.paused = true
	default:
		t.limit = rate.NewLimiter(rate.Limit(*most), 1)
		t.limit.AllowN(now, 1) // from now on: not one at once with each message
	}
}

// holds reports whether the client wants to wait for the next envelope.
func (t *throttle) holds(now time.Time) bool {
	return t.paused || t.limit != nil && t.limit.TokensAt(now) < 1
}

// spend counts an envelope.
func (t *throttle) spend(now time.Time) {
	if t.limit != nil {
		t.limit.AllowN(now, 1)
	}
}

// active reports whether the client has asked for less than all.
func (t *throttle) active() bool { return t.paused || t.limit != nil }

// passOn sends what waits and may go now, and comes back when more may. It needs the lock.
func (s *session) passOn() {
	if s.state == ended {
		return
	}
	s.openWindow(s.acked)
	s.nudge()
	if t := &s.throttle; t.limit != nil && !t.paused && t.timer == nil && t.holds(time.Now()) {
		t.timer = time.AfterFunc(time.Duration(float64(time.Second)/float64(t.limit.Limit())), func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			t.timer = nil
			s.passOn()
		})
	}
}

// unthrottle lets everything go: the client that wanted it slow wants the end. It needs the lock.
func (s *session) unthrottle() {
	if s.throttle.active() {
		s.throttle.paused, s.throttle.limit = false, nil
		s.passOn()
	}
}
