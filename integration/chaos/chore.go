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

func newChores() []chore { return []chore{newListening()} }

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
