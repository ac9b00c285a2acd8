package view

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// Marks of a session that watches a job of another session. The job's events are not copied: the marks say which of
// them the session is shown, and where in its order.
const (
	// TypeWatched says that the session watches a job from here on. Its payload is a Watch.
	TypeWatched envelope.Type = "_job.watched"
	// TypeShown says that the session is shown what it has not seen of a job that it watches. Its payload is a Shown.
	TypeShown envelope.Type = "_job.shown"
)

// maxShown bounds the ended jobs that a view remembers to have shown. A client that asks again for more of them than that
// is shown the end of some again.
const maxShown = 64

// Watch is a job of another session whose events are shown.
type Watch struct {
	// Subject is where the job's events stand.
	Subject string `json:"subject"`
	// Pos is the position, on that subject, of the last record that was shown or that the watch began after.
	Pos uint64 `json:"pos"`
	// Run is the attempt that was listened to at Pos.
	Run Run `json:"run,omitzero"`
}

// Shown is the payload of a TypeShown mark.
type Shown struct {
	// Job is the watched job's id.
	Job string `json:"job"`
	// To is the position of the job's last record that is shown.
	To uint64 `json:"to"`
}

// Range is a part of a job's log: the records on a subject after one position, up to and with another.
type Range struct {
	Job       string
	Subject   string
	After, To uint64
}

// Watches returns the jobs of other sessions that are watched and have not ended, by id. The map is a copy.
func (v *View) Watches() map[string]Watch {
	all := make(map[string]Watch, len(v.watches))
	for id, w := range v.watches {
		all[id] = *w
	}
	return all
}

// WatchCount is len(Watches()), without the copy.
func (v *View) WatchCount() int { return len(v.watches) }

// Shows returns the part of another session's log that a record shows to this one. Its records must be given to Apply
// with the record. It is false if the record shows nothing more.
func (v *View) Shows(rec *record.Record) (Range, bool) {
	if !v.next(rec) {
		return Range{}, false
	}
	var shown Shown
	if !markOf(rec, TypeShown, &shown) {
		return Range{}, false
	}
	w := v.watches[shown.Job]
	if w == nil || shown.To <= w.Pos {
		return Range{}, false
	}
	return Range{Job: shown.Job, Subject: w.Subject, After: w.Pos, To: shown.To}, true
}

// watch begins to watch a job, as the line of a record says. One that is watched already, or whose end has been shown, or
// that is the session's own and open, goes on as it is: a session is shown each envelope once.
func (v *View) watch(line []byte) {
	var body struct {
		Payload Watch `json:"payload"`
	}
	if err := json.Unmarshal(line, &body); err != nil {
		return
	}
	sub, err := subjects.Parse(body.Payload.Subject)
	if err != nil || sub.Job == "" || v.watches[sub.Job] != nil || slices.Contains(v.shown, sub.Job) {
		return
	}
	if _, own := v.jobs[sub.Job]; own {
		return
	}
	if v.watches == nil {
		v.watches = make(map[string]*Watch)
	}
	v.watches[sub.Job] = &body.Payload
}

// show renders the records of a range, with this session's id in place of the other's.
func (v *View) show(rng Range, session string, records []*record.Record, emit func(Frame)) {
	w := v.watches[rng.Job]
	for _, rec := range records {
		if rec.Seq <= w.Pos || rec.Seq > rng.To {
			continue
		}
		w.Pos = rec.Seq
		if !w.Run.Hear(rec) {
			continue
		}
		for typ, line := range rec.Lines() {
			v.render(typ, readdress(line, rec.Subject.Session, session), emit)
			if terminal(typ) {
				delete(v.watches, rng.Job)
				v.shown = append(v.shown, rng.Job)
				v.shown = v.shown[max(0, len(v.shown)-maxShown):]
				return
			}
		}
	}
	w.Pos = rng.To
}

// readdress returns the envelope with another session's id in session_id. In a stored line that member stands before
// all that is of any depth, and a quote inside a string is escaped: the first match is the member.
func readdress(line []byte, from, to string) []byte {
	const name = `"session_id":`
	before, err := json.Marshal(from)
	if err != nil {
		return line
	}
	after, err := json.Marshal(to)
	if err != nil {
		return line
	}
	return bytes.Replace(line, append([]byte(name), before...), append([]byte(name), after...), 1)
}

// markOf decodes the payload of a record that is one mark of a type, and reports whether it is that.
func markOf(rec *record.Record, typ envelope.Type, into any) bool {
	if len(rec.Types) != 1 || rec.Types[0] != typ {
		return false
	}
	var body struct {
		Payload json.RawMessage `json:"payload"`
	}
	return json.Unmarshal(rec.Body, &body) == nil && json.Unmarshal(body.Payload, into) == nil
}
