package edge

import (
	"time"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
)

// numbered is an encoded envelope and its event_seq.
type numbered struct {
	seq   uint64
	frame frame
}

// show queues an envelope for the socket, or withholds it while the ack window is full (open dialect FC-2), and
// reports whether there is enough for now. It needs the lock.
//
// Only what is counted goes through here. Answers that are not counted have a queue of their own and pass a full
// window, and the ack that opens it is read in any case: so nobody waits for himself, as in the original (FC-5).
func (s *session) show(f view.Frame) (full bool) {
	if f.Type == envelope.TypeArtifactPut {
		return s.let(numbered{seq: f.Seq, frame: s.renderFetched(f)})
	}
	s.rendered = s.conn.codec.Render(s.rendered[:0], f, s.skip)
	for i := range s.rendered {
		text := &s.rendered[i]
		if text.Seq == 0 {
			text.Seq = s.view.Seq() // it stays behind what comes before it
		}
		full = s.let(numbered{seq: text.Seq, frame: frame{text: text.Data}}) || full
		text.Data = nil
	}
	return full
}

// frames are the messages that the client gets of an envelope which it has seen before.
func (s *session) frames(f view.Frame) (all []frame) {
	if f.Type == envelope.TypeArtifactPut {
		return []frame{s.renderFetched(f)}
	}
	for _, text := range s.conn.codec.Render(nil, f, 0) {
		all = append(all, frame{text: text.Data})
	}
	return all
}

// let queues a message, or withholds it.
func (s *session) let(n numbered) (full bool) {
	if len(s.withheld) > 0 || !s.fits(n.seq) {
		s.withheld = append(s.withheld, n)
		return true
	}
	return s.queue(n)
}

func (s *session) queue(n numbered) (full bool) {
	s.sent = n.seq
	s.tellLag()
	if s.throttle.active() {
		s.throttle.spend(time.Now())
		if s.throttle.timer == nil {
			defer s.passOn()
		}
	}
	return s.conn.out.pushEvent(n.frame) || !s.fits(n.seq+1)
}

// fits reports whether the window, and what the client has asked for, let the envelope of a number through.
func (s *session) fits(seq uint64) bool {
	if s.throttle.active() && s.throttle.holds(time.Now()) {
		return false
	}
	size := s.srv.cfg.AckWindow
	return size == 0 || seq-s.acked <= uint64(size)
}

// openWindow moves the mark up to an acknowledged number and lets out what it held back. It needs the lock.
func (s *session) openWindow(seq uint64) {
	s.acked = max(s.acked, seq)
	if lag := s.traits.TellLag; lag > 0 && s.sent-min(s.sent, s.acked) < lag/2 {
		s.slow = false
	}
	for len(s.withheld) > 0 && s.fits(s.withheld[0].seq) {
		s.queue(s.withheld[0])
		s.withheld = s.withheld[1:]
	}
	if len(s.withheld) == 0 {
		s.withheld = nil
		s.finishClose()
	}
}

// windowOpen reports whether the window lets more through.
func (s *session) windowOpen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.withheld) == 0 && s.fits(s.sent+1)
}
