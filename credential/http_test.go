package credential_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/arcp-nats/arcp/credential"
	"github.com/arcp-nats/arcp/envelope"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secretToken = "token-of-the-runtime-0123456789"

// endpoint serves a handler and returns a provisioner for it.
func endpoint(t *testing.T, handler http.HandlerFunc) *credential.HTTP {
	t.Helper()
	server := httptest.NewServer(handler)
	p, err := credential.NewHTTP(credential.HTTPConfig{Endpoint: server.URL + "/v1/", Token: secretToken, Timeout: 5 * time.Second})
	require.NoError(t, err)
	t.Cleanup(func() { p.Close(); server.Close() })
	return p
}

func request(t *testing.T) credential.Request {
	t.Helper()
	var lease envelope.Lease
	require.NoError(t, json.Unmarshal([]byte(`{"cost_budget":["USD:0.50"],"model_use":["fast/*"],"colour":"blue"}`), &lease))
	return credential.Request{JobID: "job_1", SessionID: "sess_1", Principal: "alice", Lease: &lease}
}

// TestCR1TheEndpointIsToldWhomItIsFor: the effective lease, the job, the session and the principal.
func TestCR1TheEndpointIsToldWhomItIsFor(t *testing.T) {
	p := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.URL.Path != "/v1/credentials" || r.Header.Get("Authorization") != "Bearer "+secretToken ||
			r.Header.Get("Idempotency-Key") != "job_1" {
			http.Error(w, "wrong", http.StatusTeapot)
			return
		}
		var asked map[string]any
		_ = json.Unmarshal(body, &asked)
		want := map[string]any{
			"job_id": "job_1", "session_id": "sess_1", "principal": "alice",
			"lease": map[string]any{"cost_budget": []any{"USD:0.5"}, "model_use": []any{"fast/*"}, "colour": "blue"},
		}
		if fmt.Sprint(asked) != fmt.Sprint(want) {
			http.Error(w, fmt.Sprint(asked), http.StatusTeapot)
			return
		}
		_, _ = io.WriteString(w, `{"credentials":[{"id":"c/1","scheme":"bearer","value":"sk-1","endpoint":"https://gw.test","constraints":{"cost_budget":["USD:0.5"]}}],"later":1}`)
	})
	issued, err := p.Issue(t.Context(), request(t))
	require.NoError(t, err)
	require.Len(t, issued, 1)
	require.Equal(t, "c/1", issued[0].ID)
	require.Equal(t, "sk-1", issued[0].Value)
	require.NotNil(t, issued[0].Constraints)
}

func TestTheEndpointsErrorsArePassedOn(t *testing.T) {
	for _, c := range []struct {
		status  int
		body    string
		code    envelope.Code
		retry   bool
		refused bool
		text    string
	}{
		{402, `{"code":"BUDGET_EXHAUSTED","message":"no money"}`, envelope.CodeBudgetExhausted, false, true, "no money"},
		{503, `{"code":"UNAVAILABLE","message":"later","retryable":false}`, envelope.CodeUnavailable, false, true, "later"},
		{400, `{"code":"NO_SUCH_CODE","message":"x","retryable":true}`, envelope.CodeUnknown, true, true, "x"},
		{400, `{"code":"OK","message":""}`, envelope.CodeUnknown, false, true, "status 400"},
		{409, `{"code":"ABORTED","message":"` + secretToken + `"}`, envelope.CodeAborted, true, true, "[token]"},
		{401, `nonsense sk-secret`, envelope.CodeFailedPrecondition, false, true, "status 401"},
		{429, ``, envelope.CodeResourceExhausted, true, true, "status 429"},
		{418, `{}`, envelope.CodeUnknown, false, true, "status 418"},
		{502, `<html>sk-secret</html>`, envelope.CodeUnavailable, true, false, "status 502"},
		{302, ``, envelope.CodeUnavailable, true, false, "status 302"},
		{204, ``, envelope.CodeUnavailable, true, false, "status 204"},
		{200, `nonsense sk-secret`, envelope.CodeInternal, true, false, "cannot be used"},
		{200, `{"credentials":[]}`, envelope.CodeInternal, true, false, "cannot be used"},
		{200, strings.Repeat("x", 300<<10), envelope.CodeInternal, true, false, "longer than"},
	} {
		p := endpoint(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		})
		issued, err := p.Issue(t.Context(), request(t))
		require.Empty(t, issued)
		require.Equal(t, c.code, envelope.CodeOf(err), "%d %s", c.status, c.body)
		require.Equal(t, c.refused, credential.Refused(err), "%d %s", c.status, c.body)
		require.ErrorContains(t, err, c.text)
		require.NotContains(t, err.Error(), "sk-secret")
		require.NotContains(t, err.Error(), secretToken)
		coded := new(envelope.Error)
		require.ErrorAs(t, err, &coded)
		require.Equal(t, c.retry, coded.IsRetryable(), "%d %s", c.status, c.body)
	}
}

// TestWhatIsOfNoUseIsNamed: an answer that no client can be given may stand for credentials that exist.
func TestWhatIsOfNoUseIsNamed(t *testing.T) {
	for _, credentials := range []string{
		`{"id":"a","scheme":"basic","value":"v","endpoint":"e"}`,
		`{"id":"a","scheme":"bearer","endpoint":"e"}`,
		`{"id":"a","scheme":"bearer","value":"","endpoint":"e"}`,
		`{"id":"a","scheme":"bearer","value":"v","endpoint":""}`,
		`{"id":"a","scheme":"bearer","value":"v","endpoint":"e","constraints":{"cost_budget":["x"]}}`,
	} {
		p := endpoint(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"credentials":[`+credentials+`,{"id":""}]}`)
		})
		issued, err := p.Issue(t.Context(), request(t))
		require.Error(t, err)
		require.False(t, credential.Refused(err))
		require.Equal(t, []envelope.Credential{{ID: "a"}}, issued, credentials)
	}
}

func TestAnEndpointThatIsNotThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p, err := credential.NewHTTP(credential.HTTPConfig{Endpoint: "http://" + l.Addr().String()})
	require.NoError(t, err)
	require.NoError(t, l.Close())
	_, err = p.Issue(t.Context(), request(t))
	require.Equal(t, envelope.CodeUnavailable, envelope.CodeOf(err))
	require.True(t, credential.Refused(err), "nothing was reached, nothing was issued")
}

// TestARefusalAfterALostAnswerSaysNothing: the library sends a request again when the connection breaks under it; what the
// endpoint did with the first one is not known.
func TestARefusalAfterALostAnswerSaysNothing(t *testing.T) {
	asked := 0
	p := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		asked++
		switch asked {
		case 1: // so that there is a connection to use again
			_, _ = io.WriteString(w, `{"credentials":[{"id":"c1","scheme":"bearer","value":"v","endpoint":"https://e"}]}`)
		case 2: // issued, and not said
			panic(http.ErrAbortHandler)
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, `{"code":"UNAVAILABLE","message":"later","retryable":true}`)
		}
	})
	_, err := p.Issue(t.Context(), request(t))
	require.NoError(t, err)
	_, err = p.Issue(t.Context(), request(t))
	require.Equal(t, 3, asked)
	require.Equal(t, envelope.CodeUnavailable, envelope.CodeOf(err))
	require.False(t, credential.Refused(err))
	_, err = p.Issue(t.Context(), request(t))
	require.True(t, credential.Refused(err))
}

func TestAnEndpointThatIsSlow(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	p, err := credential.NewHTTP(credential.HTTPConfig{Endpoint: server.URL, Timeout: 50 * time.Millisecond})
	require.NoError(t, err)
	defer p.Close()
	_, err = p.Issue(t.Context(), request(t))
	require.Equal(t, envelope.CodeUnavailable, envelope.CodeOf(err))
	require.False(t, credential.Refused(err), "it may have issued something")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, p.Revoke(ctx, "x"))
}

// TestCR4RevokingWhatIsGoneIsDone: 404 counts as done, as does any status of success.
func TestCR4RevokingWhatIsGoneIsDone(t *testing.T) {
	for status, done := range map[int]bool{200: true, 202: true, 204: true, 404: true, 400: false, 410: false, 500: false} {
		p := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodDelete || r.URL.EscapedPath() != "/v1/credentials/c%2F1%3F" {
				status = http.StatusTeapot
			}
			w.WriteHeader(status)
		})
		err := p.Revoke(t.Context(), "c/1?")
		require.Equal(t, done, err == nil, "%d: %v", status, err)
	}
}

func TestBadEndpoints(t *testing.T) {
	for _, endpoint := range []string{"", "gw.test", "ftp://gw.test", "http://", "http://u:sk-secret@gw.test", "http://gw.test?key=sk-secret", "http://gw.test#x", "http://gw.test/%zz"} {
		_, err := credential.NewHTTP(credential.HTTPConfig{Endpoint: endpoint})
		require.Error(t, err, endpoint)
		require.NotContains(t, err.Error(), "sk-secret")
	}
}
