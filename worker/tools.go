package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/arcp-nats/arcp/envelope"
)

// tool is one version of a tool, with its handler.
type tool struct {
	ref     envelope.AgentRef
	handler Handler
	opts    Options
	slots   *semaphore.Weighted // Options.Concurrency of them
	metrics *toolMetrics
}

// Handle registers the handler of one version of a tool. It must be called
// before Run. It fails with a [*ConfigError] if name and version are no agent
// reference (open dialect 3.4), if that version has a handler already, if
// another version of the tool is the default already, or if an option cannot
// be used.
func (w *Worker) Handle(name, version string, handler Handler, opts Options) error {
	ref, err := envelope.ParseAgentRef(name + "@" + version)
	if err != nil {
		return &ConfigError{Field: "tool " + name + "@" + version, Reason: err.Error()}
	}
	if handler == nil {
		return &ConfigError{Field: "tool " + ref.String(), Reason: "has no handler"}
	}
	if opts, err = opts.withDefaults(w.cfg); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running {
		return &ConfigError{Field: "tool " + ref.String(), Reason: "the worker runs already"}
	}
	if w.tools[ref.String()] != nil {
		return &ConfigError{Field: "tool " + ref.String(), Reason: "is registered already"}
	}
	for _, other := range w.tools {
		if opts.Default && other.opts.Default && other.ref.Name == ref.Name {
			return &ConfigError{Field: "tool " + ref.String(), Reason: "version " + other.ref.Version + " is the default already"}
		}
	}
	w.tools[ref.String()] = &tool{
		ref:     ref,
		handler: handler,
		opts:    opts,
		slots:   semaphore.NewWeighted(int64(opts.Concurrency)),
		metrics: w.cfg.Metrics.tool(ref.String()),
	}
	return nil
}

// Tools returns the registered tools, name@version, sorted.
func (w *Worker) Tools() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	names := make([]string, 0, len(w.tools))
	for name := range w.tools {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Queue returns the name of the worker's own queue.
func (w *Worker) Queue() string {
	if w.cfg.Queue != "" {
		return w.cfg.Queue
	}
	return queueName(w.Tools())
}

// queueNameTools is how many tools a derived queue name spells out.
const queueNameTools = 2

// queueName derives a queue's name from its sorted tools, so that equal sets
// share a queue: a part for people, and a digest.
func queueName(tools []string) string {
	digest := sha256.Sum256([]byte(strings.Join(tools, "\n")))
	var parts []string
	for _, t := range tools[:min(len(tools), queueNameTools)] {
		name, _, _ := strings.Cut(t, "@")
		parts = append(parts, name[:min(len(name), 20)])
	}
	return strings.Join(append(parts, hex.EncodeToString(digest[:6])), "-")
}

// slots shares out the jobs that a worker may hold among its pull loops. A
// loop reserves a slot for every job it asks for, so that nothing is fetched
// that this worker has no place for.
type slots struct {
	free  *semaphore.Weighted
	total int64

	mu   sync.Mutex
	debt int // slots that were lent, are wanted back and not there
}

func newSlots(n int) *slots {
	return &slots{free: semaphore.NewWeighted(int64(n)), total: int64(n)}
}

// reserve waits for one slot and takes up to want, and returns how many.
// Waiting loops are served in turn.
func (s *slots) reserve(ctx context.Context, want int64) (int, error) {
	if err := s.free.Acquire(ctx, 1); err != nil {
		return 0, err
	}
	got := int64(1)
	// Halving finds what is free in a few steps.
	for step := want - got; step > 0 && got < want; step /= 2 {
		for step <= want-got && s.free.TryAcquire(step) {
			got += step
		}
	}
	return int(got), nil
}

// lend frees the slot of a job that still runs, but waits for another one.
func (s *slots) lend() { s.release(1) }

// takeBack ends that, and does not wait for it: if no slot is free the next one
// that would be is taken.
func (s *slots) takeBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.free.TryAcquire(1) {
		s.debt++
	}
}

func (s *slots) release(n int) {
	s.mu.Lock()
	paid := min(s.debt, n)
	s.debt -= paid
	n -= paid
	s.mu.Unlock()
	if n > 0 {
		s.free.Release(int64(n))
	}
}
