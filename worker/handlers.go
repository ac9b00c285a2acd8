package worker

import (
	"context"
	"sync"
)

// handlerCount counts the goroutines in which handlers run, the abandoned ones
// too.
type handlerCount struct {
	mu        sync.Mutex
	running   int
	abandoned uint64        // ever
	idle      chan struct{} // closed when running reaches 0; nil while nobody waits
}

func (c *handlerCount) add() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running++
}

func (c *handlerCount) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	if c.running == 0 && c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
}

// abandon counts one more handler that is not waited for, and returns how many
// there were.
func (c *handlerCount) abandon() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.abandoned++
	return c.abandoned
}

// wait waits until no handler runs or ctx ends, and returns how many still do.
func (c *handlerCount) wait(ctx context.Context) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.running > 0 {
		if c.idle == nil {
			c.idle = make(chan struct{})
		}
		idle := c.idle
		c.mu.Unlock()
		select {
		case <-idle:
			c.mu.Lock()
		case <-ctx.Done():
			c.mu.Lock()
			return c.running
		}
	}
	return 0
}
