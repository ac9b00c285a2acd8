package integration_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/auth"
	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/internal/wstest"
)

// The end of a session's lease and its renewal (open dialect HS-9, section 6 item 18).

func expires(t testing.TB, accepted wstest.Message) time.Time {
	t.Helper()
	require.Equal(t, "session.accepted", accepted.Type(), "%v", accepted)
	lease, _ := accepted.Payload()["lease"].(map[string]any)
	at, err := time.Parse(time.RFC3339Nano, lease["expires_at"].(string))
	require.NoError(t, err)
	return at
}

// lease is a change to an edge's configuration.
func lease(length time.Duration) func(*edge.Config) {
	return func(cfg *edge.Config) { cfg.SessionLease = length }
}

func TestHS9ALeaseThatIsNotRenewedEndsTheSession(t *testing.T) {
	c := newCluster(t)
	c.worker("worker-1", nil)
	e, other := c.edge("edge-1", lease(2*time.Second)), c.edge("edge-2", nil)
	e.knows(t, "sleep")
	p := wstest.Dial(t, e.url)
	accepted := p.Open(aliceToken)
	p.Invoke("sleep", map[string]any{"ms": 5000})
	job := p.Expect("job.accepted").Str("job_id")
	p.Expect("job.started")

	refresh := p.Expect("session.refresh")
	require.Equal(t, accepted["session_id"], refresh["session_id"])
	deadline, err := time.Parse(time.RFC3339Nano, refresh.Payload().Str("deadline"))
	require.NoError(t, err)
	require.Equal(t, expires(t, accepted), deadline)
	require.NotContains(t, refresh.Payload(), "challenge")
	require.NotContains(t, refresh, "event_seq")

	evicted := p.Expect("session.evicted")
	require.Equal(t, "UNAUTHENTICATED", evicted.Payload()["code"])
	require.False(t, time.Now().Before(deadline))
	require.Equal(t, 4002, p.Closed())

	// A resume token replaces no proof of identity, on any edge.
	for _, url := range []string{e.url, other.url} {
		late := wstest.Dial(t, url)
		m, err := late.TryResume(token(accepted), 2)
		require.NoError(t, err)
		require.Equal(t, "session.rejected", m.Type())
		require.Equal(t, "UNAUTHENTICATED", m.Payload()["code"])
		late.Drop()
	}
	// The job goes on, and is the principal's.
	again := wstest.Dial(t, other.url)
	again.Open(aliceToken)
	require.Eventually(t, func() bool {
		again.Send("session.list_jobs", map[string]any{"filter": map[string]any{"status": []string{"completed"}}})
		jobs, _ := again.Expect("session.jobs").Payload()["jobs"].([]any)
		return len(jobs) == 1 && jobs[0].(map[string]any)["job_id"] == job
	}, wstest.Wait, 100*time.Millisecond)
}

func TestHS9AFreshProofRenewsTheLease(t *testing.T) {
	c := newCluster(t)
	e := c.edge("edge-1", lease(3*time.Second))
	p := wstest.Dial(t, e.url)
	first := p.Open(aliceToken)
	p.Expect("session.refresh")
	for _, wrong := range []string{"nonsense", bobToken} {
		id := p.Send("session.authenticate", map[string]any{"response": wrong})
		m := p.Expect("session.unauthenticated")
		require.Equal(t, "UNAUTHENTICATED", m.Payload()["code"])
		require.Equal(t, id, m["correlation_id"])
		require.Equal(t, first["session_id"], m["session_id"])
	}
	id := p.Send("session.authenticate", map[string]any{"response": aliceToken})
	second := p.Expect("session.accepted")
	require.Equal(t, id, second["correlation_id"])
	require.Equal(t, first["session_id"], second["session_id"])
	require.Equal(t, first.Payload()["capabilities"], second.Payload()["capabilities"])
	require.True(t, expires(t, second).After(expires(t, first)))
	// The session is open past the end of the first lease, and is asked again.
	p.Expect("session.refresh")
	require.True(t, time.Now().After(expires(t, first)))
	// Whether a client keeps the first token or takes the second, it can resume.
	p.Drop()
	p = wstest.Dial(t, e.url)
	p.Resume(token(first), 0)
	p.Drop()
	wstest.Dial(t, e.url).Resume(token(second), 0)
}

func TestHS9ALeaseIsRenewedUnasked(t *testing.T) {
	_, e := newStack(t)
	p := wstest.Dial(t, e.url)
	first := p.Open(aliceToken)
	// HS-6: what proves nothing is dropped.
	p.Send("session.authenticate", map[string]any{"response": bobToken})
	p.Send("session.authenticate", map[string]any{"response": aliceToken})
	require.True(t, expires(t, p.Expect("session.accepted")).After(expires(t, first)))
	p.Quiet()
}

func TestHS9TriesToRenewAreBounded(t *testing.T) {
	c := newCluster(t)
	e := c.edge("edge-1", lease(3*time.Second))
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	p.Expect("session.refresh")
	for range 5 {
		p.Send("session.authenticate", map[string]any{"response": "wrong"})
		p.Expect("session.unauthenticated")
	}
	p.Send("session.authenticate", map[string]any{"response": aliceToken})
	require.Equal(t, "UNAUTHENTICATED", p.Expect("session.evicted").Payload()["code"])
}

func TestHS9AnotherEdgeHoldsToTheLease(t *testing.T) {
	c := newCluster(t)
	short, long := c.edge("edge-1", lease(4*time.Second)), c.edge("edge-2", lease(8*time.Second))
	p := wstest.Dial(t, short.url)
	accepted := p.Open(aliceToken)
	p.Drop()
	p = wstest.Dial(t, long.url)
	p.Resume(token(accepted), 0)
	refresh := p.Expect("session.refresh")
	require.Equal(t, accepted.Payload()["lease"].(map[string]any)["expires_at"], refresh.Payload()["deadline"])
	// The renewal is for as long as that edge grants, and is known to the first one.
	p.Send("session.authenticate", map[string]any{"response": aliceToken})
	renewed := p.Expect("session.accepted")
	require.WithinDuration(t, time.Now().Add(8*time.Second), expires(t, renewed), 4*time.Second)
	p.Drop()
	p = wstest.Dial(t, short.url)
	p.Resume(token(renewed), 0)
	p.Quiet()
}

// signJWT is a token as others make it.
func signJWT(t *testing.T, subject string, exp time.Time) string {
	t.Helper()
	part := func(v any) string {
		data, err := json.Marshal(v)
		require.NoError(t, err)
		return base64.RawURLEncoding.EncodeToString(data)
	}
	signed := part(map[string]any{"alg": "HS256", "typ": "JWT"}) + "." +
		part(map[string]any{"sub": subject, "aud": "arcp", "exp": exp.Unix()})
	mac := hmac.New(sha256.New, []byte(jwtSecret))
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

const jwtSecret = "a-secret-of-at-least-thirty-two-bytes"

func TestHS9ATokensEndIsTheLeases(t *testing.T) {
	c := newCluster(t)
	path := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(path, []byte(jwtSecret), 0o600))
	e := c.edge("edge-1", func(cfg *edge.Config) {
		set, err := auth.Config{JWTSecretFile: path, JWTAudience: "arcp"}.Load()
		require.NoError(t, err)
		cfg.Auth, cfg.SessionLease = set, 8*time.Second
	})
	now := time.Now()
	p := wstest.Dial(t, e.url)
	p.Send("session.open", open("signed_jwt", signJWT(t, "alice", now.Add(4*time.Second)), nil))
	first := p.Expect("session.accepted")
	require.Equal(t, now.Add(4*time.Second).Unix(), expires(t, first).Unix())
	p.Expect("session.refresh")
	for _, wrong := range []string{
		signJWT(t, "bob", now.Add(time.Hour)),
		signJWT(t, "alice", now.Add(4*time.Second)), // ends no later
		signJWT(t, "alice", now.Add(-time.Hour)),
	} {
		p.Send("session.authenticate", map[string]any{"response": wrong})
		p.Expect("session.unauthenticated")
	}
	p.Send("session.authenticate", map[string]any{"response": signJWT(t, "alice", now.Add(7*time.Second))})
	require.Equal(t, now.Add(7*time.Second).Unix(), expires(t, p.Expect("session.accepted")).Unix())
}

func TestHS9AChallengedClientIsChallengedAgain(t *testing.T) {
	c := newCluster(t)
	path := filepath.Join(t.TempDir(), "keys")
	require.NoError(t, os.WriteFile(path, []byte("key1 secret-of-carol carol\nkey2 second-secret carol\n"), 0o600))
	with := func(length time.Duration) func(*edge.Config) {
		return func(cfg *edge.Config) {
			set, err := auth.Config{HMACKeyFile: path}.Load()
			require.NoError(t, err)
			cfg.Auth, cfg.SessionLease = set, length
		}
	}
	e, other := c.edge("edge-1", with(4*time.Second)), c.edge("edge-2", with(8*time.Second))
	p := wstest.Dial(t, e.url)
	p.Send("session.open", open("bearer", "hmac:key1", nil))
	first := p.Expect("session.challenge").Payload().Str("challenge")
	p.Send("session.authenticate", map[string]any{"response": respond(first, "secret-of-carol")})
	accepted := p.Expect("session.accepted")
	p.Drop()

	p = wstest.Dial(t, other.url)
	p.Resume(token(accepted), 0)
	p.Send("session.authenticate", map[string]any{"response": respond(first, "secret-of-carol")}) // HS-6
	second := p.Expect("session.refresh").Payload().Str("challenge")
	require.NotEmpty(t, second)
	require.NotEqual(t, first, second)
	for _, wrong := range []string{respond(first, "secret-of-carol"), respond(second, "no secret"), "hmac:key1"} {
		p.Send("session.authenticate", map[string]any{"response": wrong})
		p.Expect("session.unauthenticated")
	}
	p.Send("session.authenticate", map[string]any{"response": respond(second, "second-secret")}) // any key of hers
	require.True(t, expires(t, p.Expect("session.accepted")).After(expires(t, accepted)))
}

func TestHS9AnAnonymousSessionShowsThatItIsThere(t *testing.T) {
	c := newCluster(t)
	e := c.edge("edge-1", lease(3*time.Second))
	p := wstest.Dial(t, e.url)
	p.Send("session.open", open("none", "", map[string]any{"anonymous": true}))
	first := p.Expect("session.accepted")
	p.Expect("session.refresh")
	p.Send("session.authenticate", map[string]any{"response": ""})
	require.True(t, expires(t, p.Expect("session.accepted")).After(expires(t, first)))
}
