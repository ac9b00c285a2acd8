package client_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/envelope"
)

func TestDialRefused(t *testing.T) {
	ctx := testContext(t)
	reject := func(code envelope.Code) func(*peer) {
		return func(p *peer) {
			p.reject(p.expect(envelope.TypeSessionOpen), code)
			p.end()
		}
	}
	bad := newEdge(t, reject(envelope.CodeUnauthenticated))
	good := newEdge(t, func(p *peer) { p.open("t1"); p.end() })
	_, err := client.Dial(ctx, config(bad, good))
	require.ErrorIs(t, err, &envelope.Error{Code: envelope.CodeUnauthenticated}, "another edge would say the same")
	require.NotContains(t, err.Error(), "secret")

	busy := newEdge(t, reject(envelope.CodeUnavailable))
	s, err := client.Dial(ctx, config("ws://127.0.0.1:1/arcp", busy, good))
	require.NoError(t, err)
	s.Detach()
	require.ErrorIs(t, s.Err(), client.ErrDetached)

	silent := newEdge(t, (*peer).end)
	cfg := config(silent)
	cfg.DialTimeout = 20 * time.Millisecond
	_, err = client.Dial(ctx, cfg)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestAnonymousAndChallenge(t *testing.T) {
	ctx := testContext(t)
	url := newEdge(t, func(p *peer) {
		e := p.expect(envelope.TypeSessionOpen)
		open, err := envelope.DecodePayload[envelope.SessionOpen](e)
		if err != nil || open.Auth.Scheme != envelope.SchemeNone || open.Auth.Token != "" {
			p.fail("open: %+v %v", open, err)
		}
		p.say(0, e, "", envelope.TypeSessionChallenge, envelope.SessionChallenge{Challenge: "riddle"})
		e = p.expect(envelope.TypeSessionAuthenticate)
		answer, err := envelope.DecodePayload[envelope.SessionAuthenticate](e)
		if err != nil || answer.Response != "answer to riddle" {
			p.fail("answer: %+v %v", answer, err)
		}
		p.say(0, e, "", envelope.TypeSessionAccepted, envelope.SessionAccepted{SessionID: sessionID})
		p.end()
	}, func(p *peer) {
		p.say(0, p.expect(envelope.TypeSessionOpen), "", envelope.TypeSessionChallenge, envelope.SessionChallenge{Challenge: "r"})
		p.say(0, p.expect(envelope.TypeSessionAuthenticate), "", envelope.TypeSessionUnauthenticated,
			envelope.SessionUnauthenticated{Code: envelope.CodeUnauthenticated, Message: "wrong"})
		p.end()
	}, func(p *peer) {
		p.say(0, p.expect(envelope.TypeSessionOpen), "", envelope.TypeSessionChallenge, envelope.SessionChallenge{Challenge: "r"})
		p.end()
	})
	cfg := config(url)
	cfg.Token = ""
	cfg.Challenge = func(c string) (string, error) { return "answer to " + c, nil }
	dial(t, cfg)
	_, err := client.Dial(ctx, cfg)
	require.ErrorIs(t, err, &envelope.Error{Code: envelope.CodeUnauthenticated})
	cfg.Challenge = nil
	_, err = client.Dial(ctx, cfg)
	require.ErrorContains(t, err, "Challenge is not set")
}

func TestConfigIsChecked(t *testing.T) {
	for want, cfg := range map[string]client.Config{
		"URLs is empty":          {},
		"no ws:// or wss://":     {URLs: []string{"http://x"}},
		"exclude each other":     {URLs: []string{"ws://x"}, Token: "t", Anonymous: true},
		"AckEvery is negative":   {URLs: []string{"ws://x"}, AckEvery: -1},
		"KeepAlive is negative":  {URLs: []string{"ws://x"}, KeepAlive: -1},
		"JobBuffer is negative":  {URLs: []string{"ws://x"}, JobBuffer: -1},
		"invalid control charac": {URLs: []string{"ws://\x00"}},
	} {
		_, err := client.Dial(t.Context(), cfg)
		require.ErrorContains(t, err, want)
	}
}

func TestTooLargeIsNotSent(t *testing.T) {
	url := newEdge(t, func(p *peer) { p.open("t1"); p.end() })
	cfg := config(url)
	cfg.MaxEnvelopeBytes = 1000
	s := dial(t, cfg)
	_, err := s.Invoke(testContext(t), "x", make([]int, 1000))
	var large *client.TooLargeError
	require.ErrorAs(t, err, &large)
	require.Equal(t, 1000, large.Limit)
	_, err = s.Invoke(testContext(t), "x", func() {})
	require.ErrorContains(t, err, "arguments of x")
}
