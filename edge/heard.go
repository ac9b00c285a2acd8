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

// heard leaves out what a job's own session is not shown: what a worker that was given up on still says, and what is said
// after the end. It remembers a bounded number of jobs. Of one that it meets in the middle it reads the past: which of two
// workers is listened to was decided there. If the log cannot be read then, it listens to whoever speaks first. It takes
// records in any order. It is safe for concurrent use.
type heard struct {
	// past passes the records of a job's events that stand before one to fn, in order. It may be nil.
	past func(rec *record.Record, fn func(*record.Record)) error

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

func newHeard(past func(*record.Record, func(*record.Record)) error) *heard {
	return &heard{past: past, jobs: make(map[string]*heardJob)}
}

// hears reports whether a record is to be shown.
func (h *heard) hears(rec *record.Record) bool {
	if rec.Subject.Lane != subjects.Event || rec.Subject.Job == "" {
		return true
	}
	subject := rec.Subject.String()
	h.meet(subject, rec)
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.job(subject).hear(rec)
}

// meet reads the past of a job that is not known, if it has one that matters.
func (h *heard) meet(subject string, rec *record.Record) {
	first := rec.Attempt == 1 && len(rec.Types) > 0 && rec.Types[0] == envelope.TypeJobStarted
	h.mu.Lock()
	known := h.jobs[subject] != nil || h.older[subject] != nil
	h.mu.Unlock()
	if known || first || rec.Attempt == 0 || h.past == nil {
		return
	}
	job := new(heardJob)
	if err := h.past(rec, func(before *record.Record) { job.hear(before) }); err != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if met := h.job(subject); met.run.Attempt == 0 && met.ended == 0 { // else another reader has met it meanwhile
		*met = *job
	}
}

// hear takes a record of the job, and reports whether it is to be shown.
func (job *heardJob) hear(rec *record.Record) bool {
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
