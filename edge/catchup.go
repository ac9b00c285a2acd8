package edge

import (
	"cmp"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
)

var errAgedOut = errors.New("the log no longer holds what comes next")

// begin attaches a session to its feed. One that has nothing to read back is live at once.
func (s *session) begin(barrier uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.barrier = barrier
	s.matchWatchers()
	s.matchSubscribers(nil)
	s.recount()
	if barrier == 0 {
		s.state = live
		return
	}
	s.fallBehind()
}

// fallBehind lets the feed go on without this session; catchUp reads the log from the view's position until it has
// met the feed. It needs the lock, and a connection that has not ended.
func (s *session) fallBehind() {
	s.state = behind
	s.srv.metrics.catchUps.Inc()
	s.conn.wg.Go(s.catchUp)
}

// catchUp reads the session's part of the log, as fast as its socket takes it, until there is nothing between the
// view and what the feed will offer next. There is no gap, because the switch is made under the lock that the feed
// needs to offer anything, and no repeat, because the view ignores what it has folded.
func (s *session) catchUp() {
	wait := backoff.NewExponentialBackOff()
	wait.MaxInterval = 2 * time.Second
	told := false // the client, that it is behind
	for s.waitRoom(&told) {
		if s.replayAsked() {
			s.replayNow()
			continue
		}
		s.mu.Lock()
		place, from, until := s.gap()
		if s.state == behind && from > until {
			s.state = live
			s.tellWatchers()
			s.tellSubscribers()
		}
		over := s.state != behind
		s.mu.Unlock()
		if over {
			if told {
				s.backpressure(&envelope.Backpressure{Reason: "the client has caught up"})
			}
			return
		}
		switch err := s.readBack(place, from, until); {
		case err == nil:
			wait.Reset()
		case errors.Is(err, errAgedOut):
			s.mu.Lock()
			s.evict(envelope.CodeDataLoss, err.Error())
			s.mu.Unlock()
			return
		case s.conn.ctx.Err() != nil:
			return
		default:
			s.logger.Warn("reading back failed, trying again", "error", err)
			select {
			case <-time.After(wait.NextBackOff()):
			case <-s.conn.ctx.Done():
			}
		}
	}
}

// hop is a place that the session has left, and the position of the mark that says so.
type hop struct {
	place view.Place
	left  uint64
}

// gap returns what lies between the view and the feed: at the view's place, up to the mark that leaves it, or, at the
// feed's place, up to what the feed will not offer. It needs the lock.
func (s *session) gap() (place view.Place, from, until uint64) {
	place, from = s.view.Place(), s.view.Pos()+1
	if place == s.feed.key {
		if until = max(s.offered, s.barrier); from <= until {
			return place, from, until
		}
	}
	for _, h := range s.hops {
		if h.place == place && h.left >= from {
			return place, from, h.left
		}
	}
	return place, from, max(s.offered, s.barrier)
}

// readBack folds records at a place from one position to another, or until the socket has enough.
func (s *session) readBack(place view.Place, from, until uint64) error {
	ctx := s.conn.ctx
	first, _, err := s.srv.log.Bounds(ctx, place.Shard)
	if err != nil {
		return err
	}
	if first > from {
		return errAgedOut
	}
	var failed error
	others := newShownReader(s.srv.log)
	err = s.srv.log.ReadSession(ctx, s.store.at(place), from, until, func(rec *record.Record) bool {
		var shown []*record.Record // the view stays as it is until this goroutine folds the next record
		if shown, failed = others.read(ctx, s.view, rec); failed != nil {
			return false
		}
		if failed = s.fetchCredentials(ctx, rec); failed != nil {
			return false
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.state == behind && !s.fold(rec, shown...) && s.view.Place() == place
	})
	if envelope.CodeOf(failed) == envelope.CodeNotFound {
		return errAgedOut
	}
	return cmp.Or(err, failed)
}

// waitRoom waits until the socket has taken most of what waits for it, and the ack window is open, or until a replay is asked
// for, which the window does not hold up. It is false when the connection has ended. A client that keeps it waiting for long
// is told once.
func (s *session) waitRoom(told *bool) bool {
	slow := time.NewTimer(s.srv.cfg.SlowAfter)
	defer slow.Stop()
	for !s.replayAsked() && (!s.conn.out.roomy() || !s.windowOpen()) {
		select {
		case <-s.roomed:
		case <-slow.C:
			if *told || s.throttled() {
				continue
			}
			*told = true
			full := uint64(0)
			reason := "the client does not read: events wait in the log"
			if s.conn.out.roomy() {
				reason = "the ack window is full: events wait in the log"
			}
			s.backpressure(&envelope.Backpressure{BufferRemainingBytes: &full, Reason: reason})
		case <-s.conn.ctx.Done():
			return false
		}
	}
	return s.conn.ctx.Err() == nil
}

// throttled reports whether the client wants to be behind.
func (s *session) throttled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.throttle.active()
}

// backpressure tells the client how the way to it fares, out of band: in the log it would wait behind what it is about.
func (s *session) backpressure(payload *envelope.Backpressure) {
	s.conn.send(s.answer(nil, envelope.TypeBackpressure, payload))
}

// nudge tells catchUp that there is room again.
func (s *session) nudge() {
	select {
	case s.roomed <- struct{}{}:
	default:
	}
}
