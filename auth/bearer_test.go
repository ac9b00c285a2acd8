package auth_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/arcp-nats/arcp/auth"
)

func bearerAttempt(token string) auth.Attempt {
	return auth.Attempt{Scheme: auth.SchemeBearer, Token: token, SessionID: "sess_1"}
}

// HS-4: `bearer` looks the token up; a missing token is a rejection.
func TestHS4Bearer(t *testing.T) {
	s := load(t, auth.Config{
		TokenFile: write(t, "tokens", "\ufeff# people\n\n  tok-alice\talice  \r\ntok-ops ops\n  # indented remark\ntok-ops-2 ops"),
		Tokens:    []string{"dG9r=bob", "abc===carol"},
	})
	for token, principal := range map[string]string{
		"tok-alice": "alice", "tok-ops": "ops", "tok-ops-2": "ops", "dG9r": "bob", "abc==": "carol",
	} {
		out, err := s.Authenticate(t.Context(), bearerAttempt(token))
		require.NoError(t, err)
		require.Equal(t, auth.Outcome{Identity: auth.Identity{Principal: principal}}, out)
	}
	for _, token := range []string{"tok-alic", "tok-alicee", "TOK-ALICE", " tok-alice", "alice", "#", "hmac:tok-alice"} {
		_, err := s.Authenticate(t.Context(), bearerAttempt(token))
		requireRejected(t, err, "token not known")
	}
	_, err := s.Authenticate(t.Context(), bearerAttempt(""))
	requireRejected(t, err, "token is missing")
	_, err = s.Authenticate(t.Context(), bearerAttempt(strings.Repeat("x", auth.MaxTokenBytes+1)))
	requireRejected(t, err, "token is longer than 16384 bytes")
}

func TestBearerRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		file   string
		tokens []string
		want   string
	}{
		"one field":          {file: "a b\n\nloner\n", want: ":3: want a line `token principal`"},
		"three fields":       {file: "tok alice # remark\n", want: ":1: want a line `token principal`"},
		"only remarks":       {file: "# nothing\n", want: "holds no line `token principal`"},
		"empty":              {file: " \n", want: "is empty"},
		"repeated":           {file: "tok alice\n# x\ntok bob\n", want: ":3: token was given before, at line 1"},
		"repeated same":      {file: "tok alice\ntok alice\n", want: ":2: token was given before, at line 1"},
		"flag repeats file":  {file: "a a\ntok alice\n", tokens: []string{"tok=bob"}, want: "--token 1: token was given before, at "},
		"flag repeats flag":  {tokens: []string{"tok=bob", "tok=eve"}, want: "--token 2: token was given before, at --token 1"},
		"control in token":   {file: "to\x00k alice\n", want: ":1: token holds a space or control character"},
		"control in name":    {file: "tok al\x01ice\n", want: ":1: principal holds a control character"},
		"bad UTF-8 token":    {file: "\xff\xfe alice\n", want: ":1: token is not valid UTF-8"},
		"bad UTF-8 name":     {file: "tok \xff\n", want: ":1: principal is not valid UTF-8"},
		"long name":          {file: "tok " + strings.Repeat("p", 257), want: ":1: principal is longer than 256 bytes"},
		"long token":         {file: strings.Repeat("p", auth.MaxTokenBytes+1) + " p", want: ":1: token is longer than 16384 bytes"},
		"flag without =":     {tokens: []string{"ok=ok", "tok"}, want: "--token 2: want TOKEN=PRINCIPAL"},
		"flag without token": {tokens: []string{"=alice"}, want: "--token 1: token is empty"},
		"flag without name":  {tokens: []string{"tok="}, want: "--token 1: principal is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := auth.Config{Tokens: c.tokens}
			if c.file != "" {
				cfg.TokenFile = write(t, "tokens", c.file)
			}
			_, err := cfg.Load()
			require.ErrorContains(t, err, c.want)
			var config *auth.ConfigError
			require.ErrorAs(t, err, &config)
			require.Contains(t, []string{cfg.TokenFile, "--token"}, config.Source)
		})
	}
}

// A table of any size and order answers exactly like a map.
func TestBearerTableIsAMap(t *testing.T) {
	word := rapid.StringMatching(`[!-"$-~]{1,12}`) // printable, no space, no leading #
	rapid.Check(t, func(rt *rapid.T) {
		want := rapid.MapOf(word, rapid.StringMatching(`[a-z=@.]{0,8}[a-z]`)).Draw(rt, "table")
		asked := rapid.SliceOf(word).Draw(rt, "asked")
		var file strings.Builder
		var flags []string
		for token, principal := range want {
			if strings.Contains(principal, "=") || rapid.Bool().Draw(rt, "in file") {
				fmt.Fprintf(&file, "%s %s\n# remark\n", token, principal)
			} else {
				flags = append(flags, token+"="+principal)
			}
		}
		cfg := auth.Config{Tokens: flags}
		if file.Len() > 0 {
			cfg.TokenFile = write(t, "tokens", file.String())
		}
		s, err := cfg.Load()
		require.NoError(rt, err)
		require.Equal(rt, len(want) > 0, s.Any())
		for token := range want {
			asked = append(asked, token, token+"x")
		}
		for _, token := range asked {
			out, err := s.Authenticate(t.Context(), bearerAttempt(token))
			if principal, ok := want[token]; ok {
				require.NoError(rt, err)
				require.Equal(rt, principal, out.Identity.Principal)
			} else {
				_, rejected := auth.IsRejection(err)
				require.True(rt, rejected)
			}
		}
	})
}

// Whatever is wrong with a configuration or an attempt, no error repeats a
// token or secret.
func TestErrorsNeverShowSecrets(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		secret := rapid.StringMatching(`[A-Z0-9]{24,40}`).Draw(rt, "secret")
		entry := func(label string) string {
			return fmt.Sprintf(rapid.SampledFrom([]string{
				"%[1]s", "%[1]s p", "%[1]s %[1]s %[1]s p", "ok %[1]s p\nok %[1]s q", "%[1]s p\n%[1]s q",
				"p \x00%[1]s", "p anonymous:%[1]s", "id \x01%[1]s p", "id %[1]s p x", "\xff%[1]s p", "id %[1]s anonymous:p",
				`{"keys":[{"k":"%[1]s"}]}`, `{"keys":[{"kty":"%[1]s"}]}`, `{"%[1]s`, `{"%[1]s":1,"%[1]s":2}`,
				"-----BEGIN PUBLIC KEY-----\n%[1]s\n-----END PUBLIC KEY-----\n", "-----BEGIN %[1]s-----\n",
				"-----BEGIN %[1]s PRIVATE KEY-----\n-----END %[1]s PRIVATE KEY-----\n",
			}).Draw(rt, label), secret)
		}
		flag := fmt.Sprintf(rapid.SampledFrom([]string{"%s", "%s=", "%s=anonymous:x", "x %s=p", "%s=\x00"}).Draw(rt, "flag"), secret)
		for _, cfg := range []auth.Config{
			{Tokens: []string{flag}},
			{TokenFile: write(t, "tokens", entry("tokens"))},
			{HMACKeyFile: write(t, "keys", entry("hmac"))},
			{JWTKeyFile: write(t, "pub", entry("pub")), JWTAudience: "a"},
			{JWTSecretFile: write(t, "secret", secret), JWTKeyFile: write(t, "pub", entry("pub2")), JWTAudience: "a"},
		} {
			_, err := cfg.Load()
			require.NotContains(rt, fmt.Sprintf("%v %+v %#v", err, err, err), secret)
			require.NotContains(rt, fmt.Sprintf("%v %+v %#v %s %q", cfg, cfg, cfg, cfg, cfg), secret)
		}

		s, err := auth.Config{
			Tokens:        []string{"other=p"},
			HMACKeyFile:   write(t, "keys", "id "+secret+" p"),
			JWTSecretFile: write(t, "jwt", secret),
			JWTAudience:   "a",
		}.Load()
		require.NoError(rt, err)
		require.NotContains(rt, fmt.Sprintf("%v %+v %#v %q", s, s, s, s.Warnings()), secret)
		for _, scheme := range s.Schemes() {
			for _, token := range []string{secret, secret + ".." + secret, "a." + secret + ".b"} {
				a := auth.Attempt{Scheme: scheme, Token: token, SessionID: "sess_1"}
				_, err := s.Authenticate(t.Context(), a)
				require.Error(rt, err)
				require.NotContains(rt, err.Error(), secret)
			}
		}
		out, err := s.Authenticate(t.Context(), bearerAttempt("hmac:id"))
		require.NoError(rt, err)
		require.NotContains(rt, fmt.Sprintf("%v %+v %#v", out, out, out), secret)
		require.NotContains(rt, fmt.Sprintf("%v %+v", out.State, out.State), secret)
		_, err = s.Verify(t.Context(), auth.SchemeBearer, out.State, secret)
		require.NotContains(rt, err.Error(), secret)
	})
}
