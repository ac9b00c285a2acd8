package worker

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what workers do. Its only labels are tools that workers of
// this process offer, and outcomes. It may be shared by several workers, and is
// safe for concurrent use.
type Metrics struct {
	jobs      *prometheus.CounterVec
	attempts  *prometheus.CounterVec
	abandoned *prometheus.CounterVec
	running   *prometheus.GaugeVec
	waited    *prometheus.HistogramVec
	ran       *prometheus.HistogramVec
	published prometheus.Observer
}

// NewMetrics makes metrics and registers them with reg, which may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	tool := []string{"tool"}
	m := &Metrics{
		jobs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "arcp_worker_jobs_total",
			Help: "Attempts at jobs that are over, by tool and outcome: completed, failed, cancelled, or handed_back to the queue.",
		}, []string{"tool", "outcome"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "arcp_worker_attempts_total",
			Help: "Handlers that were started, by tool and whether it was the job's first attempt (first) or not (again).",
		}, []string{"tool", "attempt"}),
		abandoned: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "arcp_worker_abandoned_total", Help: "Handlers that did not return when told to, and were left behind.",
		}, tool),
		running: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "arcp_worker_running", Help: "Handlers that run now, those left behind included.",
		}, tool),
		waited: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "arcp_worker_wait_seconds", Help: "Time from a job's acceptance to the start of its first attempt.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 12),
		}, tool),
		ran: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "arcp_worker_run_seconds", Help: "Time that handlers took.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 12),
		}, tool),
	}
	published := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "arcp_worker_publish_seconds", Help: "Time from a record's way to the log to its confirmation.",
		Buckets: prometheus.ExponentialBuckets(0.00025, 2, 16),
	})
	m.published = published
	if reg != nil {
		reg.MustRegister(m.jobs, m.attempts, m.abandoned, m.running, m.waited, m.ran, published)
	}
	return m
}

// toolMetrics are those of one tool, looked up once.
type toolMetrics struct {
	completed, failed, cancelled, handedBack prometheus.Counter
	first, again, abandoned                  prometheus.Counter
	running                                  prometheus.Gauge
	waited, ran                              prometheus.Observer
}

func (m *Metrics) tool(name string) *toolMetrics {
	return &toolMetrics{
		completed:  m.jobs.WithLabelValues(name, "completed"),
		failed:     m.jobs.WithLabelValues(name, "failed"),
		cancelled:  m.jobs.WithLabelValues(name, "cancelled"),
		handedBack: m.jobs.WithLabelValues(name, "handed_back"),
		first:      m.attempts.WithLabelValues(name, "first"),
		again:      m.attempts.WithLabelValues(name, "again"),
		abandoned:  m.abandoned.WithLabelValues(name),
		running:    m.running.WithLabelValues(name),
		waited:     m.waited.WithLabelValues(name),
		ran:        m.ran.WithLabelValues(name),
	}
}

// started notes that an attempt's handler starts.
func (t *toolMetrics) started(attempt int, accepted time.Time) {
	t.running.Inc()
	if attempt > 1 {
		t.again.Inc()
		return
	}
	t.first.Inc()
	t.waited.Observe(max(0, time.Since(accepted).Seconds())) // clocks may differ
}

// returned notes that a handler has returned.
func (t *toolMetrics) returned(began time.Time) {
	t.running.Dec()
	t.ran.Observe(time.Since(began).Seconds())
}

// ended notes how an attempt ended.
func (t *toolMetrics) ended(e ending) {
	switch {
	case e.failed != nil:
		t.failed.Inc()
	case e.cancelled != nil:
		t.cancelled.Inc()
	default:
		t.completed.Inc()
	}
}
