package view

import "github.com/arcp-nats/arcp/envelope"

// endedMax bounds the jobs that have ended and that a view still remembers.
const endedMax = 1024

// Ended is how a job ended, and the event_seq of its last envelope.
type Ended struct {
	State envelope.JobState
	Last  uint64
}

// memory remembers the jobs that ended last. The zero value is ready to use.
type memory struct {
	jobs  map[string]Ended
	order []string // a ring once it is full
	next  int      // the oldest, in a full ring
}

func (m *memory) add(job string, e Ended) {
	if _, known := m.jobs[job]; known {
		m.jobs[job] = e
		return
	}
	if m.jobs == nil {
		m.jobs = make(map[string]Ended)
	}
	m.jobs[job] = e
	if len(m.order) < endedMax {
		m.order = append(m.order, job)
		return
	}
	delete(m.jobs, m.order[m.next])
	m.order[m.next] = job
	m.next = (m.next + 1) % endedMax
}

// Job returns what the view knows of a job: the event_seq of the last envelope that it rendered for it, and, if the job
// has ended, how. It is false for a job that it does not know, or no longer: only the last of those that have ended are
// remembered, and none of those that ended before the checkpoint that the view was restored from.
func (v *View) Job(id envelope.JobID) (last uint64, ended envelope.JobState, known bool) {
	if run, open := v.jobs[string(id)]; open {
		return run.Last, "", true
	}
	e, known := v.ended.jobs[string(id)]
	return e.Last, e.State, known
}
