package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/arcp-nats/arcp/credential"
	"github.com/arcp-nats/arcp/envelope"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is LiteLLM as far as its keys go.
type fake struct {
	mu   sync.Mutex
	keys map[string]map[string]any // by alias
	made int
	down bool
	lose bool // answers to /key/generate
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var body map[string]any
	if r.Header.Get("Authorization") != "Bearer sk-master" || json.NewDecoder(r.Body).Decode(&body) != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	switch {
	case f.down:
		w.WriteHeader(http.StatusInternalServerError)
	case r.URL.Path == "/key/generate":
		alias, _ := body["key_alias"].(string)
		if f.keys[alias] != nil {
			w.WriteHeader(http.StatusBadRequest) // aliases are unique
			return
		}
		f.made++
		f.keys[alias] = body
		if f.lose {
			w.WriteHeader(http.StatusGatewayTimeout)
			return
		}
		answer(w, http.StatusOK, map[string]any{"key": fmt.Sprintf("sk-virtual-%d", f.made), "key_alias": alias})
	case r.URL.Path == "/key/delete":
		for _, alias := range body["key_aliases"].([]any) {
			if f.keys[alias.(string)] == nil {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			delete(f.keys, alias.(string))
		}
		answer(w, http.StatusOK, map[string]any{"deleted_keys": body["key_aliases"]})
	}
}

func start(t *testing.T) (*fake, *credential.HTTP) {
	t.Helper()
	llm := &fake{keys: map[string]map[string]any{}}
	proxy := httptest.NewServer(llm)
	client := proxy.Client()
	server := httptest.NewServer((&adapter{proxy: proxy.URL, masterKey: "sk-master", token: "s3cret", client: client}).handler())
	p, err := credential.NewHTTP(credential.HTTPConfig{Endpoint: server.URL, Token: "s3cret"})
	require.NoError(t, err)
	t.Cleanup(func() { p.Close(); server.Close(); client.CloseIdleConnections(); proxy.Close() })
	return llm, p
}

func request(t *testing.T, lease string) credential.Request {
	t.Helper()
	req := credential.Request{JobID: "job_1", SessionID: "sess_1", Principal: "alice", Lease: new(envelope.Lease)}
	require.NoError(t, json.Unmarshal([]byte(lease), req.Lease))
	return req
}

// TestAJobGetsAKeyOfItsOwn: with the lease's budget, models and end, and it is deleted again.
func TestAJobGetsAKeyOfItsOwn(t *testing.T) {
	llm, p := start(t)
	end := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	req := request(t, `{"cost_budget":["USD:0.50"],"model_use":["gpt-4o","fast/*"],"expires_at":"`+end+`"}`)
	issued, err := p.Issue(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, "sk-virtual-1", issued[0].Value)
	key := llm.keys[issued[0].ID]
	require.InDelta(t, 0.5, key["max_budget"], 1e-9)
	require.Equal(t, []any{"gpt-4o", "fast/*"}, key["models"])
	require.Regexp(t, `^3[56]\d\ds$`, key["duration"])

	again, err := p.Issue(t.Context(), req)
	require.NoError(t, err, "the first answer was lost")
	require.Equal(t, issued[0].ID, again[0].ID)
	require.Len(t, llm.keys, 1)
	require.NoError(t, p.Revoke(t.Context(), again[0].ID))
	require.Empty(t, llm.keys)
	require.NoError(t, p.Revoke(t.Context(), again[0].ID))
}

// TestALostAnswerIsNoRefusal: the key exists. The runtime asks again and revokes what it gets.
func TestALostAnswerIsNoRefusal(t *testing.T) {
	llm, p := start(t)
	llm.lose = true
	_, err := p.Issue(t.Context(), request(t, `{}`))
	require.Error(t, err)
	require.False(t, credential.Refused(err))
	require.Len(t, llm.keys, 1)
	llm.lose = false
	issued, err := p.Issue(t.Context(), request(t, `{}`))
	require.NoError(t, err)
	require.NoError(t, p.Revoke(t.Context(), issued[0].ID))
	require.Empty(t, llm.keys)
}

func TestWhatLiteLLMCannotKeepIsRefused(t *testing.T) {
	llm, p := start(t)
	for lease, code := range map[string]envelope.Code{
		`{"cost_budget":["EUR:1"]}`:             envelope.CodeInvalidArgument,
		`{"model_use":[]}`:                      envelope.CodeInvalidArgument,
		`{"expires_at":"2020-01-01T00:00:00Z"}`: envelope.CodeLeaseExpired,
	} {
		_, err := p.Issue(t.Context(), request(t, lease))
		require.Equal(t, code, envelope.CodeOf(err), lease)
		require.True(t, credential.Refused(err))
	}
	llm.down = true
	_, err := p.Issue(t.Context(), request(t, `{}`))
	require.Equal(t, envelope.CodeUnavailable, envelope.CodeOf(err))
	require.Error(t, p.Revoke(t.Context(), "arcp-job_1"))
	require.NoError(t, p.Revoke(t.Context(), "somebody's"), "other keys are not ours to delete")
}
