package worker

import (
	"context"
	"sync"
	"time"

	"github.com/arcp-nats/arcp/envelope"
)

// care is what the caretaker knows of one attempt. But for seen, which is set
// before, only its goroutine touches it.
type care struct {
	seen      time.Time // when the job was fetched, then of the last sign of life
	heartbeat time.Time // of the last job.heartbeat; zero before the first look at the running job
	sequence  uint64
}

// heldJobs is the jobs in this worker's hands, by id.
type heldJobs struct {
	mu   sync.Mutex
	jobs map[string]*attempt
}

// add puts a in charge of its job. An earlier attempt that still runs here was
// given up on by the queue; it is told. One with the same number, which the
// broker has forgotten, falls silent first: nobody could tell the two apart.
func (h *heldJobs) add(a *attempt) {
	job := a.d.Record.Subject.Job
	h.mu.Lock()
	earlier := h.jobs[job]
	if earlier != nil && earlier.d.Attempt > a.d.Attempt {
		earlier = a // they came in the wrong order
	} else {
		h.jobs[job] = a
	}
	h.mu.Unlock()
	if earlier == nil {
		return
	}
	earlier.cancel(ErrSuperseded)
	if earlier != a && earlier.d.Attempt == a.d.Attempt {
		earlier.job.out.abandon(ErrSuperseded)
	}
}

func (h *heldJobs) remove(a *attempt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if job := a.d.Record.Subject.Job; h.jobs[job] == a {
		delete(h.jobs, job)
	}
}

func (h *heldJobs) get(job string) *attempt {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.jobs[job]
}

// all appends the attempts to into.
func (h *heldJobs) all(into []*attempt) []*attempt {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range h.jobs {
		into = append(into, a)
	}
	return into
}

// takeCare shows signs of life for every job that this worker holds, waiting
// or running, and sends the heartbeats of the running ones, until ctx ends.
// One goroutine serves all jobs; a job that is done before the first round
// costs it nothing.
func (w *Worker) takeCare(ctx context.Context) {
	// With rounds of a sixth, no job is silent for more than a third.
	round := min(w.cfg.AckWait/6, max(w.cfg.Heartbeat/2, time.Millisecond))
	ticker := time.NewTicker(max(round, time.Millisecond))
	defer ticker.Stop()
	var held []*attempt
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			held = w.held.all(held[:0])
			for _, a := range held {
				a.lookAfter(now, round)
			}
			clear(held)
		}
	}
}

func (a *attempt) lookAfter(now time.Time, round time.Duration) {
	silence := now.Sub(a.care.seen)
	if silence >= a.w.cfg.AckWait*2/3 {
		a.lapsed.Store(true) // this process slept, or the machine did
	}
	if silence >= a.w.cfg.AckWait/6 {
		a.care.seen = now
		if err := a.d.Receipt.InProgress(); err != nil {
			a.lapsed.Store(true)
			a.log.Debug("sign of life could not be sent", "error", err)
		}
	}
	if !a.running.Load() {
		return
	}
	if a.care.heartbeat.IsZero() {
		a.care.heartbeat = now.Add(-round) // it may have begun that long ago
	}
	// Early rather than late: the next round would miss the interval.
	if now.Add(round).Sub(a.care.heartbeat) > a.w.cfg.Heartbeat {
		a.care.heartbeat = now
		a.beat()
	}
}

// beat says job.heartbeat. A full outbox needs none: the events in it show
// that the job lives.
func (a *attempt) beat() {
	deadline := uint64(2 * a.w.cfg.Heartbeat / time.Millisecond) // two may be missed (HB-4)
	l, err := a.job.speaker.line(envelope.TypeJobHeartbeat, &envelope.JobHeartbeat{
		Sequence: a.care.sequence, DeadlineMS: &deadline, State: a.job.permits.state(),
	})
	if err == nil && a.job.out.offer(l) {
		a.care.sequence++
	}
}
