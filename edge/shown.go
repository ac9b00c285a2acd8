package edge

import (
	"context"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// maxShownJobs bounds the watched jobs of which a reader keeps a piece.
const maxShownJobs = 8

// shownReader reads from the log what the marks of a session show of other sessions' logs. Marks of a job follow each
// other, so it reads a piece of the job's log at a time, and not what one mark covers. It is not safe for concurrent use.
type shownReader struct {
	log    Log
	pieces map[string]*tail // by job
}

func newShownReader(log Log) *shownReader {
	return &shownReader{log: log, pieces: make(map[string]*tail)}
}

// read returns what a record shows. NOT_FOUND: it has aged out.
func (r *shownReader) read(ctx context.Context, v *view.View, rec *record.Record) (shown []*record.Record, err error) {
	if q, quotes := v.Quotes(rec); quotes {
		return r.log.ReadAt(ctx, q.Shard, q.At)
	}
	rng, shows := v.Shows(rec)
	if !shows {
		return nil, nil
	}
	piece := r.pieces[rng.Job]
	if piece == nil || !piece.covers(rng) {
		if piece, err = r.piece(ctx, rng); err != nil {
			return nil, err
		}
		if len(r.pieces) >= maxShownJobs {
			clear(r.pieces)
		}
		r.pieces[rng.Job] = piece
	}
	return piece.in(rng), nil
}

// piece reads a range, and what comes after it as far as a piece goes.
func (r *shownReader) piece(ctx context.Context, rng view.Range) (*tail, error) {
	sub, err := subjects.Parse(rng.Subject)
	if err != nil {
		return nil, err
	}
	until := rng.To
	switch last, err := r.log.LastOf(ctx, sub); {
	case err == nil:
		until = max(until, last.Seq)
	case envelope.CodeOf(err) != envelope.CodeNotFound:
		return nil, err
	}
	piece := &tail{after: rng.After, to: rng.After}
	err = r.log.ReadRange(ctx, sub, rng.After+1, until, func(rec *record.Record) bool {
		piece.add(rec)
		return piece.to < rng.To || !piece.full()
	})
	return piece, err
}
