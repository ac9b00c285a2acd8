package auth_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/auth"
)

// respond is the client's half of the challenge.
func respond(secret, nonce string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(nonce))
	return hex.EncodeToString(mac.Sum(nil))
}

func hmacSet(t *testing.T) *auth.Set {
	return load(t, auth.Config{
		HMACKeyFile: write(t, "keys", "# keyid secret principal\nk1 s3cret alice\nk2 other bob\n"),
		Tokens:      []string{"plain=carol"},
	})
}

func challengeOf(t *testing.T, s *auth.Set, token string) auth.Outcome {
	t.Helper()
	out, err := s.Authenticate(t.Context(), bearerAttempt(token))
	require.NoError(t, err)
	require.True(t, out.Challenged())
	require.Empty(t, out.Identity.Principal)
	raw, err := hex.DecodeString(out.Challenge)
	require.NoError(t, err)
	require.Len(t, raw, 32)
	return out
}

// HS-5: a wrong response leaves the challenge open, the right one is accepted.
func TestHS5ChallengeAndResponse(t *testing.T) {
	s := hmacSet(t)
	out := challengeOf(t, s, "hmac:k1")
	right := respond("s3cret", out.Challenge)
	for _, wrong := range []string{"", "x", respond("other", out.Challenge), respond("s3cret", "x"), strings.ToUpper(right), right + "0", right[:63], out.Challenge} {
		_, err := s.Verify(t.Context(), auth.SchemeBearer, out.State, wrong)
		requireRejected(t, err, "response is wrong")
	}
	id, err := s.Verify(t.Context(), auth.SchemeBearer, out.State, right)
	require.NoError(t, err)
	require.Equal(t, auth.Identity{Principal: "alice"}, id)
}

// Plain tokens go on working beside the challenge.
func TestHMACLeavesPlainTokensAlone(t *testing.T) {
	s := hmacSet(t)
	out, err := s.Authenticate(t.Context(), bearerAttempt("plain"))
	require.NoError(t, err)
	require.Equal(t, "carol", out.Identity.Principal)
	for token, reason := range map[string]string{"": "token is missing", "k1": "token not known", "HMAC:k1": "token not known"} {
		_, err = s.Authenticate(t.Context(), bearerAttempt(token))
		requireRejected(t, err, reason)
	}
	_, err = s.Authenticate(t.Context(), bearerAttempt("hmac:"+strings.Repeat("k", auth.MaxTokenBytes)))
	requireRejected(t, err, "token is longer than 16384 bytes")
}

// An unknown key id looks like a known one until the end, and no response
// satisfies it.
func TestHMACUnknownKeyIsNoOracle(t *testing.T) {
	s := hmacSet(t)
	for _, token := range []string{"hmac:nobody", "hmac:", "hmac:K1"} {
		out := challengeOf(t, s, token)
		for _, secret := range []string{"s3cret", "other", "", out.Challenge} {
			_, err := s.Verify(t.Context(), auth.SchemeBearer, out.State, respond(secret, out.Challenge))
			requireRejected(t, err, "response is wrong")
		}
	}
}

// A response is good for its own challenge only, and for one acceptance.
func TestHMACStateIsSingleUse(t *testing.T) {
	s := hmacSet(t)
	first, second := challengeOf(t, s, "hmac:k1"), challengeOf(t, s, "hmac:k1")
	require.NotEqual(t, first.Challenge, second.Challenge)
	_, err := s.Verify(t.Context(), auth.SchemeBearer, second.State, respond("s3cret", first.Challenge))
	requireRejected(t, err, "response is wrong")

	var accepted atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if _, err := s.Verify(t.Context(), auth.SchemeBearer, first.State, respond("s3cret", first.Challenge)); err == nil {
				accepted.Add(1)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, accepted.Load())
	_, err = s.Verify(t.Context(), auth.SchemeBearer, first.State, respond("s3cret", first.Challenge))
	requireRejected(t, err, "challenge was answered before")
}

// A state from elsewhere is the caller's mistake, and no rejection.
func TestHMACForeignState(t *testing.T) {
	s := hmacSet(t)
	for _, state := range []any{nil, "nonce", 7} {
		_, err := s.Verify(t.Context(), auth.SchemeBearer, state, "x")
		require.ErrorIs(t, err, auth.ErrState)
	}
	plain := load(t, auth.Config{Tokens: []string{"a=b"}})
	a, _ := plain.Lookup(auth.SchemeBearer)
	_, challenges := a.(auth.Challenger)
	require.False(t, challenges, "without keys bearer has nothing to verify")
}

func TestHMACRefusals(t *testing.T) {
	for file, want := range map[string]string{
		"k1 secret\n":           ":1: want a line `keyid secret principal`",
		"k1 secret a b\n":       ":1: want a line `keyid secret principal`",
		"# x\n":                 "holds no line `keyid secret principal`",
		"k1 a b\n\nk1 c d\n":    ":3: key id was given before, at line 1",
		"k1 a\x00 b\n":          ":1: secret holds a space or control character",
		"\xffk a b\n":           ":1: key id is not valid UTF-8",
		"k1 secret b\x7f\n":     ":1: principal holds a control character",
		"k1 s p\nk2 \xff p\n#x": ":2: secret is not valid UTF-8",
	} {
		_, err := auth.Config{HMACKeyFile: write(t, "keys", file)}.Load()
		require.ErrorContains(t, err, want)
	}
	keys := write(t, "keys", "k1 s p\n")
	_, err := auth.Config{HMACKeyFile: keys, Tokens: []string{"hmac:k1=alice"}}.Load()
	require.ErrorContains(t, err, "--token 1: tokens that begin with hmac: are reserved")
	_, err = auth.Config{Tokens: []string{"hmac:k1=alice"}}.Load()
	require.NoError(t, err, "without HMAC keys the prefix means nothing")
}

// HS-9: a principal is challenged again by its name, and any of its keys answers; nobody else's does.
func TestHS9RenewalIsAChallengeOfThePrincipal(t *testing.T) {
	s := load(t, auth.Config{HMACKeyFile: write(t, "keys", "k1 s3cret alice\nk2 other bob\nk3 newer alice\n")})
	a, _ := s.Lookup(auth.SchemeBearer)
	renewer := a.(auth.Renewer)
	for _, secret := range []string{"s3cret", "newer"} {
		out, err := renewer.Renew(t.Context(), "alice")
		require.NoError(t, err)
		for _, wrong := range []string{"", respond("other", out.Challenge), respond(secret, "x")} {
			_, err := renewer.Verify(t.Context(), out.State, wrong)
			requireRejected(t, err, "response is wrong")
		}
		id, err := renewer.Verify(t.Context(), out.State, respond(secret, out.Challenge))
		require.NoError(t, err)
		require.Equal(t, "alice", id.Principal)
		_, err = renewer.Verify(t.Context(), out.State, respond(secret, out.Challenge))
		requireRejected(t, err, "challenge was answered before")
	}
	_, err := renewer.Renew(t.Context(), "carol")
	requireRejected(t, err, "there is no key of this principal any more")
}
