package edge

import (
	"context"
	"sync"
	"time"

	"github.com/arcp-nats/arcp/credential"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

const (
	// revokeShortest and revokeLongest bound the time between two tries at a revocation that fails.
	revokeShortest, revokeLongest = time.Second, 5 * time.Minute
	// revokeTimeout bounds one try, and revokeClaim is how long other edges leave it to the one that tries.
	revokeTimeout, revokeClaim = 30 * time.Second, time.Minute
	// revokeTick is how often the ledger is looked through for what is due.
	revokeTick = 250 * time.Millisecond
	// maxRevoking bounds the revocations of an edge at a time, maxHurried those that wait for one; what is over it is
	// found by the sweep.
	maxRevoking, maxHurried = 8, 4096
	// maxLooks bounds the jobs that one tick looks at whether they have ended.
	maxLooks = 16
	// thoroughEvery is how many looks at a job there are to one that reads all that it has said.
	thoroughEvery = 20
)

// revokeAgain are the waits after a failure before it is written down for later (open dialect CR-4).
var revokeAgain = []time.Duration{10 * time.Millisecond, 20 * time.Millisecond, 40 * time.Millisecond}

// revoker revokes credentials when their job has ended, however it ended (open dialect CR-4): at once if this edge hears
// of the end, else when it is due to be looked at. What fails is tried again, by any edge, until it succeeds.
type revoker struct {
	p     *provisioning
	log   Log
	every time.Duration // Credentials.SweepEvery

	hurried chan hurried
	wg      sync.WaitGroup
}

// hurried is a grant to look at now.
type hurried struct {
	id     string
	unused bool // it belongs to a job that is not going to be
	// thorough reads all of the job's events. The last one alone does not tell what came before: a worker that was given up
	// on may still speak after the end.
	thorough bool
}

func newRevoker(p *provisioning, log Log, every time.Duration) *revoker {
	return &revoker{p: p, log: log, every: every, hurried: make(chan hurried, maxHurried)}
}

// run revokes until ctx ends.
func (r *revoker) run(ctx context.Context) {
	r.wg.Go(func() { r.watch(ctx) })
	for range maxRevoking {
		r.wg.Go(func() { r.work(ctx) })
	}
	tick := time.NewTicker(revokeTick)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			for _, look := range r.p.ledger.due(now, r.every, maxLooks) {
				r.push(look)
			}
		case <-ctx.Done():
			r.wg.Wait()
			return
		}
	}
}

// watch keeps the ledger's table until ctx ends, through failures of the bucket.
func (r *revoker) watch(ctx context.Context) {
	for ctx.Err() == nil {
		err := r.p.ledger.watch(ctx, func() {})
		if ctx.Err() != nil {
			return
		}
		r.p.logger.Warn("the ledger of credentials is not watched, trying again", "error", err)
		select {
		case <-time.After(revokeShortest):
		case <-ctx.Done():
		}
	}
}

// hear takes a record of a feed that this edge reads.
func (r *revoker) hear(rec *record.Record) {
	if rec.Subject.Lane != subjects.Event || rec.Subject.Job == "" {
		return
	}
	if len(r.p.ledger.ofJob(rec.Subject.Job)) > 0 && ends(rec) {
		r.hearEnd(rec.Subject.Job)
	}
}

// hearEnd has the grants of a job looked at soon that has probably ended.
func (r *revoker) hearEnd(job string) {
	for _, id := range r.p.ledger.ofJob(job) {
		r.push(hurried{id: id, thorough: true})
	}
}

// hurry has a grant looked at soon.
func (r *revoker) hurry(id string) { r.push(hurried{id: id}) }

// hurryUnused has a grant revoked soon whose job is not going to be.
func (r *revoker) hurryUnused(id string) { r.push(hurried{id: id, unused: true}) }

func (r *revoker) push(h hurried) {
	select {
	case r.hurried <- h:
	default:
	}
}

func (r *revoker) work(ctx context.Context) {
	for {
		select {
		case h := <-r.hurried:
			if err := r.look(ctx, h); err != nil && ctx.Err() == nil {
				r.p.logger.Warn("credentials could not be looked after", "grant", h.id, "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// look judges a grant and revokes it if its time has come.
func (r *revoker) look(ctx context.Context, h hurried) error {
	k, known := r.p.ledger.get(h.id)
	if !known {
		return nil
	}
	if k.state == grantGiven && !h.unused {
		over, err := r.over(ctx, h, &k)
		if err != nil || !over {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, revokeTimeout)
	defer cancel()
	g, revision, err := r.p.ledger.load(ctx, h.id)
	if envelope.CodeOf(err) == envelope.CodeNotFound {
		r.p.ledger.forget(h.id)
		return nil
	}
	now := time.Now()
	switch {
	case err != nil:
		return err
	case now.Before(g.until(r.p.edge, now)):
		return nil
	case g.State == grantAsking && !k.settled(now):
		return nil // its edge is at it
	}
	if _, busy := r.p.ledger.inUse(h.id); busy {
		return nil // it is being asked for again
	}
	g.revoke(now)
	g.Holder, g.Until = r.p.edge, now.Add(revokeClaim)
	if revision, err = r.p.ledger.update(ctx, h.id, g, revision); err != nil {
		if envelope.CodeOf(err) == envelope.CodeAborted {
			return nil // another edge is at it
		}
		return err
	}
	return r.revoke(ctx, h.id, g, revision)
}

// over reports whether nobody needs the credentials of a grant any more: its job has ended, or was never stored.
func (r *revoker) over(ctx context.Context, h hurried, k *knownGrant) (bool, error) {
	if !k.invocation {
		invocation, err := r.log.LastOf(ctx, k.job)
		switch {
		case err != nil && envelope.CodeOf(err) != envelope.CodeNotFound:
			return false, err
		case err != nil || invocation.Grant != h.id:
			return k.settled(time.Now()), nil
		}
		r.p.ledger.seen(h.id)
	}
	if h.thorough {
		return toldEnded(ctx, r.log, subjects.JobEvents(k.job))
	}
	return endedJob(ctx, r.log, k.job)
}

// revoke revokes what is outstanding of a grant that this edge has claimed, and writes down what is left.
func (r *revoker) revoke(ctx context.Context, id string, g *grant, revision uint64) error {
	failure := r.name(ctx, id, g, &revision)
	var left []string
	if failure == nil {
		used, _ := r.p.ledger.inUse(id)
		for _, credential := range g.IDs {
			if used[credential] {
				continue
			}
			if err := r.try(ctx, credential); err != nil {
				left = append(left, credential)
				failure = err
			}
		}
		g.IDs = left
	}
	store, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	job, _ := subjects.Parse(g.Invocation)
	if failure == nil {
		r.p.metrics.revocations["revoked"].Inc()
		r.p.logger.Info("credentials revoked", "grant", id, "job", job.Job, "tries", g.Tries+1)
		return r.p.ledger.remove(store, id)
	}
	r.p.metrics.revocations["failed"].Inc()
	g.failed(time.Now())
	r.p.logger.Warn("credentials are not revoked yet", "grant", id, "job", job.Job, "credentials", left,
		"age", time.Since(g.At).Round(time.Second), "tries", g.Tries, "code", envelope.CodeOf(failure), "next", g.Next)
	_, err := r.p.ledger.update(store, id, g, revision)
	if envelope.CodeOf(err) == envelope.CodeAborted {
		return nil
	}
	return err
}

// name finds out what was issued for a grant if nobody wrote it down: it asks for the same again. A provisioner that knows
// the job by its id answers with what it issued.
func (r *revoker) name(ctx context.Context, id string, g *grant, revision *uint64) error {
	if len(g.IDs) > 0 {
		return nil
	}
	req, err := g.request()
	if err != nil {
		return err
	}
	credentials, err := r.p.provisioner.Issue(ctx, req)
	switch {
	case len(credentials) > 0:
		g.IDs = idsOf(credentials)
	case credential.Refused(err) && !isRetryable(envelope.CodeOf(err), err):
		return nil // there is nothing
	case err != nil: // a refusal for now says nothing about what was issued before
		return err
	}
	*revision, err = r.p.ledger.update(ctx, id, g, *revision)
	return err
}

// try revokes one credential, a few times within a moment.
func (r *revoker) try(ctx context.Context, id string) error {
	for again := 0; ; again++ {
		err := r.p.provisioner.Revoke(ctx, id)
		if err == nil || again == len(revokeAgain) || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(revokeAgain[again]):
		case <-ctx.Done():
			return err
		}
	}
}
