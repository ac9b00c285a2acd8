package jetstream

import (
	"context"
	"slices"

	"github.com/nats-io/nats.go"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// ofPrincipals tells whether a subject is one of some principals, given by their tokens.
func ofPrincipals(tokens []string) func(subjects.Subject) bool {
	return func(s subjects.Subject) bool { return slices.Contains(tokens, s.PrincipalToken()) }
}

// FollowPrincipals passes all records of some principals, given by their tokens, to fn, like Follow those of a feed: the
// lane input included.
func (c *Client) FollowPrincipals(ctx context.Context, shard int, tokens []string, from uint64, ready func(pos uint64), fn func(*record.Record)) error {
	f := following{
		c: c, stream: subjects.StreamName(shard), filters: subjects.PrincipalFilters(shard, tokens...), ready: ready, fn: fn,
		wanted: ofPrincipals(tokens),
	}
	return f.run(ctx, shard, from)
}

// ReadPrincipals passes the records of some principals, given by their tokens, that stand at positions from one to another
// to fn, in log order, each once, until fn returns false. It sees every record that was confirmed before. None is no
// error; nor is a gap where records have aged out, see Bounds.
func (c *Client) ReadPrincipals(ctx context.Context, shard int, tokens []string, from, until uint64, fn func(*record.Record) bool) error {
	filters := subjects.PrincipalFilters(shard, tokens...)
	last, err := c.lastOfAny(ctx, shard, filters)
	if err != nil || last < from {
		return err
	}
	wanted := ofPrincipals(tokens)
	return c.readStored(ctx, shard, readBack{
		filters: filters,
		wanted: func(subject string) bool {
			s, err := subjects.Parse(subject)
			return err == nil && wanted(s)
		},
		next: from, until: last, fn: func(rec *record.Record) bool { return rec.Seq <= until && fn(rec) },
	})
}

// lastOfAny returns the position of the last record that one of some filters matches, as the leader has it, 0 for none.
func (c *Client) lastOfAny(ctx context.Context, shard int, filters []string) (last uint64, err error) {
	op, cancel := c.bounded(ctx)
	defer cancel()
	for _, filter := range filters {
		m, err := c.lastStored(op, subjects.StreamName(shard), filter)
		switch err = failed(ctx, "last record", err); {
		case err == nil:
			last = max(last, m.Sequence)
		case envelope.CodeOf(err) != envelope.CodeNotFound:
			return 0, err
		}
	}
	return last, nil
}

// HasSession reports whether a session of a principal has a record in any shard.
func (c *Client) HasSession(ctx context.Context, principal string, session envelope.SessionID) (bool, error) {
	op, cancel := c.bounded(ctx)
	defer cancel()
	shards, err := c.Shards(op)
	if err != nil {
		return false, failed(ctx, "finding a session", err)
	}
	for _, shard := range shards {
		last, err := c.lastOfAny(op, shard, subjects.PrincipalSessionFilters(shard, principal, string(session)))
		if err != nil || last > 0 {
			return last > 0, err
		}
	}
	return false, nil
}

// ReadAt returns the records of a shard at some positions, in that order. NOT_FOUND: one of them has aged out.
func (c *Client) ReadAt(ctx context.Context, shard int, positions []uint64) ([]*record.Record, error) {
	op, cancel := c.bounded(ctx)
	defer cancel()
	found, err := c.getAll(op, shard, positions)
	if err != nil {
		return nil, failed(ctx, "reading records", err)
	}
	records := make([]*record.Record, 0, len(positions))
	for _, pos := range positions {
		rec := found[pos]
		if rec == nil { // the replica that was asked may be behind
			if rec, err = c.recordAt(op, shard, pos); err != nil {
				return nil, failed(ctx, "reading records", err)
			}
		}
		records = append(records, rec)
	}
	return records, nil
}

// getAll asks for records, all at once, and returns those that came, by position.
func (c *Client) getAll(ctx context.Context, shard int, positions []uint64) (map[uint64]*record.Record, error) {
	inbox := nats.NewInbox()
	messages, unsubscribe, err := c.subscribe(inbox)
	if err != nil {
		return nil, err
	}
	defer unsubscribe()
	for _, pos := range positions {
		if err := c.ask(subjects.StreamName(shard), &directGet{Seq: pos}, inbox); err != nil {
			return nil, err
		}
	}
	found := make(map[uint64]*record.Record, len(positions))
	for range positions {
		select {
		case m := <-messages:
			switch m.Header.Get(headerStatus) {
			case "":
				if rec := c.parseDirect(m); rec != nil {
					found[rec.Seq] = rec
				}
			case statusNoServer:
				return nil, nats.ErrNoResponders
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return found, nil
}

// recordAt returns the record that the leader of a shard has at a position.
func (c *Client) recordAt(ctx context.Context, shard int, pos uint64) (*record.Record, error) {
	m, err := c.storedAt(ctx, subjects.StreamName(shard), pos)
	if err != nil {
		return nil, err
	}
	if m == nil {
		return nil, envelope.Errorf(envelope.CodeNotFound, "position %d has aged out of the log", pos)
	}
	return recordOf(m)
}
