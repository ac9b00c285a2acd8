package edge

import (
	"bytes"
	"context"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
)

// handleReplay is the older form of resuming (open dialect RE-10): the session is shown once more what it was shown after a
// message, each envelope with the number that it has, and then, with a number of its own, an event that says that this was
// all. What is new meanwhile waits until then, so that nothing comes between. After a checkpoint means after the
// job.checkpoint that names it.
func handleReplay(c *conn, s *session, msg *envelope.Envelope) {
	payload, err := envelope.DecodePayload[envelope.Resume](msg)
	if err != nil {
		c.receiveBad(s, err)
		return
	}
	if (payload.AfterMessageID == "") == (payload.CheckpointID == "") {
		s.nack(msg, envelope.CodeInvalidArgument, "payload: exactly one of after_message_id and checkpoint_id is to be given")
		return
	}
	r := &replay{msg: msg, after: payload.AfterMessageID, checkpoint: payload.CheckpointID, streams: payload.IncludeOpenStreams}
	if !s.replayLater(r) {
		s.nack(msg, envelope.CodeResourceExhausted, "another resume of the session is being worked on, the limit is 1")
	}
}

// replay is a request to be shown something once more.
type replay struct {
	msg        *envelope.Envelope
	after      envelope.MessageID // one of these two
	checkpoint string
	streams    bool // the openings of the streams that are open there come first
}

// replayLater leaves a replay to the goroutine that catches up. It is false if one is there already.
func (s *session) replayLater(r *replay) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.again != nil {
		return false
	}
	s.again = r
	if s.state == live {
		s.fallBehind()
	}
	s.nudge()
	return true
}

// replayAsked reports whether there is a replay to do.
func (s *session) replayAsked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.again != nil
}

// replayNow does the replay that was asked for. It is called by catchUp: the session is behind, so the feed shows nothing
// meanwhile.
func (s *session) replayNow() {
	s.mu.Lock()
	r, until := s.again, s.sent
	s.mu.Unlock()
	ctx := s.conn.ctx
	err := s.replayAfter(ctx, r, until)
	s.mu.Lock()
	s.again = nil
	s.mu.Unlock()
	var answer *envelope.Envelope
	switch code := envelope.CodeOf(err); {
	case err == nil:
		answer = s.answer(r.msg, envelope.TypeEventEmit, &envelope.EventEmit{Name: envelope.EventBackfillComplete})
	case ctx.Err() != nil:
		return
	case code == envelope.CodeDataLoss:
		answer = s.newNack(r.msg.ID, code, errorText(err), nil)
	default:
		s.notStored(r.msg.ID, err)
		return
	}
	s.conn.wg.Go(func() { // a move of the session holds the route, and waits for what catchUp does
		s.route.RLock()
		defer s.route.RUnlock()
		s.reply(answer)
	})
}

var errReplayLost = envelope.Errorf(envelope.CodeDataLoss,
	"payload: the log does not hold such a message of this session (any longer)")

// replayAfter shows what follows a message, up to a number. It folds the session from the last state that the client has
// acknowledged, or if the message stands before that, from the beginning.
func (s *session) replayAfter(ctx context.Context, r *replay, until uint64) error {
	rec := s.store.snapshot()
	states := []view.Checkpoint{rec.Start}
	if rec.Checkpoint.Seq > 0 {
		states = []view.Checkpoint{rec.Checkpoint, rec.Start}
	}
	for _, from := range states {
		second := &rerun{replay: r, s: s, view: view.Restore(from), until: until, others: newShownReader(s.srv.log)}
		err := second.run(ctx)
		if err != nil || second.found {
			return err
		}
	}
	return errReplayLost
}

// rerun is the second reading of a session, for a replay.
type rerun struct {
	*replay
	s      *session
	others *shownReader
	view   *view.View
	until  uint64

	found bool
	open  []opened // streams, until the message is found
	full  bool     // the socket has enough for now
}

// opened is the opening of a stream.
type opened struct {
	job    envelope.JobID
	stream envelope.StreamID
	frames []frame
}

// run reads on until the view has come to the last number.
func (r *rerun) run(ctx context.Context) error {
	for r.view.Seq() < r.until {
		for !r.s.conn.out.roomy() {
			select {
			case <-r.s.roomed:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		r.full = false
		place, from := r.view.Place(), r.view.Pos()+1
		first, _, err := r.s.srv.log.Bounds(ctx, place.Shard)
		if err != nil {
			return err
		}
		if first > from {
			return errReplayLost
		}
		subject := r.s.store.at(place)
		until, err := mark(ctx, r.s.srv.log, subject, typeSync, held{Edge: r.s.srv.cfg.Name})
		if err != nil {
			return err
		}
		var failed error
		err = r.s.srv.log.ReadSession(ctx, subject, from, until, func(rec *record.Record) bool {
			failed = r.fold(ctx, rec)
			return failed == nil && !r.full && r.view.Seq() < r.until && r.view.Place() == place
		})
		switch {
		case failed != nil:
			return failed
		case err != nil:
			return err
		case !r.full && r.view.Seq() < r.until && r.view.Place() == place:
			return errReplayLost // what was shown is not there
		}
	}
	return nil
}

// fold takes the session's next record.
func (r *rerun) fold(ctx context.Context, rec *record.Record) error {
	shown, err := r.others.read(ctx, r.view, rec)
	if envelope.CodeOf(err) == envelope.CodeNotFound {
		return errReplayLost
	}
	if err != nil {
		return err
	}
	var credentials []envelope.Credential
	if rec.Grant != "" && r.s.srv.provision != nil {
		if credentials, err = r.s.srv.provision.good(ctx, r.s.srv.log, rec.Grant, r.s.principal); err != nil {
			return err
		}
	}
	r.view.Apply(rec, func(f view.Frame) {
		if f.Seq == 0 || f.Seq > r.until {
			return
		}
		if f.Type == envelope.TypeJobAccepted && len(credentials) > 0 {
			if line, err := withCredentials(f.Line, credentials); err == nil {
				f.Line = line
			}
		}
		if r.found {
			r.push(r.s.frames(f)...)
			return
		}
		r.look(f)
	}, shown...)
	return nil
}

// look takes an envelope from before what is shown.
func (r *rerun) look(f view.Frame) {
	if r.streams {
		r.note(f)
	}
	if !r.means(f) {
		return
	}
	r.found = true
	for _, o := range r.open {
		r.push(o.frames...)
	}
	r.open = nil
}

// means reports whether an envelope is the one after which the replay begins.
func (r *replay) means(f view.Frame) bool {
	if r.checkpoint != "" && f.Type != envelope.TypeJobCheckpoint || !bytes.Contains(f.Line, []byte(string(r.after)+r.checkpoint)) {
		return false
	}
	e, err := envelope.DecodeStored(f.Line)
	if err != nil || r.checkpoint == "" {
		return err == nil && e.ID == r.after
	}
	saved, err := envelope.DecodePayload[envelope.JobCheckpoint](e)
	return err == nil && saved.CheckpointID == r.checkpoint
}

// note keeps the list of the streams that are open.
func (r *rerun) note(f view.Frame) {
	ends := terminal(f.Type) || f.Type == envelope.TypeJobStarted // another attempt has none
	switch {
	case ends, f.Type == envelope.TypeStreamOpen, f.Type == envelope.TypeStreamClose, f.Type == envelope.TypeStreamError:
	default:
		return
	}
	e, err := envelope.DecodeStored(f.Line)
	if err != nil {
		return
	}
	kept := r.open[:0]
	for _, o := range r.open {
		if o.job != e.JobID || !ends && o.stream != e.StreamID {
			kept = append(kept, o)
		}
	}
	r.open = kept
	if f.Type == envelope.TypeStreamOpen {
		r.open = append(r.open, opened{job: e.JobID, stream: e.StreamID, frames: r.s.frames(f)})
	}
}

func (r *rerun) push(frames ...frame) {
	for _, f := range frames {
		r.full = r.s.conn.out.pushEvent(f) || r.full
	}
}
