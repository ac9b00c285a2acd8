package admin_test

import (
	"context"
	"io"
	"net/http"
	"runtime/trace"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/arcp-nats/arcp/internal/admin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, cfg admin.Config) *admin.Server {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	if cfg.Registry == nil {
		cfg.Registry = admin.NewRegistry()
	}
	if cfg.Missing == nil {
		cfg.Missing = func() []string { return nil }
	}
	s, err := admin.Start(cfg)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

func get(t *testing.T, s *admin.Server, path string) (status int, body string) {
	t.Helper()
	return do(t, http.MethodGet, s, path)
}

func do(t *testing.T, method string, s *admin.Server, path string) (status int, body string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.Addr()+path, nil)
	require.NoError(t, err)
	answer, err := client.Do(request)
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(text)
}

func TestReadyAndNot(t *testing.T) {
	var missing atomic.Pointer[[]string]
	missing.Store(&[]string{"NATS is not connected", "draining"})
	s := start(t, admin.Config{Missing: func() []string { return *missing.Load() }})

	status, body := get(t, s, "/readyz")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Equal(t, "NATS is not connected\ndraining\n", body)
	status, body = get(t, s, "/healthz")
	require.Equal(t, http.StatusOK, status, "a process that waits lives")
	require.Equal(t, "ok\n", body)

	missing.Store(new([]string))
	status, body = get(t, s, "/readyz")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "ready\n", body)
	status, _ = do(t, http.MethodPost, s, "/readyz")
	require.Equal(t, http.StatusMethodNotAllowed, status)
	status, _ = get(t, s, "/")
	require.Equal(t, http.StatusNotFound, status)
}

// failing is a collector whose value cannot be found out.
type failing struct{ *prometheus.Desc }

func (f failing) Describe(descs chan<- *prometheus.Desc) { descs <- f.Desc }
func (f failing) Collect(metrics chan<- prometheus.Metric) {
	metrics <- prometheus.NewInvalidMetric(f.Desc, context.DeadlineExceeded)
}

func TestMetrics(t *testing.T) {
	registry := admin.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "arcp_test_total", Help: "Test."})
	registry.MustRegister(counter, failing{prometheus.NewDesc("arcp_failing", "Test.", nil, nil)})
	counter.Add(3)
	status, body := get(t, start(t, admin.Config{Registry: registry}), "/metrics")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "\narcp_test_total 3\n", "in spite of the one that failed")
	require.Contains(t, body, "\ngo_goroutines ")
	require.Contains(t, body, "\nprocess_start_time_seconds ")
	_, other := get(t, start(t, admin.Config{}), "/metrics")
	require.NotContains(t, other, "arcp_test_total", "each server has its own")
}

func TestProfilesOnlyWhenAskedFor(t *testing.T) {
	without, with := start(t, admin.Config{}), start(t, admin.Config{Pprof: true})
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/trace?seconds=0.01"} {
		status, _ := get(t, without, path)
		require.Equal(t, http.StatusNotFound, status, path)
		status, _ = get(t, with, path)
		require.Equal(t, http.StatusOK, status, path)
	}
	_, body := get(t, with, "/debug/pprof/cmdline")
	require.NotContains(t, body, "-test.", "a command line may hold secrets")
}

// TestCloseEndsWhatRuns: a profile that would take long does not hold the process up, and nothing is left behind.
func TestCloseEndsWhatRuns(t *testing.T) {
	s := start(t, admin.Config{Pprof: true})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		if answer, err := client.Get("http://" + s.Addr() + "/debug/pprof/trace?seconds=25"); err == nil {
			_, _ = io.Copy(io.Discard, answer.Body)
			_ = answer.Body.Close()
		}
	}()
	require.Eventually(t, trace.IsEnabled, 10*time.Second, time.Millisecond)
	closing := time.Now()
	s.Close()
	require.Less(t, time.Since(closing), 10*time.Second)
	<-ended
	require.False(t, trace.IsEnabled())
	s.Close()
	_, err := http.Get("http://" + s.Addr() + "/healthz")
	require.Error(t, err)
}

func TestMistakes(t *testing.T) {
	_, err := admin.Start(admin.Config{Listen: "127.0.0.1:0"})
	require.ErrorContains(t, err, "required")
	s := start(t, admin.Config{})
	_, err = admin.Start(admin.Config{Listen: s.Addr(), Registry: admin.NewRegistry(), Missing: func() []string { return nil }})
	require.ErrorContains(t, err, "admin: ")
	var none *admin.Server
	require.Empty(t, none.Addr())
	none.Close()
	require.True(t, strings.HasPrefix(s.Addr(), "127.0.0.1:"))
}
