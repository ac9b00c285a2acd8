package edge

import (
	"math"
	"sync"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// maxHeardJobs bounds the jobs that heard remembers, twice.
const maxHeardJobs = 2048

// heard leaves out what a job's own session is not shown, as far as it is known: what a worker that was given up on still
// says, and what is said after the end. It remembers a bounded number of jobs and knows nothing of what stood before it
// began, so it may let such a record through; what it lets through is decided once, by the mark that shows it. It takes
// records in any order. It is safe for concurrent use.
type heard struct {
	mu          sync.Mutex
	jobs, older map[string]*heardJob // by subject, as anybody may choose any job's id
}

// heardJob is what is known of a job.
type heardJob struct {
	run    view.Run // the attempt that is listened to
	turned uint64   // from this position on
	ended  uint64   // where it ended, 0 for not yet
	final  int      // attempts above this are heard all the same: it was not their end
}

func newHeard() *heard { return &heard{jobs: make(map[string]*heardJob)} }

// hears reports whether a record is to be shown.
func (h *heard) hears(rec *record.Record) bool {
	if rec.Subject.Lane != subjects.Event || rec.Subject.Job == "" {
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	job := h.job(rec.Subject.String())
	switch {
	case rec.Seq < job.turned:
		return true // from before the attempt that is listened to now
	case job.ended > 0 && rec.Seq > job.ended && rec.Attempt <= job.final:
		return false
	}
	run := job.run
	if !run.Hear(rec) {
		return false
	}
	if run.Attempt != job.run.Attempt || run.Sender != job.run.Sender {
		job.run, job.turned = run, rec.Seq
	}
	for _, typ := range rec.Types {
		if row, _ := envelope.Lookup(typ); row.Terminal {
			job.ended, job.final = rec.Seq, rec.Attempt
			if rec.Attempt == 0 {
				job.final = math.MaxInt // the runtime's own word
			}
		}
	}
	return true
}

// job returns what is known of a job. It needs the lock.
func (h *heard) job(subject string) *heardJob {
	if job := h.jobs[subject]; job != nil {
		return job
	}
	job := h.older[subject]
	if job == nil {
		job = new(heardJob)
	}
	if len(h.jobs) >= maxHeardJobs {
		h.older, h.jobs = h.jobs, make(map[string]*heardJob)
	}
	h.jobs[subject] = job
	return job
}
