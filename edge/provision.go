package edge

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/arcp-nats/arcp/credential"
	"github.com/arcp-nats/arcp/envelope"
)

const (
	// issueTimeout bounds the time in which credentials are issued, waiting for a turn included.
	issueTimeout = 15 * time.Second
	// grantGrace is how long after a grant was written its invocation may still be on its way. It is longer than
	// submitWithin and a publish together, even if the clocks of two edges differ by a few seconds.
	grantGrace = time.Minute
	// submitWithin is how old a grant may be when its invocation is sent to the log: it may have to wait for its turn.
	submitWithin = 30 * time.Second
	// maxIssuing bounds the questions to the provisioner that an edge has open at a time; the others wait.
	maxIssuing = 64
)

// Sealer encrypts the secrets of the ledger, see credential.Keyring.
type Sealer interface {
	Seal(secret []byte, context string) []byte
	Open(sealed []byte, context string) ([]byte, error)
}

// Credentials are the parts that give jobs credentials of their own. All are required, and all edges of a cluster are to
// have the same.
type Credentials struct {
	Provisioner credential.Provisioner
	Keys        Sealer
	Ledger      WatchedBucket
	// SweepEvery is how often the ends of jobs are looked for that this edge has not heard of. Default 15 s.
	SweepEvery time.Duration
}

// check says what is missing.
func (c *Credentials) check() error {
	switch {
	case c == nil:
		return nil
	case c.Provisioner == nil || c.Keys == nil || c.Ledger == nil:
		return errors.New("edge: Credentials: Provisioner, Keys and Ledger are required")
	case c.SweepEvery < 0:
		return errors.New("edge: Credentials: SweepEvery cannot be negative")
	}
	return nil
}

// provisioning gets credentials from the provisioner and writes down what is outstanding.
type provisioning struct {
	edge        string
	provisioner credential.Provisioner
	keys        Sealer
	ledger      *ledger
	revoker     *revoker
	metrics     *Metrics
	logger      *slog.Logger
	turns       chan struct{} // a slot each question to the provisioner

	ctx context.Context // ends all questions
	wg  sync.WaitGroup
}

func newProvisioning(ctx context.Context, c Credentials, cfg *Config, log Log, metrics *Metrics) *provisioning {
	p := &provisioning{
		edge: cfg.Name, provisioner: c.Provisioner, keys: c.Keys, ledger: newLedger(c.Ledger, cfg.Logger), metrics: metrics,
		logger: cfg.Logger, turns: make(chan struct{}, maxIssuing), ctx: ctx,
	}
	every := c.SweepEvery
	if every == 0 {
		every = 15 * time.Second
	}
	p.revoker = newRevoker(p, log, every)
	return p
}

// run keeps the ledger and revokes what is to be revoked, until the server ends.
func (p *provisioning) run() {
	p.revoker.run(p.ctx)
	p.wg.Wait()
}

// issued are the credentials of a job that is to be submitted.
type issued struct {
	id          string // of the grant
	invocation  string // the subject that it is for
	at          time.Time
	credentials []envelope.Credential
}

// errLedger says that the ledger could not be written: nothing that is issued could be remembered, so nothing is.
type errLedger struct{ err error }

func (e *errLedger) Error() string { return "ledger: " + e.err.Error() }

func (e *errLedger) Unwrap() error { return e.err }

// issue gets the credentials of an invocation (open dialect CR-1, CR-3). The ledger is written before the provisioner is
// asked, and again with what it said: whoever finds an entry that says no more than that somebody asked, asks again,
// and revokes what comes.
func (p *provisioning) issue(ctx context.Context, inv *invocation) (*issued, error) {
	ctx, cancel := context.WithTimeout(ctx, issueTimeout)
	defer cancel()
	select {
	case p.turns <- struct{}{}:
		defer func() { <-p.turns }()
	case <-ctx.Done():
		return nil, envelope.Errorf(envelope.CodeUnavailable, "too many jobs wait for credentials")
	}
	id := rand.Text()
	now := time.Now()
	g := &grant{
		State: grantAsking, At: now, Edge: p.edge, Invocation: inv.subject().String(), Principal: inv.session.Principal, Lease: inv.enforced,
	}
	req, err := g.request()
	if err != nil {
		return nil, err
	}
	revision, err := p.ledger.create(ctx, id, g)
	if err != nil {
		return nil, &errLedger{err}
	}
	credentials, err := p.provisioner.Issue(ctx, req)
	if err == nil {
		err = credential.Check(credentials)
	}
	if err == nil && p.ledger.revoking(id) {
		// What the job was given when it was asked for before is being revoked, and this may be the same.
		err = envelope.Errorf(envelope.CodeUnavailable, "credentials that the job was given before are being revoked")
	}
	if err != nil {
		p.metrics.credentials["failed"].Inc()
		p.notIssued(id, g, revision, credentials, err)
		return nil, saidToClient(err)
	}
	if err = g.give(id, credentials, p.keys, now); err == nil {
		_, err = p.ledger.update(ctx, id, g, revision)
	}
	if err != nil {
		// The entry still says that somebody asked. What came is known here and now only: away with it.
		p.metrics.credentials["failed"].Inc()
		p.takeBack(credentials)
		return nil, &errLedger{err}
	}
	p.metrics.credentials["issued"].Inc()
	return &issued{id: id, invocation: g.Invocation, at: now, credentials: credentials}, nil
}

// saidToClient is what a client is told of why there are no credentials: what the provisioner has worded for it, with a code.
// Any other error may quote what is none of the client's business: addresses, tokens, answers.
func saidToClient(err error) error {
	var worded *envelope.Error
	switch {
	case errors.As(err, &worded):
		return worded
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled):
		return envelope.Errorf(envelope.CodeUnavailable, "the job's credentials were not issued in time")
	}
	return envelope.Errorf(envelope.CodeInternal, "the job's credentials could not be issued")
}

// notIssued writes down what a provisioner left that has failed: nothing, something that can be named, or it is not
// known what.
func (p *provisioning) notIssued(id string, g *grant, revision uint64, credentials []envelope.Credential, err error) {
	p.logger.Warn("no credentials for a job", "grant", id, "code", envelope.CodeOf(err), "refused", credential.Refused(err))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), storeTimeout)
	defer cancel()
	var failed error
	if len(credentials) == 0 && credential.Refused(err) {
		failed = p.ledger.remove(ctx, id)
	} else {
		g.IDs = idsOf(credentials)
		g.revoke(time.Now())
		if _, failed = p.ledger.update(ctx, id, g, revision); failed == nil {
			p.revoker.hurry(id)
		}
	}
	if failed != nil { // then the entry still says that somebody asked
		p.logger.Warn("the ledger of credentials was not written", "grant", id, "error", failed)
	}
}

// takeBack revokes, once, credentials that the ledger does not know.
func (p *provisioning) takeBack(credentials []envelope.Credential) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), storeTimeout)
	defer cancel()
	for _, c := range credentials {
		if err := p.provisioner.Revoke(ctx, c.ID); err != nil {
			p.logger.Error("a credential that could not be written down could not be revoked", "credential", c.ID, "code", envelope.CodeOf(err))
		}
	}
}

// drop gives back the credentials of a job that is not going to be.
func (p *provisioning) drop(grant *issued) {
	if grant != nil {
		p.revoker.hurryUnused(grant.id)
	}
}

// collect tells what is outstanding.
func (p *provisioning) collect(metrics chan<- prometheus.Metric, m *Metrics) {
	states, oldest := p.ledger.count()
	for _, state := range []grantState{grantAsking, grantGiven, grantRevoking} {
		metrics <- prometheus.MustNewConstMetric(m.grants, prometheus.GaugeValue, float64(states[state]), string(state))
	}
	age := 0.0
	if !oldest.IsZero() {
		age = max(0, time.Since(oldest).Seconds())
	}
	metrics <- prometheus.MustNewConstMetric(m.unrevoked, prometheus.GaugeValue, age)
}
