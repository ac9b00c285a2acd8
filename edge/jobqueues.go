package edge

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// jobQueues are the invocations of a listing, one queue a shard, merged in the order of their creation (LJ-3). Time is the
// broker's: when it stored the invocation. Within a shard that is the order of the log.
type jobQueues struct {
	log    Jobs
	query  listQuery
	chunk  int // invocations to read at a time
	queues []*jobQueue

	// seen is the newest acceptance that the asking session has been shown. A replica that does not know it yet is asked
	// again, for a while: a client must find what it was told of.
	seen seenJob
	tick int // counts the reads
}

// seenJob is where an acceptance stands in the log.
type seenJob struct {
	shard int
	pos   uint64 // 0 for none
}

// jobQueue is what was read of one shard and not taken yet.
type jobQueue struct {
	shard   int
	next    uint64 // where to read on
	records []*record.Record
	end     bool // there was no more
	over    bool // no more is wanted: what follows was created too late
	begun   int  // tick at which the last read began
	done    int  // and at which it had ended
}

// replicaPatience is how long a replica may take to know an acceptance that a session has been shown.
const replicaPatience = 2 * time.Second

func newJobQueues(log Jobs, query listQuery, shards []int, from listCursor, chunk int, seen seenJob) *jobQueues {
	m := &jobQueues{log: log, query: query, chunk: chunk, seen: seen}
	for _, shard := range shards {
		m.queues = append(m.queues, &jobQueue{shard: shard, next: from[shard]})
	}
	return m
}

// head returns the invocation that was created first of those that are left, nil if none is.
//
// A shard at its end says nothing of what is stored there later. So what another shard holds is only taken if the ended
// one was found empty after that had been stored: otherwise it is asked again. What it stores from then on is newer, and
// no page that follows has a job that belongs before this one.
func (m *jobQueues) head(ctx context.Context) (*record.Record, error) {
	for {
		var first *jobQueue
		for _, q := range m.queues {
			if len(q.records) == 0 && !q.end && !q.over {
				if err := m.read(ctx, q); err != nil {
					return nil, err
				}
			}
			if len(q.records) > 0 && (first == nil || q.records[0].Time.Before(first.records[0].Time)) {
				first = q
			}
		}
		if first == nil {
			return nil, nil
		}
		stale := false
		for _, q := range m.queues {
			if len(q.records) == 0 && !q.over && q.begun < first.done {
				stale = true
				if err := m.read(ctx, q); err != nil {
					return nil, err
				}
			}
		}
		if !stale {
			return first.records[0], nil
		}
	}
}

// take removes the head.
func (m *jobQueues) take(rec *record.Record) {
	q := m.of(rec)
	q.records = q.records[1:]
}

// giveBack undoes the last take of rec's shard that was not undone yet.
func (m *jobQueues) giveBack(rec *record.Record) {
	q := m.of(rec)
	q.records = append([]*record.Record{rec}, q.records...)
}

func (m *jobQueues) of(rec *record.Record) *jobQueue {
	for _, q := range m.queues {
		if q.shard == rec.Subject.Shard {
			return q
		}
	}
	return nil
}

// cursor is where the next listing begins: at what has not been taken.
func (m *jobQueues) cursor() listCursor {
	c := listCursor{}
	for _, q := range m.queues {
		c[q.shard] = q.next
		if len(q.records) > 0 {
			c[q.shard] = q.records[0].Seq
		}
	}
	return c
}

// read reads on in a queue that is empty.
func (m *jobQueues) read(ctx context.Context, q *jobQueue) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 5*time.Millisecond, 200*time.Millisecond
	for patience := time.Now().Add(replicaPatience); ; {
		if err := m.readOnce(ctx, q); err != nil {
			return err
		}
		lags, err := m.lags(ctx, q)
		if err != nil || !lags || time.Now().After(patience) {
			return err
		}
		if len(q.records) > 0 {
			q.end = false // it is asked again when these have been taken
			return nil
		}
		select {
		case <-time.After(wait.NextBackOff()):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// lags tells whether a queue ended before an acceptance that the session has been shown, and that the log still holds.
func (m *jobQueues) lags(ctx context.Context, q *jobQueue) (bool, error) {
	if !q.end || q.over || q.shard != m.seen.shard || q.next == 0 || q.next > m.seen.pos {
		return false, nil
	}
	first, _, err := m.log.Bounds(ctx, q.shard)
	return first <= m.seen.pos, err
}

func (m *jobQueues) readOnce(ctx context.Context, q *jobQueue) error {
	m.tick++
	q.begun = m.tick
	defer func() {
		m.tick++
		q.done = m.tick
	}()
	if q.next == 0 && !m.query.After.IsZero() {
		next, err := m.log.PositionAt(ctx, q.shard, m.query.After)
		if envelope.CodeOf(err) == envelope.CodeNotFound {
			q.end = true
			return nil
		}
		if err != nil {
			return err
		}
		q.next = next
	}
	set := subjects.JobSet{Shard: q.shard, Principal: m.query.Principal, Session: m.query.Session}
	found, next, end, err := m.log.Invocations(ctx, set, max(q.next, 1), m.chunk)
	if err != nil {
		return err
	}
	q.records, q.next, q.end = found, next, end
	for i, rec := range found {
		if !m.query.Before.IsZero() && !rec.Time.Before(m.query.Before) {
			q.records, q.over = found[:i], true
			break
		}
	}
	return nil
}
