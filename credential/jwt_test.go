package credential_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/credential"
	"github.com/arcp-nats/arcp/envelope"
)

// pemFile writes a private key and returns the file's path.
func pemFile(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "key.pem")
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	return path
}

func edKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return key
}

// denied remembers what was denied.
type denied map[string]time.Duration

func (d denied) Deny(_ context.Context, id string, ttl time.Duration) error {
	d[id] = ttl
	return nil
}

func TestTokensSayWhomTheyAreFor(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	for alg, key := range map[string]crypto.Signer{"EdDSA": edKey(t), "ES256": ec, "RS256": rsaKey} {
		p, err := credential.NewJWT(credential.JWTConfig{KeyFile: pemFile(t, key), Audience: "https://api.test", TTL: time.Minute})
		require.NoError(t, err)
		issued, err := p.Issue(t.Context(), request(t))
		require.NoError(t, err)
		require.NoError(t, credential.Check(issued))
		token, err := jwt.Parse(issued[0].Value, func(*jwt.Token) (any, error) { return key.Public(), nil },
			jwt.WithValidMethods([]string{alg}), jwt.WithAudience("https://api.test"), jwt.WithIssuer("arcp"), jwt.WithExpirationRequired())
		require.NoError(t, err)
		claims := token.Claims.(jwt.MapClaims)
		require.Equal(t, "alice", claims["sub"])
		require.Equal(t, issued[0].ID, claims["jti"])
		require.Equal(t, "job_1", claims["job_id"])
		require.Equal(t, "sess_1", claims["session_id"])
		require.Equal(t, map[string]any{"cost_budget": []any{"USD:0.5"}, "model_use": []any{"fast/*"}, "colour": "blue"}, claims["lease"])
		require.NotEmpty(t, token.Header["kid"])
		require.Equal(t, "https://api.test", issued[0].Endpoint)
	}
}

// TestATokenNeverOutlivesItsLease: it lives for its time, or for the lease's if that is less.
func TestATokenNeverOutlivesItsLease(t *testing.T) {
	now := time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC)
	p, err := credential.NewJWT(credential.JWTConfig{
		KeyFile: pemFile(t, edKey(t)), Audience: "a", TTL: time.Hour, Clock: func() time.Time { return now },
	})
	require.NoError(t, err)
	for left, want := range map[time.Duration]time.Duration{2 * time.Hour: time.Hour, 10 * time.Minute: 10 * time.Minute} {
		req := request(t)
		req.Lease.ExpiresAt = &envelope.Time{Time: now.Add(left)}
		issued, err := p.Issue(t.Context(), req)
		require.NoError(t, err)
		require.Equal(t, now.Add(want), issued[0].Constraints.ExpiresAt.Time)
		require.Equal(t, now.Add(left), req.Lease.ExpiresAt.Time, "the job's own lease stays as it is")
	}
	req := request(t)
	req.Lease.ExpiresAt = &envelope.Time{Time: now}
	_, err = p.Issue(t.Context(), req)
	require.Equal(t, envelope.CodeLeaseExpired, envelope.CodeOf(err))
	require.True(t, credential.Refused(err))
}

func TestCR4ARevokedTokenIsDeniedForAsLongAsItCouldLive(t *testing.T) {
	list := denied{}
	p, err := credential.NewJWT(credential.JWTConfig{KeyFile: pemFile(t, edKey(t)), Audience: "a", TTL: time.Hour, Denylist: list})
	require.NoError(t, err)
	require.NoError(t, p.Revoke(t.Context(), "cred_1"))
	require.Greater(t, list["cred_1"], time.Hour)
	p, err = credential.NewJWT(credential.JWTConfig{KeyFile: pemFile(t, edKey(t)), Audience: "a"})
	require.NoError(t, err)
	require.NoError(t, p.Revoke(t.Context(), "cred_1"), "without a list it is left to expire")
}

func TestBadSigningKeys(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	text := filepath.Join(t.TempDir(), "text")
	require.NoError(t, os.WriteFile(text, []byte("sk-secret"), 0o600))
	public := filepath.Join(t.TempDir(), "public")
	require.NoError(t, os.WriteFile(public, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("sk-secret")}), 0o600))
	broken := filepath.Join(t.TempDir(), "broken")
	require.NoError(t, os.WriteFile(broken, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("sk-secret")}), 0o600))
	for _, path := range []string{pemFile(t, p384), text, public, broken, filepath.Join(t.TempDir(), "none")} {
		_, err := credential.NewJWT(credential.JWTConfig{KeyFile: path, Audience: "a"})
		require.Error(t, err)
		require.NotContains(t, err.Error(), "sk-secret")
	}
	_, err = credential.NewJWT(credential.JWTConfig{KeyFile: pemFile(t, edKey(t))})
	require.ErrorContains(t, err, "audience")
	_, err = credential.NewJWT(credential.JWTConfig{KeyFile: pemFile(t, edKey(t)), Audience: "a", TTL: -1})
	require.Error(t, err)
}
