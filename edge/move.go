package edge

import (
	"context"
	"time"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
)

// wantsHome reports whether the session stands in another edge's feed and may leave it: no job of it is open, so no
// worker has anything left to write there. Jobs that the log has and the view has not met yet count as open. It needs the
// lock.
func (s *session) wantsHome(now time.Time) bool {
	return s.state == live && !s.closing && !s.closed && s.feed.key != s.srv.home() &&
		s.jobCount() == 0 && now.Sub(s.since) >= s.srv.cfg.MoveAfter
}

// moveHome takes the session to this edge's own feed, so that no edge has to read a feed for ever whose own edge has
// gone. A mark in the old feed says where the session goes on: the numbering stays a function of the log, and an edge
// that resumes the session later follows the mark. If it cannot be known whether the mark was stored, the session
// ends here: the resume finds out.
func (s *session) moveHome(ctx context.Context, now time.Time) {
	if !s.route.TryLock() { // a message of the client is being handled
		return
	}
	defer s.route.Unlock()
	s.mu.Lock()
	wants := s.wantsHome(now)
	s.mu.Unlock()
	if !wants || len(s.inFlight) > 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	home := s.srv.home()
	f, err := s.srv.hub.use(ctx, home)
	if err != nil {
		return
	}
	pos, err := mark(ctx, s.srv.log, s.subject, view.TypeMoved, view.Move{To: home, Start: f.pos.Load()})
	if err == nil {
		err = s.awaitMark(ctx, pos)
	}
	s.mu.Lock()
	if err != nil || s.view.Place() != home || s.state == ended {
		s.evict(envelope.CodeUnavailable, "the session could not move to this edge's log")
		s.mu.Unlock()
		s.srv.hub.release(f)
		return
	}
	old := s.feed
	s.feed, s.offered, s.barrier = f, 0, 0
	f.attach(s)
	s.mu.Unlock()
	old.detach(s)
	s.srv.hub.release(old)
	s.subject.Shard, s.subject.Feed = home.Shard, home.Feed
	s.logger.Info("session moved", "from", old.key.Feed, "to", home.Feed)
	if err := s.store.save(ctx, func(r *sessionRecord) { r.Place = home }); envelope.CodeOf(err) == envelope.CodeAborted {
		s.lost()
	}
}
