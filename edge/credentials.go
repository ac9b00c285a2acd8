package edge

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// What a job.accepted in the log says of the job's credentials is the name of the grant, in the record's header. The line
// itself has none, so whoever copies it has none to hide (open dialect CR-6). They are put in as the line is shown to the
// session that it answers, and only while they are good: so a resume shows them again until the job has ended, and what
// is shown has the same number either way.

// provisions makes the configuration agree with the credentials that there are, or says why it does not (open dialect
// CP-3).
func (c *Config) provisions(credentials *Credentials) error {
	if credentials == nil {
		if isTrue(c.Capabilities.ProvisionedCredentials) {
			return envelope.Errorf(envelope.CodeFailedPrecondition,
				"edge: Capabilities advertise provisioned_credentials, and there is no provisioner")
		}
		return nil
	}
	if err := credentials.check(); err != nil {
		return err
	}
	yes := true
	offered := *c.Capabilities
	offered.ModelUse, offered.ProvisionedCredentials = &yes, &yes
	c.Capabilities = &offered
	return nil
}

// provisions reports whether an invocation with a lease gets credentials (open dialect TI-3: then nothing is said of it
// before they are there). Where what was negotiated counts, they are for who has negotiated them.
func (s *session) provisions(lease *envelope.Lease) bool {
	return s.srv.provision != nil && lease != nil &&
		(!s.srv.cfg.EnforceCapabilities && !s.traits.Negotiates || isTrue(s.capabilities.ProvisionedCredentials))
}

// invokeWithCredentials is invoke for a job that gets credentials. They are asked for beside the reader, for several
// jobs at once; what comes of the jobs is said in the order in which they came.
func (s *session) invokeWithCredentials(inv *invocation) {
	ready := make(chan struct{})
	reserved := inv.job
	var taken atomic.Bool // somebody has seen to what was issued: its turn came, or the connection ended before
	take := func() bool { return taken.CompareAndSwap(false, true) }
	added := s.addTurn(inv.msg, false, turn{
		ready: ready,
		do: func() {
			if !take() {
				return
			}
			inv.session = s.subject
			submitted := s.invokeNow(inv)
			if !submitted || inv.job != reserved {
				s.notSubmitted(reserved)
			}
			if !submitted {
				s.srv.provision.drop(inv.grant)
			}
		},
		dropped: func() {
			if isClosed(ready) && take() {
				s.srv.provision.drop(inv.grant)
			}
		},
	})
	if !added {
		return
	}
	s.submitting(reserved) // so that the session stays where it is, and the job counts
	s.srv.provision.wg.Go(func() {
		s.prepare(inv)
		close(ready)
		if s.conn.ctx.Err() != nil && take() {
			s.srv.provision.drop(inv.grant)
		}
	})
}

// prepare asks for the credentials of an invocation that will probably be submitted. What is wrong with it is found again
// when its turn has come.
func (s *session) prepare(inv *invocation) {
	ctx := s.srv.provision.ctx
	if inv.validate() != nil || s.gateLease(inv) != nil {
		return
	}
	if whose, _ := s.crowded(inv); whose != "" {
		return
	}
	tool, queue, err := s.srv.tools.Resolve(inv.ref)
	if err != nil {
		return
	}
	inv.tool, inv.queue = tool, queue
	if inv.msg.IdempotencyKey != "" {
		op, cancel := context.WithTimeout(ctx, storeTimeout)
		defer cancel()
		if s.srv.idempotency.knows(op, s.principal, inv.msg.IdempotencyKey) {
			return
		}
	}
	inv.grant, inv.grantErr = s.srv.provision.issue(ctx, inv)
}

// provide makes sure that an invocation which is about to be submitted has its credentials, if it is to have any. It
// returns what to refuse the invocation with, or an error if the ledger cannot be written.
func (s *session) provide(ctx context.Context, inv *invocation) (refusal []*envelope.Envelope, err error) {
	if !s.provisions(inv.lease) {
		return nil, nil
	}
	// The key may stand for another job id, the tool may have another version by now.
	if inv.grant != nil && inv.grant.invocation != inv.subject().String() {
		s.srv.provision.drop(inv.grant)
		inv.grant, inv.grantErr = nil, nil
	}
	if inv.grant == nil && inv.grantErr == nil {
		inv.grant, inv.grantErr = s.srv.provision.issue(ctx, inv)
	}
	var unwritten *errLedger
	switch {
	case errors.As(inv.grantErr, &unwritten):
		return nil, unwritten.err
	case inv.grantErr != nil:
		s.srv.metrics.jobs["refused"].Inc()
		refused := *inv
		refused.job = envelope.NewJobID() // its own is the key's, and will be that of a job if the request is tried again
		return refused.failWith(inv.grantErr, isRetryable(envelope.CodeOf(inv.grantErr), inv.grantErr)), nil
	case time.Since(inv.grant.at) > submitWithin: // the sweep may take it for one that nobody needs
		return nil, envelope.Errorf(envelope.CodeUnavailable, "the job could not be stored in time")
	}
	return nil, nil
}

// keepCredentials has the credentials of an invocation at hand for when its acceptance comes back from the log.
func (s *session) keepCredentials(grant *issued) {
	if grant == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.given == nil {
		s.given = make(map[string][]envelope.Credential)
	}
	s.given[grant.id] = grant.credentials
}

// loseCredentials forgets what keepCredentials has at hand: the acceptance does not come.
func (s *session) loseCredentials(grant *issued) {
	if grant == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.given, grant.id)
}

// grantAtHand reports whether a record can be shown as far as its credentials go. It needs the lock.
func (s *session) grantAtHand(rec *record.Record) bool {
	if rec.Grant == "" {
		return true
	}
	_, at := s.given[rec.Grant]
	return at
}

// fetchCredentials reads the credentials that a record is to be shown with, before it is folded. There are none if they
// have been revoked, are to be, or if the job has ended.
func (s *session) fetchCredentials(ctx context.Context, rec *record.Record) error {
	if rec.Grant == "" || s.srv.provision == nil {
		return nil
	}
	s.mu.Lock()
	seen := s.view.Seq() < s.skip
	s.mu.Unlock()
	if seen {
		return nil
	}
	credentials, err := s.srv.provision.good(ctx, s.srv.log, rec.Grant, s.principal)
	if err != nil {
		return err
	}
	s.keepCredentials(&issued{id: rec.Grant, credentials: credentials})
	return nil
}

// good returns the credentials of a grant of a principal, none if they are not to be shown any more.
func (p *provisioning) good(ctx context.Context, log Log, id, principal string) ([]envelope.Credential, error) {
	g, _, err := p.ledger.load(ctx, id)
	switch code := envelope.CodeOf(err); {
	case code == envelope.CodeNotFound:
		return nil, nil
	case code == envelope.CodeDataLoss: // it will not be read the next time either
		p.logger.Error("credentials that are outstanding cannot be shown", "grant", id, "error", err)
		return nil, nil
	case err != nil:
		return nil, err
	}
	if g.State != grantGiven || g.Principal != principal {
		return nil, nil
	}
	job, err := subjects.Parse(g.Invocation)
	if err != nil {
		return nil, err
	}
	if ended, err := endedJob(ctx, log, job); ended || err != nil {
		return nil, err
	}
	credentials, err := g.open(id, p.keys)
	if err != nil {
		p.logger.Error("credentials that are outstanding cannot be shown", "grant", id, "error", err)
		return nil, nil
	}
	return credentials, nil
}

// showCredentials puts the credentials of a record into the acceptance in it that is about to be shown. It needs the lock.
func (s *session) showCredentials(rec *record.Record, f *view.Frame) {
	if rec.Grant == "" || f.Type != envelope.TypeJobAccepted && f.Type != envelope.TypeJobSubscribed {
		return
	}
	credentials := s.given[rec.Grant]
	if len(credentials) == 0 {
		return
	}
	line, err := withCredentials(f.Line, credentials)
	if err != nil {
		s.logger.Error("an acceptance is shown without its credentials", "grant", rec.Grant, "error", err)
		return
	}
	f.Line = line
}

// withCredentials returns the line of a job.accepted or job.subscribed with credentials in it. The line itself stays as it is.
func withCredentials(line []byte, credentials []envelope.Credential) ([]byte, error) {
	e, err := envelope.DecodeStored(line)
	if err != nil {
		return nil, err
	}
	payload, err := payloadWithCredentials(e, credentials)
	if err != nil {
		return nil, err
	}
	full, err := envelope.NewWithID(e.ID, e.Type, payload)
	if err != nil {
		return nil, err
	}
	e.Payload = full.Payload
	return e.Append(nil)
}

func payloadWithCredentials(e *envelope.Envelope, credentials []envelope.Credential) (any, error) {
	if e.Type == envelope.TypeJobSubscribed {
		payload, err := envelope.DecodePayload[envelope.JobSubscribed](e)
		if err == nil {
			payload.Credentials = credentials
		}
		return payload, err
	}
	payload, err := envelope.DecodePayload[envelope.JobAccepted](e)
	if err == nil {
		payload.Credentials = credentials
	}
	return payload, err
}
