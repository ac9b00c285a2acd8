package integration_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/credential"
	"github.com/arcp-nats/arcp/internal/wstest"
)

// TestTokensForJobs runs an edge as operators do, with a key that signs a token for each job: the service can check it, and
// finds it on the denylist when the job has ended. The edge is killed in between.
func TestTokensForJobs(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	c := startProcesses(t)
	signer, seal := filepath.Join(c.dir, "signer.pem"), filepath.Join(c.dir, "seal.key")
	require.NoError(t, os.WriteFile(signer, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	require.NoError(t, credential.CreateKeyFile(seal))
	flags := []string{
		"--credential-key-file", signer, "--credential-audience", "https://api.test/v1", "--credential-ttl", "1h",
		"--seal-key-file", seal, "--admin-listen", "127.0.0.1:0",
	}
	e := c.edge("edge-1", flags...)
	w := c.worker("worker-1")
	untilServed(t, e.ready["edge"], "sleep")
	p := wstest.Dial(t, e.ready["edge"])
	resume := token(p.Open(aliceToken))
	invokeLeased(p, "sleep", map[string]any{"ms": 60_000})
	all := p.Until("job.started")
	secret, job := value(t, all[0]), all[0].Str("job_id")
	checked, err := jwt.Parse(secret, func(*jwt.Token) (any, error) { return public, nil },
		jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithAudience("https://api.test/v1"), jwt.WithIssuer("arcp"), jwt.WithExpirationRequired())
	require.NoError(t, err)
	claims := checked.Claims.(jwt.MapClaims)
	require.Equal(t, "alice", claims["sub"])
	require.Equal(t, job, claims["job_id"])

	e.kill()
	again := c.edge("edge-2", flags...)
	r := wstest.Dial(t, again.ready["edge"])
	r.Resume(resume, 0)
	require.Equal(t, secret, value(t, r.Until("job.accepted")[0]), "another process shows it again")
	_, metrics := again.ask("/metrics")
	require.Contains(t, metrics, "\n"+`arcp_edge_credential_grants{state="given"} 1`)
	r.Send("cancel", map[string]any{"target": "job", "target_id": job})
	r.Until("job.cancelled")

	conn, err := nats.Connect(c.nats)
	require.NoError(t, err)
	defer conn.Close()
	js, err := natsjs.New(conn)
	require.NoError(t, err)
	bucket, err := js.KeyValue(t.Context(), "arcp_credentials")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		keys, err := bucket.Keys(t.Context())
		return err == nil && len(keys) == 1 && keys[0] == "denied."+claims["jti"].(string)
	}, wstest.Wait, 10*time.Millisecond, "the denylist has it, and the ledger has nothing")
	require.Eventually(t, func() bool {
		status, metrics := again.ask("/metrics")
		return status == http.StatusOK && bytes.Contains([]byte(metrics), []byte("\n"+`arcp_edge_credential_revocations_total{outcome="revoked"} 1`+"\n"))
	}, wstest.Wait, 20*time.Millisecond)
	_, metrics = again.ask("/metrics")
	require.NotContains(t, metrics+e.logs.String()+again.logs.String()+w.logs.String(), secret)
}
