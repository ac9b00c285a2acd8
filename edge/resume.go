package edge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/arcp-nats/arcp/auth"
	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
)

// resumeRetries bounds how often a resume is judged again because the record moved on meanwhile.
const resumeRetries = 5

// maxResumes bounds the resumes that an edge judges at the same time; the others wait. Reads of many are one, so the
// number is large.
const maxResumes = 2048

// errNotResumable is what a client learns of a resume that cannot be complete: no such token, used, too old, or a
// number that the session has not reached. One text for all, so that nothing can be probed.
var errNotResumable = &envelope.Error{Code: envelope.CodeResumeWindowExpired, Message: "resume token not valid"}

// errLeaseEnded is what the holder of a good token learns once the proof of identity that the session stands on has ended: a
// token replaces no credential (open dialect HS-9).
var errLeaseEnded = &envelope.Error{Code: envelope.CodeUnauthenticated, Message: "the session's lease has ended: open a new session"}

// handleResume continues a session on this connection (open dialect RE-2 to RE-6). A resume that cannot be complete
// changes nothing.
func (c *conn) handleResume(msg *envelope.Envelope) {
	payload, err := envelope.DecodePayload[envelope.SessionResume](msg)
	if err != nil {
		c.receiveBad(c.session.Load(), err)
		return
	}
	c.continueSession(msg, payload.ResumeToken, payload.LastEventSeq, nil)
}

// claim is who goes on with a session that shows its identity with the token, and which session it is.
type claim struct {
	session  envelope.SessionID
	identity auth.Identity
}

// continueSession resumes a session, or says why not. by is nil if the token is all that the client shows.
func (c *conn) continueSession(msg *envelope.Envelope, token string, last uint64, by *claim) {
	s, resumed, err := c.resumeInTurn(token, last, by)
	var tooMany *tooManySessions
	switch {
	case errors.As(err, &tooMany):
		c.reject(msg, envelope.CodeResourceExhausted, tooMany.Error())
	case errors.Is(err, errNotResumable):
		c.reject(msg, envelope.CodeResumeWindowExpired, errNotResumable.Message)
	case errors.Is(err, errLeaseEnded):
		c.reject(msg, envelope.CodeUnauthenticated, errLeaseEnded.Message)
	case err != nil:
		c.unavailable(msg, err)
	default:
		c.adopt(s)
		if c.codec.Traits().Greets {
			c.send(s.answer(msg, envelope.TypeSessionAccepted, &envelope.SessionAccepted{
				SessionID: s.id, Runtime: c.srv.cfg.Runtime, Capabilities: c.srv.withInventory(s.capabilities), ResumeToken: resumed.ResumeToken,
			}))
		} else {
			c.send(s.answer(msg, envelope.TypeSessionResumed, resumed))
		}
		s.replay()
		s.begin(s.barrier)
		c.srv.metrics.opened["resumed"].Inc()
		s.logger.Info("session resumed", "last_event_seq", resumed.ReplayedFrom, "feed", s.subject.Feed)
	}
}

// resumeInTurn is resume, once there is room for one more. The wait and the resume each have the time of a handshake.
func (c *conn) resumeInTurn(token string, last uint64, by *claim) (*session, *envelope.SessionResumed, error) {
	turn := time.NewTimer(c.srv.cfg.HandshakeTimeout)
	defer turn.Stop()
	select {
	case c.srv.resumes <- struct{}{}:
		defer func() { <-c.srv.resumes }()
	case <-turn.C:
		return nil, nil, envelope.Errorf(envelope.CodeUnavailable, "too many resumes at a time")
	case <-c.ctx.Done():
		return nil, nil, context.Cause(c.ctx)
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.srv.cfg.HandshakeTimeout)
	defer cancel()
	return c.resume(ctx, token, last, by)
}

// resume takes a session over. It reads the session's part of the log up to a mark of its own, so that it knows
// every number that was given out; takes the record by compare-and-set; and marks in the log where the holder
// before has to stop.
func (c *conn) resume(ctx context.Context, token string, last uint64, by *claim) (*session, *envelope.SessionResumed, error) {
	for range resumeRetries {
		store, err := c.loadByToken(ctx, token, by)
		if err != nil {
			return nil, nil, err
		}
		s, resumed, err := c.takeOver(ctx, store, last, by)
		if err == nil || envelope.CodeOf(err) != envelope.CodeAborted {
			return s, resumed, err
		}
	}
	return nil, nil, envelope.Errorf(envelope.CodeUnavailable, "the session's record kept changing")
}

// loadByToken returns the record of the session that a token is good for.
func (c *conn) loadByToken(ctx context.Context, token string, by *claim) (*sessionStore, error) {
	id, ok := tokenSession(token)
	if !ok {
		return nil, errNotResumable
	}
	store, err := loadSession(ctx, c.srv.sessions, id)
	if err != nil {
		if envelope.CodeOf(err) == envelope.CodeNotFound {
			return nil, errNotResumable
		}
		return nil, err
	}
	rec := store.snapshot()
	switch {
	case !rec.goodToken(token), rec.Dialect != c.codec.Dialect().Name():
		return nil, errNotResumable
	case by != nil && (by.session != rec.Session || by.identity.Principal != rec.Principal):
		return nil, errNotResumable
	case by != nil: // a fresh proof, with a lease of its own
	case rec.lease().over(time.Now()):
		return nil, errLeaseEnded
	}
	return store, nil
}

// takeOver makes this edge the holder of a loaded session and returns it, attached and behind.
func (c *conn) takeOver(ctx context.Context, store *sessionStore, last uint64, by *claim) (_ *session, _ *envelope.SessionResumed, err error) {
	srv := c.srv
	rec := store.snapshot()
	t, err := srv.quotas.admit(rec.Principal, rec.Session)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			srv.quotas.release(rec.Principal, rec.Session)
		}
	}()
	story, err := c.readStory(ctx, &rec, last)
	if err != nil {
		return nil, nil, err
	}
	if last > story.highest { // open dialect RE-4; the token stays good
		return nil, nil, errNotResumable
	}
	f, err := srv.hub.use(ctx, story.place)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			srv.hub.release(f)
		}
	}()
	successor := newResumeToken(rec.Session)
	err = store.take(ctx, func(r *sessionRecord) {
		r.Place = story.place
		r.Holder, r.Epoch = srv.cfg.Name, r.Epoch+1
		r.rotate(successor)
		if by != nil {
			lease := c.leaseOf(time.Now().UTC(), by.identity)
			r.LeaseGranted, r.LeaseExpires = lease.granted, lease.ends
		}
		if story.from.Seq > r.Checkpoint.Seq {
			r.Checkpoint = story.from
		}
	})
	if err != nil {
		return nil, nil, err
	}
	s := newSession(c, f, store, t, view.Restore(story.from), last)
	s.hops, s.kept = story.hops, story.kept.records
	f.attach(s)
	s.barrier, err = mark(ctx, srv.log, s.subject, typeHeld, held{Edge: srv.cfg.Name, Epoch: s.epoch})
	if err != nil {
		f.detach(s)
		return nil, nil, fmt.Errorf("session %s: its log cannot be written: %w", rec.Session, err)
	}
	return s, &envelope.SessionResumed{
		SessionID: rec.Session, ResumeToken: successor, ReplayedFrom: last, Replayed: story.highest > last,
	}, nil
}

// story is what reading a session's part of the log tells.
type story struct {
	from    view.Checkpoint // a state at or before the envelope asked for, to begin the replay from
	highest uint64          // the highest event_seq given out
	place   view.Place      // where the session's records stand now
	hops    []hop           // how it got there, since from
	kept    keptRecords     // what follows from
}

// replayStep is what a replay may render for nothing: the distance between two states that readStory keeps.
const replayStep = 64

// readStory folds all that the log holds of a session. It fails if something after the envelope numbered last is gone.
func (c *conn) readStory(ctx context.Context, rec *sessionRecord, last uint64) (*story, error) {
	log := c.srv.log
	others := newShownReader(log)
	v := rec.startingView(last)
	told := &story{from: v.Checkpoint()}
	for {
		place := v.Place()
		first, _, err := log.Bounds(ctx, place.Shard)
		if err != nil {
			return nil, err
		}
		if first > v.Pos()+1 {
			return nil, errNotResumable
		}
		subject := rec.subjectAt(place)
		barrier, err := mark(ctx, log, subject, typeSync, held{Edge: c.srv.cfg.Name})
		if err != nil {
			return nil, err
		}
		var left uint64
		var failed error
		err = log.ReadSession(ctx, subject, v.Pos()+1, barrier, func(r *record.Record) bool {
			var shown []*record.Record
			if shown, failed = others.read(ctx, v, r); failed != nil {
				return false
			}
			v.Apply(r, func(view.Frame) {}, shown...)
			if v.Seq() <= last && v.Seq() >= told.from.Seq+replayStep {
				told.from = v.Checkpoint()
				told.kept.restart()
			} else {
				told.kept.add(r, len(shown) > 0 || r.Grant != "")
			}
			left = r.Seq
			return v.Place() == place
		})
		switch {
		case envelope.CodeOf(failed) == envelope.CodeNotFound:
			return nil, errNotResumable
		case failed != nil:
			return nil, failed
		case err != nil:
			return nil, err
		case v.Place() == place:
			told.highest, told.place = v.Seq(), place
			return told, nil
		}
		told.hops = append(told.hops, hop{place: place, left: left})
	}
}
