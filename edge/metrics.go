package edge

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/arcp-nats/arcp/envelope"
)

// What became of a frame from a client.
const (
	frameHandled     = "handled"     // its message was acted on, or refused by its handler
	frameUndecodable = "undecodable" // no envelope
	frameRepeated    = "repeated"    // an id that the connection has seen; dropped
	frameEarly       = "early"       // before a session was open; dropped
	frameOverRate    = "over_rate"   // refused, as the session sends too much
	frameUnsupported = "unsupported" // a type that clients do not send, or that is not implemented
	frameBinary      = "binary"      // ignored
	frameCrowded     = "crowded"     // a large one, refused as too many are being read
)

// Metrics counts what an edge does. No label of it is for a client to choose. It serves one Server and is safe for
// concurrent use.
type Metrics struct {
	frames map[string]prometheus.Counter
	nacks  map[envelope.Code]prometheus.Counter
	opened map[string]prometheus.Counter
	left   map[string]prometheus.Counter
	jobs   map[string]prometheus.Counter

	credentials map[string]prometheus.Counter
	revocations map[string]prometheus.Counter

	renewals  map[string]prometheus.Counter
	artifacts map[string]prometheus.Counter
	content   map[string]prometheus.Counter
	catchUps  prometheus.Counter
	published prometheus.Observer
	fromFeed  prometheus.Observer
	fromLog   prometheus.Observer

	// What the server holds is looked at when the metrics are read.
	server      atomic.Pointer[Server]
	connections *prometheus.Desc
	sessions    *prometheus.Desc
	openJobs    *prometheus.Desc
	watches     *prometheus.Desc
	subs        *prometheus.Desc
	taps        *prometheus.Desc
	feeds       *prometheus.Desc
	grants      *prometheus.Desc
	unrevoked   *prometheus.Desc
}

// NewMetrics makes metrics and registers them with reg, which may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	gauge := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("arcp_edge_"+name, help, labels, nil)
	}
	m := &Metrics{
		connections: gauge("connections", "Open WebSocket connections."),
		sessions:    gauge("sessions", "Sessions that this edge holds: live ones follow the feed, those behind read back from the log.", "view"),
		openJobs:    gauge("open_jobs", "Jobs of these sessions that were accepted and whose end has not been shown."),
		watches:     gauge("watched_jobs", "Jobs of other sessions that these sessions watch."),
		subs:        gauge("subscriptions", "Subscriptions of these sessions."),
		taps:        gauge("subscribed_principals", "Principals whose sessions' records this edge reads for subscribers."),
		feeds:       gauge("feeds", "Feeds that this edge reads: its own, and those of edges whose sessions or jobs it shows."),
		grants:      gauge("credential_grants", "Jobs of the cluster whose credentials are outstanding, by how far they are: asking, given, or revoking.", "state"),
		unrevoked:   gauge("credential_unrevoked_seconds", "For how long the oldest of those to be revoked has waited for it; 0 if there is none."),
	}
	var all []prometheus.Collector
	counters := func(name, help, label string, values ...string) map[string]prometheus.Counter {
		vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "arcp_edge_" + name, Help: help}, []string{label})
		all = append(all, vec)
		made := make(map[string]prometheus.Counter, len(values))
		for _, value := range values {
			made[value] = vec.WithLabelValues(value)
		}
		return made
	}
	m.frames = counters("frames_total", "Frames from clients, by what became of them.", "outcome",
		frameHandled, frameUndecodable, frameRepeated, frameEarly, frameOverRate, frameUnsupported, frameBinary, frameCrowded)
	m.opened = counters("sessions_opened_total", "Requests for a session: opened, resumed or rejected.", "outcome",
		"opened", "resumed", "rejected")
	m.left = counters("sessions_left_total",
		"Sessions that left this edge: closed for good, evicted because another edge has them, expired with their lease, or detached to be resumed.", "how",
		"closed", "evicted", "expired", "detached")
	m.jobs = counters("submissions_total",
		"Requests for a job: accepted, refused, repeated under a known key, or not stored by the log.", "outcome",
		"accepted", "refused", "repeated", "not_stored")
	m.artifacts = counters("artifacts_total",
		"What clients asked about artifacts: put, fetched in an envelope, downloaded over HTTP or released; refused, or failed by the store.", "outcome",
		artifactPut, artifactFetched, artifactDownloaded, artifactReleased, artifactRefused, artifactFailed)
	m.content = counters("artifact_bytes_total", "Content of artifacts that this edge has taken from clients and given to them.", "way",
		contentIn, contentOut)
	m.renewals = counters("lease_renewals_total",
		"Session leases: asked to renew, renewed, or answered with what does not renew.", "outcome", "asked", "renewed", "refused")
	m.credentials = counters("credential_requests_total", "Requests to the provisioner for the credentials of a job.", "outcome",
		"issued", "failed")
	m.revocations = counters("credential_revocations_total",
		"Jobs whose credentials were revoked, and tries that failed and come again.", "outcome", "revoked", "failed")
	codes := envelope.Codes()
	names := make([]string, len(codes))
	for i, code := range codes {
		names[i] = string(code)
	}
	m.nacks = make(map[envelope.Code]prometheus.Counter, len(codes))
	for name, counter := range counters("nacks_total", "Refusals by nack, by code.", "code", names...) {
		m.nacks[envelope.Code(name)] = counter
	}
	m.catchUps = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "arcp_edge_catch_ups_total", Help: "Times that a session began to read back from the log.",
	})
	published := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "arcp_edge_publish_seconds", Help: "Time from a record's way to the log to its confirmation.",
		Buckets: prometheus.ExponentialBuckets(0.00025, 2, 16),
	})
	delivered := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "arcp_edge_delivery_seconds", Help: "Time from the storing of a record to its way to the client's socket, " +
			"by where it was read: feed as it came, log when the session was behind.",
		Buckets: prometheus.ExponentialBuckets(0.00025, 4, 14),
	}, []string{"from"})
	m.published, m.fromFeed, m.fromLog = published, delivered.WithLabelValues("feed"), delivered.WithLabelValues("log")
	if reg != nil {
		reg.MustRegister(append(all, m, m.catchUps, published, delivered)...)
	}
	return m
}

// delivers notes that what was stored at a time is on its way to a client that is live or behind.
func (m *Metrics) delivers(stored time.Time, live bool) {
	took := max(0, time.Since(stored).Seconds()) // clocks may differ
	if live {
		m.fromFeed.Observe(took)
	} else {
		m.fromLog.Observe(took)
	}
}

// nack counts a refusal.
func (m *Metrics) nack(code envelope.Code) {
	if counter := m.nacks[code]; counter != nil {
		counter.Inc()
	}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		m.connections, m.sessions, m.openJobs, m.watches, m.subs, m.taps, m.feeds, m.grants, m.unrevoked,
	} {
		descs <- desc
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(metrics chan<- prometheus.Metric) {
	srv := m.server.Load()
	if srv == nil {
		return
	}
	conns, sessions := srv.holdings()
	var states [ended + 1]int
	jobs, watches, subs := 0, 0, 0
	for _, s := range sessions {
		s.mu.Lock()
		states[s.state]++
		jobs += s.view.OpenJobCount()
		watches += s.view.WatchCount()
		subs += s.view.SubscriptionCount()
		s.mu.Unlock()
	}
	gauge := func(desc *prometheus.Desc, value int, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(value), labels...)
	}
	gauge(m.connections, len(conns))
	gauge(m.sessions, states[live], "live")
	gauge(m.sessions, states[behind], "behind")
	gauge(m.openJobs, jobs)
	gauge(m.watches, watches)
	gauge(m.subs, subs)
	gauge(m.taps, srv.taps.count())
	gauge(m.feeds, srv.hub.count())
	if srv.provision != nil {
		srv.provision.collect(metrics, m)
	}
}
