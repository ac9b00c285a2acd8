package dialect

import (
	"slices"
	"sync"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/hello"
)

// maxAsked bounds the requests of which it is remembered what they ask for. An answer to an older one takes the form that fits
// most.
const maxAsked = 4096

// asked is a request.
type asked struct {
	typ hello.Type
	job envelope.JobID // that is to be cancelled
	// statuses are those of the jobs that are to be listed.
	statuses []hello.Status
}

// requests are those of a connection that are not answered yet. Clients take the answers to what they submit in the order in which
// they submitted it, whatever the answers say (rule 64), so that what would overtake an answer waits for it. It is safe for
// concurrent use.
type requests struct {
	mu      sync.Mutex
	byID    map[envelope.MessageID]asked
	order   []envelope.MessageID            // in which they came
	submits []envelope.MessageID            // those that submit, oldest first
	held    map[envelope.MessageID][][]byte // answers to submits that wait for those to earlier ones
	late    []lateChild
	begun   envelope.MessageID // what the message that was decoded last asks for anew
}

// lateChild is the acceptance of a job that another job has started, which waits until no submit waits: clients would take it for
// the answer (rule 102).
type lateChild struct {
	job  envelope.JobID
	text []byte
}

func newRequests() *requests {
	return &requests{byID: make(map[envelope.MessageID]asked), held: make(map[envelope.MessageID][][]byte)}
}

// note remembers a request until it is answered.
func (r *requests) note(id envelope.MessageID, a asked) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, again := r.byID[id]; !again {
		r.begun = id
		r.order = append(r.order, id)
		if a.typ == hello.TypeSubmit {
			r.submits = append(r.submits, id)
		}
	}
	r.byID[id] = a
	for len(r.byID) > maxAsked || len(r.order) > 2*maxAsked {
		r.forget(r.order[0])
		r.order = r.order[1:]
	}
}

// forget drops a request. It needs the lock.
func (r *requests) forget(id envelope.MessageID) {
	delete(r.byID, id)
	r.answered(id)
}

// answered takes a submit out of the line. It needs the lock.
func (r *requests) answered(id envelope.MessageID) {
	if at := slices.Index(r.submits, id); at >= 0 {
		r.submits = slices.Delete(r.submits, at, at+1)
	}
	delete(r.held, id)
}

// repeated undoes the last note, unless the request waited for its answer before.
func (r *requests) repeated() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.begun != "" {
		r.forget(r.begun)
		r.begun = ""
	}
}

// decoding begins a message.
func (r *requests) decoding() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begun = ""
}

// what returns what a request asked for, and forgets it, but for its place in the line.
func (r *requests) what(id envelope.MessageID) asked {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.byID[id]
	delete(r.byID, id)
	return a
}

// cancelOf forgets the requests to cancel a job that are not answered yet, and reports whether there are any.
func (r *requests) cancelOf(job envelope.JobID) (found bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, a := range r.byID {
		if a.typ == hello.TypeCancel && a.job == job {
			delete(r.byID, id)
			found = true
		}
	}
	return found
}

// inLine returns what is to be said now that a request is answered by texts, which may have to wait.
func (r *requests) inLine(id envelope.MessageID, texts [][]byte) [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch at := slices.Index(r.submits, id); {
	case at > 0:
		r.held[id] = texts
		return nil
	case at == 0:
		r.answered(id)
	}
	return append(texts, r.ready()...)
}

// shown returns what has waited for the answer to a request, which was shown.
func (r *requests) shown(id envelope.MessageID) [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answered(id)
	return r.ready()
}

// ready takes what need not wait any more. It needs the lock.
func (r *requests) ready() (texts [][]byte) {
	for len(r.submits) > 0 {
		first := r.submits[0]
		said, held := r.held[first]
		if !held {
			return texts
		}
		texts = append(texts, said...)
		r.answered(first)
	}
	for _, child := range r.late {
		texts = append(texts, child.text)
	}
	r.late = nil
	return texts
}

// delay keeps the acceptance of a child until no submit waits, and reports whether one does.
func (r *requests) delay(job envelope.JobID, text func() ([]byte, error)) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.submits) == 0 {
		return false
	}
	if t, err := text(); err == nil && len(r.late) < maxAsked {
		r.late = append(r.late, lateChild{job: job, text: t})
	}
	return true
}

// over drops the acceptance of a child that has ended before anybody could be told of it.
func (r *requests) over(job envelope.JobID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.late = slices.DeleteFunc(r.late, func(c lateChild) bool { return c.job == job })
}
