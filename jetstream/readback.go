package jetstream

import (
	"context"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

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

func (c *Client) readStored(ctx context.Context, shard int, r readBack) error {
	if r.next > r.until {
		return nil
	}
	r.next = max(r.next, 1)
	var missing, again bool
	read := func(filters []string) error {
		return c.read(ctx, reading{
			stream:  subjects.StreamName(shard),
			filters: filters,
			from:    r.next,
			started: func(pending uint64) bool {
				missing = pending == 0
				again = !r.everything && pending >= manyWanted && r.until-r.next < oneIn*pending
				return !missing && !again
			},
			fn: func(m *nats.Msg, at *nats.MsgMetadata) bool {
				r.next = at.Sequence.Stream + 1
				if !r.everything || r.wanted(m.Subject) {
					if rec := c.parse(m, at); rec != nil && !r.fn(rec) || at.Sequence.Stream >= r.until {
						return false
					}
				}
				missing = at.NumPending == 0
				return !missing
			},
		})
	}
	err := read(r.filters)
	if err == nil && again {
		r.everything = true
		err = read(nil)
	}
	if err == nil && missing {
		return envelope.Errorf(envelope.CodeNotFound, "position %d is not in %s any more", r.until, subjects.StreamName(shard))
	}
	return err
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

// LastOf returns the last record on exactly this subject, or NOT_FOUND. In a cluster it may come from a replica that is
// a moment behind.
func (c *Client) LastOf(ctx context.Context, subject subjects.Subject) (*record.Record, error) {
	op, cancel := c.bounded(ctx)
	defer cancel()
	stream, err := c.stream(op, subjects.StreamName(subject.Shard))
	if err != nil {
		return nil, failed(ctx, "last record", err)
	}
	m, err := stream.GetLastMsgForSubject(op, subject.String())
	if err != nil {
		return nil, failed(ctx, "last record", err)
	}
	return parseRaw(m)
}

func parseRaw(m *natsjs.RawStreamMsg) (*record.Record, error) {
	r, err := record.Parse(m.Subject, m.Header, m.Data)
	if err != nil {
		return nil, envelope.Errorf(envelope.CodeDataLoss, "the log holds a message that is no record: %w", err)
	}
	r.Seq, r.Time = m.Sequence, m.Time
	return r, nil
}
