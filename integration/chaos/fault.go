package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/arcp-nats/arcp/internal/cutproxy"
)

// Apply carries a fault out and returns when it has healed. Several faults may be applied at once; those of one process,
// and those of NATS servers, wait for each other. badStop is how a process that was told to stop failed to do so.
func (c *Cluster) Apply(ctx context.Context, f Fault) (badStop, err error) {
	switch f.Kind {
	case KillEdge:
		return nil, c.toNode(c.edges[f.Target], func(n *node) error { return n.kill(ctx, f.Lasts) })
	case KillWorker:
		return nil, c.toNode(c.workers[f.Target], func(n *node) error { return n.kill(ctx, f.Lasts) })
	case KillNATS:
		return nil, c.toNATS(f, func(n *node) error { return n.kill(ctx, f.Lasts) })
	case PauseEdge:
		return nil, c.toNode(c.edges[f.Target], func(n *node) error { n.pause(ctx, f.Lasts); return nil })
	case PauseWorker:
		return nil, c.toNode(c.workers[f.Target], func(n *node) error { n.pause(ctx, f.Lasts); return nil })
	case PauseNATS:
		return nil, c.toNATS(f, func(n *node) error { n.pause(ctx, f.Lasts); return nil })
	case DrainEdge:
		err = c.toNode(c.edges[f.Target], func(n *node) (err error) { badStop, err = n.drain(ctx, f.Lasts); return err })
		return badStop, err
	case DrainWorker:
		err = c.toNode(c.workers[f.Target], func(n *node) (err error) { badStop, err = n.drain(ctx, f.Lasts); return err })
		return badStop, err
	case CutClients:
		c.cutClients(ctx, f)
	case SlowClients:
		slow(ctx, f, c.fronts[f.Target])
	case CutNATS:
		c.cutNATS(ctx, f)
	case SlowNATS:
		slow(ctx, f, c.backs[f.Target]...)
	case FillLog:
		return nil, c.fillLog(ctx, f)
	default:
		return nil, fmt.Errorf("chaos: no such fault: %s", f.Kind)
	}
	return nil, nil
}

func (c *Cluster) toNode(n *node, do func(*node) error) error {
	n.busy.Lock()
	defer n.busy.Unlock()
	return do(n)
}

func (c *Cluster) toNATS(f Fault, do func(*node) error) error {
	c.broken.Lock()
	defer c.broken.Unlock()
	return c.toNode(c.nats[f.Target], do)
}

// cutClients cuts the connections to an edge, and, for a while, most new ones after a random number of bytes.
func (c *Cluster) cutClients(ctx context.Context, f Fault) {
	c.cuts[f.Target].set(rand.New(rand.NewPCG(f.Seed, 0)))
	c.fronts[f.Target].CutAll()
	wait(ctx, f.Lasts)
	c.cuts[f.Target].set(nil)
}

// cutNATS cuts the connections of a process to NATS, again and again for a while.
func (c *Cluster) cutNATS(ctx context.Context, f Fault) {
	random := rand.New(rand.NewPCG(f.Seed, 0))
	for end := time.Now().Add(f.Lasts); ctx.Err() == nil && time.Now().Before(end); {
		for _, proxy := range c.backs[f.Target] {
			proxy.CutAll()
		}
		wait(ctx, between(random, 20*time.Millisecond, 400*time.Millisecond))
	}
}

// slow delays everything that goes through some proxies.
func slow(ctx context.Context, f Fault, proxies ...*cutproxy.Proxy) {
	random := rand.New(rand.NewPCG(f.Seed, 0))
	delay := between(random, 10*time.Millisecond, 300*time.Millisecond)
	for _, proxy := range proxies {
		proxy.SetDelay(delay)
	}
	wait(ctx, f.Lasts)
	for _, proxy := range proxies {
		proxy.SetDelay(0)
	}
}

// fillLog makes the log refuse all records for a while: its limit is put far below what it holds, which loses nothing.
// An edge that starts meanwhile puts the limit back.
func (c *Cluster) fillLog(ctx context.Context, f Fault) error {
	if err := c.limitLog(ctx, 1); err != nil {
		return err
	}
	wait(ctx, f.Lasts)
	return c.limitLog(ctx, logBytes)
}

// limitLog changes the size at which the log refuses more. NATS may be away for a while.
func (c *Cluster) limitLog(ctx context.Context, bytes int64) error {
	topology := c.topology
	topology.MaxBytes = bytes
	return persist(ctx, startPatience, func() error {
		drift, err := c.admin.Ensure(ctx, topology)
		if err == nil && len(drift) > 0 {
			return fmt.Errorf("chaos: the log's limit stays: %v", drift)
		}
		return err
	})
}

// Heal makes sure that no limit, delay or cut of a fault is left. All faults must have returned.
func (c *Cluster) Heal(ctx context.Context) error { return c.limitLog(ctx, logBytes) }

// cutLimits decides after how many bytes new connections are cut.
type cutLimits struct {
	mu     sync.Mutex
	random *rand.Rand // nil: never
}

func (l *cutLimits) set(random *rand.Rand) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.random = random
}

// next is asked for each new connection. Three of four are cut, somewhere in the HTTP upgrade, the handshake or what
// follows.
func (l *cutLimits) next(int) cutproxy.Cut {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.random == nil || l.random.IntN(4) == 0 {
		return cutproxy.Cut{}
	}
	cut := cutproxy.Cut{Reset: l.random.IntN(2) == 0}
	limit := 1 + l.random.Int64N(3000)
	if l.random.IntN(2) == 0 {
		cut.Up = limit
	} else {
		cut.Down = limit
	}
	return cut
}
