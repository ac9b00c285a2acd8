package integration_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/auth"
	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/internal/wstest"
)

// The tests of this file and its neighbours rules_*_test.go drive the rules of the open dialect one by one, with a
// client that shares no code with the edge. docs/protocol.md has the rules.

func open(scheme, token string, capabilities map[string]any) map[string]any {
	payload := wstest.OpenPayload(token)
	payload["auth"] = map[string]any{"scheme": scheme, "token": token}
	if capabilities != nil {
		payload["capabilities"] = capabilities
	}
	return payload
}

func TestHS1OpenMintsASession(t *testing.T) {
	_, e := newStack(t)
	p := wstest.Dial(t, e.url)
	id := p.Send("session.open", wstest.OpenPayload(aliceToken))
	m := p.Expect("session.accepted")
	require.Equal(t, id, m["correlation_id"])
	require.Equal(t, m["session_id"], m.Payload()["session_id"])
	require.Regexp(t, `^sess_[0-9A-HJKMNP-TV-Z]{26}$`, m["session_id"])
	require.NotContains(t, m, "event_seq", "the handshake is not counted")
	runtime, _ := m.Payload()["runtime"].(map[string]any)
	require.NotEmpty(t, runtime["kind"])
	require.NotEmpty(t, runtime["version"])
}

func TestHS2UnknownSchemeIsRejected(t *testing.T) {
	_, e := newStack(t)
	p := wstest.Dial(t, e.url)
	id := p.Send("session.open", open("mtls", "", nil))
	m := p.Expect("session.rejected")
	require.Equal(t, id, m["correlation_id"])
	require.Equal(t, "UNAUTHENTICATED", m.Payload()["code"])
	require.NotContains(t, m, "session_id")
}

func TestHS4BearerRejection(t *testing.T) {
	_, e := newStack(t)
	for _, payload := range []map[string]any{
		open("bearer", "wrong", nil),
		{"auth": map[string]any{"scheme": "bearer"}, "client": map[string]any{"kind": "t", "version": "1"}},
		open("none", "", nil), // anonymous was not proposed
		open("none", "", map[string]any{"anonymous": false}),
	} {
		p := wstest.Dial(t, e.url)
		p.Send("session.open", payload)
		require.Equal(t, "UNAUTHENTICATED", p.Expect("session.rejected").Payload()["code"])
	}
}

func TestHS4AnonymousSessionsAreDifferentPrincipals(t *testing.T) {
	_, e := newStack(t)
	e.knows(t, "echo")
	keys := map[string]bool{}
	for range 2 {
		p := wstest.Dial(t, e.url)
		p.Send("session.open", open("none", "", map[string]any{"anonymous": true}))
		m := p.Expect("session.accepted")
		caps, _ := m.Payload()["capabilities"].(map[string]any)
		require.Equal(t, true, caps["anonymous"])
		// The same key from both starts two jobs: the scope of a key is the principal.
		p.Invoke("echo", 1, "idempotency_key", "shared")
		job := p.Expect("job.accepted").Str("job_id")
		require.False(t, keys[job])
		keys[job] = true
	}
}

func TestHS7ARejectedConnectionMayTryAgain(t *testing.T) {
	_, e := newStack(t)
	p := wstest.Dial(t, e.url)
	p.Send("session.open", open("bearer", "wrong", nil))
	p.Expect("session.rejected")
	p.Open(aliceToken)
}

func TestHS8NothingPassesTheGate(t *testing.T) {
	_, e := newStack(t)
	p := wstest.Dial(t, e.url)
	p.Send("ping", map[string]any{"nonce": "x"})
	p.Send("session.ping", map[string]any{"nonce": "x", "sent_at": "2026-01-01T00:00:00Z"})
	p.Send("session.close", map[string]any{})
	p.Send("session.accepted", map[string]any{"session_id": "sess_1", "runtime": map[string]any{"kind": "x", "version": "1"}, "capabilities": map[string]any{}})
	p.Invoke("echo", 1)
	p.SendRaw("garbage")
	m := p.Open(aliceToken) // the first answer is to the open
	require.NotEmpty(t, m.Str("session_id"))
	p.Quiet()
}

func TestHS8FloodBeforeTheSessionIsCutOff(t *testing.T) {
	_, e := newStack(t)
	p := wstest.Dial(t, e.url)
	for range 10_000 {
		if p.TryWrite(1, []byte(`{"arcp":"1.1","id":"msg_1","timestamp":"2026-01-01T00:00:00Z","type":"ping","payload":{}}`)) != nil {
			break
		}
		if p.TryWrite(1, []byte(`not json`)) != nil {
			break
		}
	}
	require.Contains(t, []int{1008, -1}, p.Closed())
	wstest.Dial(t, e.url).Open(aliceToken) // others are served
}

func TestHS8HandshakeTimeout(t *testing.T) {
	c := newCluster(t)
	e := c.edge("edge-1", func(cfg *edge.Config) { cfg.HandshakeTimeout = 100 * time.Millisecond })
	require.Equal(t, 1008, wstest.Dial(t, e.url).Closed())
}

func TestHS9SessionLease(t *testing.T) {
	c := newCluster(t)
	e := c.edge("edge-1", func(cfg *edge.Config) { cfg.SessionLease = 90 * time.Second })
	m := wstest.Dial(t, e.url).Open(aliceToken)
	lease, _ := m.Payload()["lease"].(map[string]any)
	expires, err := time.Parse(time.RFC3339Nano, lease["expires_at"].(string))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(90*time.Second), expires, 10*time.Second)
}

func TestHS10SecondOpenIsRefused(t *testing.T) {
	_, e := newStack(t)
	p := wstest.Dial(t, e.url)
	session := p.Open(aliceToken).Str("session_id")
	id := p.Send("session.open", wstest.OpenPayload(bobToken))
	m := p.Expect("nack")
	require.Equal(t, id, m["correlation_id"])
	require.Equal(t, "FAILED_PRECONDITION", m.Payload()["code"])
	require.Equal(t, session, m["session_id"])
	require.Equal(t, 1, m.Seq())
	p.Quiet() // the session is as it was
}

func TestHS12AcceptedCarriesAResumeToken(t *testing.T) {
	_, e := newStack(t)
	a := wstest.Dial(t, e.url).Open(aliceToken).Payload().Str("resume_token")
	b := wstest.Dial(t, e.url).Open(aliceToken).Payload().Str("resume_token")
	require.True(t, strings.HasPrefix(a, "rt_"))
	require.NotEqual(t, a, b)
}

// withChallenge is an edge with one challenge key.
func withChallenge(t *testing.T) *testEdge {
	t.Helper()
	c := newCluster(t)
	path := filepath.Join(t.TempDir(), "keys")
	require.NoError(t, os.WriteFile(path, []byte("key1 secret-of-carol carol\n"), 0o600))
	return c.edge("edge-1", func(cfg *edge.Config) {
		set, err := auth.Config{HMACKeyFile: path}.Load()
		require.NoError(t, err)
		cfg.Auth = set
	})
}

func respond(nonce, secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprint(mac, nonce)
	return hex.EncodeToString(mac.Sum(nil))
}

func TestHS3ChallengeHasTheFinalSessionID(t *testing.T) {
	e := withChallenge(t)
	p := wstest.Dial(t, e.url)
	id := p.Send("session.open", open("bearer", "hmac:key1", nil))
	challenge := p.Expect("session.challenge")
	require.Equal(t, id, challenge["correlation_id"])
	answer := p.Send("session.authenticate", map[string]any{"response": respond(challenge.Payload().Str("challenge"), "secret-of-carol")})
	m := p.Expect("session.accepted")
	require.Equal(t, challenge["session_id"], m["session_id"])
	require.Equal(t, answer, m["correlation_id"])
}

func TestHS5WrongAnswersAreBounded(t *testing.T) {
	e := withChallenge(t)
	p := wstest.Dial(t, e.url)
	p.Send("session.open", open("bearer", "hmac:key1", nil))
	challenge := p.Expect("session.challenge")
	for range 4 {
		p.Send("session.authenticate", map[string]any{"response": "wrong"})
		m := p.Expect("session.unauthenticated")
		require.Equal(t, "UNAUTHENTICATED", m.Payload()["code"])
		require.Equal(t, challenge["session_id"], m["session_id"])
	}
	p.Send("session.authenticate", map[string]any{"response": "wrong"})
	p.Expect("session.unauthenticated")
	require.Equal(t, 1008, p.Closed())
}

func TestHS5TheChallengeStaysOpen(t *testing.T) {
	e := withChallenge(t)
	p := wstest.Dial(t, e.url)
	p.Send("session.open", open("bearer", "hmac:key1", nil))
	challenge := p.Expect("session.challenge")
	p.Send("session.authenticate", map[string]any{"response": "wrong"})
	p.Expect("session.unauthenticated")
	p.Send("session.authenticate", map[string]any{"response": respond(challenge.Payload().Str("challenge"), "secret-of-carol")})
	p.Expect("session.accepted")
}

func TestHS6AuthenticateWithoutAChallengeIsDropped(t *testing.T) {
	_, e := newStack(t)
	p := wstest.Dial(t, e.url)
	p.Send("session.authenticate", map[string]any{"response": "x"})
	p.Open(aliceToken)
	p.Send("session.authenticate", map[string]any{"response": "x"})
	p.Quiet()
}

func TestCP1NegotiationAndInventory(t *testing.T) {
	_, e := newStack(t)
	e.knows(t, "echo")
	p := wstest.Dial(t, e.url)
	p.Send("session.open", open("bearer", aliceToken, map[string]any{
		"streaming": true, "interrupt": true, "extensions": []string{"arcpx.acme.v1"}, "colour": "blue",
		"heartbeat_recovery": "fail",
	}))
	caps, _ := p.Expect("session.accepted").Payload()["capabilities"].(map[string]any)
	require.Equal(t, true, caps["streaming"])
	require.NotContains(t, caps, "colour")
	require.Equal(t, "block", caps["heartbeat_recovery"], "HB-4: no job fails because its worker is lost")
	require.NotContains(t, caps, "extensions", "none is shared")
	agents, _ := caps["agents"].([]any)
	var found bool
	for _, a := range agents {
		agent, _ := a.(map[string]any)
		if agent["name"] == "echo" {
			found = true
			require.Equal(t, []any{"1"}, agent["versions"])
			require.Equal(t, "1", agent["default"])
		}
	}
	require.True(t, found, "echo is in the inventory: %v", agents)
}

func TestCP2BooleansMeet(t *testing.T) {
	_, e := newStack(t)
	for name, want := range map[string]any{"absent": false, "false": false, "true": true} {
		p := wstest.Dial(t, e.url)
		proposed := map[string]any{}
		switch name {
		case "false":
			proposed["streaming"] = false
		case "true":
			proposed["streaming"] = true
		}
		p.Send("session.open", open("bearer", aliceToken, proposed))
		caps, _ := p.Expect("session.accepted").Payload()["capabilities"].(map[string]any)
		require.Equal(t, want, caps["streaming"], name)
		require.NotContains(t, caps, "mtls_nonsense")
		require.NotContains(t, caps, "agent_handoff")
	}
	// What the runtime does not have: absent stays absent, anything else is false.
	p := wstest.Dial(t, e.url)
	p.Send("session.open", open("bearer", aliceToken, map[string]any{"agent_handoff": true}))
	caps, _ := p.Expect("session.accepted").Payload()["capabilities"].(map[string]any)
	require.Equal(t, false, caps["agent_handoff"])
}

func TestCP4CapabilitiesGateNothing(t *testing.T) {
	_, e := newStack(t)
	e.knows(t, "echo")
	p := wstest.Dial(t, e.url)
	p.Send("session.open", open("bearer", aliceToken, map[string]any{"streaming": false, "durable_jobs": false}))
	p.Expect("session.accepted")
	p.Invoke("echo", "x")
	require.Equal(t, "x", last(p.Until("job.completed")).Payload()["value"])
}

func TestCP4ASwitchMakesCapabilitiesCount(t *testing.T) {
	c := newCluster(t)
	c.worker("worker-1", nil)
	yes := true
	strict := func(cfg *edge.Config) {
		cfg.EnforceCapabilities = true
		cfg.Capabilities = edge.DefaultCapabilities()
		cfg.Capabilities.Subscriptions, cfg.Capabilities.ModelUse = &yes, &yes
	}
	e, other := c.edge("edge-1", strict), c.edge("edge-2", strict)
	e.knows(t, "echo")
	refused := map[string]map[string]any{
		"interrupt":        interrupt("job_1", "x"),
		"stream.open":      {"kind": "text"},
		"job.subscribe":    {"job_id": "job_1"},
		"unsubscribe":      {"subscription_id": "sub_1"},
		"artifact.release": {"artifact_id": "art_1"},
	}
	p := wstest.Dial(t, e.url)
	p.Send("session.open", open("bearer", aliceToken, map[string]any{"interrupt": false}))
	accepted := p.Expect("session.accepted")
	for range 2 {
		for typ, payload := range refused {
			id := p.Send(typ, payload)
			m := p.Expect("nack")
			require.Equal(t, "UNIMPLEMENTED", m.Payload()["code"], typ)
			require.Contains(t, m.Payload()["message"], "not negotiated", typ)
			require.Equal(t, id, m["correlation_id"])
		}
		p.Send("tool.invoke", map[string]any{"tool": "echo", "arguments": 1, "lease_request": map[string]any{"model_use": []string{"*"}}})
		require.Equal(t, "UNIMPLEMENTED", p.Expect("job.failed").Payload()["code"])
		p.Invoke("echo", "x") // needs none
		seen := last(p.Until("job.completed")).Seq()
		p.Drop() // what was negotiated is the session's, on every edge
		p = wstest.Dial(t, other.url)
		accepted = p.Resume(token(accepted), seen)
	}
	// With the capability each of them is judged as it is.
	p = wstest.Dial(t, e.url)
	p.Send("session.open", open("bearer", aliceToken, map[string]any{"interrupt": true, "model_use": true}))
	p.Expect("session.accepted")
	p.Send("interrupt", interrupt("job_00000000000000000000000000", "x"))
	require.Equal(t, "NOT_FOUND", p.Expect("nack").Payload()["code"])
	p.Send("tool.invoke", map[string]any{"tool": "echo", "arguments": 1, "lease_request": map[string]any{"model_use": []string{"*"}}})
	p.Until("job.completed")
}

func last(messages []wstest.Message) wstest.Message { return messages[len(messages)-1] }
