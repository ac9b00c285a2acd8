package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/arcp-nats/arcp/internal/children"
)

const (
	// startPatience bounds the wait for a ready line. A process waits for NATS, which may be away itself.
	startPatience = time.Minute
	// stopPatience bounds an orderly end; it is well above drainTimeout.
	stopPatience = 20 * time.Second
	// drainTimeout is what edges and workers are given for an orderly end.
	drainTimeout = 3 * time.Second
)

// node is a process that can be ended and started again: with the same name, ports and data. Faults of a node come one
// at a time.
type node struct {
	name string
	file string
	args []string
	log  *os.File

	busy  sync.Mutex // held during a fault
	child *children.Child
}

func newNode(dir, name, file string, args ...string) (*node, error) {
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, fmt.Errorf("chaos: %w", err)
	}
	return &node{name: name, file: file, args: args, log: log}, nil
}

// start starts the process and waits until it is ready.
func (n *node) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	child, err := children.Start(ctx, children.Spec{Name: n.name, File: n.file, Args: n.args, Stderr: n.log})
	if err != nil {
		return err
	}
	n.child = child
	return nil
}

// note writes a line of the harness's own between those of the process.
func (n *node) note(what string) {
	_, _ = io.WriteString(n.log, time.Now().UTC().Format(time.RFC3339Nano)+" === "+what+"\n")
}

// kill ends the process at once, and starts it again after a while.
func (n *node) kill(ctx context.Context, down time.Duration) error {
	n.note("killed")
	n.child.Kill()
	wait(ctx, down)
	return n.start(ctx)
}

// pause stops the process where it is for a while.
func (n *node) pause(ctx context.Context, d time.Duration) {
	n.note("paused")
	n.child.Pause()
	wait(ctx, d)
	n.note("continued")
	n.child.Continue()
}

// drain ends the process in an orderly way, and starts it again after a while. It returns how the stop went.
func (n *node) drain(ctx context.Context, down time.Duration) (stopped, started error) {
	stopped = n.stop()
	wait(ctx, down)
	return stopped, n.start(ctx)
}

// stop ends the process in an orderly way, if it runs. Whoever runs the harness wants that to end too, so it has a time
// of its own.
func (n *node) stop() error {
	if n.child == nil {
		return nil
	}
	n.note("told to stop")
	ctx, cancel := context.WithTimeoutCause(context.Background(), stopPatience, errors.New("too slow"))
	defer cancel()
	return n.child.Stop(ctx)
}

// end ends the process for good, by force if it still runs.
func (n *node) end() {
	if n.child != nil {
		n.child.Kill()
	}
	_ = n.log.Close()
}

// wait returns after d, or when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
