package worker

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// maxLent bounds the handlers of a worker that wait for children without a
// place among the concurrent jobs: each still costs memory.
const maxLent = 1024

// seat is the place of one attempt among the concurrent jobs of its tool and
// its worker, while its handler runs. It is lent while the handler waits.
type seat struct {
	w    *Worker
	tool *semaphore.Weighted

	mu     sync.Mutex
	waits  int  // how many wait
	lent   bool // the tool's place
	gone   bool // the handler has returned, or the worker no longer waits for it
	lender bool // counted in Worker.lent, and in debt with the worker's slots
}

// lend gives the place away, if nobody has done so and it is not one too many.
func (s *seat) lend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waits++
	if s.lent || s.gone || s.waits > 1 {
		return
	}
	if s.w.lent.Add(1) > maxLent {
		s.w.lent.Add(-1)
		return
	}
	s.lent, s.lender = true, true
	s.tool.Release(1)
	s.w.slots.lend()
}

// takeBack waits for a place again, unless others still wait in the handler. It
// fails when ctx ends first.
func (s *seat) takeBack(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waits--
	if s.waits > 0 || !s.lent {
		return nil
	}
	s.settle()
	s.mu.Unlock()
	err := s.tool.Acquire(ctx, 1)
	s.mu.Lock()
	switch {
	case err != nil:
		return err
	case !s.lent: // another wait has it back
		s.tool.Release(1)
	default:
		s.lent = false
	}
	return nil
}

// settle takes back the worker's slot. Called with mu.
func (s *seat) settle() {
	if s.lender {
		s.lender = false
		s.w.lent.Add(-1)
		s.w.slots.takeBack()
	}
}

// close ends the lending: the worker lets go of the job, and of its own slot.
func (s *seat) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	s.settle()
}

// leave gives the place up for good: the handler has returned.
func (s *seat) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	s.settle()
	if !s.lent {
		s.tool.Release(1)
	}
}
