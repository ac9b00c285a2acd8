package edge

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/subjects"
)

// ledgerPrefix begins the keys of the ledger: the bucket has other things in it, too.
const ledgerPrefix = "grant"

// ledger is the grants of the cluster: the bucket, and a table of what stands in it. The table may be a moment behind, but
// for what this edge has written itself. It is safe for concurrent use.
type ledger struct {
	bucket WatchedBucket
	logger *slog.Logger

	size atomic.Int64 // of the table
	mu   sync.Mutex
	// known are the grants by id, jobs their ids by job: a job may have had more than one.
	known map[string]*knownGrant
	jobs  map[string][]string
}

// knownGrant is what the table has of a grant. What this edge knows by itself outlives a change: since, looked, looks and
// invocation.
type knownGrant struct {
	job        subjects.Subject // its invocation's
	state      grantState
	ids        []string // of the credentials
	at         time.Time
	due        time.Time // grantRevoking: not to be tried before
	since      time.Time // when this edge learnt of the state, by its own clock
	looked     time.Time // grantGiven: when somebody of here last looked whether the job has ended
	looks      int       // how often
	invocation bool      // it was seen in the log
}

// settled reports whether whoever wrote the grant has had the time to go on with it: by the clock of that edge, or, should
// that be ahead, by how long the grant has been known here.
func (k *knownGrant) settled(now time.Time) bool {
	return now.Sub(k.at) >= grantGrace || now.Sub(k.since) >= grantGrace
}

func newLedger(bucket WatchedBucket, logger *slog.Logger) *ledger {
	return &ledger{bucket: bucket, logger: logger, known: make(map[string]*knownGrant), jobs: make(map[string][]string)}
}

func ledgerKey(id string) string { return subjects.Key(ledgerPrefix, id) }

// create writes a new grant.
func (l *ledger) create(ctx context.Context, id string, g *grant) (revision uint64, err error) {
	data, err := json.Marshal(g)
	if err != nil {
		return 0, fmt.Errorf("ledger: %w", err)
	}
	if revision, err = l.bucket.Create(ctx, ledgerKey(id), data); err == nil {
		l.note(id, g)
	}
	return revision, err
}

// load reads a grant. NOT_FOUND: it is done with. DATA_LOSS: it cannot be read.
func (l *ledger) load(ctx context.Context, id string) (g *grant, revision uint64, err error) {
	data, revision, err := l.bucket.Get(ctx, ledgerKey(id))
	if err != nil {
		return nil, 0, err
	}
	g = new(grant)
	if err = json.Unmarshal(data, g); err == nil {
		_, err = subjects.Parse(g.Invocation)
	}
	if err != nil {
		return nil, 0, envelope.Errorf(envelope.CodeDataLoss, "ledger: entry %s cannot be read", id) // the cause may quote it
	}
	return g, revision, nil
}

// update writes a grant again. ABORTED: another edge was first.
func (l *ledger) update(ctx context.Context, id string, g *grant, revision uint64) (newRevision uint64, err error) {
	data, err := json.Marshal(g)
	if err != nil {
		return 0, fmt.Errorf("ledger: %w", err)
	}
	if newRevision, err = l.bucket.Update(ctx, ledgerKey(id), data, revision); err == nil {
		l.note(id, g)
	}
	return newRevision, err
}

// remove forgets a grant: nothing of it is outstanding.
func (l *ledger) remove(ctx context.Context, id string) error {
	err := l.bucket.Delete(ctx, ledgerKey(id))
	if err == nil {
		l.forget(id)
	}
	return err
}

// watch keeps the table up to date until ctx ends. ready is called once it is complete.
func (l *ledger) watch(ctx context.Context, ready func()) error {
	return l.bucket.Watch(ctx, ready, func(key string, value []byte, _ time.Time) {
		parts, err := subjects.ParseKey(key)
		if err != nil || len(parts) != 2 || parts[0] != ledgerPrefix {
			return
		}
		var g grant
		switch {
		case value == nil:
			l.forget(parts[1])
		case json.Unmarshal(value, &g) != nil || !l.note(parts[1], &g):
			l.logger.Error("an entry of the ledger of credentials cannot be read, and they are not revoked by this edge", "grant", parts[1])
			l.forget(parts[1])
		}
	})
}

// note takes a grant into the table, unless nobody can tell whose it is.
func (l *ledger) note(id string, g *grant) bool {
	job, err := subjects.Parse(g.Invocation)
	if err != nil {
		return false
	}
	now := time.Now()
	k := &knownGrant{job: job, state: g.State, ids: slices.Clone(g.IDs), at: g.At, due: g.until("", now), since: now, looked: earlier(g.At, now)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if old := l.known[id]; old != nil {
		k.looked, k.looks, k.invocation = old.looked, old.looks, old.invocation
		if old.state == g.State {
			k.since = old.since
		}
	} else {
		l.jobs[job.Job] = append(l.jobs[job.Job], id)
	}
	l.known[id] = k
	l.size.Store(int64(len(l.known)))
	return true
}

func (l *ledger) forget(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.known[id]
	if k == nil {
		return
	}
	delete(l.known, id)
	l.size.Store(int64(len(l.known)))
	without(l.jobs, k.job.Job, id)
}

// ofJob returns the grants of a job. It costs next to nothing while there are no grants.
func (l *ledger) ofJob(job string) []string {
	if l.size.Load() == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.jobs[job] // replaced or appended to, never changed in place
}

// others calls fn with what else the job of a grant has been granted: a job that was asked for again under its key, as
// nobody knew what came of it, may have been given the same credentials again.
func (l *ledger) others(id string, fn func(other string, k *knownGrant)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.known[id]
	if k == nil {
		return
	}
	for _, other := range l.jobs[k.job.Job] {
		if o := l.known[other]; other != id && o != nil && o.job.PrincipalToken() == k.job.PrincipalToken() {
			fn(other, o)
		}
	}
}

// revoking reports whether something else that the job of a grant was given is to be revoked.
func (l *ledger) revoking(id string) (yes bool) {
	l.others(id, func(_ string, k *knownGrant) { yes = yes || k.state == grantRevoking })
	return yes
}

// inUse returns which credentials of a grant's job belong to another grant of it, too, which is not to be revoked. busy:
// that is not known yet. Nobody waits for a grant whose edge asked and was lost: of two such, each would wait for the other.
func (l *ledger) inUse(id string) (ids map[string]bool, busy bool) {
	now := time.Now()
	l.others(id, func(_ string, k *knownGrant) {
		busy = busy || k.state == grantAsking && !k.settled(now)
		if k.state != grantGiven {
			return
		}
		for _, credential := range k.ids {
			if ids == nil {
				ids = make(map[string]bool)
			}
			ids[credential] = true
		}
	})
	return ids, busy
}

// due returns the grants that somebody has to look at now, at most limit: those to revoke, those whose issuing edge would
// have said by now what came of it, and those whose job may have ended without this edge having heard of it.
func (l *ledger) due(now time.Time, every time.Duration, limit int) (looks []hurried) {
	l.mu.Lock()
	defer l.mu.Unlock()
	given := 0
	for id, k := range l.known {
		look := hurried{id: id}
		switch k.state {
		case grantRevoking:
			if now.Before(k.due) {
				continue
			}
			k.due = now.Add(revokeClaim) // the entry says more when it is known what came of it
		case grantAsking:
			if !k.settled(now) || now.Before(k.due) {
				continue
			}
			k.due = now.Add(revokeClaim)
		default:
			if now.Sub(k.looked) < every || given == limit {
				continue
			}
			look.thorough = k.looks%thoroughEvery == 0
			k.looked = now
			k.looks++
			given++
		}
		looks = append(looks, look)
	}
	return looks
}

// get returns what the table has of a grant.
func (l *ledger) get(id string) (k knownGrant, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if found := l.known[id]; found != nil {
		return *found, true
	}
	return k, false
}

// seen notes that the invocation of a grant is in the log.
func (l *ledger) seen(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k := l.known[id]; k != nil {
		k.invocation = true
	}
}

// count returns how many grants there are by state, and since when the oldest one is to be revoked.
func (l *ledger) count() (states map[grantState]int, oldest time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	states = make(map[grantState]int, 3)
	for _, k := range l.known {
		states[k.state]++
		if k.state == grantRevoking && (oldest.IsZero() || k.at.Before(oldest)) {
			oldest = k.at
		}
	}
	return states, oldest
}
