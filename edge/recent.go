package edge

import (
	"time"

	"github.com/arcp-nats/arcp/edge/view"
)

const (
	// recentEvery is the least time between two writes of a session's recent view while its feed moves on.
	recentEvery = 10 * time.Second
	// recentStep is how many records the log must have moved on for that.
	recentStep = 4096
)

// recent returns the view's state as of the last record that the feed has offered: nothing of the session stands
// between the view's position and that one, as a live view has folded all that was offered. It is false if the view is
// not live.
func (s *session) recent() (view.Checkpoint, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != live || s.view.Place() != s.feed.key {
		return view.Checkpoint{}, false
	}
	offered := s.feed.pos.Load()
	c := s.view.Checkpoint()
	c.Pos = max(c.Pos, offered)
	return c, true
}

// noteRecent keeps the recent view for the next save of the record.
func (s *session) noteRecent() {
	if c, ok := s.recent(); ok {
		s.store.noteRecent(c)
	}
}

// outgrown reports whether the log has moved on so far from where a resume would begin that the record is to be written.
func (s *session) outgrown(now time.Time) bool {
	s.mu.Lock()
	feed, isLive := s.feed, s.state == live
	s.mu.Unlock()
	return isLive && s.store.outgrown(now, feed.key, feed.pos.Load())
}

// noteRecent keeps a recent view for the next save.
func (st *sessionStore) noteRecent(c view.Checkpoint) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.recent = &c
}

// outgrown reports whether the stored views are far from a position of the log, and were not written just now.
func (st *sessionStore) outgrown(now time.Time, place view.Place, pos uint64) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if now.Sub(st.savedAt) < recentEvery {
		return false
	}
	newest := &st.rec.Start
	for _, c := range []*view.Checkpoint{&st.rec.Checkpoint, st.rec.Recent} {
		if c != nil && c.Place == place && (newest.Place != place || c.Pos > newest.Pos) {
			newest = c
		}
	}
	return newest.Place != place || newest.Pos+recentStep <= pos
}
