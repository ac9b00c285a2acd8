package edge

import (
	"bytes"
	"context"
	"maps"
	"strings"
	"time"

	"github.com/arcp-nats/arcp/edge/view"
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

// beginAfter makes a subscription begin after a message: in its shard after its place, in the others at the time of its
// storing. The history ends where the subscription would have begun. DATA_LOSS: the message is not retained, or never was.
func (srv *Server) beginAfter(ctx context.Context, sub *view.Subscription, id envelope.MessageID) error {
	select {
	case srv.searches <- struct{}{}:
		defer func() { <-srv.searches }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	ends := sub.Pos
	found, line, err := srv.findMessage(ctx, sub.Principals, id, ends)
	if err != nil {
		return err
	}
	if found == nil {
		return envelope.Errorf(envelope.CodeDataLoss, "payload.since.after_message_id: the log does not hold this message (any longer)")
	}
	sub.Until, sub.Pos = ends, maps.Clone(ends)
	for shard, end := range ends {
		if shard == found.Subject.Shard {
			sub.Pos[shard] = found.Seq
			continue
		}
		pos, err := srv.log.PositionAt(ctx, shard, found.Time)
		switch {
		case err == nil:
			sub.Pos[shard] = min(pos-1, end)
		case envelope.CodeOf(err) != envelope.CodeNotFound:
			return err
		}
	}
	if shard := found.Subject.Shard; line < len(found.Types) { // more was stored with it, after it
		sub.Pos[shard] = found.Seq - 1
		sub.Begin = view.Middle{Shard: shard, Pos: found.Seq, Lines: line}
	}
	return nil
}

// logEnds returns the last position of each shard.
func (srv *Server) logEnds(ctx context.Context) (map[int]uint64, error) {
	shards, err := srv.log.Shards(ctx)
	if err != nil {
		return nil, err
	}
	ends := make(map[int]uint64, len(shards))
	for _, shard := range shards {
		if _, ends[shard], err = srv.log.Bounds(ctx, shard); err != nil {
			return nil, err
		}
	}
	return ends, nil
}

// findMessage returns the record of some principals that holds the message with an id, and its line, from 1. It is nil if
// there is none.
func (srv *Server) findMessage(ctx context.Context, tokens []string, id envelope.MessageID, ends map[int]uint64) (found *record.Record, line int, err error) {
	look := func(shard int, from uint64, until time.Time) error {
		searched := 0
		return srv.log.ReadPrincipals(ctx, shard, tokens, from, ends[shard], func(rec *record.Record) bool {
			if line = lineOf(rec, id); line > 0 {
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
				return found, line, err
			}
		}
	}
	for shard, end := range ends {
		if err := look(shard, max(end, recentRecords)-recentRecords+1, time.Time{}); err != nil || found != nil {
			return found, line, err
		}
	}
	return nil, 0, nil
}

// lineOf returns the number of the envelope in a record that has an id, from 1, or 0. Marks are not looked at.
func lineOf(rec *record.Record, id envelope.MessageID) int {
	if !bytes.Contains(rec.Body, []byte(id)) {
		return 0
	}
	n := 0
	for typ, line := range rec.Lines() {
		n++
		if strings.HasPrefix(string(typ), "_") {
			continue
		}
		if e, err := envelope.DecodeStored(line); err == nil && e.ID == id {
			return n
		}
	}
	return 0
}
