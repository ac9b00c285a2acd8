package chaos

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/subjects"
)

// hearing is a subscription and what its session was told of it.
type hearing struct {
	id     string
	asked  *Request
	place  uint64 // of the acceptance
	from   uint64 // of the message that its history begins after, 0 for none
	events []*frame
	ends   int // of the history
	closed bool
}

// checkSubscriptions is SB-1 to SB-8 and BF-1 to BF-4: what a subscription asks for is told once each, in the order of the
// log, without a gap from its beginning on; and nothing else, and of nobody else.
func (c *trial) checkSubscriptions(s *testimony) {
	for _, h := range c.hearings(s) {
		for _, reason := range []string{c.heardRight(s, h), c.heardAll(s, h), h.history()} {
			if reason != "" {
				c.blame(Violation{Rule: "SB", Client: s.Client, Request: h.asked.ID, Detail: h.id + ": " + reason})
			}
		}
	}
}

// hearings sorts what a session was told of its subscriptions.
func (c *trial) hearings(s *testimony) (all []*hearing) {
	open := make(map[string]*hearing)
	for _, f := range s.counted {
		switch f.Type {
		case "subscribe.accepted":
			r := s.requests[f.CorrelationID]
			if r == nil || r.Type != "subscribe" {
				continue // checkAnswers says so
			}
			h := &hearing{id: f.SubscriptionID, asked: r, place: c.places[f.ID], from: c.places[r.Since]}
			open[h.id] = h
			all = append(all, h)
		case "subscribe.event", "subscribe.closed":
			h := open[f.SubscriptionID]
			if h == nil {
				c.blame(Violation{Rule: "SB", Client: s.Client, Detail: f.Type + " of a subscription that there is not: " + f.SubscriptionID})
				continue
			}
			if f.Type == "subscribe.closed" {
				h.closed = true
				continue
			}
			inner := decode(f.read().Event)
			if inner.Type == "event.emit" && inner.SubscriptionID == h.id && inner.SessionID == "" {
				h.ends++
				continue
			}
			h.events = append(h.events, inner)
		}
	}
	return all
}

// heardRight says what is wrong with what a subscription was told, if anything.
func (c *trial) heardRight(s *testimony, h *hearing) string {
	seen := make(map[string]bool)
	last := uint64(0)
	for _, f := range h.events {
		place := c.places[f.ID]
		switch {
		case !slices.Contains(h.asked.Types, f.Type):
			return f.Type + " was not asked for"
		case seen[f.ID]:
			return fmt.Sprintf("%s %s was told twice", f.Type, f.ID)
		case place == 0:
			return fmt.Sprintf("%s %s is not in the log", f.Type, f.ID)
		case place < last:
			return fmt.Sprintf("%s %s, at %d, was told after what is at %d", f.Type, f.ID, place, last)
		case place <= h.from:
			return fmt.Sprintf("%s %s was told, which is from before %s", f.Type, f.ID, h.asked.Since)
		case c.speaker(f.SessionID) != s.Principal:
			return fmt.Sprintf("%s of %s was told", f.Type, c.speaker(f.SessionID))
		}
		seen[f.ID], last = true, place
	}
	if h.closed {
		return "it was closed, and nobody asked for that"
	}
	return ""
}

// speaker returns the principal of a session.
func (c *trial) speaker(session string) string {
	for _, s := range c.sessions {
		if s.ID == session {
			return s.Principal
		}
	}
	return "nobody"
}

// heardAll says what a subscription was not told, if anything. One that was ended is told what came up to some point.
func (c *trial) heardAll(s *testimony, h *hearing) string {
	seen := make(map[string]bool)
	last := uint64(0)
	for _, f := range h.events {
		seen[f.ID] = true
		last = max(last, c.places[f.ID])
	}
	from := h.place
	if h.asked.Since != "" {
		from = h.from
	}
	ended := c.unsubscribed(s, h.id)
	for id, place := range c.tellable(s.Principal, h.asked.Types) {
		if place > from && (!ended || place < last) && !seen[id] {
			return fmt.Sprintf("%s, at %d of the log, was not told", id, place)
		}
	}
	return ""
}

// tellable returns what the sessions of a principal were told or said, of those types for which that is certain, with its
// places in the log.
func (c *trial) tellable(principal string, types []string) map[string]uint64 {
	all := make(map[string]uint64)
	for _, s := range c.sessions {
		if s.Principal != principal {
			continue
		}
		for _, f := range s.counted {
			j := c.jobs[f.JobID]
			others := j != nil && j.invocation.Subject.Session != s.ID // and not published again
			if f.terminal() && !others && slices.Contains(types, f.Type) {
				all[f.ID] = c.places[f.ID]
			}
		}
	}
	if !slices.Contains(types, "event.emit") {
		return all
	}
	for _, r := range c.Log {
		if r.Subject.Lane != subjects.Input || r.Principal != principal {
			continue
		}
		for typ, line := range r.Lines() {
			if f := decode(line); typ == "event.emit" {
				all[f.ID] = r.Seq
			}
		}
	}
	return all
}

// unsubscribed tells whether the log says that a subscription was ended.
func (c *trial) unsubscribed(s *testimony, id string) bool {
	for _, r := range c.index.sessions[s.ID] {
		for typ, line := range r.Lines() {
			var ended view.Unsubscribed
			if typ == view.TypeUnsubscribed && json.Unmarshal(decode(line).Payload, &ended) == nil && string(ended.ID) == id {
				return true
			}
		}
	}
	return false
}

// history says what is wrong with the end of the history, if anything (BF-2).
func (h *hearing) history() string {
	switch {
	case h.ends > 1:
		return fmt.Sprintf("the history ended %d times", h.ends)
	case h.ends == 1 && h.asked.Since == "":
		return "a history ended that nobody asked for"
	}
	return ""
}
