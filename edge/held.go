package edge

import (
	"context"
	"encoding/json"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// Marks of the edge in a session's log. They are never shown to a client.
const (
	// typeHeld says that an edge holds the session from here on. What stands before it is delivered by the holder
	// before, what stands after it by the new one: the log's order decides, with no lock.
	typeHeld envelope.Type = "_session.held"
	// typeSync is a point to read up to: whoever meets it has read everything that was stored before.
	typeSync envelope.Type = "_session.sync"
)

// held is the payload of a mark.
type held struct {
	Edge  string `json:"edge"`
	Epoch uint64 `json:"epoch"`
}

// mark stores a mark in a session's log and returns its position.
func mark(ctx context.Context, log Log, subject subjects.Subject, typ envelope.Type, payload any) (uint64, error) {
	e, err := envelope.New(typ, payload)
	if err != nil {
		return 0, err
	}
	e.SessionID = envelope.SessionID(subject.Session)
	rec, err := record.New(subject, e)
	if err != nil {
		return 0, err
	}
	return log.PublishWait(ctx, rec)
}

// awaitMark waits until the view has folded the mark at a position of the place that the session is in now.
func (s *session) awaitMark(ctx context.Context, pos uint64) error {
	reached := make(chan struct{})
	s.mu.Lock()
	s.goal, s.goalPlace, s.goalReached = pos, s.feed.key, reached
	s.noteGoal()
	s.mu.Unlock()
	select {
	case <-reached:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// noteGoal tells awaitMark that the view has come far enough: there, or to another place. It needs the lock.
func (s *session) noteGoal() {
	if s.goalReached != nil && (s.view.Pos() >= s.goal || s.view.Place() != s.goalPlace) {
		close(s.goalReached)
		s.goalReached = nil
	}
}

// parseHeld returns what a record says about who holds the session, if that is what it is about.
func parseHeld(rec *record.Record) (held, bool) {
	if len(rec.Types) != 1 || rec.Types[0] != typeHeld {
		return held{}, false
	}
	var body struct {
		Payload held `json:"payload"`
	}
	if err := json.Unmarshal(rec.Body, &body); err != nil {
		return held{}, false
	}
	return body.Payload, true
}
