package auth_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/auth"
)

// HS-4: `none` accepts only if `anonymous` was negotiated, and then every
// session is a principal of its own.
func TestHS4None(t *testing.T) {
	s := load(t, auth.Config{Anonymous: true})
	open := func(session string, negotiated bool) (auth.Outcome, error) {
		return s.Authenticate(t.Context(), auth.Attempt{Scheme: auth.SchemeNone, SessionID: session, Anonymous: negotiated})
	}

	_, err := open("sess_1", false)
	requireRejected(t, err, "capability anonymous was not negotiated")

	first, err := open("sess_1", true)
	require.NoError(t, err)
	second, err := open("sess_2", true)
	require.NoError(t, err)
	require.Equal(t, auth.Identity{Principal: "anonymous:sess_1"}, first.Identity)
	require.NotEqual(t, first.Identity.Principal, second.Identity.Principal)

	_, err = open("", true)
	require.Error(t, err)
	_, rejected := auth.IsRejection(err)
	require.False(t, rejected, "a missing session id is the caller's fault, not the client's")
}

// Nobody can be configured or signed into an anonymous session's principal.
func TestAnonymousPrincipalsAreReserved(t *testing.T) {
	_, err := auth.Config{Tokens: []string{"tok=anonymous:sess_1"}}.Load()
	require.ErrorContains(t, err, "reserved")
	_, err = auth.Config{TokenFile: write(t, "tokens", "tok anonymous:sess_1\n")}.Load()
	require.ErrorContains(t, err, "reserved")
	_, err = auth.Config{HMACKeyFile: write(t, "keys", "id secret anonymous:sess_1\n")}.Load()
	require.ErrorContains(t, err, "reserved")
}
