package edge

import (
	"bytes"
	"context"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// numbering finds out which event_seq the events of a job have in the session that submitted it. The log does not hold the
// numbers: they follow from all that the session was sent. So it folds that session, as a resume does, from the newest
// state that is stored and old enough, or from where the session begins. It is not safe for concurrent use.
type numbering struct {
	log     *groupedLog
	others  *shownReader
	view    *view.View
	session subjects.Subject // event lane, no job; where it stands is the view's to say
	home    view.Place       // of the job's records
	job     string
	after   uint64 // the number that is asked for

	run   view.Run
	first uint64 // of the acceptance, 0 if it stands before what was folded
	last  uint64 // of the job's last envelope
	ended bool
	// cut is where the first event of the job stands that is numbered above after, nil if there is none yet.
	cut *cut
}

// cut is a place between two envelopes of a job's events: after this position, and after so many lines of the next
// record, shown or not; with the attempt that is listened to there.
type cut struct {
	pos  uint64
	run  view.Run
	skip int
}

// newNumbering begins with nothing read. after is the number that a cut is wanted at, 0 if only the last number is.
// DATA_LOSS: it is not known where the session began.
func (srv *Server) newNumbering(ctx context.Context, invocation *record.Record, after uint64) (*numbering, error) {
	sub := invocation.Subject
	home := view.Place{Shard: sub.Shard, Feed: sub.Feed}
	from, known := parseOrigin(invocation.Origin)
	switch store, err := loadSession(ctx, srv.sessions, envelope.SessionID(sub.Session)); {
	case err == nil:
		rec := store.snapshot()
		if !known {
			from, known = rec.Start, true
		}
		for _, c := range []*view.Checkpoint{&rec.Checkpoint, rec.Recent} {
			if c != nil && c.Seq > from.Seq && (after == 0 || c.Seq <= after) && foretells(c, home, invocation) {
				from = *c
			}
		}
	case envelope.CodeOf(err) != envelope.CodeNotFound:
		return nil, err
	}
	if !known {
		return nil, errNumbersLost
	}
	run := from.Jobs[sub.Job]
	session := subjects.Subject{Lane: subjects.Event, Principal: invocation.Principal, Session: sub.Session}
	return &numbering{
		log: srv.log, others: newShownReader(srv.log), view: view.Restore(from), session: session, home: home,
		job: sub.Job, after: after, run: run, last: run.Last,
	}, nil
}

// foretells reports whether all that a job is still to say follows from a state: the job is open in it, or yet to come.
func foretells(c *view.Checkpoint, home view.Place, invocation *record.Record) bool {
	_, open := c.Jobs[invocation.Subject.Job]
	return open || c.Place == home && c.Pos < invocation.Seq
}

// errNumbersLost says that the numbers of a session cannot be known any more.
var errNumbersLost = envelope.Errorf(envelope.CodeDataLoss,
	"the log no longer holds the beginning of the session that submitted the job: its numbers are not known")

// upTo folds what stands up to a position, at which there must be a record of the session beside the job's.
func (n *numbering) upTo(ctx context.Context, pos uint64) error {
	for {
		place, from := n.view.Place(), n.view.Pos()+1
		if place == n.home && from > pos {
			return nil
		}
		first, last, err := n.log.Bounds(ctx, place.Shard)
		if err != nil {
			return err
		}
		if first > from {
			return errNumbersLost
		}
		read, until := n.log.ReadSession, pos
		if place != n.home { // the session has left that place, with a mark
			read, until = n.log.Log.ReadSession, last
		}
		session := n.session
		session.Shard, session.Feed = place.Shard, place.Feed
		var failed error
		err = read(ctx, session, from, until, func(rec *record.Record) bool {
			failed = n.fold(ctx, rec)
			return failed == nil && n.view.Place() == place
		})
		if failed != nil {
			err = failed
		}
		switch {
		case envelope.CodeOf(err) == envelope.CodeNotFound:
			return errNumbersLost
		case err != nil:
			return err
		case n.view.Place() == place && place == n.home:
			return nil
		case n.view.Place() == place:
			return errNumbersLost
		}
	}
}

// fold takes the session's next record.
func (n *numbering) fold(ctx context.Context, rec *record.Record) error {
	shown, err := n.others.read(ctx, n.view, rec)
	if err != nil {
		return err
	}
	mine, before := rec.Subject.Job == n.job, n.run
	n.view.Apply(rec, func(f view.Frame) {
		switch {
		case !mine:
			return
		case rec.Subject.Lane == subjects.Invoke:
			n.first = f.Seq
		case f.Seq > n.after && n.cut == nil:
			n.cut = &cut{pos: rec.Seq - 1, run: before, skip: linesBefore(rec, f.Line)}
		}
		n.last = max(n.last, f.Seq)
		n.ended = n.ended || terminal(f.Type)
	}, shown...)
	if mine && rec.Subject.Lane == subjects.Event {
		n.run.Hear(rec)
	}
	return nil
}

// linesBefore returns how many lines of a record stand before one of them.
func linesBefore(rec *record.Record, line []byte) (count int) {
	for _, other := range rec.Lines() {
		if bytes.Equal(other, line) {
			break
		}
		count++
	}
	return count
}

// passed reports whether whatever the job says after what was folded is numbered above the number asked for.
func (n *numbering) passed() bool { return n.view.Seq() >= n.after }
