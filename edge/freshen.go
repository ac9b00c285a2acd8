package edge

import (
	"context"
	"time"

	"github.com/arcp-nats/arcp/edge/view"
)

// freshenEvery is how often an edge looks at how old the last record of each of its feeds is.
const freshenEvery = time.Minute

// freshen writes a mark into each feed whose last record stands in the older half of the log. A feed that is quiet while
// others speak would else fall off the log's end, and no session in it could tell that nothing of it is gone: the
// recent views of its sessions stand where the feed does.
func (srv *Server) freshen(ctx context.Context, sessions []*session) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	done := make(map[view.Place]bool)
	for _, s := range sessions {
		s.mu.Lock()
		feed, usable := s.feed, s.state == live
		s.mu.Unlock()
		if !usable || done[feed.key] {
			continue
		}
		done[feed.key] = true
		if err := s.freshenFeed(ctx, feed); err != nil {
			srv.logger.Warn("feed not freshened", "feed", feed.key.Feed, "shard", feed.key.Shard, "error", err)
			return // the log cannot be reached: the next time is soon enough
		}
	}
}

// freshenFeed writes a mark into a feed, in this session's name, if the feed is old.
func (s *session) freshenFeed(ctx context.Context, feed *feed) error {
	first, last, err := s.srv.log.Bounds(ctx, feed.key.Shard)
	if err != nil || feed.pos.Load() >= first+(last-first)/2 || first > last {
		return err
	}
	s.route.RLock()
	defer s.route.RUnlock()
	_, err = mark(ctx, s.srv.log, s.subject, typeSync, held{Edge: s.srv.cfg.Name})
	return err
}
