package jetstream

import (
	"context"

	"github.com/nats-io/nats.go"

	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// catchUp is the number of waiting records from which a follower reads everything and picks what it wants itself.
//
// The broker's search for the next match of several filters looks at every subject of a block of the log, and a block
// holds thousands: a few milliseconds for each record that is far from the end (measured: 2,000 records a second, against
// 200,000 without filters). At the end of the log it looks at the new records only, and filters cost nothing.
const catchUp = 1024

// Follow passes the invocations and events of a feed to fn, in log order, each once, across reconnects, until ctx ends;
// it returns then. from is the first position wanted; 0 means what is stored from now on. ready is called once, when
// reading has begun, with a position: all records after it will be passed to fn, none at or before it. fn and ready are
// called from the calling goroutine; fn may block, the broker waits.
//
// Besides the error of ctx it fails with NOT_FOUND if the shard has no log, and with DATA_LOSS if the log, after an
// interruption, ends before a position that was passed to fn already.
func (c *Client) Follow(ctx context.Context, shard int, feed string, from uint64, ready func(pos uint64), fn func(*record.Record)) error {
	f := following{
		c: c, stream: subjects.StreamName(shard), filters: subjects.FeedFilters(shard, feed), ready: ready, fn: fn,
		wanted: func(s subjects.Subject) bool { return s.Feed == feed && s.Lane != subjects.Input },
	}
	return f.run(ctx, shard, from)
}

// Inputs passes what clients say to the running jobs of a shard to fn, from now on, like Follow.
func (c *Client) Inputs(ctx context.Context, shard int, ready func(pos uint64), fn func(*record.Record)) error {
	f := following{
		c: c, stream: subjects.StreamName(shard), filters: []string{subjects.InputFilter(shard)}, ready: ready, fn: fn,
		wanted: func(s subjects.Subject) bool { return s.Lane == subjects.Input },
	}
	return f.run(ctx, shard, 0)
}

// following is the state of a Follow.
type following struct {
	c       *Client
	stream  string
	filters []string
	wanted  func(subjects.Subject) bool // what the filters match
	ready   func(pos uint64)
	fn      func(*record.Record)

	next uint64 // first position not seen yet
}

func (f *following) run(ctx context.Context, shard int, from uint64) error {
	if from == 0 {
		// An own position, and not the broker's "new": the end of the log as of now, which an interruption between
		// here and the first record does not move.
		last, err := f.c.end(ctx, shard)
		if err != nil {
			return err
		}
		from = last + 1
	}
	f.next = from
	for {
		for _, filters := range [][]string{f.filters, nil} {
			if err := f.read(ctx, filters); err != nil {
				return err
			}
		}
	}
}

// read follows with filters until it finds itself far behind when it starts, or without until it no longer is.
func (f *following) read(ctx context.Context, filters []string) error {
	return f.c.read(ctx, reading{
		stream:  f.stream,
		filters: filters,
		from:    f.next,
		started: func(pending uint64) bool {
			if f.ready != nil {
				f.ready(f.next - 1)
				f.ready = nil
			}
			if filters == nil {
				return pending > 0
			}
			return pending < catchUp
		},
		fn: func(m *nats.Msg, at *nats.MsgMetadata) bool {
			f.next = at.Sequence.Stream + 1
			if s, err := subjects.Parse(m.Subject); err != nil || f.wanted(s) {
				if r := f.c.parse(m, at); r != nil {
					f.fn(r)
				}
			}
			return filters != nil || at.NumPending >= catchUp/8
		},
	})
}

// end returns the last position of a shard, and waits for a broker that is away.
func (c *Client) end(ctx context.Context, shard int) (uint64, error) {
	for try := 0; ; try++ {
		if err := c.waitConnected(ctx); err != nil {
			return 0, failed(ctx, "following", err)
		}
		_, last, err := c.Bounds(ctx, shard)
		if err == nil || !retryable(err) || ctx.Err() != nil {
			return last, err
		}
		if err := c.pause(ctx, try); err != nil {
			return 0, failed(ctx, "following", err)
		}
	}
}
