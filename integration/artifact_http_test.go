package integration_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/artifact"
	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/wstest"
)

// webURL is where an edge serves an artifact.
func (e *testEdge) webURL(id string) string {
	return "http" + strings.TrimSuffix(strings.TrimPrefix(e.url, "ws"), "/arcp") + "/artifacts/" + id
}

// get asks for an artifact, with headers as key and value pairs, and returns the whole answer.
func get(t testing.TB, method, url, token string, header ...string) (*http.Response, []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	require.NoError(t, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport, Timeout: wstest.Wait}).Do(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response, body
}

// stored keeps content of any size for a principal, as a job would.
func (e *testEdge) stored(t testing.TB, principal, mediaType string, data []byte) artifact.Info {
	t.Helper()
	upload, err := e.client.Artifacts().Create(t.Context(), artifact.Info{
		ID: envelope.NewArtifactID(), Principal: principal, MediaType: mediaType, ExpiresAt: artifact.Until(time.Now(), time.Hour),
	})
	require.NoError(t, err)
	_, err = upload.Write(data)
	require.NoError(t, err)
	info, err := upload.Commit()
	require.NoError(t, err)
	return info
}

// TestArtifactsOverHTTP: whole and in parts, with what a cache and a browser need to know.
func TestArtifactsOverHTTP(t *testing.T) {
	_, e := edgeOnly(t, nil)
	data := bytesOf(9_000_001) // more than an envelope carries
	info := e.stored(t, "alice", "text/html; charset=utf-8", data)
	url := e.webURL(string(info.ID))

	r, body := get(t, http.MethodGet, url, aliceToken)
	require.Equal(t, http.StatusOK, r.StatusCode)
	require.True(t, bytes.Equal(data, body))
	sum := sha256.Sum256(data)
	etag := `"` + hex.EncodeToString(sum[:]) + `"`
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "ETag": etag, "Accept-Ranges": "bytes", "X-Content-Type-Options": "nosniff",
		"Content-Disposition": "attachment; filename=" + string(info.ID), "Content-Security-Policy": "sandbox; default-src 'none'",
	} {
		require.Equal(t, want, r.Header.Get(name), name)
	}

	r, body = get(t, http.MethodHead, url, aliceToken)
	require.Equal(t, http.StatusOK, r.StatusCode)
	require.Empty(t, body)
	require.EqualValues(t, len(data), r.ContentLength)

	for _, c := range []struct{ given, says string }{
		{"bytes=0-0", "bytes 0-0/9000001"},
		{"bytes=131071-131073", "bytes 131071-131073/9000001"},
		{"bytes=8999999-", "bytes 8999999-9000000/9000001"},
		{"bytes=-5", "bytes 8999996-9000000/9000001"},
		{"bytes=4000000-5000000", "bytes 4000000-5000000/9000001"},
	} {
		r, body = get(t, http.MethodGet, url, aliceToken, "Range", c.given, "If-Range", etag)
		require.Equal(t, http.StatusPartialContent, r.StatusCode, c.given)
		require.Equal(t, c.says, r.Header.Get("Content-Range"))
		var from, to int
		_, err := fmt.Sscanf(c.says, "bytes %d-%d", &from, &to)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data[from:to+1], body), c.given)
	}
	r, _ = get(t, http.MethodGet, url, aliceToken, "Range", "bytes=9000001-")
	require.Equal(t, http.StatusRequestedRangeNotSatisfiable, r.StatusCode)
	r, body = get(t, http.MethodGet, url, aliceToken, "Range", "bytes=0-5", "If-Range", `"another"`)
	require.Equal(t, []any{http.StatusOK, len(data)}, []any{r.StatusCode, len(body)})
	r, body = get(t, http.MethodGet, url, aliceToken, "Range", "bytes=0-5,7-9")
	require.Equal(t, []any{http.StatusOK, len(data)}, []any{r.StatusCode, len(body)}, "several ranges are not served")
	r, _ = get(t, http.MethodGet, url, aliceToken, "If-None-Match", etag)
	require.Equal(t, http.StatusNotModified, r.StatusCode)

	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	refused(t, fetch(p, string(info.ID)), "FAILED_PRECONDITION", "an envelope carries at most 4194304: get it over HTTP, from /artifacts/"+string(info.ID))
}

// TestHTTPTellsNobodyOfAnothersArtifacts: no token 401, and of two that are known to be somebody's only the owner's finds it.
func TestHTTPTellsNobodyOfAnothersArtifacts(t *testing.T) {
	_, e := edgeOnly(t, nil)
	info := e.stored(t, "alice", "text/plain", []byte("mine"))
	url := e.webURL(string(info.ID))
	says := func(token, url string) (status int, code any, header http.Header) {
		r, body := get(t, http.MethodGet, url, token)
		var said map[string]any
		require.NoError(t, json.Unmarshal(body, &said), "%s", body)
		return r.StatusCode, said["code"], r.Header
	}
	for _, bad := range []string{"", "nonsense", "a.b.c", "hmac:key", "rt_sess_1_" + strings.Repeat("0", 64)} {
		status, code, header := says(bad, url)
		require.Equal(t, []any{401, "UNAUTHENTICATED"}, []any{status, code}, bad)
		require.Equal(t, `Bearer realm="arcp"`, header.Get("WWW-Authenticate"))
	}
	theirs, _, theirHeader := says(bobToken, url)
	none, _, noneHeader := says(bobToken, e.webURL(string(envelope.NewArtifactID())))
	require.Equal(t, []any{404, 404}, []any{theirs, none})
	for _, h := range []http.Header{theirHeader, noneHeader} {
		h.Del("Date")
	}
	require.Equal(t, noneHeader, theirHeader)
	for _, id := range []string{"art_", "job_1", "art_%2e%2e", "art_1%2Fx", "%61rt_1", strings.Repeat("x", 5000)} {
		status, _, _ := says(aliceToken, e.webURL(id))
		require.Equal(t, 404, status, id)
	}
	r, _ := get(t, http.MethodPost, url, aliceToken)
	require.Equal(t, http.StatusMethodNotAllowed, r.StatusCode)
}

// TestAnonymousSessionsDownloadByTheirResumeToken, which is not used up, as they have no other proof of who they are.
func TestAnonymousSessionsDownloadByTheirResumeToken(t *testing.T) {
	_, e := edgeOnly(t, nil)
	open := func() (*wstest.Peer, wstest.Message) {
		p := wstest.Dial(t, e.url)
		p.Send("session.open", map[string]any{
			"auth": map[string]any{"scheme": "none"}, "client": map[string]any{"kind": "test", "version": "1"},
			"capabilities": map[string]any{"anonymous": true},
		})
		return p, p.Expect("session.accepted")
	}
	p, mine := open()
	_, others := open()
	p.Send("artifact.put", put([]byte("of nobody")))
	url := e.webURL(artifactOf(t, p.Next()).Str("artifact_id"))
	for range 2 {
		r, body := get(t, http.MethodGet, url, token(mine))
		require.Equal(t, []any{200, "of nobody"}, []any{r.StatusCode, string(body)})
	}
	r, _ := get(t, http.MethodGet, url, token(others))
	require.Equal(t, http.StatusNotFound, r.StatusCode)
	p.Drop()
	again := wstest.Dial(t, e.url)
	again.Resume(token(mine), 1)
	again.Quiet()
	r, _ = get(t, http.MethodGet, url, token(mine))
	require.Equal(t, http.StatusUnauthorized, r.StatusCode, "the token has had a successor")
}

// TestBrowsersReadArtifactsFromAllowedOrigins, the ones that may open sessions.
func TestBrowsersReadArtifactsFromAllowedOrigins(t *testing.T) {
	_, e := edgeOnly(t, func(cfg *edge.Config) { cfg.AllowOrigins = []string{"https://app.test"} })
	info := e.stored(t, "alice", "text/plain", []byte("mine"))
	url := e.webURL(string(info.ID))
	r, body := get(t, http.MethodGet, url, aliceToken, "Origin", "https://app.test")
	require.Equal(t, []any{200, "mine", "https://app.test", "Origin"},
		[]any{r.StatusCode, string(body), r.Header.Get("Access-Control-Allow-Origin"), r.Header.Get("Vary")})
	r, _ = get(t, http.MethodOptions, url, "", "Origin", "https://app.test", "Access-Control-Request-Method", "GET")
	require.Equal(t, http.StatusNoContent, r.StatusCode)
	require.Contains(t, r.Header.Get("Access-Control-Allow-Headers"), "Authorization")
	for _, method := range []string{http.MethodGet, http.MethodOptions} {
		r, _ = get(t, method, url, aliceToken, "Origin", "https://evil.test")
		require.Equal(t, http.StatusForbidden, r.StatusCode)
		require.Empty(t, r.Header.Get("Access-Control-Allow-Origin"))
	}
}

// TestMediaTypesCannotBreakHeaders: what a client calls its content never becomes a header line of ours.
func TestMediaTypesCannotBreakHeaders(t *testing.T) {
	_, e := edgeOnly(t, nil)
	for given, want := range map[string]string{
		"": "application/octet-stream", "whatever": "application/octet-stream", "image/png": "image/png",
		"text/plain; charset=\"ä\"": "text/plain; charset*=utf-8''%C3%A4", "a/b, c/d": "application/octet-stream",
	} {
		info := e.stored(t, "alice", given, []byte("x"))
		r, _ := get(t, http.MethodGet, e.webURL(string(info.ID)), aliceToken)
		require.Equal(t, want, r.Header.Get("Content-Type"), given)
	}
}

// TestADrainLetsDownloadsEnd, and tells the sessions to leave meanwhile.
func TestADrainLetsDownloadsEnd(t *testing.T) {
	_, e := edgeOnly(t, nil)
	data := bytesOf(20 << 20) // more than the sockets hold
	info := e.stored(t, "alice", "text/plain", data)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.webURL(string(info.ID)), nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+aliceToken)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)

	e.drain()
	require.Equal(t, 1001, p.Closed())
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.True(t, bytes.Equal(data, body))
	<-e.done
}
