package envelope

import "encoding/json"

// StreamKind says what a stream carries.
type StreamKind string

// The kinds of stream.open.
const (
	StreamText    StreamKind = "text"
	StreamBinary  StreamKind = "binary"
	StreamEvent   StreamKind = "event"
	StreamLog     StreamKind = "log"
	StreamMetric  StreamKind = "metric"
	StreamThought StreamKind = "thought"
)

func (v *StreamKind) fromWire(s string) error {
	return oneOf(v, s, StreamText, StreamBinary, StreamEvent, StreamLog, StreamMetric, StreamThought)
}

// StreamOpen opens the stream named by the envelope's stream_id.
type StreamOpen struct {
	Kind        StreamKind `json:"kind" arcp:"!"`
	ContentType string     `json:"content_type,omitzero"`
	Encoding    string     `json:"encoding,omitzero"`
}

// StreamChunk is a piece of a stream: Data is a string for text, a base64
// string for binary, an object for the structured kinds.
type StreamChunk struct {
	Sequence    uint64          `json:"sequence" arcp:"!"`
	Data        json.RawMessage `json:"data" arcp:"!"`
	ContentType string          `json:"content_type,omitzero"`
	SHA256      string          `json:"sha256,omitzero"`
	Redacted    bool            `json:"redacted,omitzero" arcp:"="`
	Role        string          `json:"role,omitzero"`
}

// StreamClose ends a stream.
type StreamClose struct {
	FinalSequence *uint64 `json:"final_sequence,omitzero"`
}

// StreamError ends a stream with an error.
type StreamError struct {
	Code    Code   `json:"code" arcp:"!"`
	Message string `json:"message" arcp:"!"`
}
