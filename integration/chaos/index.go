package chaos

import (
	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// index is a log, sorted. All its records are in log order.
type index struct {
	sessions map[string][]*record.Record // by session
	events   map[string][]*record.Record // by job
}

func newIndex(log []*record.Record) *index {
	x := &index{sessions: make(map[string][]*record.Record), events: make(map[string][]*record.Record)}
	for _, r := range log {
		x.sessions[r.Subject.Session] = append(x.sessions[r.Subject.Session], r)
		if r.Subject.Lane == subjects.Event && r.Subject.Job != "" {
			x.events[r.Subject.Job] = append(x.events[r.Subject.Job], r)
		}
	}
	return x
}

// fold passes the numbered envelopes of a session, as the runtime's own view makes them of the log, to yield until it
// returns false. It returns the view at the end, or nil if the log has nothing of the session.
func (x *index) fold(session string, yield func(view.Frame) bool) (v *view.View) {
	for _, r := range x.sessions[session] {
		if v == nil {
			v = view.New(view.Place{Shard: r.Subject.Shard, Feed: r.Subject.Feed}, 0)
		}
		more := true
		v.Apply(r, func(f view.Frame) {
			if more && f.Seq > 0 {
				more = yield(f)
			}
		}, x.shown(v, r)...)
		if !more {
			break
		}
	}
	return v
}

// shown returns what a record shows of a job of another session.
func (x *index) shown(v *view.View, r *record.Record) (records []*record.Record) {
	rng, shows := v.Shows(r)
	if !shows {
		return nil
	}
	for _, r := range x.events[rng.Job] {
		if r.Seq > rng.After && r.Seq <= rng.To && r.Subject.String() == rng.Subject {
			records = append(records, r)
		}
	}
	return records
}
