package chaos

import (
	"context"
	"maps"
	"slices"
	"time"
)

// maxListening bounds the subscriptions of a client.
const maxListening = 3

// noteName is the name of the events that clients emit for each other.
const noteName = "chaos.note"

// terminals are the types that end jobs.
var terminals = []string{"job.completed", "job.failed", "job.cancelled"}

// interests are what clients subscribe to.
var interests = [][]string{
	terminals,
	{"event.emit"},
	append(slices.Clone(terminals), "event.emit"),
	{"job.started", "job.progress", "log"},
}

// listening subscribes to what the sessions of the principal are told, and says something for others to hear.
type listening struct {
	pending *asking
	open    map[string]bool // subscriptions
	end     string          // the id of an end that the session was shown
	said    int
}

func newListening() *listening { return &listening{open: make(map[string]bool)} }

func (l *listening) begin(ctx context.Context, c *client) error {
	switch n := c.random.IntN(10); {
	case n < 6:
		l.said++
		return c.sendOne(ctx, Request{Type: "event.emit", Note: l.said},
			map[string]any{"name": noteName, "data": map[string]any{"note": l.said, "owner": c.notes.Secret}})
	case n < 9:
		if l.pending != nil || len(l.open) >= maxListening {
			return nil
		}
		r := Request{Type: "subscribe", Types: interests[c.random.IntN(len(interests))]}
		body := map[string]any{"filter": map[string]any{"types": r.Types}}
		if l.end != "" && c.random.IntN(2) == 0 {
			r.Since = l.end
			body["since"] = map[string]any{"after_message_id": l.end}
		}
		l.pending = &asking{request: r, body: body}
		return l.pending.ask(ctx, c)
	default:
		if len(l.open) == 0 {
			return nil
		}
		id := slices.Sorted(maps.Keys(l.open))[0]
		delete(l.open, id)
		return c.sendOne(ctx, Request{Type: "unsubscribe", Subscription: id}, map[string]any{"subscription_id": id})
	}
}

func (l *listening) due(ctx context.Context, c *client, now time.Time) (bool, error) {
	return l.pending.due(ctx, c, now)
}

func (l *listening) learn(_ *client, f *frame) {
	if l.pending.answeredBy(f) {
		l.pending = nil
	}
	switch {
	case f.Type == "subscribe.accepted":
		l.open[f.SubscriptionID] = true
	case f.terminal() && f.JobID != "":
		l.end = f.ID
	}
}

func (l *listening) settled() bool { return l.pending == nil }
