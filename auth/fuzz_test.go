package auth

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// mustBeConfigError fails unless err names its source.
func mustBeConfigError(t *testing.T, err error) {
	t.Helper()
	var c *ConfigError
	if !errors.As(err, &c) || c.Source != "file" || c.Reason == "" {
		t.Fatalf("error does not name its file: %v", err)
	}
}

func FuzzTokenFile(f *testing.F) {
	for _, seed := range []string{"tok alice", "# x\n\ntok alice\r\nb c\n", "a", "a b c", "t p\nt q", "\x00 \xff", "t anonymous:x"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b := newBearer()
		if err := b.addFile("file", data); err != nil {
			mustBeConfigError(t, err)
			return
		}
		// What was taken authenticates as written.
		for text := range strings.Lines(string(data)) {
			fields := strings.Fields(text)
			if len(fields) != 2 || strings.HasPrefix(fields[0], "#") {
				continue
			}
			out, err := b.Authenticate(context.Background(), Attempt{Token: fields[0]})
			if err != nil || out.Identity.Principal != fields[1] {
				t.Fatalf("line %q: %v, %v", text, out.Identity, err)
			}
		}
	})
}

func FuzzTokenFlag(f *testing.F) {
	for _, seed := range []string{"tok=alice", "a==b", "=", "", "x", "t=anonymous:x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		b := newBearer()
		if b.addFlags([]string{value}) != nil {
			return
		}
		if b.principals[0] == "" || !strings.HasSuffix(value, "="+b.principals[0]) {
			t.Fatalf("%q gave principal %q", value, b.principals[0])
		}
	})
}

func FuzzHMACFile(f *testing.F) {
	for _, seed := range []string{"k s p", "# x\nk s p\r\nl s p", "k s", "k s p\nk s p", "\xff s p"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := newHMACBearer(newBearer(), "file", data)
		if err != nil {
			mustBeConfigError(t, err)
			return
		}
		for text := range strings.Lines(string(data)) {
			fields := strings.Fields(text)
			if len(fields) != 3 || strings.HasPrefix(fields[0], "#") || len(hmacPrefix+fields[0]) > MaxTokenBytes {
				continue
			}
			out, err := h.Authenticate(context.Background(), Attempt{Token: hmacPrefix + fields[0]})
			if err != nil {
				t.Fatal(err)
			}
			id, err := h.Verify(context.Background(), out.State, answer(NewSecret(fields[1]), out.Challenge))
			if err != nil || id.Principal != fields[2] {
				t.Fatalf("line %q: %v, %v", text, id, err)
			}
		}
	})
}

func FuzzKeyFile(f *testing.F) {
	for _, seed := range []string{
		`{"keys":[{"kty":"EC","crv":"P-256","x":"AQAB","y":"AQAB"}]}`,
		`{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`,
		`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`,
		`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`, `{"keys":null}`, `{`,
		"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n",
		"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "-----BEGIN ", "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, _, err := parseKeys("file", data)
		if err != nil {
			mustBeConfigError(t, err)
			return
		}
		// What was taken can be used, and never accepts a token at random.
		s := newSignedJWT(jwtParams{keys: keys, audience: "a", clock: time.Now})
		for _, k := range keys {
			if alg, fault := algorithmOf(k.key); alg != k.alg || fault != "" {
				t.Fatalf("key for %s is for %s: %s", k.alg, alg, fault)
			}
			for _, token := range []string{"eyJhbGciOiJSUzI1NiJ9.e30.AAAA", "eyJhbGciOiJFUzI1NiJ9.e30.AAAA", "eyJhbGciOiJFZERTQSJ9.e30.AAAA"} {
				if _, err := s.Authenticate(context.Background(), Attempt{Token: token}); err == nil {
					t.Fatal("accepted")
				}
			}
		}
	})
}

func FuzzJWT(f *testing.F) {
	keys, _, err := parseKeys("file", []byte(`{"keys":[
		{"kty":"EC","crv":"P-256","kid":"e","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
		{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	if err != nil {
		f.Fatal(err)
	}
	s := newSignedJWT(jwtParams{secret: NewSecret(randomHex()), keys: keys, audience: "a", clock: time.Now})
	for _, seed := range []string{
		"", "..", "a.b.c", "eyJhbGciOiJIUzI1NiJ9.e30.AAAA", "eyJhbGciOiJub25lIn0.e30.",
		"eyJhbGciOiJFUzI1NiIsImtpZCI6ImUifQ.eyJzdWIiOiJ4In0.AAAA", "eyJhbGciOiJFZERTQSJ9.bnVsbA.AAAA", "bnVsbA.bnVsbA.AAAA",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		_, err := s.Authenticate(context.Background(), Attempt{Token: token})
		if reason, ok := IsRejection(err); !ok || reason == "" {
			t.Fatalf("want a rejection, got %v", err)
		}
	})
}
