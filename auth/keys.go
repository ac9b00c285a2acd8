package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	"github.com/MicahParks/jwkset"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Bounds on a key file. A token without a key id is checked against every key
// of its algorithm, and by the size of the largest.
const (
	maxKeys    = 64
	minRSABits = 2048
	maxRSABits = 8192
)

// publicKey checks signatures of exactly one algorithm.
type publicKey struct {
	alg string
	kid string // "": answers to tokens with any key id
	key any    // *rsa.PublicKey, *ecdsa.PublicKey on P-256, ed25519.PublicKey
}

// parseKeys reads the public keys of a PEM or JWKS file. Warnings name the
// keys of a JWKS that are left out.
func parseKeys(path string, data []byte) (keys []publicKey, warnings []string, err error) {
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		keys, warnings, err = parseJWKS(path, data)
	} else {
		keys, err = parsePEM(path, data)
	}
	switch {
	case err != nil:
		return nil, nil, err
	case len(keys) == 0:
		return nil, nil, &ConfigError{Source: path, Reason: "holds no key for RS256, ES256 or EdDSA"}
	case len(keys) > maxKeys:
		return nil, nil, &ConfigError{Source: path, Reason: fmt.Sprintf("holds %d keys; the limit is %d", len(keys), maxKeys)}
	}
	return keys, warnings, nil
}

// keyFault makes an error about one key of a file, counted from 1.
func keyFault(path string, number int, reason string) error {
	return &ConfigError{Source: path, Reason: fmt.Sprintf("key %d: %s", number, reason)}
}

// parsePEM reads public keys and certificates. Of a certificate only the key
// counts: neither its dates nor its issuer are checked. Text around the
// blocks is ignored, as tools put remarks there.
func parsePEM(path string, data []byte) ([]publicKey, error) {
	begun := bytes.Count(data, []byte("-----BEGIN "))
	if begun == 0 {
		return nil, &ConfigError{Source: path, Reason: "is neither PEM nor JWKS"}
	}
	var keys []publicKey
	for number := 1; ; number++ {
		block, rest := pem.Decode(data)
		if block == nil {
			if number <= begun {
				return nil, keyFault(path, number, "PEM block is damaged")
			}
			return keys, nil
		}
		data = rest
		key, err := pemKey(block)
		if err != nil {
			return nil, keyFault(path, number, err.Error())
		}
		alg, fault := algorithmOf(key)
		if fault != "" {
			return nil, keyFault(path, number, fault)
		}
		keys = append(keys, publicKey{alg: alg, key: key})
	}
}

// pemKey decodes one block. Its errors repeat nothing of the file.
func pemKey(block *pem.Block) (key any, err error) {
	switch {
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return nil, fmt.Errorf("holds a private key; only the public one belongs here")
	case block.Type == "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case block.Type == "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case block.Type == "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = cert.PublicKey
		}
	default:
		return nil, fmt.Errorf("is no public key and no certificate")
	}
	if err != nil {
		return nil, fmt.Errorf("cannot be decoded")
	}
	return key, nil
}

// algorithmOf names the one algorithm that a key may check.
func algorithmOf(key any) (alg, fault string) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return "", fmt.Sprintf("RSA key has %d bits; from %d to %d are accepted", bits, minRSABits, maxRSABits)
		}
		return algRS256, ""
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return "", "EC key is not on the curve P-256"
		}
		return algES256, ""
	case ed25519.PublicKey:
		return algEdDSA, ""
	}
	return "", "is neither RSA, EC nor Ed25519"
}

// parseJWKS reads a JSON Web Key Set (RFC 7517). Keys for other uses or
// algorithms are common in the sets that identity providers publish: they are
// left out. A private or symmetric key is refused, as the file cannot be the
// one that was meant.
func parseJWKS(path string, data []byte) (keys []publicKey, warnings []string, err error) {
	var set struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, nil, &ConfigError{Source: path, Reason: "is not a valid JWKS: want one JSON object with a list `keys`, no member twice"}
	}
	for i, raw := range set.Keys {
		number := i + 1
		var m jwkset.JWKMarshal
		if err := json.Unmarshal(raw, &m); err != nil {
			return nil, nil, keyFault(path, number, "is not a valid JWK")
		}
		if m.KTY == jwkset.KtyOct || m.K != "" {
			return nil, nil, keyFault(path, number, "is symmetric; a shared secret belongs into --jwt-secret-file")
		}
		if m.D+m.P+m.Q+m.DP+m.DQ+m.QI != "" {
			return nil, nil, keyFault(path, number, "is private; only the public part belongs here")
		}
		alg, unfit := jwkAlgorithm(m)
		if unfit != "" {
			warnings = append(warnings, fmt.Sprintf("%s: key %d is left out: %s", path, number, unfit))
			continue
		}
		key, fault := jwkKey(m, alg)
		if fault != "" {
			return nil, nil, keyFault(path, number, fault)
		}
		if m.KID != "" && slices.ContainsFunc(keys, func(k publicKey) bool { return k.alg == alg && k.kid == m.KID }) {
			return nil, nil, keyFault(path, number, "its `kid` was given before for the same algorithm")
		}
		keys = append(keys, publicKey{alg: alg, kid: m.KID, key: key})
	}
	return keys, warnings, nil
}

// jwkAlgorithm says which algorithm a JWK is for, or why it does not fit. The
// type of the key decides; the member `alg` can only agree.
func jwkAlgorithm(m jwkset.JWKMarshal) (alg, unfit string) {
	switch {
	case m.KTY == jwkset.KtyRSA:
		alg = algRS256
	case m.KTY == jwkset.KtyEC && m.CRV == jwkset.CrvP256:
		alg = algES256
	case m.KTY == jwkset.KtyOKP && m.CRV == jwkset.CrvEd25519:
		alg = algEdDSA
	default:
		return "", "key type or curve is not supported"
	}
	switch {
	case m.ALG != "" && string(m.ALG) != alg:
		return "", "`alg` is not " + alg
	case m.USE != "" && m.USE != jwkset.UseSig:
		return "", "`use` is not sig"
	case len(m.KEYOPS) > 0 && !slices.Contains(m.KEYOPS, jwkset.KeyOpsVerify):
		return "", "`key_ops` lacks verify"
	}
	return alg, ""
}

// jwkKey builds the key from its numbers alone. Certificates (`x5c`, `x5u`)
// are not looked at, and so nothing is fetched.
func jwkKey(m jwkset.JWKMarshal, alg string) (key any, fault string) {
	bare := jwkset.JWKMarshal{KTY: m.KTY, CRV: m.CRV, X: m.X, Y: m.Y, N: m.N, E: m.E, ALG: jwkset.ALG(alg)}
	jwk, err := jwkset.NewJWKFromMarshal(bare, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return nil, "cannot be decoded"
	}
	if _, fault := algorithmOf(jwk.Key()); fault != "" {
		return nil, fault
	}
	return jwk.Key(), ""
}
