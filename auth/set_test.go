package auth_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/auth"
)

// script is an authenticator that says what it is told to.
type script struct {
	outcome auth.Outcome
	err     error
}

func (s script) Authenticate(context.Context, auth.Attempt) (auth.Outcome, error) {
	return s.outcome, s.err
}

// echoChallenger accepts the response that equals its state.
type echoChallenger struct{ script }

func (echoChallenger) Verify(_ context.Context, state any, response string) (auth.Identity, error) {
	if state != response {
		return auth.Identity{}, auth.Reject("response is wrong")
	}
	return auth.Identity{Principal: response}, nil
}

// HS-2: no authenticator for the scheme is a rejection. mtls and oauth2 never
// have one here (HS-4).
func TestHS2UnknownSchemeIsRejected(t *testing.T) {
	s := load(t, auth.Config{Tokens: []string{"tok=alice"}})
	for _, scheme := range []auth.Scheme{auth.SchemeMTLS, auth.SchemeOAuth2, auth.SchemeNone, auth.SchemeSignedJWT, "BEARER", ""} {
		_, err := s.Authenticate(t.Context(), auth.Attempt{Scheme: scheme, Token: "tok", Anonymous: true, SessionID: "sess_1"})
		requireRejected(t, err, "no authenticator for this scheme")
	}
	_, err := s.Authenticate(t.Context(), auth.Attempt{Scheme: auth.SchemeBearer, Token: "tok"})
	require.NoError(t, err)
}

// HS-3: accept, challenge, reject and internal error are told apart.
func TestHS3Outcomes(t *testing.T) {
	internal := errors.New("disk on fire")
	s := auth.NewSet(map[auth.Scheme]auth.Authenticator{
		auth.SchemeBearer:    script{outcome: auth.Outcome{Identity: auth.Identity{Principal: "alice"}}},
		auth.SchemeSignedJWT: script{outcome: auth.Outcome{Challenge: "what?", State: 7}},
		auth.SchemeMTLS:      script{err: fmt.Errorf("wrapped: %w", auth.Reject("no %s", "certificate"))},
		auth.SchemeOAuth2:    script{err: internal},
	})

	out, err := s.Authenticate(t.Context(), auth.Attempt{Scheme: auth.SchemeBearer})
	require.NoError(t, err)
	require.False(t, out.Challenged())
	require.Equal(t, "alice", out.Identity.Principal)

	out, err = s.Authenticate(t.Context(), auth.Attempt{Scheme: auth.SchemeSignedJWT})
	require.NoError(t, err)
	require.True(t, out.Challenged())

	_, err = s.Authenticate(t.Context(), auth.Attempt{Scheme: auth.SchemeMTLS})
	requireRejected(t, err, "no certificate")

	_, err = s.Authenticate(t.Context(), auth.Attempt{Scheme: auth.SchemeOAuth2})
	_, rejected := auth.IsRejection(err)
	require.False(t, rejected)
	require.ErrorIs(t, err, internal)

	_, rejected = auth.IsRejection(nil)
	require.False(t, rejected)
}

// HS-5, with the correction that only the scheme that challenged is asked: a
// second challenger that would accept the response is left alone.
func TestHS5OnlyTheChallengingSchemeVerifies(t *testing.T) {
	s := auth.NewSet(map[auth.Scheme]auth.Authenticator{
		auth.SchemeBearer: echoChallenger{},
		auth.SchemeMTLS:   echoChallenger{},
		auth.SchemeNone:   script{},
	})
	id, err := s.Verify(t.Context(), auth.SchemeMTLS, "bob", "bob")
	require.NoError(t, err)
	require.Equal(t, "bob", id.Principal)

	_, err = s.Verify(t.Context(), auth.SchemeBearer, "bob", "eve")
	requireRejected(t, err, "response is wrong")

	for _, scheme := range []auth.Scheme{auth.SchemeNone, auth.SchemeOAuth2} {
		_, err = s.Verify(t.Context(), scheme, "bob", "bob")
		require.ErrorIs(t, err, auth.ErrState)
		_, rejected := auth.IsRejection(err)
		require.False(t, rejected)
	}
}

func TestSetTellsWhatItHolds(t *testing.T) {
	var none *auth.Set
	require.False(t, none.Any())
	require.False(t, none.Anonymous())
	require.Empty(t, none.Schemes())
	require.Empty(t, none.Warnings())
	_, err := none.Authenticate(t.Context(), auth.Attempt{Scheme: auth.SchemeBearer, Token: "x"})
	requireRejected(t, err, "no authenticator for this scheme")

	empty := load(t, auth.Config{})
	require.False(t, empty.Any())
	require.Empty(t, empty.Schemes())

	open := load(t, auth.Config{Anonymous: true})
	require.False(t, open.Any())
	require.True(t, open.Anonymous())
	require.Equal(t, []auth.Scheme{auth.SchemeNone}, open.Schemes())

	both := load(t, auth.Config{Anonymous: true, Tokens: []string{"t=p"}})
	require.True(t, both.Any())
	require.Equal(t, []auth.Scheme{auth.SchemeBearer, auth.SchemeNone}, both.Schemes())

	require.Empty(t, auth.NewSet(map[auth.Scheme]auth.Authenticator{auth.SchemeBearer: nil}).Schemes())
}
