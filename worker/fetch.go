package worker

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// lane is one queue of one shard.
type lane struct {
	shard int
	queue string
}

// lanes is the pull loops of a worker, one a lane.
type lanes struct {
	mu    sync.Mutex
	known map[lane]<-chan struct{} // closed when the queue is open
}

// count returns how many loops share the slots.
func (l *lanes) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.known)
}

// queues returns the queues that are served, each once.
func (l *lanes) queues() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var names []string
	for lane := range l.known {
		if !slices.Contains(names, lane.queue) {
			names = append(names, lane.queue)
		}
	}
	return names
}

// serveLane starts the pull loop of a lane, unless it runs already, and
// returns a channel that is closed when its queue is open.
func (w *Worker) serveLane(ctx context.Context, l lane) <-chan struct{} {
	w.lanes.mu.Lock()
	defer w.lanes.mu.Unlock()
	if opened := w.lanes.known[l]; opened != nil {
		return opened
	}
	opened := make(chan struct{})
	w.lanes.known[l] = opened
	heard := w.listen(l.shard)
	w.fetchers.Go(func() {
		// A cancel that came before the job must be seen before the job.
		select {
		case <-heard:
			w.pull(ctx, l, opened)
		case <-ctx.Done():
		}
	})
	return opened
}

// pull fetches jobs of one lane and starts them until ctx ends.
func (w *Worker) pull(ctx context.Context, l lane, opened chan<- struct{}) {
	log := w.log.With("queue", l.queue, "shard", l.shard)
	want := int64(1)
	isOpen := false
	for ctx.Err() == nil {
		queue, err := w.openQueue(ctx, l)
		if err != nil {
			if ctx.Err() == nil {
				log.Error("queue cannot be opened", "error", err)
			}
			if !pause(ctx) {
				return
			}
			continue
		}
		if !isOpen {
			isOpen = true
			close(opened)
		}
		for ctx.Err() == nil {
			var full bool
			if full, err = w.fetch(ctx, queue, want); err != nil {
				break
			}
			// A lane with nothing to do asks for one job, so that it holds no
			// slots that a busy one could use; a busy one for its share.
			want = 1
			if full {
				want = max(1, w.slots.total/int64(w.lanes.count()))
			}
		}
		if err != nil && ctx.Err() == nil {
			log.Warn("jobs cannot be fetched", "error", err)
			if !pause(ctx) {
				return
			}
		}
	}
}

// Bounds of a request, after which the slots reserved for what does not come
// are of use to another lane: busyPoll when more than one job was asked for,
// scarcePoll when there are fewer slots than lanes. Otherwise a lane waits with
// its one slot for as long as it takes.
const (
	busyPoll   = 2 * time.Second
	scarcePoll = 200 * time.Millisecond
)

// fetch asks for up to want jobs, as far as there is room, and starts what
// comes. It tells whether all that was asked for came.
func (w *Worker) fetch(ctx context.Context, queue Queue, want int64) (full bool, err error) {
	n, err := w.slots.reserve(ctx, want)
	if err != nil {
		return false, nil // only ctx ends the wait
	}
	limited, cancel := ctx, context.CancelFunc(func() {})
	switch {
	case int64(w.lanes.count()) > w.slots.total:
		limited, cancel = context.WithTimeout(ctx, scarcePoll)
	case n > 1:
		limited, cancel = context.WithTimeout(ctx, busyPoll)
	}
	defer cancel()
	got := 0
	err = queue.Fetch(limited, n, func(d Delivery) {
		got++
		w.jobs.Go(func() {
			defer w.slots.release(1)
			w.serve(d)
		})
	})
	w.slots.release(n - got)
	if limited.Err() != nil {
		err = nil
	}
	return got >= n, err
}

func (w *Worker) openQueue(ctx context.Context, l lane) (queue Queue, err error) {
	err = retry(ctx, func() error {
		queue, err = w.bus.Queue(ctx, l.shard, l.queue, w.cfg.AckWait)
		if err != nil && !worthAnotherTry(err) {
			return backoff.Permanent(err)
		}
		return err
	})
	return queue, err
}

// pause waits for a moment between two tries, and tells whether ctx still
// lives.
func pause(ctx context.Context) bool {
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
