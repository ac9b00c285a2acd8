package hello

import (
	"encoding/json"

	"github.com/arcp-nats/arcp/envelope"
)

// Kind is what a job.event is about (section 3). All but the ten names begin with x-vendor.
type Kind string

// The ten kinds.
const (
	KindLog         Kind = "log"
	KindThought     Kind = "thought"
	KindToolCall    Kind = "tool_call"
	KindToolResult  Kind = "tool_result"
	KindStatus      Kind = "status"
	KindMetric      Kind = "metric"
	KindArtifactRef Kind = "artifact_ref"
	KindDelegate    Kind = "delegate"
	KindProgress    Kind = "progress"
	KindResultChunk Kind = "result_chunk"
)

// Kinds of what the open dialect has and this one has not.
const (
	// KindStream is a stream of text, bytes or events. Its body is a StreamBody.
	KindStream Kind = "x-vendor.arcp.stream"
	// KindEmit is an event.emit. Its body is an envelope.EventEmit.
	KindEmit Kind = "x-vendor.arcp.event"
)

// Phases of status events that the runtime says.
const (
	PhaseRunning      = "running"
	PhaseBlocked      = "blocked"
	PhaseBackPressure = "back_pressure"
)

// LogBody is the body of a log event: the attributes stand twice, as the libraries do not agree on their name.
type LogBody struct {
	Level      envelope.LogLevel `json:"level"`
	Message    string            `json:"message"`
	Attributes json.RawMessage   `json:"attributes"`
	Fields     json.RawMessage   `json:"fields"`
}

// ThoughtBody is the body of a thought event.
type ThoughtBody struct {
	Text string `json:"text"`
}

// ToolCallBody is the body of a tool_call event. Args is an object.
type ToolCallBody struct {
	Tool   string          `json:"tool"`
	Args   json.RawMessage `json:"args"`
	CallID string          `json:"call_id"`
}

// ToolResultBody is the body of a tool_result event: with a result, never null, or an error.
type ToolResultBody struct {
	CallID string          `json:"call_id"`
	Result json.RawMessage `json:"result,omitzero"`
	Error  *Problem        `json:"error,omitzero"`
}

// StatusBody is the body of a status event.
type StatusBody struct {
	Phase   string          `json:"phase"`
	Message string          `json:"message,omitzero"`
	Details json.RawMessage `json:"details,omitzero"`
}

// MetricBody is the body of a metric event; the dimensions, text by text, stand twice.
type MetricBody struct {
	Name       string            `json:"name"`
	Value      float64           `json:"value"`
	Unit       string            `json:"unit,omitzero"`
	Dimensions map[string]string `json:"dimensions,omitzero"`
	Dims       map[string]string `json:"dims,omitzero"`
}

// ArtifactBody is the body of an artifact_ref event.
type ArtifactBody struct {
	URI         string `json:"uri"`
	ContentType string `json:"content_type"`
	ByteSize    uint64 `json:"byte_size"`
	SHA256      string `json:"sha256,omitzero"`
}

// ArtifactOf is a reference of the open dialect.
func ArtifactOf(ref *envelope.ArtifactRef) ArtifactBody {
	return ArtifactBody{URI: ref.URI, ContentType: ref.MediaType, ByteSize: ref.Size, SHA256: ref.SHA256}
}

// ProgressBody is the body of a progress event. Some libraries read whole numbers only.
type ProgressBody struct {
	Current uint64  `json:"current"`
	Total   *uint64 `json:"total,omitzero"`
	Units   string  `json:"units,omitzero"`
	Message string  `json:"message,omitzero"`
}

// ProgressOf rounds down, so that a job is never said to be done before it is.
func ProgressOf(p *envelope.JobProgress) ProgressBody {
	body := ProgressBody{Current: uint64(max(0, min(p.Current, 1<<53))), Units: p.Units, Message: p.Message}
	if p.Total != nil {
		total := max(uint64(max(0, min(*p.Total, 1<<53))), body.Current)
		body.Total = &total
	}
	return body
}

// ChunkBody is the body of a result_chunk event.
type ChunkBody struct {
	ResultID string                 `json:"result_id"`
	ChunkSeq uint64                 `json:"chunk_seq"`
	Data     string                 `json:"data"`
	Encoding envelope.ChunkEncoding `json:"encoding"`
	More     bool                   `json:"more"`
}

// StreamBody is the body of a KindStream event: what has happened to a stream.
type StreamBody struct {
	StreamID string `json:"stream_id"`
	// Op is open, chunk, close or error.
	Op string `json:"op"`
	// Payload is that of the open dialect's message.
	Payload json.RawMessage `json:"payload"`
}

// KindTooLarge stands for an event that fits no message of the dialect. Its body is a TooLargeBody.
const KindTooLarge Kind = "x-vendor.arcp.too_large"

// TooLargeBody is the body of a KindTooLarge event: what it would have been, and the size of its body.
type TooLargeBody struct {
	Kind  Kind `json:"kind"`
	Bytes int  `json:"bytes"`
}
