package auth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Tokens are forged by hand, so that no fault of the JWT library can hide
// behind itself.

type object = map[string]any

// signer makes the signature over a token's first two segments.
type signer func(text []byte) []byte

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// forge makes a token of any header and claims, text or object.
func forge(t testing.TB, header, claims any, sign signer) string {
	t.Helper()
	segment := func(v any) string {
		if s, ok := v.(string); ok {
			return b64([]byte(s))
		}
		raw, err := json.Marshal(v)
		require.NoError(t, err)
		return b64(raw)
	}
	text := segment(header) + "." + segment(claims)
	return text + "." + b64(sign([]byte(text)))
}

func hs256(secret []byte) signer {
	return func(text []byte) []byte {
		mac := hmac.New(sha256.New, secret)
		mac.Write(text)
		return mac.Sum(nil)
	}
}

func rs256(key *rsa.PrivateKey) signer {
	return func(text []byte) []byte {
		sum := sha256.Sum256(text)
		sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		if err != nil {
			panic(err)
		}
		return sig
	}
}

func es256(key *ecdsa.PrivateKey) signer {
	return func(text []byte) []byte {
		sum := sha256.Sum256(text)
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			panic(err)
		}
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
}

func edDSA(key ed25519.PrivateKey) signer {
	return func(text []byte) []byte { return ed25519.Sign(key, text) }
}

func unsigned([]byte) []byte { return nil }

// keyPairs are the keys of all tests; RSA keys take long to make.
type keyPairs struct {
	rsa   *rsa.PrivateKey
	ec    *ecdsa.PrivateKey
	ed    ed25519.PrivateKey
	other *ecdsa.PrivateKey // a second key of a known kind
}

var keys = sync.OnceValue(func() keyPairs {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	var k keyPairs
	var err error
	k.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	k.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	k.other, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	_, k.ed, err = ed25519.GenerateKey(rand.Reader)
	must(err)
	return k
})

// pkix gives public keys in PEM.
func pkix(t testing.TB, public ...any) string {
	t.Helper()
	var out []byte
	for _, key := range public {
		der, err := x509.MarshalPKIXPublicKey(key)
		require.NoError(t, err)
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})...)
	}
	return string(out)
}

// certificate gives a self-signed certificate in PEM.
func certificate(t testing.TB, key crypto.Signer) string {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Unix(1, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// jwk gives a public key as a JWK, with more members on top.
func jwk(t testing.TB, public any, more object) object {
	t.Helper()
	out := object{}
	switch k := public.(type) {
	case *rsa.PublicKey:
		out = object{"kty": "RSA", "n": b64(k.N.Bytes()), "e": b64(big.NewInt(int64(k.E)).Bytes())}
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		require.NoError(t, err)
		half := len(point) / 2
		out = object{"kty": "EC", "crv": k.Params().Name, "x": b64(point[1 : 1+half]), "y": b64(point[1+half:])}
	case ed25519.PublicKey:
		out = object{"kty": "OKP", "crv": "Ed25519", "x": b64(k)}
	}
	for name, v := range more {
		out[name] = v
	}
	return out
}

func jwks(t testing.TB, list ...object) string {
	t.Helper()
	raw, err := json.Marshal(object{"keys": list})
	require.NoError(t, err)
	return string(raw)
}
