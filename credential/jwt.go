package credential

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/arcp-nats/arcp/envelope"
)

// DefaultTTL is how long a token of a [JWT] is good.
const DefaultTTL = 15 * time.Minute

// minRSABits is the least size of an RSA key that signs.
const minRSABits = 2048

// Denylist remembers the tokens that were revoked before they expired. It is safe for concurrent use.
type Denylist interface {
	// Deny remembers an id for at least ttl.
	Deny(ctx context.Context, id string, ttl time.Duration) error
}

// JWTConfig says what the tokens are like.
type JWTConfig struct {
	// KeyFile holds the private key that signs, in PEM: Ed25519 (EdDSA), EC on P-256 (ES256) or RSA (RS256). Required.
	KeyFile string
	// Audience is the URL of the service that the tokens are for: `aud`, and the endpoint that the client is told.
	// Required.
	Audience string
	// Issuer is `iss`. Default: "arcp".
	Issuer string
	// TTL is how long a token is good; it never outlives the lease. Default: DefaultTTL.
	TTL time.Duration
	// Denylist is told of what is revoked. Nil: revoked tokens are good until they expire.
	Denylist Denylist
	// Clock tells the time; nil means [time.Now].
	Clock func() time.Time
}

// JWT signs short-lived tokens itself. A token says whom it is for and what it allows: `sub` is the principal, `jti` the
// credential's id, `job_id` and `session_id` are the job's and `lease` is its lease. The service that takes it checks the
// signature with the public key, and asks the denylist if it cannot wait for the expiry. Use NewJWT.
type JWT struct {
	cfg    JWTConfig
	method jwt.SigningMethod
	key    crypto.Signer
	kid    string
}

// NewJWT makes a provisioner. It says what is wrong with the key or the configuration.
func NewJWT(cfg JWTConfig) (*JWT, error) {
	switch {
	case cfg.Audience == "":
		return nil, errors.New("credential: an audience is required: without it a token would be good for every service that trusts the key")
	case cfg.TTL < 0:
		return nil, errors.New("credential: the time to live of a token cannot be negative")
	case cfg.TTL == 0:
		cfg.TTL = DefaultTTL
	}
	if cfg.Issuer == "" {
		cfg.Issuer = "arcp"
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	data, err := readFile(cfg.KeyFile)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.KeyFile, err)
	}
	minter := &JWT{cfg: cfg, key: key}
	if minter.method, err = methodOf(key); err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.KeyFile, err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("%s: the key cannot be used", cfg.KeyFile)
	}
	sum := sha256.Sum256(public)
	minter.kid = hex.EncodeToString(sum[:8])
	return minter, nil
}

// parseKey reads a private key. Its errors repeat nothing of the file.
func parseKey(data []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("is not PEM")
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return nil, errors.New("holds no private key; encrypted ones cannot be read")
	}
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, errors.New("the private key cannot be decoded")
	}
	return signer, nil
}

// methodOf names the one algorithm that a key signs with.
func methodOf(key crypto.Signer) (jwt.SigningMethod, error) {
	switch k := key.(type) {
	case ed25519.PrivateKey:
		return jwt.SigningMethodEdDSA, nil
	case *ecdsa.PrivateKey:
		if k.Curve == elliptic.P256() {
			return jwt.SigningMethodES256, nil
		}
		return nil, errors.New("the EC key is not on the curve P-256")
	case *rsa.PrivateKey:
		if k.N.BitLen() >= minRSABits {
			return jwt.SigningMethodRS256, nil
		}
		return nil, fmt.Errorf("the RSA key has less than %d bits", minRSABits)
	}
	return nil, errors.New("the key is neither Ed25519, EC nor RSA")
}

// Issue implements [Provisioner].
func (m *JWT) Issue(_ context.Context, req Request) ([]envelope.Credential, error) {
	now := m.cfg.Clock().UTC().Truncate(time.Second)
	expires := now.Add(m.cfg.TTL)
	if end := req.Lease.ExpiresAt; end != nil && end.Before(expires) {
		expires = end.Truncate(time.Second)
	}
	if !expires.After(now) {
		return nil, &Refusal{Reason: envelope.Errorf(envelope.CodeLeaseExpired, "the lease ends before a token could be used")}
	}
	id := "cred_" + rand.Text()
	claims := jwt.MapClaims{
		"iss": m.cfg.Issuer, "sub": req.Principal, "aud": m.cfg.Audience, "jti": id,
		"iat": now.Unix(), "exp": expires.Unix(),
		"job_id": string(req.JobID), "session_id": string(req.SessionID), "lease": req.Lease,
	}
	if req.Parent != "" {
		claims["parent_job_id"] = string(req.Parent)
	}
	token := jwt.NewWithClaims(m.method, claims)
	token.Header["kid"] = m.kid
	value, err := token.SignedString(m.key)
	if err != nil {
		return nil, &Refusal{Reason: envelope.Errorf(envelope.CodeInternal, "the token could not be signed")}
	}
	constraints := *req.Lease
	constraints.ExpiresAt = &envelope.Time{Time: expires}
	return []envelope.Credential{{
		ID: id, Scheme: envelope.CredentialBearer, Value: value, Endpoint: m.cfg.Audience, Constraints: &constraints,
	}}, nil
}

// denyLeeway is how much longer than its life a revoked token is remembered: the clock of the service may be behind.
const denyLeeway = 5 * time.Minute

// Revoke implements [Provisioner]: the token is denied for as long as it could live.
func (m *JWT) Revoke(ctx context.Context, id string) error {
	if m.cfg.Denylist == nil {
		return nil
	}
	return m.cfg.Denylist.Deny(ctx, id, m.cfg.TTL+denyLeeway)
}
