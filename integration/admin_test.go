package integration_test

import (
	"io"
	"net/http"
	neturl "net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/internal/wstest"
	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/worker"
)

// ask returns what a process tells operators on a path.
func (p *process) ask(path string) (status int, body string) {
	p.t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: wstest.Wait}
	answer, err := client.Get("http://" + p.ready["admin"] + path)
	require.NoError(p.t, err)
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	require.NoError(p.t, err)
	return answer.StatusCode, string(text)
}

// becomes waits until readyz answers with a status.
func (p *process) becomes(status int) (body string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		var now int
		now, body = p.ask("/readyz")
		return now == status
	}, wstest.Wait, 20*time.Millisecond, "readyz never answered %d", status)
	return body
}

// TestOperatorsSeat: readiness follows NATS, and the metrics tell of a job without naming anybody.
func TestOperatorsSeat(t *testing.T) {
	c := startProcesses(t)
	e := c.edge("edge-1", "--admin-listen", "127.0.0.1:0")
	w := c.worker("worker-1", "--admin-listen", "127.0.0.1:0", "--admin-pprof")
	url := e.ready["edge"]
	untilServed(t, url, "echo")
	p := wstest.Dial(t, url)
	accepted := p.Open(aliceToken)
	p.Invoke("echo", map[string]any{"a": 1}, "idempotency_key", "key-of-alice")
	job := p.Until("job.completed")[0].Str("job_id")
	p.Invoke("echo", map[string]any{"a": 1}, "idempotency_key", "key-of-alice")
	p.Until("job.accepted")
	p.SendRaw("no envelope")
	p.Expect("nack")

	for _, process := range []*process{e, w} {
		status, body := process.ask("/healthz")
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, "ok\n", body)
		require.Equal(t, "ready\n", process.becomes(http.StatusOK))
	}
	status, _ := e.ask("/debug/pprof/")
	require.Equal(t, http.StatusNotFound, status)
	status, _ = w.ask("/debug/pprof/")
	require.Equal(t, http.StatusOK, status)

	_, ofEdge := e.ask("/metrics")
	_, ofWorker := w.ask("/metrics")
	for _, line := range []string{
		"arcp_nats_connected 1", `arcp_edge_sessions{view="live"} `, `arcp_edge_nacks_total{code="INVALID_ARGUMENT"} 1`,
		`arcp_edge_frames_total{outcome="undecodable"} 1`, "arcp_edge_open_jobs 0", "arcp_edge_feeds 1",
		`arcp_edge_submissions_total{outcome="repeated"} 1`, `arcp_edge_submissions_total{outcome="not_stored"} 0`,
		`arcp_log_messages{shard="0"} `, "arcp_artifact_store_bytes 0", `arcp_edge_artifacts_total{outcome="put"} 0`, "arcp_edge_publish_seconds_count ", `arcp_edge_delivery_seconds_count{from="feed"} `,
	} {
		require.Contains(t, ofEdge, "\n"+line)
	}
	for _, line := range []string{
		"arcp_nats_connected 1", `arcp_worker_jobs_total{outcome="completed",tool="echo@1"} `,
		`arcp_worker_attempts_total{attempt="first",tool="echo@1"} `, `arcp_worker_running{tool="echo@1"} 0`,
		`arcp_worker_run_seconds_count{tool="echo@1"} `, "arcp_worker_publish_seconds_count ",
	} {
		require.Contains(t, ofWorker, "\n"+line)
	}
	for _, private := range []string{"alice", aliceToken, token(accepted), accepted.Str("session_id"), job, "key-of-alice"} {
		require.NotContains(t, ofEdge+ofWorker, private)
	}

	c.server.kill()
	require.Contains(t, e.becomes(http.StatusServiceUnavailable), "NATS is not connected")
	w.becomes(http.StatusServiceUnavailable)
	p.Invoke("echo", nil, "idempotency_key", "another-key")
	p.Until("nack")
	_, ofEdge = e.ask("/metrics")
	require.Contains(t, ofEdge, "\narcp_nats_connected 0\n")
	require.Contains(t, ofEdge, "\n"+`arcp_edge_submissions_total{outcome="not_stored"} 1`+"\n", "refused before it could be sent")
	u, err := neturl.Parse(c.nats)
	require.NoError(t, err)
	c.server = start(t, "__nats", "-dir", filepath.Join(c.dir, "nats"), "-port", u.Port())
	e.becomes(http.StatusOK)
	w.becomes(http.StatusOK)
}

// TestEveryMetricIsDocumented: docs/operations.md names each metric that there is, and no other.
func TestEveryMetricIsDocumented(t *testing.T) {
	registry := prometheus.NewRegistry()
	_, _, _ = edge.NewMetrics(registry), worker.NewMetrics(registry), jetstream.NewMetrics(registry)
	described := make(chan *prometheus.Desc, 256)
	registry.Describe(described)
	close(described)
	var there []string
	name := regexp.MustCompile(`fqName: "([^"]+)"`)
	for desc := range described {
		there = append(there, name.FindStringSubmatch(desc.String())[1])
	}
	text, err := os.ReadFile("../docs/operations.md")
	require.NoError(t, err)
	var named []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(arcp_[a-z_]+)").FindAllStringSubmatch(string(text), -1) {
		named = append(named, row[1])
	}
	slices.Sort(there)
	slices.Sort(named)
	require.Equal(t, there, named)
	require.NotEmpty(t, strings.Join(named, ""))
}
