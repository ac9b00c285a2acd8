package envelope

import "encoding/json"

// EventBackfillComplete is the name of the event.emit that ends a backfill
// (BF-2).
const EventBackfillComplete = "subscription.backfill_complete"

// EventEmit is a named event.
type EventEmit struct {
	Name string          `json:"name" arcp:"!"`
	Data json.RawMessage `json:"data,omitzero"`
}

// LogLevel is the weight of a log line.
type LogLevel string

// The levels of log.
const (
	LogTrace    LogLevel = "trace"
	LogDebug    LogLevel = "debug"
	LogInfo     LogLevel = "info"
	LogWarn     LogLevel = "warn"
	LogError    LogLevel = "error"
	LogCritical LogLevel = "critical"
)

func (v *LogLevel) fromWire(s string) error {
	return oneOf(v, s, LogTrace, LogDebug, LogInfo, LogWarn, LogError, LogCritical)
}

// Log is a log line of a job.
type Log struct {
	Level      LogLevel        `json:"level" arcp:"!"`
	Message    string          `json:"message" arcp:"!"`
	Attributes json.RawMessage `json:"attributes,omitzero"`
}

// Names of metrics that mean the same everywhere (open dialect 3.11).
const (
	MetricTokensUsed      = "tokens.used"
	MetricCostUSD         = "cost.usd"
	MetricGPUSeconds      = "gpu.seconds"
	MetricToolInvocations = "tool.invocations"
	MetricLatencyMS       = "latency.ms"
	MetricBytesIn         = "bytes.in"
	MetricBytesOut        = "bytes.out"
	MetricErrorsTotal     = "errors.total"
	MetricBudgetRemaining = "cost.budget.remaining"
)

// Metric is one measured value. A cost metric has the currency as its unit
// (BG-4).
type Metric struct {
	Name  string          `json:"name" arcp:"!"`
	Value float64         `json:"value" arcp:"!"`
	Unit  string          `json:"unit" arcp:"!"`
	Dims  json.RawMessage `json:"dims,omitzero"`
}

// TraceSpan is a finished span of a trace.
type TraceSpan struct {
	Name         string          `json:"name" arcp:"!"`
	TraceID      string          `json:"trace_id" arcp:"!"`
	SpanID       string          `json:"span_id" arcp:"!"`
	ParentSpanID string          `json:"parent_span_id,omitzero"`
	StartTime    Time            `json:"start_time" arcp:"!"`
	EndTime      Time            `json:"end_time" arcp:"!"`
	Attributes   json.RawMessage `json:"attributes,omitzero"`
}
