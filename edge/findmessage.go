package edge

import (
	"bytes"
	"context"
	"maps"
	"strings"
	"time"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
)

// Where a message is looked for by its id. An id that a runtime minted says when: its record was stored a little later, by
// clocks that may differ a little. An id that a client chose, or minted by a clock of its own, says nothing: it is looked
// for among the last records only.
const (
	mintedBefore = 10 * time.Second
	mintedAfter  = time.Minute
	// maxSearched bounds the records of the principal that are looked at around a time.
	maxSearched = 65536
	// recentRecords is how far, in positions of a shard, the end of the log is searched for any id.
	recentRecords = 16384
	// maxSearches bounds the searches that an edge does at a time.
	maxSearches = 4
)

// positionsAfter returns, for each shard, a position that what was logged after a message stands after: its own position
// in its shard, and the time of its storing in the others. DATA_LOSS: it is not retained, or never was.
func (srv *Server) positionsAfter(ctx context.Context, tokens []string, id envelope.MessageID, ends map[int]uint64) (map[int]uint64, error) {
	select {
	case srv.searches <- struct{}{}:
		defer func() { <-srv.searches }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	found, err := srv.findMessage(ctx, tokens, id, ends)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, envelope.Errorf(envelope.CodeDataLoss, "payload.since.after_message_id: the log does not hold this message (any longer)")
	}
	positions := maps.Clone(ends)
	for shard, end := range ends {
		if shard == found.Subject.Shard {
			positions[shard] = min(found.Seq, end)
			continue
		}
		pos, err := srv.log.PositionAt(ctx, shard, found.Time)
		switch {
		case err == nil:
			positions[shard] = min(pos-1, end)
		case envelope.CodeOf(err) != envelope.CodeNotFound:
			return nil, err
		}
	}
	return positions, nil
}

// findMessage returns the record of some principals that holds the message with an id, nil if there is none.
func (srv *Server) findMessage(ctx context.Context, tokens []string, id envelope.MessageID, ends map[int]uint64) (found *record.Record, err error) {
	look := func(shard int, from uint64, until time.Time) error {
		searched := 0
		return srv.log.ReadPrincipals(ctx, shard, tokens, from, ends[shard], func(rec *record.Record) bool {
			if holds(rec, id) {
				found = rec
			}
			searched++
			return found == nil && searched < maxSearched && (until.IsZero() || rec.Time.Before(until))
		})
	}
	if minted, ok := id.Minted(); ok {
		for shard := range ends {
			from, err := srv.log.PositionAt(ctx, shard, minted.Add(-mintedBefore))
			if err == nil {
				err = look(shard, from, minted.Add(mintedAfter))
			}
			if found != nil || err != nil && envelope.CodeOf(err) != envelope.CodeNotFound {
				return found, err
			}
		}
	}
	for shard, end := range ends {
		if err := look(shard, max(end, recentRecords)-recentRecords+1, time.Time{}); err != nil || found != nil {
			return found, err
		}
	}
	return nil, nil
}

// holds reports whether one of the envelopes of a record has an id.
func holds(rec *record.Record, id envelope.MessageID) bool {
	if !bytes.Contains(rec.Body, []byte(id)) {
		return false
	}
	for typ, line := range rec.Lines() {
		if strings.HasPrefix(string(typ), "_") {
			continue
		}
		if e, err := envelope.DecodeStored(line); err == nil && e.ID == id {
			return true
		}
	}
	return false
}
