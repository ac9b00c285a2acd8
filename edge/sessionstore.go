package edge

import (
	"context"
	"sync"
	"time"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/subjects"
)

// storeTimeout bounds one operation on a bucket.
const storeTimeout = 5 * time.Second

// sessionStore is this edge's hold on a session's record. Every write is a compare-and-set on the revision that this
// edge wrote last, so an edge that lost the session cannot write it any more: it gets ABORTED. It is safe for
// concurrent use.
type sessionStore struct {
	bucket Bucket

	mu       sync.Mutex
	rec      sessionRecord
	revision uint64
	noted    *view.Checkpoint // newer than the stored one, for the next save
	recent   *view.Checkpoint // the same, of Recent
	revoke   bool             // the previous tokens are to go with the next save
	savedAt  time.Time
}

// createSession stores the record of a new session.
func createSession(ctx context.Context, bucket Bucket, rec sessionRecord) (*sessionStore, error) {
	data, err := rec.encode()
	if err != nil {
		return nil, err
	}
	revision, err := bucket.Create(ctx, rec.key(), data)
	if err != nil {
		return nil, err
	}
	return &sessionStore{bucket: bucket, rec: rec, revision: revision, savedAt: time.Now()}, nil
}

// loadSession reads a session's record; whoever saves it next has it.
func loadSession(ctx context.Context, bucket Bucket, id envelope.SessionID) (*sessionStore, error) {
	want := sessionRecord{Session: id}
	data, revision, err := bucket.Get(ctx, want.key())
	if err != nil {
		return nil, err
	}
	rec, err := decodeSessionRecord(data)
	if err != nil {
		return nil, err
	}
	return &sessionStore{bucket: bucket, rec: *rec, revision: revision}, nil
}

// snapshot returns a copy of the record as it was last written or read.
func (st *sessionStore) snapshot() sessionRecord {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.rec
}

// at returns the session's subject at a place.
func (st *sessionStore) at(place view.Place) subjects.Subject {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.rec.subjectAt(place)
}

// note keeps a checkpoint for the next save.
func (st *sessionStore) note(c view.Checkpoint) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if c.Seq > st.rec.Checkpoint.Seq {
		st.noted = &c
	}
}

// revokePrevious makes the next save end the tokens before the current one.
func (st *sessionStore) revokePrevious() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.revoke = len(st.rec.Previous) > 0
}

// due reports whether the record should be written: its lifetime runs from its last write, and a checkpoint is worth
// writing every now and then.
func (st *sessionStore) due(now time.Time, touch, checkpoint time.Duration) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	age := now.Sub(st.savedAt)
	return st.revoke || age >= touch || (st.noted != nil && age >= checkpoint)
}

// save writes the record, with change applied to it and what was noted for it. It fails with ABORTED if another edge
// has the session, and leaves the record unchanged on any failure.
func (st *sessionStore) save(ctx context.Context, change func(*sessionRecord)) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	next := st.rec
	if st.noted != nil {
		next.Checkpoint = *st.noted
	}
	if st.recent != nil {
		next.Recent = st.recent
	}
	if st.revoke {
		next.Previous = nil
	}
	if change != nil {
		change(&next)
	}
	data, err := next.encode()
	if err != nil {
		return err
	}
	revision, err := st.bucket.Update(ctx, next.key(), data, st.revision)
	if err != nil && envelope.CodeOf(err) == envelope.CodeAborted && st.stillOurs(ctx) {
		revision, err = st.bucket.Update(ctx, next.key(), data, st.revision)
	}
	if err != nil {
		return err
	}
	st.rec, st.revision, st.savedAt = next, revision, time.Now()
	st.noted, st.recent, st.revoke = nil, nil, false
	return nil
}

// take writes the record as changed if nobody has written it since it was loaded; else it fails with ABORTED, and
// the record must be loaded and judged again.
func (st *sessionStore) take(ctx context.Context, change func(*sessionRecord)) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	next := st.rec
	change(&next)
	data, err := next.encode()
	if err != nil {
		return err
	}
	revision, err := st.bucket.Update(ctx, next.key(), data, st.revision)
	if err != nil {
		return err
	}
	st.rec, st.revision, st.savedAt = next, revision, time.Now()
	return nil
}

// stillOurs finds out whether the revision moved on through a write of our own whose answer was lost.
func (st *sessionStore) stillOurs(ctx context.Context) bool {
	data, revision, err := st.bucket.Get(ctx, st.rec.key())
	if err != nil {
		return false
	}
	current, err := decodeSessionRecord(data)
	if err != nil || current.Holder != st.rec.Holder || current.Epoch != st.rec.Epoch {
		return false
	}
	st.revision = revision
	return true
}

// remove deletes the record: the session cannot be resumed any more.
func (st *sessionStore) remove(ctx context.Context) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.bucket.Delete(ctx, st.rec.key())
}
