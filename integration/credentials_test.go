package integration_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/credential"
	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/wstest"
	"github.com/arcp-nats/arcp/jetstream"
)

// issuer is a credential endpoint. Its answers to one job are the same each time.
type issuer struct {
	url    string
	server *httptest.Server

	mu      sync.Mutex
	issued  map[string]string // secrets by id
	revoked map[string]int    // how often
	asked   []map[string]any  // the bodies
	lose    int               // answers to POST that get lost
	refuse  string            // what POST is answered with instead
	later   bool              // after an answer that gets lost, the next POST is refused for now
	deaf    bool              // DELETE fails
	gate    chan struct{}     // nil or: POST waits until it is closed
	held    int               // how many wait
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	i := &issuer{issued: map[string]string{}, revoked: map[string]int{}}
	server := httptest.NewServer(i)
	t.Cleanup(server.Close)
	i.url, i.server = server.URL, server
	return i
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body map[string]any
	_ = json.NewDecoder(r.Body).Decode(&body) // before it waits: only then is it noticed that the client has gone
	i.mu.Lock()
	gate := i.gate
	i.held++
	i.mu.Unlock()
	if gate != nil && r.Method == http.MethodPost {
		select {
		case <-gate:
		case <-r.Context().Done():
		}
	}
	i.mu.Lock()
	i.held--
	defer i.mu.Unlock()
	switch {
	case r.Method == http.MethodDelete && i.deaf:
		w.WriteHeader(http.StatusServiceUnavailable)
	case r.Method == http.MethodDelete:
		id := filepath.Base(r.URL.Path)
		if i.issued[id] == "" {
			w.WriteHeader(http.StatusNotFound)
		}
		delete(i.issued, id)
		i.revoked[id]++
	case i.later && len(i.asked) == 1:
		i.later = false
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `{"code":"UNAVAILABLE","message":"later","retryable":true}`)
	case i.refuse != "":
		w.WriteHeader(http.StatusPaymentRequired)
		_, _ = io.WriteString(w, i.refuse)
	default:
		i.asked = append(i.asked, body)
		id := fmt.Sprintf("cred-%s", body["job_id"])
		i.issued[id] = "sk-secret-of-" + id
		if i.lose > 0 {
			i.lose--
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"credentials": []any{map[string]any{
			"id": id, "scheme": "bearer", "value": i.issued[id], "endpoint": "https://gateway.test/v1", "profile": "openai",
			"constraints": body["lease"],
		}}})
	}
}

// with changes how the issuer behaves.
func (i *issuer) with(change func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change()
}

// waiting is how many requests wait.
func (i *issuer) waiting() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.held
}

// outstanding are the ids that have not been revoked.
func (i *issuer) outstanding() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	ids := []string{}
	for id := range i.issued {
		ids = append(ids, id)
	}
	return ids
}

// allRevoked waits until everything that was issued has been revoked.
func (i *issuer) allRevoked(t testing.TB) {
	t.Helper()
	require.Eventually(t, func() bool { return len(i.outstanding()) == 0 }, wstest.Wait, 5*time.Millisecond)
}

// newCredentialCluster is a cluster whose jobs get credentials from an issuer.
func newCredentialCluster(t testing.TB) (*cluster, *issuer) {
	t.Helper()
	c := newCluster(t)
	return c, c.issueCredentials()
}

// issueCredentials has the edges that are started from now on give jobs credentials.
func (c *cluster) issueCredentials() *issuer {
	t := c.t
	t.Helper()
	i := newIssuer(t)
	keys := filepath.Join(t.TempDir(), "seal.key")
	require.NoError(t, credential.CreateKeyFile(keys))
	ring, err := credential.LoadKeyring(keys)
	require.NoError(t, err)
	c.credentials = func(client *jetstream.Client) *edge.Credentials {
		p, err := credential.NewHTTP(credential.HTTPConfig{Endpoint: i.url, Timeout: 2 * time.Second})
		require.NoError(t, err)
		t.Cleanup(p.Close)
		return &edge.Credentials{
			Provisioner: p, Keys: ring, Ledger: client.KV(jetstream.BucketCredentials), SweepEvery: 300 * time.Millisecond,
		}
	}
	return i
}

func newCredentialStack(t testing.TB) (*cluster, *issuer, *testEdge) {
	t.Helper()
	c, i := newCredentialCluster(t)
	c.worker("worker-1", nil)
	e := c.edge("edge-1", nil)
	e.knows(t, "echo")
	return c, i, e
}

var someLease = map[string]any{"cost_budget": []string{"USD:0.50"}, "model_use": []string{"fast/*"}}

// invokeLeased invokes a tool with a lease and returns the message's id.
func invokeLeased(p *wstest.Peer, tool string, arguments any, members ...any) string {
	return p.Send("tool.invoke", map[string]any{"tool": tool, "arguments": arguments, "lease_request": someLease}, members...)
}

// value is the secret of the one credential in a job.accepted, "" if it has none.
func value(t testing.TB, accepted wstest.Message) string {
	t.Helper()
	require.Equal(t, "job.accepted", accepted.Type(), "%v", accepted)
	list, _ := accepted.Payload()["credentials"].([]any)
	if len(list) == 0 {
		require.NotContains(t, accepted.Payload(), "credentials")
		return ""
	}
	return list[0].(map[string]any)["value"].(string)
}

// grants are the entries of the ledger.
func (c *cluster) grants() (entries []string) {
	c.t.Helper()
	kv, err := c.jetStream().KeyValue(c.t.Context(), "arcp_credentials")
	require.NoError(c.t, err)
	keys, err := kv.Keys(c.t.Context())
	if err != nil {
		require.ErrorIs(c.t, err, natsjs.ErrNoKeysFound)
		return nil
	}
	for _, key := range keys {
		entry, err := kv.Get(c.t.Context(), key)
		if err == nil {
			entries = append(entries, string(entry.Value()))
		}
	}
	return entries
}

func TestCR1CR2TheSubmitterGetsItsCredentials(t *testing.T) {
	c, i, e := newCredentialStack(t)
	p := wstest.Dial(t, e.url)
	session := p.Open(aliceToken)["session_id"]
	id := invokeLeased(p, "echo", 1, "trace_id", "t-1")
	all := p.Until("job.completed")
	require.Equal(t, []string{"job.accepted", "job.started", "job.completed"}, types(all))
	accepted := all[0]
	job := accepted.Str("job_id")
	require.Equal(t, []any{map[string]any{
		"id": "cred-" + job, "scheme": "bearer", "value": "sk-secret-of-cred-" + job, "endpoint": "https://gateway.test/v1",
		"profile": "openai", "constraints": map[string]any{"cost_budget": []any{"USD:0.5"}, "model_use": []any{"fast/*"}},
	}}, accepted.Payload()["credentials"])
	require.Equal(t, 1, accepted.Seq())
	require.Equal(t, id, accepted["correlation_id"])
	require.Equal(t, "t-1", accepted["trace_id"])
	require.Equal(t, map[string]any{"cost_budget": []any{"USD:0.5"}, "model_use": []any{"fast/*"}}, accepted.Payload()["lease"])
	require.Equal(t, []map[string]any{{
		"job_id": job, "session_id": session, "principal": "alice",
		"lease": map[string]any{"cost_budget": []any{"USD:0.5"}, "model_use": []any{"fast/*"}},
	}}, i.asked)
	i.allRevoked(t)
	require.Eventually(t, func() bool { return len(c.grants()) == 0 }, wstest.Wait, 5*time.Millisecond, "CR-3: nothing is outstanding")

	p.Invoke("echo", 1)
	require.Empty(t, value(t, p.Until("job.completed")[0]), "no lease, no credentials")
	require.Len(t, i.asked, 1)
}

// TestCP3AProvisionerIsAdvertised: it forces both capabilities; to advertise them without one is an error at the start.
func TestCP3AProvisionerIsAdvertised(t *testing.T) {
	_, _, e := newCredentialStack(t)
	p := wstest.Dial(t, e.url)
	open := wstest.OpenPayload(aliceToken)
	open["capabilities"] = map[string]any{"model_use": true, "provisioned_credentials": true}
	p.Send("session.open", open)
	capabilities := p.Expect("session.accepted").Payload()["capabilities"].(map[string]any)
	require.Equal(t, true, capabilities["model_use"])
	require.Equal(t, true, capabilities["provisioned_credentials"])
}

// TestTI3NothingIsAcceptedBeforeItsCredentials: with a provisioner and a lease every refusal stands alone.
func TestTI3NothingIsAcceptedBeforeItsCredentials(t *testing.T) {
	_, i, e := newCredentialStack(t)
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	for tool, code := range map[string]string{"Bad": "INVALID_ARGUMENT", "nosuch": "NOT_FOUND", "echo@9": "AGENT_VERSION_NOT_AVAILABLE"} {
		id := invokeLeased(p, tool, 1)
		m := p.Expect("job.failed")
		require.Equal(t, code, m.Payload()["code"], tool)
		require.Equal(t, false, m.Payload()["retryable"], "TI-6")
		require.Equal(t, id, m["correlation_id"])
	}
	p.Send("tool.invoke", map[string]any{"tool": "echo", "arguments": 1, "lease_request": map[string]any{"expires_at": "2020-01-01T00:00:00Z"}})
	require.Equal(t, "INVALID_ARGUMENT", p.Expect("job.failed").Payload()["code"])
	require.Empty(t, i.asked)
	p.Invoke("nosuch", 1) // without a lease it is as ever
	p.Expect("job.accepted")
	p.Expect("job.failed")

	var refused []string // job ids
	for _, c := range []struct {
		says, code string
		retryable  bool
	}{
		{`{"code":"BUDGET_EXHAUSTED","message":"no money left"}`, "BUDGET_EXHAUSTED", false},
		{`{"code":"UNAVAILABLE","message":"later"}`, "UNAVAILABLE", true},
		{`{"code":"UNAVAILABLE","message":"never","retryable":false}`, "UNAVAILABLE", false},
		{`{"code":"TIMEOUT","message":"slow","retryable":true}`, "DEADLINE_EXCEEDED", true}, // as 2.0 calls it
	} {
		i.with(func() { i.refuse = c.says })
		invokeLeased(p, "echo", 1, "idempotency_key", "k")
		m := p.Expect("job.failed")
		require.Equal(t, c.code, m.Payload()["code"])
		require.Equal(t, c.retryable, m.Payload()["retryable"])
		require.NotContains(t, refused, m.Str("job_id"), "TI-2: a fresh id each time")
		refused = append(refused, m.Str("job_id"))
	}
	i.with(func() { i.refuse = "" })
	invokeLeased(p, "echo", 1, "idempotency_key", "k") // ID-5: the key is free
	job := p.Until("job.completed")
	require.NotEmpty(t, value(t, job[0]))
	require.NotContains(t, refused, job[0].Str("job_id"), "what was refused is no job, and never will be one")
	i.allRevoked(t)
}

// TestCR4AndJB4RevokedAfterEveryKindOfEnd: whatever ends the job.
func TestCR4AndJB4RevokedAfterEveryKindOfEnd(t *testing.T) {
	c, i, e := newCredentialStack(t)
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	for tool, end := range map[string]string{"echo": "job.completed", "fail": "job.failed", "panic": "job.failed"} {
		invokeLeased(p, tool, map[string]any{"code": "ABORTED", "message": "x"})
		require.NotEmpty(t, value(t, p.Until(end)[0]))
		i.allRevoked(t)
	}
	invokeLeased(p, "sleep", map[string]any{"ms": 60_000})
	job := p.Until("job.started")[0].Str("job_id")
	require.Len(t, i.outstanding(), 1)
	p.Send("cancel", map[string]any{"target": "job", "target_id": job})
	p.Until("job.cancelled")
	i.allRevoked(t)

	p.Send("tool.invoke", map[string]any{"tool": "sleep", "arguments": map[string]any{"ms": 60_000}, "lease_request": map[string]any{
		"expires_at": time.Now().Add(2 * time.Second).UTC().Format(time.RFC3339Nano),
	}})
	require.NotEmpty(t, value(t, last(p.Until("job.accepted"))))
	require.Equal(t, "LEASE_EXPIRED", last(p.Until("job.failed")).Payload()["code"])
	i.allRevoked(t)

	invokeLeased(p, "sleep", map[string]any{"ms": 60_000})
	p.Until("job.started")
	p.Send("session.close", map[string]any{})
	p.Until("job.cancelled")
	i.allRevoked(t)

	// A job that ended while nobody of this edge listened: its session is another edge's, which dies.
	other := c.edge("edge-2", nil)
	other.knows(t, "sleep")
	q := wstest.Dial(t, other.url)
	q.Open(aliceToken)
	invokeLeased(q, "sleep", map[string]any{"ms": 500})
	q.Until("job.started")
	q.Drop()
	other.drain()
	<-other.done
	i.allRevoked(t)
	for id, times := range i.revoked {
		require.Equal(t, 1, times, "edges do not do it all at once: %s", id)
	}
	require.Eventually(t, func() bool { return len(c.grants()) == 0 }, wstest.Wait, 5*time.Millisecond)
}

// TestCR4RevocationIsRetriedAcrossARestart: an issuer that is away, and the edge with it.
func TestCR4RevocationIsRetriedAcrossARestart(t *testing.T) {
	c, i, e := newCredentialStack(t)
	i.with(func() { i.deaf = true })
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	invokeLeased(p, "echo", 1)
	accepted := p.Until("job.completed")[0]
	secret := value(t, accepted)
	require.NotEmpty(t, secret)
	require.Eventually(t, func() bool { return strings.Contains(c.logs.String(), "credentials are not revoked yet") }, wstest.Wait, 5*time.Millisecond)
	require.Contains(t, c.logs.String(), "cred-"+accepted.Str("job_id"), "stuck ones are named")
	p.Drop()
	e.drain()
	<-e.done
	require.Len(t, c.grants(), 1)
	require.Contains(t, c.grants()[0], `"state":"revoking"`)
	require.NotContains(t, c.grants()[0], `"sealed"`, "what is to be revoked is shown to nobody")
	i.with(func() { i.deaf = false })
	c.edge("edge-2", nil)
	i.allRevoked(t)
	require.Eventually(t, func() bool { return len(c.grants()) == 0 }, wstest.Wait, 5*time.Millisecond)
	require.NotContains(t, c.logs.String(), secret)
}

// TestCR6OnlyTheSubmitterSeesThem: section 6, item 33. A retry under the key is the submitter's, while the job lives.
func TestCR6OnlyTheSubmitterSeesThem(t *testing.T) {
	c, i, e := newCredentialStack(t)
	other := c.edge("edge-2", nil)
	other.knows(t, "sleep")
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	invokeLeased(p, "sleep", map[string]any{"ms": 60_000}, "idempotency_key", "k")
	all := p.Until("job.started")
	job, secret := all[0].Str("job_id"), value(t, all[0])
	require.NotEmpty(t, secret)

	q := wstest.Dial(t, other.url) // ID-3: the retrying submitter gets what is good
	q.Open(aliceToken)
	invokeLeased(q, "sleep", map[string]any{"ms": 60_000}, "idempotency_key", "k")
	replayed := q.Expect("job.accepted")
	require.Equal(t, job, replayed["job_id"])
	require.Equal(t, secret, value(t, replayed))
	require.Len(t, i.asked, 1, "it is not issued again")
	q.Send("session.list_jobs", map[string]any{})
	listed, err := json.Marshal(q.Expect("session.jobs"))
	require.NoError(t, err)
	require.NotContains(t, string(listed), secret)

	bob := wstest.Dial(t, other.url)
	bob.Open(bobToken)
	invokeLeased(bob, "echo", 1, "idempotency_key", "k")
	require.NotEqual(t, secret, value(t, bob.Until("job.completed")[0]))

	p.Send("cancel", map[string]any{"target": "job", "target_id": job})
	p.Until("job.cancelled")
	i.allRevoked(t)
	for _, peer := range []*wstest.Peer{p, q} { // section 6, item 15: nothing revoked is handed out
		invokeLeased(peer, "sleep", map[string]any{"ms": 60_000}, "idempotency_key", "k")
		require.Empty(t, value(t, last(peer.Until("job.accepted"))))
	}
}

// TestCR6AResumeShowsThemWhileTheyAreGood: on any edge, and with the same numbers when they are not.
func TestCR6AResumeShowsThemWhileTheyAreGood(t *testing.T) {
	c, i, e := newCredentialStack(t)
	other := c.edge("edge-2", nil)
	other.knows(t, "sleep")
	r := openReader(t, e.url)
	invokeLeased(r.peer, "sleep", map[string]any{"ms": 60_000})
	r.readTo(2)
	accepted := r.raw[0]
	require.Contains(t, string(accepted), "sk-secret")

	r.peer.Drop()
	p := wstest.Dial(t, other.url)
	again := token(p.Resume(r.token, 0))
	p.Expect("job.accepted")
	require.Equal(t, string(accepted), string(p.Raw[1]), "I3: the same bytes")
	p.Expect("job.started")
	p.Send("cancel", map[string]any{"target": "session", "target_id": "sess_x"})
	p.Until("cancel.refused")
	p.Drop()

	p = wstest.Dial(t, e.url)
	again = token(p.Resume(again, 3))
	job := decode(t, accepted)["job_id"]
	p.Send("cancel", map[string]any{"target": "job", "target_id": job})
	p.Until("job.cancelled")
	i.allRevoked(t)
	p.Drop()
	p = wstest.Dial(t, other.url)
	p.Resume(again, 0)
	m := p.Expect("job.accepted")
	require.Equal(t, 1, m.Seq())
	require.Empty(t, value(t, m))
	require.Equal(t, decode(t, accepted)["id"], m["id"])
	require.Equal(t, 2, p.Expect("job.started").Seq())
}

func decode(t testing.TB, line []byte) (m wstest.Message) {
	t.Helper()
	require.NoError(t, json.Unmarshal(line, &m))
	return m
}

// TestCR1SlowIssuingStopsNobody: section 6, item 32. The session goes on, and jobs are answered in the order in which they
// were asked for.
func TestCR1SlowIssuingStopsNobody(t *testing.T) {
	_, i, e := newCredentialStack(t)
	gate := make(chan struct{})
	i.with(func() { i.gate = gate })
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	want := []any{
		invokeLeased(p, "echo", 1), p.Invoke("echo", 2), invokeLeased(p, "echo", 3, "idempotency_key", "a"),
		invokeLeased(p, "nosuch", 4), p.Invoke("echo", 5, "idempotency_key", "b"),
		p.Send("job.schedule", map[string]any{"when": map[string]any{"after": 0}, "job": map[string]any{"tool": "echo", "arguments": 6}}),
	}
	p.Quiet() // a ping is answered, and nothing else was
	p.Send("cancel", map[string]any{"target": "job", "target_id": "job_none"})
	p.Expect("cancel.refused")
	bad := p.Send("artifact.fetch", map[string]any{"artifact_id": "art_none"})
	require.Equal(t, bad, p.Expect("nack")["correlation_id"])
	close(gate)
	var got []any
	for ended := 0; ended < len(want); {
		m := p.Next()
		switch m.Type() {
		case "job.accepted":
			got = append(got, m["correlation_id"])
		case "job.failed":
			got = append(got, m["correlation_id"])
			ended++
		case "job.completed":
			ended++
		}
	}
	require.Equal(t, want, got)
	i.allRevoked(t)
}

// TestCR1TooMuchThatWaitsIsRefused: a session cannot pile up messages behind an issuer that does not answer.
func TestCR1TooMuchThatWaitsIsRefused(t *testing.T) {
	_, i, e := newCredentialStack(t)
	gate := make(chan struct{})
	i.with(func() { i.gate = gate })
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	for range 70 {
		invokeLeased(p, "echo", 1)
	}
	m := p.Expect("nack")
	require.Equal(t, "RESOURCE_EXHAUSTED", m.Payload()["code"])
	require.Equal(t, map[string]any{"retryable": true}, m.Payload()["details"])
	close(gate)
	for done := 0; done < 64; {
		if p.Next().Type() == "job.completed" {
			done++
		}
	}
	i.allRevoked(t)
}

// TestCR3WhatNobodyTakesIsRevoked: the client goes away while its credentials are made; the session's end takes the jobs
// with it that still wait.
func TestCR3WhatNobodyTakesIsRevoked(t *testing.T) {
	c, i, e := newCredentialStack(t)
	gate := make(chan struct{})
	i.with(func() { i.gate = gate })
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	invokeLeased(p, "sleep", map[string]any{"ms": 60_000})
	p.Quiet()
	p.Drop()
	q := wstest.Dial(t, e.url)
	q.Open(aliceToken)
	invokeLeased(q, "sleep", map[string]any{"ms": 60_000})
	q.Send("session.close", map[string]any{})
	q.Quiet()
	require.Eventually(t, func() bool { return strings.Contains(c.logs.String(), "session detached") }, wstest.Wait, time.Millisecond)
	close(gate)
	q.Until("job.cancelled")
	require.Equal(t, 1000, q.Closed())
	require.Eventually(t, func() bool { return len(i.outstanding()) == 0 && len(c.grants()) == 0 }, wstest.Wait, 5*time.Millisecond)
}

// TestCR2ClientsHaveTheirJobsCredentials: package client hands them out.
func TestCR2ClientsHaveTheirJobsCredentials(t *testing.T) {
	_, i, e := newCredentialStack(t)
	s, err := client.Dial(t.Context(), client.Config{URLs: []string{e.url}, Token: aliceToken})
	require.NoError(t, err)
	defer s.Detach()
	var lease envelope.Lease
	require.NoError(t, json.Unmarshal([]byte(`{"cost_budget":["USD:0.50"]}`), &lease))
	job, err := s.Invoke(t.Context(), "sleep", obj{"ms": 600_000}, client.WithLease(&lease))
	require.NoError(t, err)
	id, err := job.Accepted(t.Context())
	require.NoError(t, err)
	require.Len(t, job.Credentials(), 1)
	require.Equal(t, "sk-secret-of-cred-"+string(id), job.Credentials()[0].Value)
	require.NoError(t, s.Cancel(t.Context(), id, "", 0))
	i.allRevoked(t)
	plain, err := s.Invoke(t.Context(), "echo", 1)
	require.NoError(t, err)
	_, err = plain.Wait(t.Context())
	require.NoError(t, err)
	require.Nil(t, plain.Credentials())
}
