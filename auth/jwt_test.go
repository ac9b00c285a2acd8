package auth_test

import (
	"crypto/sha256"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/auth"
)

const hsSecret = "0123456789abcdef0123456789abcdef"

// noon is when all JWT tests happen.
var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func at(offset time.Duration) int64 { return noon.Add(offset).Unix() }

// good returns claims that are accepted, changed by the members given; nil
// removes one.
func good(change object) object {
	claims := object{"sub": "alice", "aud": "arcp", "exp": at(time.Hour)}
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return claims
}

func jwtConfig(c auth.Config) auth.Config {
	c.JWTAudience = "arcp"
	c.Clock = func() time.Time { return noon }
	return c
}

func jwtAttempt(token string) auth.Attempt {
	return auth.Attempt{Scheme: auth.SchemeSignedJWT, Token: token, SessionID: "sess_1"}
}

// HS-4: what signature, `exp`, `nbf`, `aud`, `iss` and `sub` decide.
func TestHS4SignedJWTClaims(t *testing.T) {
	cfg := jwtConfig(auth.Config{JWTSecretFile: write(t, "secret", hsSecret+"\n")})
	cfg.JWTIssuer = "https://id.example"
	s := load(t, cfg)
	const required, expired, early, invalid = "token lacks a required claim", "token has expired", "token is not valid yet", "token is not valid"
	for name, c := range map[string]struct {
		change object
		reject string
	}{
		"plain":                    {},
		"aud in list":              {change: object{"aud": []string{"x", "arcp"}}},
		"wrong aud":                {object{"aud": "arcp2"}, "token is for another audience"},
		"wrong aud in list":        {object{"aud": []string{"a", "b"}}, "token is for another audience"},
		"aud of wrong type":        {object{"aud": object{"arcp": true}}, required},
		"aud list of wrong type":   {object{"aud": []any{"arcp", 1}}, invalid},
		"empty aud list":           {object{"aud": []string{}}, required},
		"no aud":                   {object{"aud": nil}, required},
		"wrong iss":                {object{"iss": "https://evil.example"}, "token is from another issuer"},
		"no iss":                   {object{"iss": nil}, required},
		"no exp":                   {object{"exp": nil}, required},
		"exp zero":                 {object{"exp": 0}, required},
		"exp as text":              {object{"exp": "2099"}, invalid},
		"expired within leeway":    {change: object{"exp": at(-29 * time.Second)}},
		"expired at leeway":        {object{"exp": at(-30 * time.Second)}, expired},
		"expired out of leeway":    {object{"exp": at(-time.Hour)}, expired},
		"exp negative":             {object{"exp": -5}, expired},
		"exp after the year 9999":  {object{"exp": 1e12}, "token has a date out of range"},
		"nbf past":                 {change: object{"nbf": at(-time.Minute)}},
		"nbf within leeway":        {change: object{"nbf": at(30 * time.Second)}},
		"nbf out of leeway":        {object{"nbf": at(31 * time.Second)}, early},
		"nbf overflowing":          {object{"nbf": 1e300}, "token has a date out of range"},
		"nbf as text":              {object{"nbf": "now"}, invalid},
		"no sub":                   {object{"sub": nil}, "token subject is refused: principal is empty"},
		"empty sub":                {object{"sub": ""}, "token subject is refused: principal is empty"},
		"sub of wrong type":        {object{"sub": 7}, "token subject is refused: principal is empty"},
		"sub in other case":        {object{"sub": nil, "SUB": "admin"}, "token subject is refused: principal is empty"},
		"sub beside other case":    {change: object{"SUB": "admin", "Sub": "root"}},
		"sub with control":         {object{"sub": "al\nice"}, "token subject is refused: principal holds a control character"},
		"sub too long":             {object{"sub": strings.Repeat("x", 257)}, "token subject is refused: principal is longer than 256 bytes"},
		"sub reserved":             {object{"sub": "anonymous:sess_1"}, "token subject is refused: principals that begin with anonymous: are reserved"},
		"other claims are ignored": {change: object{"iat": at(time.Hour), "jti": "1", "nested": object{"a": 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			claims := object{"iss": "https://id.example"}
			maps.Copy(claims, c.change)
			token := forge(t, object{"alg": "HS256", "typ": "JWT"}, good(claims), hs256([]byte(hsSecret)))
			out, err := s.Authenticate(t.Context(), jwtAttempt(token))
			if c.reject != "" {
				requireRejected(t, err, c.reject)
				return
			}
			require.NoError(t, err)
			require.Equal(t, "alice", out.Identity.Principal)
			exp, ok := c.change["exp"].(int64)
			if !ok {
				exp = at(time.Hour)
			}
			require.Equal(t, time.Unix(exp, 0).UTC(), out.Identity.ExpiresAt)
		})
	}
	_, err := s.Authenticate(t.Context(), jwtAttempt(""))
	requireRejected(t, err, "token is missing")
}

// Without a clock of its own a set uses the real one.
func TestSignedJWTDefaultClock(t *testing.T) {
	s := load(t, auth.Config{JWTSecretFile: write(t, "secret", hsSecret), JWTAudience: "arcp"})
	try := func(exp time.Time) error {
		claims := good(object{"exp": exp.Unix()})
		_, err := s.Authenticate(t.Context(), jwtAttempt(forge(t, object{"alg": "HS256"}, claims, hs256([]byte(hsSecret)))))
		return err
	}
	require.NoError(t, try(time.Now().Add(time.Minute)))
	requireRejected(t, try(time.Now().Add(-time.Hour)), "token has expired")
}

// Each kind of key works, from PEM, certificate and JWKS, with the secret
// beside it or not.
func TestSignedJWTAlgorithms(t *testing.T) {
	k := keys()
	ed := k.ed.Public()
	files := map[string]string{
		"pem":         write(t, "pub.pem", "remarks\n"+pkix(t, &k.rsa.PublicKey, &k.ec.PublicKey, ed)),
		"certificate": write(t, "certs.pem", certificate(t, k.rsa)+certificate(t, k.ec)+certificate(t, k.ed)),
		"jwks": write(t, "jwks.json", jwks(t,
			jwk(t, &k.rsa.PublicKey, object{"kid": "r", "alg": "RS256", "use": "sig"}),
			jwk(t, &k.ec.PublicKey, object{"kid": "e", "key_ops": []string{"verify"}}),
			jwk(t, ed, object{"kid": "d", "alg": "EdDSA"}))),
	}
	for kind, file := range files {
		for _, secret := range []string{"", write(t, "secret", hsSecret)} {
			s := load(t, jwtConfig(auth.Config{JWTKeyFile: file, JWTSecretFile: secret}))
			require.Empty(t, s.Warnings())
			for _, c := range []struct {
				alg, kid string
				sign     signer
			}{{"RS256", "r", rs256(k.rsa)}, {"ES256", "e", es256(k.ec)}, {"EdDSA", "d", edDSA(k.ed)}} {
				for _, header := range []object{{"alg": c.alg}, {"alg": c.alg, "kid": c.kid}} {
					out, err := s.Authenticate(t.Context(), jwtAttempt(forge(t, header, good(nil), c.sign)))
					require.NoErrorf(t, err, "%s %v", kind, header)
					require.Equal(t, "alice", out.Identity.Principal)
				}
			}
			_, err := s.Authenticate(t.Context(), jwtAttempt(forge(t, object{"alg": "HS256"}, good(nil), hs256([]byte(hsSecret)))))
			require.Equal(t, secret != "", err == nil)
		}
	}
}

// Known attacks on JWT, and tokens that are merely broken.
func TestSignedJWTAttacks(t *testing.T) {
	k := keys()
	rsaPEM := pkix(t, &k.rsa.PublicKey)
	onlyRSA := load(t, jwtConfig(auth.Config{JWTKeyFile: write(t, "rsa.pem", rsaPEM)}))
	onlySecret := load(t, jwtConfig(auth.Config{JWTSecretFile: write(t, "secret", hsSecret)}))
	all := load(t, jwtConfig(auth.Config{
		JWTSecretFile: write(t, "secret", hsSecret),
		JWTKeyFile: write(t, "jwks.json", jwks(t,
			jwk(t, &k.rsa.PublicKey, object{"kid": "r"}),
			jwk(t, &k.ec.PublicKey, object{"kid": "e"}),
			jwk(t, k.ed.Public(), object{"kid": "d"}))),
	}))
	sets := map[string]*auth.Set{"rsa": onlyRSA, "secret": onlySecret, "all": all}

	const badSignature, badAlgorithm, noKey, malformed = "token signature or algorithm is not accepted", "token algorithm is not accepted", "token was signed by a key that is not known here", "token is malformed"
	valid := forge(t, object{"alg": "HS256"}, good(nil), hs256([]byte(hsSecret)))
	head, tail, _ := strings.Cut(valid, ".")
	body, sig, _ := strings.Cut(tail, ".")
	sum := sha256.Sum256([]byte(rsaPEM))

	for name, c := range map[string]struct {
		token string
		// reasons by set, `*` for those not named; a set without any rejects
		// for whatever reason.
		reasons map[string]string
	}{
		"alg none":               {forge(t, object{"alg": "none"}, good(nil), unsigned), map[string]string{"*": badSignature}},
		"alg None":               {forge(t, object{"alg": "None"}, good(nil), unsigned), map[string]string{"*": badAlgorithm}},
		"alg empty":              {forge(t, object{"alg": ""}, good(nil), unsigned), map[string]string{"*": badAlgorithm}},
		"alg missing":            {forge(t, object{"typ": "JWT"}, good(nil), unsigned), map[string]string{"*": badAlgorithm}},
		"alg of wrong type":      {forge(t, object{"alg": []string{"HS256"}}, good(nil), unsigned), map[string]string{"*": badAlgorithm}},
		"alg hs256":              {forge(t, object{"alg": "hs256"}, good(nil), hs256([]byte(hsSecret))), map[string]string{"*": badAlgorithm}},
		"HS384":                  {forge(t, object{"alg": "HS384"}, good(nil), hs256([]byte(hsSecret))), map[string]string{"*": badSignature}},
		"PS256":                  {forge(t, object{"alg": "PS256", "kid": "r"}, good(nil), rs256(k.rsa)), map[string]string{"*": badSignature}},
		"RS512":                  {forge(t, object{"alg": "RS512", "kid": "r"}, good(nil), rs256(k.rsa)), map[string]string{"*": badSignature}},
		"HS256 by RSA PEM":       {forge(t, object{"alg": "HS256"}, good(nil), hs256([]byte(rsaPEM))), map[string]string{"*": badSignature}},
		"HS256 by RSA PEM trim":  {forge(t, object{"alg": "HS256", "kid": "r"}, good(nil), hs256([]byte(strings.TrimSpace(rsaPEM)))), map[string]string{"*": badSignature}},
		"HS256 by RSA modulus":   {forge(t, object{"alg": "HS256", "kid": "r"}, good(nil), hs256(k.rsa.N.Bytes())), map[string]string{"*": badSignature}},
		"HS256 by Ed25519 key":   {forge(t, object{"alg": "HS256", "kid": "d"}, good(nil), hs256(k.ed[32:])), map[string]string{"*": badSignature}},
		"HS256 by hash of PEM":   {forge(t, object{"alg": "HS256"}, good(nil), hs256(sum[:])), map[string]string{"*": badSignature}},
		"HS256 by empty secret":  {forge(t, object{"alg": "HS256"}, good(nil), hs256(nil)), map[string]string{"*": badSignature}},
		"kid unknown":            {forge(t, object{"alg": "RS256", "kid": "nobody"}, good(nil), rs256(k.rsa)), map[string]string{"all": noKey, "secret": badSignature}},
		"kid of other type":      {forge(t, object{"alg": "RS256", "kid": "e"}, good(nil), rs256(k.rsa)), map[string]string{"all": noKey, "secret": badSignature}},
		"alg of other key":       {forge(t, object{"alg": "ES256", "kid": "r"}, good(nil), es256(k.ec)), map[string]string{"all": noKey, "rsa": badSignature, "secret": badSignature}},
		"RS256 by EC key":        {forge(t, object{"alg": "RS256", "kid": "r"}, good(nil), es256(k.ec)), map[string]string{"*": badSignature}},
		"stranger's key":         {forge(t, object{"alg": "ES256", "kid": "e"}, good(nil), es256(k.other)), map[string]string{"*": badSignature}},
		"own key in header":      {forge(t, object{"alg": "ES256", "kid": "e", "jwk": jwk(t, &k.other.PublicKey, nil)}, good(nil), es256(k.other)), map[string]string{"*": badSignature}},
		"key by address":         {forge(t, object{"alg": "ES256", "kid": "../../dev/null", "jku": "http://127.0.0.1:1/"}, good(nil), es256(k.other)), map[string]string{"all": noKey, "rsa": badSignature, "secret": badSignature}},
		"ES256 all zero":         {forge(t, object{"alg": "ES256", "kid": "e"}, good(nil), func([]byte) []byte { return make([]byte, 64) }), map[string]string{"*": badSignature}},
		"EdDSA short":            {forge(t, object{"alg": "EdDSA", "kid": "d"}, good(nil), func([]byte) []byte { return make([]byte, 3) }), map[string]string{"*": badSignature}},
		"signature left out":     {head + "." + body + ".", map[string]string{"*": badSignature}},
		"signature cut":          {head + "." + body + "." + sig[:20], map[string]string{"*": badSignature}},
		"signature spare bits":   {valid[:len(valid)-1] + spareBit(valid[len(valid)-1]), map[string]string{"*": malformed}},
		"claims exchanged":       {head + "." + b64([]byte(`{"sub":"admin","aud":"arcp","exp":9999999999}`)) + "." + sig, map[string]string{"*": badSignature}},
		"critical header":        {forge(t, object{"alg": "HS256", "crit": []string{"b64"}, "b64": false}, good(nil), hs256([]byte(hsSecret))), map[string]string{"all": "token has critical headers that are not understood", "secret": "token has critical headers that are not understood"}},
		"unknown signer's claim": {forge(t, object{"alg": "HS256"}, good(object{"exp": 1}), hs256([]byte("guess"))), map[string]string{"*": badSignature}},
		"two segments":           {head + "." + body, map[string]string{"*": malformed}},
		"four segments":          {valid + ".x", map[string]string{"*": malformed}},
		"padding":                {head + "=." + body + "." + sig, map[string]string{"*": malformed}},
		"not base64":             {"a b.c d.e f", map[string]string{"*": malformed}},
		"header no JSON":         {forge(t, "{", good(nil), unsigned), map[string]string{"*": malformed}},
		"header null":            {forge(t, "null", good(nil), unsigned), map[string]string{"*": badAlgorithm}},
		"claims no object":       {forge(t, object{"alg": "HS256"}, "[]", hs256([]byte(hsSecret))), map[string]string{"*": malformed}},
		"claims null":            {forge(t, object{"alg": "HS256"}, "null", hs256([]byte(hsSecret))), map[string]string{"all": "token lacks a required claim", "secret": "token lacks a required claim"}},
		"surrounding space":      {" " + valid, map[string]string{"*": malformed}},
	} {
		t.Run(name, func(t *testing.T) {
			for set, s := range sets {
				_, err := s.Authenticate(t.Context(), jwtAttempt(c.token))
				reason, rejected := auth.IsRejection(err)
				// PEM keys have no id, so a right signature passes there.
				if set == "rsa" && strings.HasPrefix(name, "kid ") {
					require.NoError(t, err)
					continue
				}
				require.Truef(t, rejected, "%s: %v", set, err)
				want, ok := c.reasons[set]
				if !ok {
					want, ok = c.reasons["*"]
				}
				if ok {
					require.Equal(t, want, reason, set)
				}
			}
		})
	}
	_, err := all.Authenticate(t.Context(), jwtAttempt(valid))
	require.NoError(t, err, "the token that the broken ones were made from is good")
}

// spareBit returns another base64 character for the same byte: 32 bytes leave
// two bits of the last character unused, and those must be zero, or else one
// signature would have four spellings.
func spareBit(last byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, last)|1])
}

// Several keys of one algorithm: the key id selects, and a token without one
// is checked against all.
func TestSignedJWTRotation(t *testing.T) {
	k := keys()
	s := load(t, jwtConfig(auth.Config{JWTKeyFile: write(t, "jwks.json", jwks(t,
		jwk(t, &k.ec.PublicKey, object{"kid": "old"}),
		jwk(t, &k.other.PublicKey, object{"kid": "new"})))}))
	try := func(kid any, sign signer) error {
		header := object{"alg": "ES256"}
		if kid != nil {
			header["kid"] = kid
		}
		_, err := s.Authenticate(t.Context(), jwtAttempt(forge(t, header, good(nil), sign)))
		return err
	}
	require.NoError(t, try("old", es256(k.ec)))
	require.NoError(t, try("new", es256(k.other)))
	require.NoError(t, try(nil, es256(k.ec)))
	require.NoError(t, try(nil, es256(k.other)))
	requireRejected(t, try("new", es256(k.ec)), "token signature or algorithm is not accepted")
	requireRejected(t, try("gone", es256(k.ec)), "token was signed by a key that is not known here")
}
