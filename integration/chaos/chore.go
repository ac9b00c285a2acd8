package chaos

import (
	"context"
	"time"
)

// chore is a kind of work that a client does beside invocations and cancels. It belongs to one client.
type chore interface {
	// begin starts something new, if it wants to.
	begin(ctx context.Context, c *client) error
	// due does what is due by now, if anything is.
	due(ctx context.Context, c *client, now time.Time) (acted bool, err error)
	// learn takes in what the runtime says.
	learn(c *client, f *frame)
	// settled tells whether nothing is left to wait for.
	settled() bool
}

func newChores() []chore {
	return []chore{newListening(), new(archive), newDeciding(), newWatching(), newFeeding()}
}

// asking is a request that is sent again until it is answered. Each time it has another id.
type asking struct {
	ids     map[string]bool
	again   time.Time
	request Request
	body    any
}

// ask sends a request, and again.
func (a *asking) ask(ctx context.Context, c *client) error {
	if a.ids == nil {
		a.ids = make(map[string]bool)
	}
	a.again = time.Now().Add(askAgain)
	id, err := c.send(ctx, a.request, a.body)
	a.ids[id] = true
	return err
}

// due asks again if it is time. There need not be anything to ask.
func (a *asking) due(ctx context.Context, c *client, now time.Time) (acted bool, err error) {
	if a == nil || now.Before(a.again) {
		return false, nil
	}
	return true, a.ask(ctx, c)
}

// answeredBy tells whether a frame answers the request, so that it need not be sent again.
func (a *asking) answeredBy(f *frame) bool {
	return a != nil && a.ids[f.CorrelationID] && (f.Type != "nack" || !lacksLog(f.read()))
}
