package chaos

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// Violation is a promise that was not kept.
type Violation struct {
	// Rule is the promise: an invariant of docs/reliability.md, or a rule of the dialect.
	Rule string
	// Client, Job and Request say where, as far as that can be said.
	Client, Job, Request string
	Detail               string
}

// String shows the violation on one line.
func (v Violation) String() string {
	s := v.Rule
	for _, where := range []struct{ name, value string }{
		{"client", v.Client}, {"job", v.Job}, {"request", v.Request},
	} {
		if where.value != "" {
			s += " " + where.name + "=" + where.value
		}
	}
	return s + ": " + v.Detail
}

// Check judges the evidence of a run that has come to rest: everything healed, all jobs ended, every client shown all
// that there is. It returns what is wrong, in a stable order, or nothing.
func Check(e *Evidence) []Violation { return newTrial(e).judge() }

func (c *trial) judge() []Violation {
	for _, stop := range c.BadStops {
		c.blame(Violation{Rule: "I8", Detail: stop})
	}
	for _, s := range c.sessions {
		c.checkNumbers(s)
		if s.Dialect == dialectHello {
			c.checkHello(s)
		} else {
			c.checkFold(s)
			c.checkFrames(s)
		}
		c.checkAnswers(s)
		c.checkCancels(s)
		c.checkSubscriptions(s)
		c.checkWatches(s)
	}
	c.checkJobs()
	c.checkKeys()
	c.checkArtifacts()
	c.checkCredentials()
	slices.SortStableFunc(c.found, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Client, b.Client), cmp.Compare(a.Job, b.Job))
	})
	return c.found
}

// trial is the evidence, sorted.
type trial struct {
	*Evidence
	sessions []*testimony
	jobs     map[string]*job // by id
	index    *index
	places   map[string]uint64 // where in the log each envelope stands, by message id
	secrets  map[string][]byte // by principal
	found    []Violation
}

// testimony is what one session has seen, once.
type testimony struct {
	*Session
	seen     map[uint64][]byte // the bytes of each number, as they came first
	last     uint64            // the greatest number
	counted  []*frame          // in the order of their numbers, each once
	frames   []*frame          // all, in the order of their arrival
	links    [][]*frame        // the same, by connection
	requests map[string]*Request
}

// job is an accepted job as the log has it.
type job struct {
	id         string
	invocation *record.Record
	command    *frame // the tool.invoke
	tool       string
	arguments  json.RawMessage
	lease      json.RawMessage
	copies     int              // of the invocation
	events     []*record.Record // in log order
}

// ended returns the position of the record that ends the job, and what does so. What an attempt says that was given up does
// not end it.
func (j *job) ended() (pos uint64, end *frame) {
	var run view.Run
	for _, r := range j.events {
		if !run.Hear(r) {
			continue
		}
		for typ, line := range r.Lines() {
			if terminal(string(typ)) {
				return r.Seq, decode(line)
			}
		}
	}
	return 0, nil
}

func newTrial(e *Evidence) *trial {
	c := &trial{Evidence: e, jobs: make(map[string]*job), index: newIndex(e.Log), places: make(map[string]uint64)}
	c.secrets = make(map[string][]byte)
	for _, s := range e.Sessions {
		c.secrets[s.Principal] = []byte(s.Secret)
		c.sessions = append(c.sessions, c.hear(s))
	}
	for _, r := range e.Log {
		for _, line := range r.Lines() {
			c.places[decode(line).ID] = r.Seq
		}
		id := r.Subject.Job
		switch {
		case id == "":
		case r.Subject.Lane == subjects.Invoke:
			if known := c.jobs[id]; known != nil {
				known.copies++
				continue
			}
			c.jobs[id] = newJob(r)
		case r.Subject.Lane == subjects.Event && c.jobs[id] != nil:
			c.jobs[id].events = append(c.jobs[id].events, r)
		}
	}
	return c
}

func newJob(r *record.Record) *job {
	j := &job{id: r.Subject.Job, invocation: r, copies: 1, command: new(frame)}
	for typ, line := range r.Lines() {
		if typ != envelope.TypeToolInvoke {
			continue
		}
		j.command = decode(line)
		var p struct {
			Tool      string          `json:"tool"`
			Arguments json.RawMessage `json:"arguments"`
			Lease     json.RawMessage `json:"lease_request"`
		}
		_ = json.Unmarshal(j.command.Payload, &p) // what cannot be read is no job that anybody asked for
		j.tool, j.arguments, j.lease = p.Tool, p.Arguments, p.Lease
	}
	return j
}

// hear sorts what a session has seen.
func (c *trial) hear(s *Session) *testimony {
	t := &testimony{Session: s, seen: make(map[uint64][]byte), requests: make(map[string]*Request)}
	for i := range s.Requests {
		t.requests[s.Requests[i].ID] = &s.Requests[i]
	}
	if s.Dialect == dialectHello {
		c.hearHello(t)
		return t
	}
	numbered := make(map[uint64]*frame)
	for _, l := range s.Links {
		link := make([]*frame, len(l.Frames))
		t.links = append(t.links, link)
		for i, data := range l.Frames {
			f := decode(data)
			link[i] = f
			if t.note(data, f) {
				numbered[f.EventSeq] = f
			}
		}
	}
	for _, n := range slices.Sorted(maps.Keys(numbered)) {
		t.counted = append(t.counted, numbered[n])
	}
	return t
}

// note remembers a frame, and tells whether it is the first of its number.
func (s *testimony) note(data []byte, f *frame) (first bool) {
	s.frames = append(s.frames, f)
	if f.EventSeq == 0 || s.seen[f.EventSeq] != nil {
		return false
	}
	s.seen[f.EventSeq] = data
	s.last = max(s.last, f.EventSeq)
	return true
}

// decode reads an envelope; what is none has no type.
func decode(data []byte) *frame {
	f := new(frame)
	if err := json.Unmarshal(data, f); err != nil {
		return new(frame)
	}
	return f
}

func (c *trial) blame(v Violation) { c.found = append(c.found, v) }

// checkNumbers is I2: on each connection the numbers go on from what the client said it had, one by one, and a number
// has the same bytes wherever it is shown.
func (c *trial) checkNumbers(s *testimony) {
	for i, l := range s.Links {
		next := l.From + 1
		for k, data := range l.Frames {
			n := s.links[i][k].EventSeq
			if n == 0 {
				continue
			}
			if n != next {
				c.blame(Violation{Rule: "I2", Client: s.Client, Detail: fmt.Sprintf(
					"connection %d to %s: number %d came where %d was due", i+1, l.Edge, n, next)})
			}
			next = n + 1
			if !sameShown(data, s.seen[n]) {
				c.blame(Violation{Rule: "I2", Client: s.Client, Detail: fmt.Sprintf(
					"number %d was shown as %s and, on connection %d to %s, as %s", n, s.seen[n], i+1, l.Edge, data)})
			}
		}
	}
}

// checkFold is I3: the fold of the log is what the client was shown, byte for byte, no less and no more.
func (c *trial) checkFold(s *testimony) {
	n := uint64(0)
	v := c.index.fold(s.ID, s.Dialect, func(f view.Frame) bool {
		if f.Seq == 0 {
			return true
		}
		n = f.Seq
		want := envelope.AppendSeq(nil, f.Line, f.Seq)
		switch got, shown := s.seen[n]; {
		case !shown:
			c.blame(Violation{Rule: "I2", Client: s.Client, Detail: fmt.Sprintf("number %d was never shown: %s", n, want)})
		case !sameShown(got, want) && !sameFetched(got, want) && !c.releasedSince(s, got, want):
			c.blame(Violation{Rule: "I3", Client: s.Client, Detail: fmt.Sprintf("number %d was shown as %s, and the log says %s", n, got, want)})
		}
		return true
	})
	c.checkEnds(s, v, n)
}

// checkEnds: nothing was shown that the log has not, whose last number is n, and nothing is watched any more.
func (c *trial) checkEnds(s *testimony, v *view.View, n uint64) {
	if v != nil {
		for job := range v.Watches() {
			c.blame(Violation{Rule: "I1", Client: s.Client, Job: job, Detail: "a job that the session watches has no end there"})
		}
	}
	if s.last > n {
		c.blame(Violation{Rule: "log first", Client: s.Client, Detail: fmt.Sprintf(
			"number %d was shown, and the log ends at %d: %s", s.last, n, s.seen[s.last])})
	}
}
