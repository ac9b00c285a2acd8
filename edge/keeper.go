package edge

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/gorilla/websocket"

	"github.com/arcp-nats/arcp/envelope"
)

// checkpointEvery is the least time between two writes of a session's checkpoint while it is acknowledged.
const checkpointEvery = 5 * time.Second

// keep looks after what the server holds until ctx ends: it keeps session records alive, asks silent peers for a sign of
// life, and those whose lease nears its end for a fresh proof.
func (srv *Server) keep(ctx context.Context) {
	tick := time.NewTicker(max(min(keepInterval, srv.cfg.IdlePing/4, srv.cfg.SessionLease/16), time.Millisecond))
	defer tick.Stop()
	freshened := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			conns, sessions := srv.holdings()
			for _, c := range conns {
				c.checkIdle(now)
			}
			for _, s := range sessions { // before anything that can take long
				s.tendLease(now)
			}
			for _, s := range sessions {
				due := s.store.due(now, srv.cfg.ResumeWindow/3, checkpointEvery) || s.outgrown(now)
				if due && !s.saveRecord(ctx) {
					break // the bucket cannot be reached: waiting for it once a tick is enough
				}
				s.moveHome(ctx, now)
			}
			if now.Sub(freshened) >= freshenEvery {
				freshened = now
				srv.freshen(ctx, sessions)
			}
		}
	}
}

func (srv *Server) holdings() ([]*conn, []*session) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	conns := make([]*conn, 0, len(srv.conns))
	for c := range srv.conns {
		conns = append(conns, c)
	}
	sessions := make([]*session, 0, len(srv.held))
	for s := range srv.held {
		sessions = append(sessions, s)
	}
	return conns, sessions
}

// saveRecord writes the session's record, which expires if nobody does, and reports whether the bucket answered.
func (s *session) saveRecord(ctx context.Context) (answered bool) {
	s.noteRecent()
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	switch err := s.store.save(ctx, nil); {
	case err == nil:
	case envelope.CodeOf(err) == envelope.CodeAborted:
		s.lost()
	default:
		s.logger.Warn("session record not written", "error", err)
		return false
	}
	return true
}

// checkIdle asks the peer for a sign of life after IdlePing of silence: with session.ping for the client, and with
// a WebSocket ping for its library. The read deadline, twice that time, ends the socket if neither is answered; the
// session and its jobs go on. A peer that still takes what was written before cannot have seen the question: it is asked
// later, and WriteTimeout ends a socket that takes nothing.
func (c *conn) checkIdle(now time.Time) {
	s := c.session.Load()
	idle := c.srv.cfg.IdlePing
	if s == nil {
		return
	}
	silent := s.traits.Heartbeats && now.Sub(time.Unix(0, c.lastSaid.Load())) >= idle
	if !silent && now.Sub(time.Unix(0, c.lastSign.Load())) < idle {
		return
	}
	if silent && now.Sub(time.Unix(0, c.lastPing.Load())) >= idle {
		c.ask(s, now)
		return
	}
	if c.taking() {
		c.alive()
		if c.closing() { // meanwhile
			_ = c.ws.SetReadDeadline(now.Add(closeWait))
		}
		return
	}
	if now.Sub(time.Unix(0, c.lastPing.Load())) < idle {
		return
	}
	c.ask(s, now)
}

// ask asks for a sign of life.
func (c *conn) ask(s *session, now time.Time) {
	c.lastPing.Store(now.UnixNano())
	c.send(s.answer(nil, envelope.TypeSessionPing, &envelope.SessionPing{Nonce: rand.Text(), SentAt: envelope.Now()}))
	_ = c.ws.WriteControl(websocket.PingMessage, nil, now.Add(pingWait))
}

// taking reports whether the peer is known to be at work on what was written to it: more waits for the socket, or the
// kernel holds less for it than at the last look. Only the keeper calls it.
func (c *conn) taking() bool {
	if c.out.waiting() {
		return true
	}
	queued := sendQueue(c.socket())
	less := queued < c.queued
	c.queued = queued
	return less
}

// pingWait bounds how long a ping waits for a frame that is being written.
const pingWait = 100 * time.Millisecond
