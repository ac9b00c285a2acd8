package jetstream

import (
	"context"

	"github.com/nats-io/nats.go"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// ReadSession passes the invocations and events of the subject's session (its job does not matter) from position from
// on to fn, in log order, each once, until it has passed a record at or after until, or fn returns false. It must be
// known that the session has a record there; if the log does not hold it any more the error is NOT_FOUND.
func (c *Client) ReadSession(ctx context.Context, session subjects.Subject, from, until uint64, fn func(*record.Record) bool) error {
	principal := session.PrincipalToken()
	return c.readStored(ctx, session.Shard, readBack{
		filters: session.SessionFilters(),
		wanted: func(subject string) bool {
			s, err := subjects.Parse(subject)
			return err == nil && s.Lane != subjects.Input && s.Session == session.Session && s.Feed == session.Feed &&
				s.PrincipalToken() == principal
		},
		next: from, until: until, fn: fn,
	})
}

// ReadFeed passes the invocations and events of a feed, like ReadSession those of a session: the feed must have a record
// at until. It reads all that the shard holds in between, and picks what it wants: that is many times quicker than the
// broker's search (see catchUp) where many records are wanted, and a waste where few are.
func (c *Client) ReadFeed(ctx context.Context, shard int, feed string, from, until uint64, fn func(*record.Record) bool) error {
	return c.readStored(ctx, shard, readBack{
		everything: true,
		wanted: func(subject string) bool {
			s, err := subjects.Parse(subject)
			return err == nil && s.Lane != subjects.Input && s.Feed == feed
		},
		next: from, until: until, fn: fn,
	})
}

// ReadJob passes the records that are stored on exactly this subject when it is called to fn, oldest first, until fn
// returns false. None is no error.
func (c *Client) ReadJob(ctx context.Context, subject subjects.Subject, fn func(*record.Record) bool) error {
	last, err := c.LastOf(ctx, subject)
	if err == nil {
		err = c.ReadRange(ctx, subject, 1, last.Seq, fn)
	}
	if envelope.CodeOf(err) == envelope.CodeNotFound {
		return nil
	}
	return err
}

// ReadRange passes the records on exactly this subject from position from on to fn, in log order, each once, until it has
// passed one at or after until, or fn returns false. It must be known that there is a record at until; if the log does
// not hold it any more the error is NOT_FOUND.
func (c *Client) ReadRange(ctx context.Context, subject subjects.Subject, from, until uint64, fn func(*record.Record) bool) error {
	name := subject.String()
	return c.readStored(ctx, subject.Shard, readBack{
		filters: []string{name},
		wanted:  func(subject string) bool { return subject == name },
		next:    from, until: until, fn: fn,
	})
}

// readBack is a read of what is stored.
type readBack struct {
	filters    []string
	everything bool                      // read without filters
	wanted     func(subject string) bool // what the filters match
	next       uint64                    // first position not seen yet
	until      uint64
	fn         func(*record.Record) bool
}

// Where many records of a range are wanted, reading the whole range is cheaper than the broker's search for the next
// match (see catchUp).
const (
	manyWanted = 8   // records
	oneIn      = 128 // of the range
)

// readStored reads with consumers until r.until has been met. A consumer may live on a replica that is behind, and end
// before the record that is known to exist: then another one is asked for, as long as the log says that it is there.
func (c *Client) readStored(ctx context.Context, shard int, r readBack) error {
	if r.next > r.until {
		return nil
	}
	stream := subjects.StreamName(shard)
	r.next = max(r.next, 1)
	for try := 0; ; try++ {
		met, err := c.readPiece(ctx, stream, &r)
		if met || err != nil {
			return err
		}
		switch subject, err := c.subjectAt(ctx, stream, r.until); {
		case err != nil:
			return failed(ctx, "reading "+stream, err)
		case !r.wanted(subject):
			return envelope.Errorf(envelope.CodeNotFound, "position %d is not in %s any more", r.until, stream)
		case try == lagTries:
			return envelope.Errorf(envelope.CodeUnavailable, "position %d of %s is on no replica that answers", r.until, stream)
		}
		if err := c.pause(ctx, try); err != nil {
			return failed(ctx, "reading "+stream, err)
		}
	}
}

// lagTries bounds the consumers that are asked for a record that is known to exist: some seconds' worth.
const lagTries = 12

// readPiece is one try. It reports whether the reading is over; if not, what the consumer knew of is read.
func (c *Client) readPiece(ctx context.Context, stream string, r *readBack) (met bool, err error) {
	var again bool
	read := func(filters []string) error {
		return c.read(ctx, reading{
			stream:  stream,
			filters: filters,
			from:    r.next,
			started: func(pending uint64) bool {
				again = !r.everything && pending >= manyWanted && r.until-r.next < oneIn*pending
				return pending > 0 && !again
			},
			fn: func(m *nats.Msg, at *nats.MsgMetadata) bool {
				r.next = at.Sequence.Stream + 1
				if !r.everything || r.wanted(m.Subject) {
					rec := c.parse(m, at)
					met = rec != nil && !r.fn(rec) || at.Sequence.Stream >= r.until
				}
				return !met && at.NumPending > 0
			},
		})
	}
	if r.everything {
		return met, read(nil)
	}
	if err = read(r.filters); err == nil && again {
		r.everything = true
		err = read(nil)
	}
	return met, err
}

// Bounds returns the positions of the first and the last record that the shard holds. In an empty log the first is one
// above the last. NOT_FOUND: the shard has no log.
func (c *Client) Bounds(ctx context.Context, shard int) (first, last uint64, err error) {
	op, cancel := c.bounded(ctx)
	defer cancel()
	first, last, err = c.bounds(op, subjects.StreamName(shard))
	return first, last, failed(ctx, "bounds of the log", err)
}

func (c *Client) bounds(ctx context.Context, name string) (first, last uint64, err error) {
	stream, err := c.stream(ctx, name)
	if err != nil {
		return 0, 0, err
	}
	info, err := stream.Info(ctx)
	if err != nil {
		return 0, 0, err
	}
	if info.State.Msgs == 0 {
		return info.State.LastSeq + 1, info.State.LastSeq, nil
	}
	return info.State.FirstSeq, info.State.LastSeq, nil
}

// LastOf returns the last record on exactly this subject, or NOT_FOUND. It sees every record that was confirmed before.
func (c *Client) LastOf(ctx context.Context, subject subjects.Subject) (*record.Record, error) {
	op, cancel := c.bounded(ctx)
	defer cancel()
	r, err := c.lastRecord(op, subjects.StreamName(subject.Shard), subject.String())
	return r, failed(ctx, "last record", err)
}
