package auth_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/auth"
)

const hidden = "PLAINTEXT-SECRET"

// show renders a value in every way that ends in a log or an answer.
func show(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10.3s", "%t"} {
		fmt.Fprintf(&b, verb+"\n", v)
	}
	for _, encode := range []func(any) ([]byte, error){
		json.Marshal,
		func(v any) ([]byte, error) { return jsonv2.Marshal(v) },
	} {
		out, err := encode(v)
		require.NoError(t, err)
		b.Write(out)
	}
	slog.New(slog.NewTextHandler(&b, nil)).Info("text", "v", v)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("json", "v", v)
	return b.String()
}

func TestSecretIsNeverShown(t *testing.T) {
	s := auth.NewSecret(hidden)
	require.Equal(t, hidden, s.Reveal())
	require.Equal(t, "[redacted]", s.String())
	require.Equal(t, "[redacted]", fmt.Sprintf("%x", s))
	type exported struct{ S auth.Secret }
	type unexported struct {
		Name string
		s    auth.Secret
	}
	for _, v := range []any{
		s, &s, []auth.Secret{s}, map[string]auth.Secret{"k": s}, map[auth.Secret]int{s: 1},
		exported{s}, &exported{s}, unexported{"n", s}, &unexported{"n", s}, []unexported{{"n", s}},
	} {
		out := show(t, v)
		require.NotContains(t, out, hidden)
		require.NotContains(t, out, fmt.Sprintf("%x", hidden))
	}
	out, err := json.Marshal(exported{s})
	require.NoError(t, err)
	require.JSONEq(t, `{"S":"[redacted]"}`, string(out))
}

func TestSecretZeroAndText(t *testing.T) {
	var s auth.Secret
	require.True(t, s.Empty())
	require.Equal(t, "", s.Reveal())
	require.NoError(t, s.UnmarshalText([]byte(hidden)))
	require.False(t, s.Empty())
	require.Equal(t, hidden, s.Reveal())
}

func TestAttemptAndConfigAreNeverShown(t *testing.T) {
	a := auth.Attempt{Scheme: auth.SchemeBearer, Token: hidden, ClientKind: "cli", SessionID: "sess_1"}
	c := auth.Config{Tokens: []string{hidden + "=alice"}, TokenFile: "tokens.txt"}
	for _, v := range []any{a, &a, []auth.Attempt{a}, c, &c, struct{ C auth.Config }{c}} {
		require.NotContains(t, show(t, v), hidden)
	}
	require.Contains(t, show(t, a), "sess_1")
	require.Contains(t, show(t, c), "tokens.txt")
}
