package auth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/auth"
)

func TestConfigContradictions(t *testing.T) {
	secret := write(t, "secret", hsSecret)
	for _, c := range []struct {
		cfg  auth.Config
		want string
	}{
		{auth.Config{JWTSecretFile: secret}, "--jwt-audience: is required"},
		{auth.Config{JWTKeyFile: "pub.pem"}, "--jwt-audience: is required"},
		{auth.Config{JWTAudience: "arcp"}, "--jwt-audience: has no effect"},
		{auth.Config{JWTIssuer: "id"}, "--jwt-issuer: has no effect"},
		{auth.Config{JWTIssuer: "id", Tokens: []string{"t=p"}, Anonymous: true}, "--jwt-issuer: has no effect"},
	} {
		_, err := c.cfg.Load()
		require.ErrorContains(t, err, c.want)
	}
}

// Each file that cannot be used is named, with the reason.
func TestConfigFiles(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	huge := filepath.Join(t.TempDir(), "huge")
	require.NoError(t, os.WriteFile(huge, nil, 0o600))
	require.NoError(t, os.Truncate(huge, 17<<20))
	for path, want := range map[string]string{
		missing:                   "cannot be read: no such file or directory",
		t.TempDir():               "cannot be read: is a directory",
		huge:                      "is larger than 16 MiB",
		write(t, "empty", ""):     "is empty",
		write(t, "blank", "\n\n"): "is empty",
	} {
		for _, cfg := range []auth.Config{
			{TokenFile: path}, {HMACKeyFile: path},
			{JWTSecretFile: path, JWTAudience: "a"}, {JWTKeyFile: path, JWTAudience: "a"},
		} {
			_, err := cfg.Load()
			require.EqualError(t, err, "auth: "+path+": "+want)
			var config *auth.ConfigError
			require.ErrorAs(t, err, &config)
			require.Equal(t, path, config.Source)
		}
	}
	_, err := auth.Config{TokenFile: missing}.Load()
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestConfigEntryLimit(t *testing.T) {
	_, err := auth.Config{TokenFile: write(t, "tokens", strings.Repeat("t p\n", 100_001))}.Load()
	require.ErrorContains(t, err, ":100001: more than 100000 entries")
}

func TestJWTSecretFile(t *testing.T) {
	for file, secret := range map[string]string{
		hsSecret:             hsSecret,
		hsSecret + "\n":      hsSecret,
		hsSecret + "\r\n":    hsSecret,
		hsSecret + "\n\n":    hsSecret + "\n",
		" " + hsSecret + " ": " " + hsSecret + " ",
		"short\n":            "short",
	} {
		s := load(t, jwtConfig(auth.Config{JWTSecretFile: write(t, "secret", file)}))
		_, err := s.Authenticate(t.Context(), jwtAttempt(forge(t, object{"alg": "HS256"}, good(nil), hs256([]byte(secret)))))
		require.NoError(t, err)
		if secret == "short" {
			require.Len(t, s.Warnings(), 1)
			require.Contains(t, s.Warnings()[0], "secret has 5 bytes; HS256 wants at least 32")
			require.NotContains(t, s.Warnings()[0], "short")
		} else {
			require.Empty(t, s.Warnings())
		}
	}
	k := keys()
	_, err := jwtConfig(auth.Config{JWTSecretFile: write(t, "secret", pkix(t, &k.rsa.PublicKey))}).Load()
	require.ErrorContains(t, err, "holds PEM; keys belong into --jwt-key-file")
}

func TestKeyFileRefusals(t *testing.T) {
	k := keys()
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	t.Setenv("GODEBUG", "rsa1024min=0") // only to make what must be refused
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	block := func(kind string, der []byte, err error) string {
		require.NoError(t, err)
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	pkcs8, pkcs8Err := x509.MarshalPKCS8PrivateKey(k.ec)
	ecPub := jwk(t, &k.ec.PublicKey, object{"kid": "e"})
	good := pkix(t, &k.ec.PublicKey)

	for name, c := range map[string]struct{ file, want string }{
		"words":            {"hello", "is neither PEM nor JWKS"},
		"private PKCS8":    {good + block("PRIVATE KEY", pkcs8, pkcs8Err), "key 2: holds a private key"},
		"private RSA":      {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(k.rsa), nil), "key 1: holds a private key"},
		"other PEM":        {block("CERTIFICATE REQUEST", []byte{1}, nil), "key 1: is no public key"},
		"damaged DER":      {block("PUBLIC KEY", []byte{1, 2}, nil), "key 1: cannot be decoded"},
		"damaged PEM":      {good + good[:60], "key 2: PEM block is damaged"},
		"P-384":            {pkix(t, &p384.PublicKey), "key 1: EC key is not on the curve P-256"},
		"RSA 1024":         {pkix(t, &small.PublicKey), "key 1: RSA key has 1024 bits; from 2048 to 8192 are accepted"},
		"too many":         {strings.Repeat(good, 65), "holds 65 keys; the limit is 64"},
		"broken JSON":      {`{"keys":[`, "is not a valid JWKS"},
		"member twice":     {`{"keys":[],"keys":[]}`, "is not a valid JWKS"},
		"keys of one kind": {`{"keys":7}`, "is not a valid JWKS"},
		"no keys":          {`{"kty":"RSA"}`, "holds no key for RS256, ES256 or EdDSA"},
		"empty keys":       {`{"keys":[]}`, "holds no key for RS256, ES256 or EdDSA"},
		"key of one kind":  {`{"keys":["x"]}`, "key 1: is not a valid JWK"},
		"symmetric":        {jwks(t, ecPub, object{"kty": "oct", "k": "c2VjcmV0"}), "key 2: is symmetric"},
		"private":          {jwks(t, jwk(t, &k.ec.PublicKey, object{"d": "AQAB"})), "key 1: is private"},
		"off the curve":    {jwks(t, object{"kty": "EC", "crv": "P-256", "x": "AQAB", "y": "AQAB"}), "key 1: cannot be decoded"},
		"short Ed25519":    {jwks(t, object{"kty": "OKP", "crv": "Ed25519", "x": "AQAB"}), "key 1: cannot be decoded"},
		"tiny RSA":         {jwks(t, object{"kty": "RSA", "n": "AQAB", "e": "AQAB"}), "key 1: RSA key has 17 bits"},
		"kid twice":        {jwks(t, ecPub, jwk(t, &k.other.PublicKey, object{"kid": "e"})), "key 2: its `kid` was given before"},
		"only for others":  {jwks(t, jwk(t, &k.ec.PublicKey, object{"use": "enc"})), "holds no key for RS256, ES256 or EdDSA"},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, "keys", c.file)
			_, err := jwtConfig(auth.Config{JWTKeyFile: path}).Load()
			require.ErrorContains(t, err, path+": "+c.want)
		})
	}
}

// Keys that identity providers publish for other ends are left out aloud.
func TestJWKSLeavesOutOtherKeys(t *testing.T) {
	k := keys()
	s := load(t, jwtConfig(auth.Config{JWTKeyFile: write(t, "jwks.json", jwks(t,
		jwk(t, &k.rsa.PublicKey, object{"kid": "a", "alg": "RSA-OAEP", "use": "enc"}),
		jwk(t, &k.rsa.PublicKey, object{"kid": "b", "alg": "PS256"}),
		jwk(t, &k.rsa.PublicKey, object{"kid": "c", "key_ops": []string{"encrypt"}}),
		jwk(t, &k.rsa.PublicKey, object{"kid": "d", "use": "enc"}),
		object{"kty": "OKP", "crv": "X25519", "x": "AQAB"},
		jwk(t, &k.ec.PublicKey, object{"kid": "e", "unknown": true, "x5c": []string{"no certificate"}, "x5u": "https://127.0.0.1:1/"}),
	))}))
	var texts []string
	for _, w := range s.Warnings() {
		_, text, _ := strings.Cut(w, ": ")
		texts = append(texts, text)
	}
	require.Equal(t, []string{
		"key 1 is left out: `alg` is not RS256",
		"key 2 is left out: `alg` is not RS256",
		"key 3 is left out: `key_ops` lacks verify",
		"key 4 is left out: `use` is not sig",
		"key 5 is left out: key type or curve is not supported",
	}, texts)
	_, err := s.Authenticate(t.Context(), jwtAttempt(forge(t, object{"alg": "RS256", "kid": "b"}, good(nil), rs256(k.rsa))))
	_, rejected := auth.IsRejection(err)
	require.True(t, rejected)
	_, err = s.Authenticate(t.Context(), jwtAttempt(forge(t, object{"alg": "ES256", "kid": "e"}, good(nil), es256(k.ec))))
	require.NoError(t, err)
}
