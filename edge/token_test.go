package edge

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
)

func TestResumeTokens(t *testing.T) {
	id := envelope.NewSessionID()
	token := newResumeToken(id)
	require.NotEqual(t, token, newResumeToken(id))
	got, ok := tokenSession(token)
	require.True(t, ok)
	require.Equal(t, id, got)
	require.True(t, tokenMatches(hashToken(token), token))
	require.False(t, tokenMatches(hashToken(token), token+"0"))
	require.False(t, tokenMatches("", ""), "no token is stored: none is good")
	require.NotContains(t, hashToken(token), token[len(token)-2*tokenBytes:])
}

func FuzzTokenSession(f *testing.F) {
	f.Add(newResumeToken(envelope.NewSessionID()))
	f.Add("rt_")
	f.Add("rt_sess_1_" + "00")
	f.Fuzz(func(t *testing.T, token string) {
		id, ok := tokenSession(token)
		if ok {
			_, err := envelope.ParseSessionID(string(id))
			require.NoError(t, err)
		}
	})
}
