package view

import (
	"slices"

	"github.com/arcp-nats/arcp/edge/dialect"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// Frame is one envelope that the client is shown, with its numbers in the session.
type Frame = dialect.Frame

// TypeMoved is the type of the mark in a session's log which says that the session goes on elsewhere: in another feed,
// maybe of another shard. Its payload is a Move. Whatever stands at the old place after it is not the session's. While a job
// is open the mark means nothing: the job's events stand at the old place.
const TypeMoved envelope.Type = "_session.moved"

// Place is where a session's records stand.
type Place struct {
	Shard int    `json:"shard"`
	Feed  string `json:"feed"`
}

// Move is the payload of a TypeMoved mark.
type Move struct {
	To Place `json:"to"`
	// Start is a position at the new place that all of the session's records there stand after.
	Start uint64 `json:"start"`
}

// View is the state of the fold. It is not safe for concurrent use; the zero value is not usable, see New.
type View struct {
	dialect  dialect.Dialect // decides what is counted
	loose    bool            // what is rendered stands beside the jobs
	seq      uint64
	place    Place
	pos      uint64
	accepted uint64
	jobs     map[string]Run
	ended    memory
	// watches are the jobs of other sessions whose events are shown, by id.
	watches map[string]*Watch
	// shown are those of them that ended last.
	shown []string
	subs  map[envelope.SubscriptionID]Subscription
	// extensions are the names that the session has negotiated. They do not change.
	extensions []string
}

// Run is the attempt at an open job that is being listened to.
type Run struct {
	// Attempt counts from 1; 0 means that no worker has spoken yet.
	Attempt int `json:"attempt,omitempty"`
	// Sender is the worker's name.
	Sender string `json:"sender,omitempty"`
	// Last is the event_seq of the job's last counted envelope.
	Last uint64 `json:"last,omitempty"`
	// Streams are those that the attempt has open, in the order in which it opened them.
	Streams []envelope.StreamID `json:"streams,omitempty"`
}

// New returns the view of a session of the open dialect whose first record stands at a place after log position pos, and that
// has negotiated extensions: envelopes of these types are shown, and counted, and others of no type of the catalogue are not.
func New(place Place, pos uint64, extensions ...string) *View {
	return NewOf(dialect.Open, place, pos, extensions...)
}

// NewOf is New for a session of any dialect.
func NewOf(d dialect.Dialect, place Place, pos uint64, extensions ...string) *View {
	return &View{dialect: d, place: place, pos: pos, jobs: make(map[string]Run), extensions: extensions}
}

// Seq is the event_seq of the last counted envelope, 0 before the first.
func (v *View) Seq() uint64 { return v.seq }

// Place is where the next record is to be read.
func (v *View) Place() Place { return v.place }

// Pos is the position, at Place, of the last record that was folded.
func (v *View) Pos() uint64 { return v.pos }

// Accepted is the position, at Place, of the last acceptance that was folded there, 0 if there was none.
func (v *View) Accepted() uint64 { return v.accepted }

// OpenJobs returns the ids of the jobs that were accepted and have not ended, in no order.
func (v *View) OpenJobs() []envelope.JobID {
	ids := make([]envelope.JobID, 0, len(v.jobs))
	for id := range v.jobs {
		ids = append(ids, envelope.JobID(id))
	}
	return ids
}

// OpenJobCount is len(OpenJobs()), without the copy.
func (v *View) OpenJobCount() int { return len(v.jobs) }

// Apply folds one record and passes each envelope that it renders to emit, in order. A record at or before Pos has
// been folded already and is ignored, so overlapping reads of the log do no harm; so is one at another place. If the
// record shows records of other sessions (see Shows and Quotes), shown are these, in order.
func (v *View) Apply(rec *record.Record, emit func(Frame), shown ...*record.Record) {
	if !v.next(rec) {
		return
	}
	rng, shows := v.Shows(rec)
	v.pos = rec.Seq
	if shows {
		v.show(rng, rec.Subject.Session, shown, emit)
		return
	}
	if len(rec.Types) == 1 && rec.Types[0] == TypeQuoted {
		v.quote(rec, shown, emit)
		return
	}
	var move Move
	if markOf(rec, TypeMoved, &move) && move.To.Feed != "" {
		if len(v.jobs) == 0 { // else the edge that wrote it had not seen all that stood before it
			v.place, v.pos, v.accepted = move.To, move.Start, 0
		}
		return
	}
	switch rec.Subject.Lane {
	case subjects.Invoke:
		v.accept(rec, emit)
	case subjects.Event:
		v.event(rec, emit)
	case subjects.Input:
		// What clients say to a job is for its worker.
	}
}

// next reports whether a record is one that has not been folded yet, at the place of the session.
func (v *View) next(rec *record.Record) bool {
	return rec.Seq > v.pos && rec.Subject.Shard == v.place.Shard && rec.Subject.Feed == v.place.Feed
}

// accept opens a job and renders the acceptance, the first line of an invocation. The second line, the command, is
// for the worker.
func (v *View) accept(rec *record.Record, emit func(Frame)) {
	v.accepted = rec.Seq
	job := rec.Subject.Job
	if _, open := v.jobs[job]; open {
		return // a second copy of an invocation that was already accepted
	}
	before, run := v.seq, Run{}
	for typ, line := range rec.Lines() {
		v.render(typ, line, emit)
		break
	}
	if v.seq > before {
		run.Last = v.seq
	}
	v.jobs[job] = run
}

// event renders what the runtime says. A record without a job answers the client and is always rendered; one with a
// job is rendered while the job is open and its attempt is the one listened to.
func (v *View) event(rec *record.Record, emit func(Frame)) {
	job := rec.Subject.Job
	if job != "" && !v.listen(rec) {
		return
	}
	v.loose = job == ""
	defer func() { v.loose = false }()
	for typ, line := range rec.Lines() {
		if job == "" && v.state(rec.Subject.Session, typ, line, emit) {
			continue
		}
		before := v.seq
		v.render(typ, line, emit)
		if job == "" {
			continue
		}
		if terminal(typ) {
			v.ended.add(job, Ended{State: states[typ], Last: v.seq})
			delete(v.jobs, job)
			return
		}
		run := v.jobs[job]
		if v.seq > before { // else the line is not for this session, and the number another job's
			run.Last = v.seq
		}
		run.stream(typ, line)
		v.jobs[job] = run
	}
}

// state takes a line that says what a session is shown from here on, and reports whether it is one.
func (v *View) state(session string, typ envelope.Type, line []byte, emit func(Frame)) bool {
	switch typ {
	case TypeWatched:
		v.watch(line, session, emit)
	case TypeUnwatched:
		v.unwatch(line)
	case TypeSubscribed:
		v.subscribe(line)
	case TypeUnsubscribed:
		v.unsubscribe(line)
	default:
		return false
	}
	return true
}

// listen reports whether a record about a job of this session is heard.
func (v *View) listen(rec *record.Record) bool {
	run, open := v.jobs[rec.Subject.Job]
	if !open || !run.Hear(rec) {
		return false
	}
	v.jobs[rec.Subject.Job] = run
	return true
}

// Hear reports whether a record about an open job is heard, and turns to its attempt if that is the later one. Records
// without an attempt are the runtime's own and are always heard.
//
// Two workers can be given the same attempt when a consumer's leader is lost before its count was replicated. Then
// the one that started last is heard: the other is the one whose delivery was forgotten.
func (r *Run) Hear(rec *record.Record) bool {
	switch {
	case rec.Attempt == 0:
		return true
	case rec.Attempt < r.Attempt:
		return false
	case rec.Attempt == r.Attempt && rec.Sender != r.Sender:
		if len(rec.Types) == 0 || rec.Types[0] != envelope.TypeJobStarted {
			return false
		}
	}
	r.Attempt, r.Sender = rec.Attempt, rec.Sender
	return true
}

func (v *View) render(typ envelope.Type, line []byte, emit func(Frame)) {
	_, known := envelope.Lookup(typ)
	extension := !known && slices.Contains(v.extensions, string(typ))
	if !known && !extension {
		return // an internal mark of the log, never shown, or for sessions that have negotiated it
	}
	if typ == envelope.TypeJobCheckpoint && !slices.Contains(v.extensions, envelope.CheckpointExtension) {
		return // a client of 2.0.0 does not know it
	}
	frame := Frame{Type: typ, Line: line, Count: 1, Loose: v.loose}
	if !extension {
		frame.Count = v.dialect.Count(typ, line, v.loose)
	}
	if frame.Count > 0 {
		v.seq += uint64(frame.Count)
		frame.Seq = v.seq
	}
	emit(frame)
}

func terminal(typ envelope.Type) bool {
	row, known := envelope.Lookup(typ)
	return known && row.Terminal
}
