package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/registry"
)

// Worker takes jobs from the log and runs them. Make one with [New], give it
// tools with [Worker.Handle], then call [Worker.Run], once.
type Worker struct {
	cfg Config
	bus Bus
	log *slog.Logger

	mu      sync.Mutex
	tools   map[string]*tool // by name@version; not changed once running
	running bool
	ears    map[int]*ear // by shard

	ready    chan struct{}
	stopOnce sync.Once
	stopped  chan struct{}

	// Set by Run, in the order in which they end.
	fetchCtx  context.Context // fetching and what has not begun
	workCtx   context.Context // handlers
	recordCtx context.Context // writing down what they said
	attendCtx context.Context // listening to clients, signs of life

	slots    *slots
	lanes    lanes
	held     heldJobs
	handlers handlerCount
	table    *registry.Table
	// tableKnown is closed when the table has what was there.
	tableKnown chan struct{}
	lent       atomic.Int64 // places lent by handlers that wait

	fetchers sync.WaitGroup // pull loops, announcements
	jobs     sync.WaitGroup // deliveries in hand; only pull loops add
	inputs   sync.WaitGroup // listeners and the caretaker
}

// New makes a worker on a bus. It fails with a [*ConfigError].
func New(bus Bus, cfg Config) (*Worker, error) {
	if bus == nil {
		return nil, &ConfigError{Field: "bus", Reason: "must not be nil"}
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Worker{
		cfg:     cfg,
		bus:     bus,
		log:     cfg.Logger.With("worker", cfg.Name),
		tools:   map[string]*tool{},
		ears:    map[int]*ear{},
		ready:   make(chan struct{}),
		stopped: make(chan struct{}),
		table:   registry.NewTable(),

		tableKnown: make(chan struct{}),
		lanes:      lanes{known: map[lane]<-chan struct{}{}},
		held:       heldJobs{jobs: map[string]*attempt{}},
	}, nil
}

// Ready returns a channel that is closed when the worker has announced its
// tools and takes jobs of its own queue from every shard.
func (w *Worker) Ready() <-chan struct{} { return w.ready }

// Stop ends Run at once: running jobs are handed back, their handlers get a
// quarter of a second, and what is not yet in the log may be lost to it. To let
// them finish, end Run's context instead.
func (w *Worker) Stop() { w.stopOnce.Do(func() { close(w.stopped) }) }

// lastWords is how long events of jobs that are handed back may take to get
// into the log.
const lastWords = 5 * time.Second

// Run serves jobs until ctx ends, and then drains: it takes no more jobs,
// withdraws its announcement, and waits up to Config.DrainTimeout for the
// running ones. What still runs then is cancelled with [ErrDraining] and
// handed back, so that another worker takes its next attempt at once.
//
// While the log cannot be reached Run waits for it. It returns nil after a
// drain or a [Worker.Stop], and an error if the worker has no tools, was run
// before, or leaves handlers behind that do not return.
func (w *Worker) Run(ctx context.Context) error {
	if err := w.begin(); err != nil {
		return err
	}
	// A stop must be able to end what ctx no longer does.
	base := context.WithoutCancel(ctx)
	attendCtx, endAttend := context.WithCancel(base)
	recordCtx, endRecord := context.WithCancelCause(attendCtx)
	workCtx, endWork := context.WithCancelCause(recordCtx)
	fetchCtx, endFetch := context.WithCancel(ctx)
	w.attendCtx, w.recordCtx, w.workCtx, w.fetchCtx = attendCtx, recordCtx, workCtx, fetchCtx
	defer endFetch()
	defer endAttend()
	unhook := make(chan struct{})
	stopping := make(chan struct{})
	go func() {
		defer close(stopping)
		select {
		case <-w.stopped:
			endFetch()
			endWork(ErrDraining)
			endRecord(ErrDraining)
		case <-unhook:
		}
	}()
	defer func() { close(unhook); <-stopping }()

	w.inputs.Go(func() { w.takeCare(attendCtx) })
	w.fetchers.Go(func() { w.serveAll(fetchCtx) })

	<-fetchCtx.Done()
	w.log.Info("draining", "jobs", len(w.held.all(nil)))
	w.fetchers.Wait()

	done := make(chan struct{})
	go func() { w.jobs.Wait(); close(done) }()
	if !within(done, w.cfg.DrainTimeout) {
		w.log.Warn("drain timeout has passed, running jobs are handed back", "jobs", len(w.held.all(nil)))
		endWork(ErrDraining)
		if !within(done, w.cfg.CancelGrace+lastWords) {
			endRecord(ErrDraining)
			<-done
		}
	}
	left := w.awaitAbandoned()
	endAttend()
	w.inputs.Wait()
	if left > 0 {
		return fmt.Errorf("worker: %d handlers have not returned", left)
	}
	w.log.Info("drained")
	return nil
}

// begin claims the only run of this worker.
func (w *Worker) begin() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.running:
		return errors.New("worker: was run before")
	case len(w.tools) == 0:
		return &ConfigError{Field: "tools", Reason: "there are none"}
	}
	w.running = true
	total := 0
	for _, t := range w.tools {
		total += t.opts.Concurrency
	}
	w.slots = newSlots(total)
	return nil
}

// within waits for done, for at most d, and tells whether it came.
func within(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// stopGrace is how long a handler may take to return after a Stop.
const stopGrace = 250 * time.Millisecond

// awaitAbandoned gives handlers that were abandoned a last time to return, and
// returns how many have not.
func (w *Worker) awaitAbandoned() int {
	grace := w.cfg.CancelGrace
	select {
	case <-w.stopped:
		grace = min(grace, stopGrace)
	default:
	}
	ctx, cancel := context.WithTimeout(w.attendCtx, grace)
	defer cancel()
	left := w.handlers.wait(ctx)
	if left > 0 {
		w.log.Error("handlers have not returned", "count", left)
	}
	return left
}

// ear listens to what clients say to the jobs of one shard.
type ear struct {
	book  *cancelBook
	ready chan struct{} // closed when nothing said from now on is missed
}

// listen starts to listen to a shard, unless that is so already, and returns a
// channel that is closed when it does.
func (w *Worker) listen(shard int) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e := w.ears[shard]; e != nil {
		return e.ready
	}
	e := &ear{book: newCancelBook(cancelBookSize), ready: make(chan struct{})}
	w.ears[shard] = e
	w.inputs.Go(func() { w.hear(w.attendCtx, shard, e.book, e.ready) })
	return e.ready
}

func (w *Worker) book(shard int) *cancelBook {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ears[shard].book
}

// serveAll announces the worker, opens its queues and keeps both up to date
// until ctx ends.
func (w *Worker) serveAll(ctx context.Context) {
	shards, err := w.shards(ctx)
	if err != nil {
		return // ctx ended
	}
	own := w.Queue()
	for _, shard := range shards {
		opened := w.serveLane(ctx, lane{shard, own})
		select {
		case <-opened:
		case <-ctx.Done():
			return
		}
	}
	// Announced only now: a worker that cannot take jobs yet is not live.
	if w.announce(ctx) != nil {
		return
	}
	defer w.withdraw(w.recordCtx)
	close(w.ready)
	w.log.Info("ready", "tools", w.Tools(), "queue", own, "shards", len(shards))

	news := make(chan struct{}, 1)
	w.fetchers.Go(func() {
		w.follow(ctx, func() {
			select {
			case news <- struct{}{}:
			default:
			}
		})
	})
	ticker := time.NewTicker(registry.PresenceInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-news:
		case <-ticker.C:
			// Streams may have been added.
			if now, err := w.bus.Shards(ctx); err == nil {
				shards = now
			}
			w.showPresence(ctx)
		}
		if w.serveQueues(ctx, shards) {
			w.showPresence(ctx)
		}
	}
}

// shards waits until there is a log.
func (w *Worker) shards(ctx context.Context) (shards []int, err error) {
	said := false
	err = retry(ctx, func() error {
		shards, err = w.bus.Shards(ctx)
		if err == nil && len(shards) == 0 {
			err = envelope.Errorf(envelope.CodeUnavailable, "there is no log yet")
		}
		if err != nil && !said && ctx.Err() == nil {
			said = true
			w.log.Warn("waiting for the log", "error", err)
		}
		return err
	})
	return shards, err
}
