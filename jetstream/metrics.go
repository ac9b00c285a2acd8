package jetstream

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// scrapeTimeout bounds what a scrape asks of the broker.
const scrapeTimeout = time.Second

// Metrics tells how a client stands to the broker and how full the log is. What is known only to the broker is asked for
// when the metrics are read, and left out if the broker does not answer within a second. It is safe for concurrent use.
type Metrics struct {
	client    atomic.Pointer[Client]
	connected *prometheus.Desc
	bytes     *prometheus.Desc
	limit     *prometheus.Desc
	records   *prometheus.Desc
	objects   *prometheus.Desc
	objectMax *prometheus.Desc
}

// NewMetrics registers the metrics with reg. Until Watch is called they tell that there is no connection.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	shard := []string{"shard"}
	m := &Metrics{
		connected: prometheus.NewDesc("arcp_nats_connected", "1 while the connection to NATS is up, else 0.", nil, nil),
		bytes:     prometheus.NewDesc("arcp_log_bytes", "Bytes that a shard of the log holds.", shard, nil),
		limit: prometheus.NewDesc("arcp_log_max_bytes",
			"Bytes at which a shard of the log refuses more; absent if it has no limit of its own.", shard, nil),
		records: prometheus.NewDesc("arcp_log_messages", "Records that a shard of the log holds.", shard, nil),
		objects: prometheus.NewDesc("arcp_artifact_store_bytes", "Bytes that the store of the artifacts holds.", nil, nil),
		objectMax: prometheus.NewDesc("arcp_artifact_store_max_bytes",
			"Bytes at which the store of the artifacts refuses more; absent if it has no limit of its own.", nil, nil),
	}
	reg.MustRegister(m)
	return m
}

// Watch makes c the client that is told about.
func (m *Metrics) Watch(c *Client) { m.client.Store(c) }

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{m.connected, m.bytes, m.limit, m.records, m.objects, m.objectMax} {
		descs <- desc
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(metrics chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	c := m.client.Load()
	if c == nil || !c.Connected() {
		gauge(m.connected, 0)
		return
	}
	gauge(m.connected, 1)
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	fills, err := c.fills(ctx)
	if err != nil {
		c.log.Debug("the fill of the log is not known", "error", err)
		return
	}
	for _, f := range fills {
		if f.shard == ofArtifacts {
			gauge(m.objects, float64(f.bytes))
			if f.limit > 0 {
				gauge(m.objectMax, float64(f.limit))
			}
			continue
		}
		shard := strconv.Itoa(f.shard)
		gauge(m.bytes, float64(f.bytes), shard)
		gauge(m.records, float64(f.records), shard)
		if f.limit > 0 {
			gauge(m.limit, float64(f.limit), shard)
		}
	}
}

// ofArtifacts stands for the store of the artifacts where a shard is asked for.
const ofArtifacts = -1

// fill is how full a shard of the log is, or the store of the artifacts.
type fill struct {
	shard          int
	bytes, records uint64
	limit          int64 // of bytes; not above 0: none
}

// fills returns the fill of every shard that exists, and of the store of the artifacts.
func (c *Client) fills(ctx context.Context) ([]fill, error) {
	var found []fill
	streams := c.js.ListStreams(ctx)
	for info := range streams.Info() {
		shard, ok := shardOf(info.Config.Name)
		if info.Config.Name == objectStream(BucketArtifacts) {
			shard, ok = ofArtifacts, true
		}
		if ok {
			found = append(found, fill{
				shard: shard, bytes: info.State.Bytes, records: info.State.Msgs, limit: info.Config.MaxBytes,
			})
		}
	}
	return found, failed(ctx, "fill of the log", streams.Err())
}
