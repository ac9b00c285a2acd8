package view

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// Marks of a session that watches a job, mostly of another session. The job's events are not copied: the marks say which of
// them the session is shown, and where in its order.
const (
	// TypeWatched says that the session watches a job from here on. Its payload is a Watch.
	TypeWatched envelope.Type = "_job.watched"
	// TypeUnwatched says that a watch which job.subscribe began has ended. Its payload is an Unwatched.
	TypeUnwatched envelope.Type = "_job.unwatched"
	// TypeShown says that the session is shown what it has not seen of a job that it watches. Its payload is a Shown.
	TypeShown envelope.Type = "_job.shown"
)

// maxShown bounds the ended jobs that a view remembers to have shown. A client that asks again for more of them than that
// is shown the end of some again.
const maxShown = 64

// Watch is a job whose events are shown because the session asked for them: one of another session, or the past of one of
// its own.
type Watch struct {
	// Subject is where the job's events stand.
	Subject string `json:"subject"`
	// Pos is the position, on that subject, of the last record that was shown or that the watch began after.
	Pos uint64 `json:"pos"`
	// Run is the attempt that was listened to at Pos.
	Run Run `json:"run,omitzero"`
	// Skip is how many lines of the first record after Pos are not shown, marks and all.
	Skip int `json:"skip,omitempty"`
	// Until is the position after which nothing more is shown; 0 for the job's end.
	Until uint64 `json:"until,omitempty"`
	// After is the event_seq in the job's own session up to which nothing is shown, if what comes after it was not there
	// when the watch began (open dialect JS-7). Until another TypeWatched says where that is, nothing is shown.
	After uint64 `json:"after,omitempty"`
	// Subscribed says that job.subscribe began the watch: it shows what JS-4 lists, and job.unsubscribe ends it. Else a
	// repeated request did, whose client waits for the job, and everything is shown.
	Subscribed bool `json:"subscribed,omitempty"`
	// Accepted is the job's acceptance, as a stored line, to be shown when the watch begins. No checkpoint has it.
	Accepted json.RawMessage `json:"accepted,omitempty"`
}

// Shown is the payload of a TypeShown mark.
type Shown struct {
	// Job is the watched job's id.
	Job string `json:"job"`
	// To is the position of the job's last record that is shown.
	To uint64 `json:"to"`
}

// Unwatched is the payload of a TypeUnwatched mark.
type Unwatched struct {
	Job string `json:"job"`
	// After, if not 0, makes the mark one about a watch that waits for what comes after this event_seq, and no other.
	After uint64 `json:"after,omitempty"`
}

// Range is a part of a job's log: the records on a subject after one position, up to and with another.
type Range struct {
	Job       string
	Subject   string
	After, To uint64
}

// Watches returns the jobs that are watched and have not ended, by id. The map is a copy.
func (v *View) Watches() map[string]Watch {
	all := make(map[string]Watch, len(v.watches))
	for id, w := range v.watches {
		all[id] = *w
	}
	return all
}

// WatchCount is len(Watches()), without the copy.
func (v *View) WatchCount() int { return len(v.watches) }

// Watch returns the watch of a job.
func (v *View) Watch(job string) (Watch, bool) {
	w := v.watches[job]
	if w == nil {
		return Watch{}, false
	}
	return *w, true
}

// Watching reports whether a job is watched.
func (v *View) Watching(job string) bool { return v.watches[job] != nil }

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
	if w == nil || w.After > 0 || w.end(shown.To) <= w.Pos {
		return Range{}, false
	}
	return Range{Job: shown.Job, Subject: w.Subject, After: w.Pos, To: w.end(shown.To)}, true
}

// end is to, or where the watch ends before.
func (w *Watch) end(to uint64) uint64 {
	if w.Until > 0 {
		return min(w.Until, to)
	}
	return to
}

// watch begins to watch a job, as the line of a record of a session says. A session is shown each envelope once: a job that
// is watched already goes on as it is, and so does one of the session's own, of which only the past is shown again. A
// request that is repeated is not told again how the job ended unless it says until where, a subscription is.
func (v *View) watch(line []byte, session string, emit func(Frame)) {
	var body struct {
		Payload Watch `json:"payload"`
	}
	if err := json.Unmarshal(line, &body); err != nil {
		return
	}
	w := body.Payload
	sub, err := subjects.Parse(w.Subject)
	if err != nil || sub.Job == "" {
		return
	}
	if known := v.watches[sub.Job]; known != nil {
		known.join(w)
		return
	}
	_, open := v.jobs[sub.Job]
	if (open || sub.Session == session) && w.Until == 0 || !w.Subscribed && w.Until == 0 && slices.Contains(v.shown, sub.Job) {
		return
	}
	if accepted := withoutSecrets(envelope.TypeJobAccepted, w.Accepted); len(accepted) > 0 {
		v.render(envelope.TypeJobAccepted, readdress(accepted, sub.Session, session), emit)
	}
	w.Accepted = nil
	if w.Until > 0 && w.Until <= w.Pos {
		return
	}
	v.shown = slices.DeleteFunc(v.shown, func(job string) bool { return job == sub.Job })
	if v.watches == nil {
		v.watches = make(map[string]*Watch)
	}
	v.watches[sub.Job] = &w
}

// join is what becomes of a watch when another one of the same job is to begin.
func (w *Watch) join(other Watch) {
	if w.After > 0 && other.After == 0 && other.Pos >= w.Pos {
		w.After, w.Pos, w.Run, w.Skip = 0, other.Pos, other.Run, other.Skip
	}
	w.Subscribed = w.Subscribed && other.Subscribed
}

// unwatch ends a watch, as the line of a record says, if job.subscribe began it and nobody else waits for the job.
func (v *View) unwatch(line []byte) {
	var body struct {
		Payload Unwatched `json:"payload"`
	}
	if err := json.Unmarshal(line, &body); err != nil {
		return
	}
	w := v.watches[body.Payload.Job]
	if w != nil && w.Subscribed && (body.Payload.After == 0 || body.Payload.After == w.After) {
		delete(v.watches, body.Payload.Job)
	}
}

// show renders the records of a range, with this session's id in place of the other's.
func (v *View) show(rng Range, session string, records []*record.Record, emit func(Frame)) {
	w := v.watches[rng.Job]
	for _, rec := range records {
		if rec.Seq <= w.Pos || rec.Seq > rng.To {
			continue
		}
		skip := w.Skip
		w.Pos, w.Skip = rec.Seq, 0
		if !w.Run.Hear(rec) {
			continue
		}
		for typ, line := range rec.Lines() {
			if skip > 0 {
				skip--
			} else if !w.Subscribed || Forwardable(typ, line) {
				v.render(typ, readdress(line, rec.Subject.Session, session), emit)
			}
			if terminal(typ) {
				v.endWatch(rng.Job)
				return
			}
		}
	}
	w.Pos = rng.To
	if w.Until > 0 && w.Pos >= w.Until {
		delete(v.watches, rng.Job)
	}
}

// endWatch forgets a watched job that has ended, but for that it has.
func (v *View) endWatch(job string) {
	bounded := v.watches[job].Until > 0
	delete(v.watches, job)
	if !bounded {
		v.shown = append(v.shown, job)
		v.shown = v.shown[max(0, len(v.shown)-maxShown):]
	}
}

// forwardable are the types that job.subscribe shows (open dialect JS-4).
var forwardable = map[envelope.Type]bool{
	envelope.TypeJobAccepted: true, envelope.TypeJobStarted: true, envelope.TypeJobProgress: true,
	envelope.TypeJobHeartbeat: true, envelope.TypeJobCompleted: true, envelope.TypeJobFailed: true,
	envelope.TypeJobCancelled: true, envelope.TypeJobResultChunk: true, envelope.TypeToolResult: true,
	envelope.TypeToolError: true, envelope.TypeLog: true, envelope.TypeMetric: true, envelope.TypeStreamOpen: true,
	envelope.TypeStreamChunk: true, envelope.TypeStreamClose: true, envelope.TypeStreamError: true,
	envelope.TypeArtifactRef: true,
}

// Forwardable reports whether job.subscribe shows a line of a job (open dialect JS-4), or one of an event that the open dialect
// has no type for, and others a kind.
func Forwardable(typ envelope.Type, line []byte) bool {
	if typ != envelope.TypeEventEmit {
		return forwardable[typ]
	}
	var body struct {
		Payload struct {
			Name string `json:"name"`
		} `json:"payload"`
	}
	if json.Unmarshal(line, &body) != nil {
		return false
	}
	switch name := body.Payload.Name; name {
	case "status", "tool_call", "delegate":
		return true
	default:
		return strings.HasPrefix(name, "x-vendor.")
	}
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
