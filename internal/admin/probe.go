package admin

import (
	"context"
	"sync/atomic"
)

// Probe knows what keeps a process from taking work: it is connected to nothing yet, has not started, or drains. It is
// safe for concurrent use.
type Probe struct {
	drain     context.Context
	connected atomic.Pointer[func() bool]
	started   atomic.Bool
}

// NewProbe returns a probe of a process that drains when ctx ends.
func NewProbe(ctx context.Context) *Probe { return &Probe{drain: ctx} }

// Connection says how to ask whether there is a connection to NATS; ask must not block.
func (p *Probe) Connection(ask func() bool) { p.connected.Store(&ask) }

// Started says that the process takes work from now on.
func (p *Probe) Started() { p.started.Store(true) }

// Missing returns what is missing, for Config.Missing.
func (p *Probe) Missing() (missing []string) {
	if p.drain.Err() != nil {
		return []string{"draining"}
	}
	if ask := p.connected.Load(); ask == nil || !(*ask)() {
		missing = append(missing, "NATS is not connected")
	}
	if !p.started.Load() {
		missing = append(missing, "starting")
	}
	return missing
}
