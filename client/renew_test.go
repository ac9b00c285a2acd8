package client_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/envelope"
)

// refresh asks for a proof and returns what the client says.
func (p *peer) refresh(challenge string, within time.Duration) string {
	p.say(0, nil, "", envelope.TypeSessionRefresh, envelope.SessionRefresh{
		Deadline: envelope.Time{Time: time.Now().Add(within)}, Challenge: challenge,
	})
	p.last = p.expect(envelope.TypeSessionAuthenticate)
	said, err := envelope.DecodePayload[envelope.SessionAuthenticate](p.last)
	if err != nil {
		p.fail("%v", err)
	}
	return said.Response
}

// TestHS9TheLeaseIsRenewedByTheTokenSource: with a fresh token each time, and the resume token that comes with it is used.
func TestHS9TheLeaseIsRenewedByTheTokenSource(t *testing.T) {
	ends := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	renewed := make(chan struct{})
	url := newEdge(t, func(p *peer) {
		opened := p.expect(envelope.TypeSessionOpen)
		asked, err := envelope.DecodePayload[envelope.SessionOpen](opened)
		if err != nil || asked.Auth.Token != "token-1" || asked.Auth.Scheme != "bearer" {
			p.fail("opened with %v, %v", asked, err)
		}
		p.say(0, opened, "", envelope.TypeSessionAccepted, envelope.SessionAccepted{
			SessionID: sessionID, Runtime: envelope.Runtime{Kind: "test", Version: "1"}, ResumeToken: "rt_1",
		})
		if got := p.refresh("", time.Minute); got != "token-2" {
			p.fail("answered with %q", got)
		}
		p.say(0, p.last, "", envelope.TypeSessionUnauthenticated,
			envelope.SessionUnauthenticated{Code: envelope.CodeUnauthenticated, Message: "not yet"})
		if got := p.refresh("", time.Minute); got != "token-3" {
			p.fail("answered with %q", got)
		}
		p.say(0, p.last, "", envelope.TypeSessionAccepted, envelope.SessionAccepted{
			SessionID: sessionID, Runtime: envelope.Runtime{Kind: "test", Version: "1"}, ResumeToken: "rt_2",
			Lease: &envelope.SessionLease{ExpiresAt: envelope.Time{Time: ends}},
		})
	}, func(p *peer) {
		p.resume("rt_2", 0, "rt_3")
		close(renewed)
		p.end()
	})
	cfg := config(url)
	tokens := []string{"token-1", "token-2", "token-3"}
	cfg.Token = ""
	cfg.TokenSource = func(context.Context) (string, error) {
		next := tokens[0]
		tokens = tokens[1:]
		return next, nil
	}
	s := dial(t, cfg)
	<-renewed
	require.Equal(t, ends, s.LeaseEnds())
}

// TestHS9AChallengeIsAnsweredAgain: and a client without a source answers with its token.
func TestHS9AChallengeIsAnsweredAgain(t *testing.T) {
	done := make(chan struct{})
	url := newEdge(t, func(p *peer) {
		p.open("rt_1")
		if got := p.refresh("nonce", time.Minute); got != "answer to nonce" {
			p.fail("answered with %q", got)
		}
		if got := p.refresh("", time.Minute); got != "secret" {
			p.fail("answered with %q", got)
		}
		close(done)
		p.end()
	})
	cfg := config(url)
	cfg.Challenge = func(challenge string) (string, error) { return "answer to " + challenge, nil }
	dial(t, cfg)
	<-done
}

// TestHS9ASlowSourceHoldsNothingUp: the session is read meanwhile, and a later question on another connection is answered
// there.
func TestHS9ASlowSourceHoldsNothingUp(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	done := make(chan struct{})
	url := newEdge(t, func(p *peer) {
		p.open("rt_1")
		p.say(0, nil, "", envelope.TypeSessionRefresh, envelope.SessionRefresh{Deadline: envelope.Time{Time: time.Now().Add(time.Minute)}})
		<-asked
		p.say(0, nil, "", envelope.TypeSessionPing, envelope.SessionPing{Nonce: "n", SentAt: envelope.Now()})
		p.expect(envelope.TypeSessionPong)
	}, func(p *peer) {
		p.resume("rt_1", 0, "rt_2")
		p.say(0, nil, "", envelope.TypeSessionRefresh, envelope.SessionRefresh{Deadline: envelope.Time{Time: time.Now().Add(time.Minute)}})
		p.say(0, nil, "", envelope.TypeSessionPing, envelope.SessionPing{Nonce: "n", SentAt: envelope.Now()})
		p.expect(envelope.TypeSessionPong)
		close(answer)
		p.expect(envelope.TypeSessionAuthenticate)
		close(done)
		p.end()
	})
	cfg := config(url)
	cfg.Token = ""
	calls := 0
	cfg.TokenSource = func(ctx context.Context) (string, error) {
		if calls++; calls == 2 {
			close(asked)
			<-answer
		}
		return "token", ctx.Err()
	}
	dial(t, cfg)
	<-done
}

// TestATokenSourceThatFails fails Dial.
func TestATokenSourceThatFails(t *testing.T) {
	broken := errors.New("no token to be had")
	cfg := config(newEdge(t, func(p *peer) { p.end() }))
	cfg.Token = ""
	cfg.TokenSource = func(context.Context) (string, error) { return "", broken }
	_, err := client.Dial(testContext(t), cfg)
	require.ErrorIs(t, err, broken)
	cfg.Token = "both"
	_, err = client.Dial(testContext(t), cfg)
	require.ErrorContains(t, err, "exclude each other")
}
