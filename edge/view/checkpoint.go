package view

import (
	"maps"
	"slices"

	"github.com/arcp-nats/arcp/edge/dialect"
	"github.com/arcp-nats/arcp/envelope"
)

// Checkpoint is a view at rest: enough to go on folding from its position as if every record before it had been
// read. It is stored as JSON in the session's record, and is only worth something while the log still holds what
// comes after Pos.
type Checkpoint struct {
	// Dialect decides what is counted; "" is the open one.
	Dialect string `json:"dialect,omitempty"`
	// Seq is the event_seq of the last counted envelope.
	Seq uint64 `json:"seq"`
	// Place and Pos are where the last record folded stands.
	Place Place  `json:"place"`
	Pos   uint64 `json:"pos"`
	// Accepted is where, at Place, the last acceptance folded stands.
	Accepted uint64 `json:"accepted,omitempty"`
	// Jobs are the open jobs and the attempt at each that is listened to.
	Jobs map[string]Run `json:"jobs,omitempty"`
	// Watches are the jobs of other sessions that are watched and have not ended.
	Watches map[string]Watch `json:"watches,omitempty"`
	// Shown are the watched jobs that ended last, oldest first.
	Shown []string `json:"shown,omitempty"`
	// Subscriptions are those that are on.
	Subscriptions map[envelope.SubscriptionID]Subscription `json:"subscriptions,omitempty"`
	// Extensions are the names that the session has negotiated: they decide what is counted.
	Extensions []string `json:"extensions,omitempty"`
}

// Checkpoint returns the view's state, but for what it remembers of jobs that have ended; later changes to the view do
// not show in it.
func (v *View) Checkpoint() Checkpoint {
	c := Checkpoint{
		Seq: v.seq, Place: v.place, Pos: v.pos, Accepted: v.accepted, Jobs: maps.Clone(v.jobs), Shown: slices.Clone(v.shown),
		Subscriptions: maps.Clone(v.subs),
		Extensions:    v.extensions,
	}
	if v.dialect != dialect.Open {
		c.Dialect = v.dialect.Name()
	}
	if len(v.watches) > 0 {
		c.Watches = v.Watches()
	}
	return c
}

// Restore returns the view that c was taken of. Whoever reads checkpoints that others have stored makes sure that there is
// such a dialect; else it is the open one.
func Restore(c Checkpoint) *View {
	spoken, ok := dialect.Named(c.Dialect)
	if !ok {
		spoken = dialect.Open
	}
	jobs := maps.Clone(c.Jobs)
	if jobs == nil {
		jobs = make(map[string]Run)
	}
	v := &View{
		dialect: spoken, seq: c.Seq, place: c.Place, pos: c.Pos, accepted: c.Accepted, jobs: jobs, shown: slices.Clone(c.Shown),
		subs:       maps.Clone(c.Subscriptions),
		extensions: c.Extensions,
	}
	if len(c.Watches) > 0 {
		v.watches = make(map[string]*Watch, len(c.Watches))
		for id, w := range c.Watches {
			v.watches[id] = &w
		}
	}
	return v
}

const (
	// historyStep is how many counted envelopes lie between two kept checkpoints.
	historyStep = 64
	// historyMax bounds the kept checkpoints; past it every second one is let go, so the steps grow with the
	// distance to the client's last acknowledgement and memory does not.
	historyMax = 16
)

// History keeps the checkpoints of a view that a client's acknowledgement may yet choose from. A resume can only
// start at or before what the client has seen, and what was sent is not what was seen: so the newest state is no
// use, and the one before the acknowledged number is. The zero value is ready to use. It is not safe for concurrent
// use.
type History struct {
	kept []Checkpoint
	step uint64
}

// Note takes a checkpoint of v if enough has happened since the last one.
func (h *History) Note(v *View) {
	if h.step == 0 {
		h.step = historyStep
	}
	if n := len(h.kept); n > 0 && v.Seq() < h.kept[n-1].Seq+h.step {
		return
	}
	if len(h.kept) == historyMax {
		half := h.kept[:0]
		for i := 1; i < historyMax; i += 2 {
			half = append(half, h.kept[i])
		}
		clear(h.kept[len(half):])
		h.kept = half
		h.step *= 2
	}
	h.kept = append(h.kept, v.Checkpoint())
}

// Acknowledged returns the newest kept checkpoint of which the client has seen everything, given that it has seen
// the envelopes up to seq, and forgets all older ones. It is false if there is none.
func (h *History) Acknowledged(seq uint64) (Checkpoint, bool) {
	best := -1
	for i := range h.kept {
		if h.kept[i].Seq <= seq {
			best = i
		}
	}
	if best < 0 {
		return Checkpoint{}, false
	}
	found := h.kept[best]
	h.kept = append(h.kept[:0], h.kept[best:]...)
	h.step = historyStep
	return found, true
}
