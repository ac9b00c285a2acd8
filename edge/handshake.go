package edge

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/arcp-nats/arcp/auth"
	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
)

// maxChallengeTries bounds the answers to one challenge.
const maxChallengeTries = 5

// handshake is how far a connection without a session has come. The connection's reader owns it.
type handshake struct {
	// challenge is open: the session id and the capabilities were fixed when it was made (open dialect HS-5).
	challenger   auth.Challenger
	state        any
	tries        int
	proof        proof
	session      envelope.SessionID
	capabilities envelope.Capabilities
}

// handleOpen authenticates and opens a session (open dialect HS-1 to HS-4).
func (c *conn) handleOpen(msg *envelope.Envelope) {
	open, err := envelope.DecodePayload[envelope.SessionOpen](msg)
	if err != nil {
		c.receiveBad(nil, err)
		return
	}
	c.handshake = handshake{session: envelope.NewSessionID(), capabilities: c.srv.negotiate(open.Capabilities)}
	scheme := auth.Scheme(open.Auth.Scheme)
	c.handshake.proof.Scheme = scheme
	authenticator, ok := c.srv.cfg.Auth.Lookup(scheme)
	if !ok {
		c.reject(msg, envelope.CodeUnauthenticated, "authentication scheme "+string(scheme)+" is not offered here")
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.srv.cfg.HandshakeTimeout)
	defer cancel()
	nobody := string(c.handshake.session)
	if c.codec.Traits().Anonymous { // nobody has a name, and comes back under it
		nobody = "client:" + open.Client.Kind
	}
	outcome, err := authenticator.Authenticate(ctx, auth.Attempt{
		Scheme: scheme, Token: open.Auth.Token,
		ClientKind: open.Client.Kind, ClientVersion: open.Client.Version, Fingerprint: open.Client.Fingerprint,
		Anonymous: isTrue(c.handshake.capabilities.Anonymous), SessionID: nobody,
	})
	switch reason, rejected := auth.IsRejection(err); {
	case rejected:
		c.reject(msg, envelope.CodeUnauthenticated, reason)
	case err != nil:
		c.authenticatorFailed(err)
	case outcome.Challenge != "" && c.codec.Traits().NoRefresh:
		c.reject(msg, envelope.CodeUnauthenticated, "the token asks for a challenge, which this client cannot answer")
	case outcome.Challenge != "":
		challenger, ok := authenticator.(auth.Challenger)
		if !ok {
			c.authenticatorFailed(errors.New("it made a challenge that it cannot verify"))
			return
		}
		c.handshake.challenger, c.handshake.state = challenger, outcome.State
		c.handshake.proof.Challenged = true
		c.send(answer(c.handshake.session, msg, envelope.TypeSessionChallenge, &envelope.SessionChallenge{Challenge: outcome.Challenge}))
	default:
		c.open(ctx, msg, outcome.Identity)
	}
}

// handleAuthenticate answers an open challenge (open dialect HS-5). Only the authenticator that made it is asked,
// and not for ever.
func (c *conn) handleAuthenticate(msg *envelope.Envelope) {
	h := &c.handshake
	if h.challenger == nil {
		c.strike() // open dialect HS-6: dropped
		return
	}
	payload, err := envelope.DecodePayload[envelope.SessionAuthenticate](msg)
	if err != nil {
		c.receiveBad(nil, err)
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.srv.cfg.HandshakeTimeout)
	defer cancel()
	identity, err := h.challenger.Verify(ctx, h.state, payload.Response)
	switch reason, rejected := auth.IsRejection(err); {
	case rejected:
		h.tries++
		c.send(answer(h.session, msg, envelope.TypeSessionUnauthenticated,
			&envelope.SessionUnauthenticated{Code: envelope.CodeUnauthenticated, Message: reason}))
		if h.tries >= maxChallengeTries {
			c.close(closePolicy, "too many wrong answers to the challenge")
		}
	case err != nil:
		c.authenticatorFailed(err)
	default:
		c.open(ctx, msg, identity)
	}
}

// open stores the new session's record and tells the client.
func (c *conn) open(ctx context.Context, msg *envelope.Envelope, identity auth.Identity) {
	h := c.handshake
	srv := c.srv
	if r := c.codec.Resuming(); r != nil {
		c.continueSession(msg, r.Token, r.LastSeq, &claim{session: r.Session, identity: identity})
		return
	}
	t, err := srv.quotas.admit(identity.Principal, h.session)
	if err != nil {
		c.reject(msg, envelope.CodeResourceExhausted, err.Error())
		return
	}
	f, err := srv.hub.use(ctx, srv.home())
	if err != nil {
		srv.quotas.release(identity.Principal, h.session)
		c.unavailable(msg, err)
		return
	}
	now := time.Now().UTC()
	lease := c.leaseOf(now, identity)
	token := newResumeToken(h.session)
	start := view.NewOf(c.codec.Dialect(), srv.home(), f.pos.Load(), h.capabilities.Extensions...)
	store, err := createSession(ctx, srv.sessions, sessionRecord{
		Session: h.session, Principal: identity.Principal, Dialect: c.codec.Dialect().Name(),
		Place: srv.home(), Capabilities: h.capabilities,
		Proof: h.proof, LeaseGranted: lease.granted, LeaseExpires: lease.ends, CreatedAt: now, Holder: srv.cfg.Name, Epoch: 1,
		Token: hashToken(token), Start: start.Checkpoint(),
	})
	if err != nil {
		srv.hub.release(f)
		srv.quotas.release(identity.Principal, h.session)
		c.unavailable(msg, err)
		return
	}
	s := newSession(c, f, store, t, start, 0)
	s.confirmed.Store(true) // there is no previous token
	s.begin(0)
	f.attach(s)
	c.adopt(s)
	c.send(s.answer(msg, envelope.TypeSessionAccepted, &envelope.SessionAccepted{
		SessionID: s.id, Runtime: srv.cfg.Runtime, Capabilities: h.capabilities,
		Lease: lease.told(), ResumeToken: token,
	}))
	c.srv.metrics.opened["opened"].Inc()
	s.logger.Info("session opened")
}

// noLease is how long a session goes on whose client cannot show again who it is, if its credential has no end.
const noLease = 10 * 365 * 24 * time.Hour

// leaseOf is the lease of a session that begins with a proof of identity.
func (c *conn) leaseOf(now time.Time, identity auth.Identity) lease {
	length := c.srv.cfg.SessionLease
	if c.codec.Traits().NoRefresh {
		length = noLease
	}
	return newLease(now, length, identity.ExpiresAt)
}

// adopt makes s the connection's session; one that it replaces leaves.
func (c *conn) adopt(s *session) {
	if old := c.session.Swap(s); old != nil {
		old.leave(errors.New("replaced by a resumed session"))
	}
	c.handshake = handshake{}
	c.ws.SetReadLimit(int64(envelope.LargestMaxBytes(c.srv.limits)))
	c.alive()
	c.srv.remember(s)
}

// reject refuses a session; the connection stays up for another try (open dialect HS-2, HS-7), though not for many.
func (c *conn) reject(msg *envelope.Envelope, code envelope.Code, reason string) {
	c.srv.metrics.opened["rejected"].Inc()
	c.send(answer("", msg, envelope.TypeSessionRejected, &envelope.SessionRejected{Code: code, Message: reason}))
	switch {
	case c.codec.Traits().OneTry:
		c.close(closePolicy, "no session")
	case c.session.Load() == nil:
		c.strike()
	}
}

// unavailable refuses a session because the log or the buckets cannot be reached.
func (c *conn) unavailable(msg *envelope.Envelope, err error) {
	c.logger.Warn("session refused", "error", err)
	c.reject(msg, envelope.CodeUnavailable, "the session store cannot be reached, try again")
}

// authenticatorFailed ends the connection: that it could not be decided is nothing the client could act on.
func (c *conn) authenticatorFailed(err error) {
	c.logger.Error("authenticator failed", "error", err)
	c.close(closeInternal, "authentication failed to run")
}

// negotiate computes a session's capabilities (open dialect CP-1, CP-2).
func (srv *Server) negotiate(client envelope.Capabilities) envelope.Capabilities {
	offered := *srv.cfg.Capabilities
	offered.ArtifactRetention = srv.retention().Capability()
	if _, ok := srv.cfg.Auth.Lookup(auth.SchemeNone); ok {
		yes := true
		offered.Anonymous = &yes
	}
	offered.Extensions = slices.Concat(offered.Extensions, []string{envelope.CheckpointExtension}, srv.cfg.Extensions)
	agents := srv.tools.Agents()
	offered.Agents = &agents
	return envelope.Negotiate(offered, client)
}

// withInventory is what a session has negotiated, with the tools that there are now.
func (srv *Server) withInventory(negotiated envelope.Capabilities) envelope.Capabilities {
	agents := srv.tools.Agents()
	negotiated.Agents = &agents
	return negotiated
}

func isTrue(b *bool) bool { return b != nil && *b }
