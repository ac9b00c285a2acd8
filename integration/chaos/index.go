package chaos

import (
	"slices"

	"github.com/arcp-nats/arcp/edge/dialect"
	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// index is a log, sorted. All its records are in log order.
type index struct {
	sessions map[string][]*record.Record // by session
	events   map[string][]*record.Record // by job
	at       map[uint64]*record.Record   // by position
	tellable []*record.Record            // ends of jobs, and what clients say: what is certain to be told to subscribers
}

func newIndex(log []*record.Record) *index {
	x := &index{sessions: make(map[string][]*record.Record), events: make(map[string][]*record.Record), at: make(map[uint64]*record.Record)}
	for _, r := range log {
		x.at[r.Seq] = r
		if r.Subject.Lane == subjects.Input {
			x.tellable = append(x.tellable, r)
			continue // what clients say is not shown to their own session
		}
		x.sessions[r.Subject.Session] = append(x.sessions[r.Subject.Session], r)
		if r.Subject.Lane == subjects.Event && r.Subject.Job != "" {
			x.events[r.Subject.Job] = append(x.events[r.Subject.Job], r)
		}
	}
	for job := range x.events {
		if end := x.end(job); end != nil {
			x.tellable = append(x.tellable, end)
		}
	}
	return x
}

// fold passes the envelopes of a session, as the runtime's own view makes them of the log, to yield until it returns false. Those
// that the session's dialect does not number have no number. It returns the view at the end, or nil if the log has nothing of
// the session.
func (x *index) fold(session, spoken string, yield func(view.Frame) bool) (v *view.View) {
	d, known := dialect.Named(spoken)
	if !known {
		return nil
	}
	for _, r := range x.sessions[session] {
		if v == nil {
			v = view.NewOf(d, view.Place{Shard: r.Subject.Shard, Feed: r.Subject.Feed}, 0)
		}
		more := true
		v.Apply(r, func(f view.Frame) {
			if more {
				more = yield(f)
			}
		}, x.shown(v, r)...)
		if !more {
			break
		}
	}
	return v
}

// shown returns what a record shows of a job of another session, or to a subscriber.
func (x *index) shown(v *view.View, r *record.Record) (records []*record.Record) {
	if quote, quotes := v.Quotes(r); quotes {
		for _, pos := range quote.At {
			if said := x.at[pos]; said != nil { // else the judge misses it
				records = append(records, said)
			}
		}
		return records
	}
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

// untold tells whether the end of a job, or what a client says, is still to be told to a subscription of a session.
func (x *index) untold(v *view.View) bool {
	for _, sub := range v.Subscriptions() {
		for _, r := range x.tellable {
			if r.Seq > sub.Pos[0] && slices.Contains(sub.Principals, r.Subject.PrincipalToken()) && sub.Matches(r) {
				return true
			}
		}
	}
	return false
}

// end returns the record that ends a job as clients see it: not one of an attempt that was given up.
func (x *index) end(job string) *record.Record {
	var run view.Run
	for _, r := range x.events[job] {
		if !run.Hear(r) {
			continue
		}
		for typ := range r.Lines() {
			if terminal(string(typ)) {
				return r
			}
		}
	}
	return nil
}
