package envelope

import "encoding/json"

// Ping asks for a pong.
type Ping struct {
	Nonce string `json:"nonce,omitzero"`
}

// Pong answers a ping and echoes its nonce.
type Pong struct {
	Nonce string `json:"nonce,omitzero"`
}

// Ack is a note without effect.
type Ack struct {
	Note string `json:"note,omitzero"`
}

// Nack refuses a message. Retryability is the code's default; there is no
// member for it.
type Nack struct {
	Code    Code            `json:"code" arcp:"!"`
	Message string          `json:"message" arcp:"!"`
	Details json.RawMessage `json:"details,omitzero"`
}

// CancelTarget says what a cancel or an interrupt is aimed at.
type CancelTarget string

// The targets of cancel and interrupt.
const (
	TargetJob     CancelTarget = "job"
	TargetStream  CancelTarget = "stream"
	TargetSession CancelTarget = "session"
)

func (v *CancelTarget) fromWire(s string) error {
	return oneOf(v, s, TargetJob, TargetStream, TargetSession)
}

// Cancel asks for an end of a job, stream or session (CX-1). TargetID is plain
// text: a malformed id is refused by cancel.refused, not by the decoder.
// DeadlineMS is the time for a cooperative end in milliseconds.
type Cancel struct {
	Target     CancelTarget `json:"target" arcp:"!"`
	TargetID   string       `json:"target_id" arcp:"!"`
	Reason     string       `json:"reason,omitzero"`
	DeadlineMS *uint64      `json:"deadline_ms,omitzero"`
}

// CancelAccepted says that the cancel is under way.
type CancelAccepted struct {
	TargetID string `json:"target_id,omitzero"`
}

// CancelRefused says why nothing is cancelled.
type CancelRefused struct {
	TargetID string `json:"target_id" arcp:"!"`
	Reason   string `json:"reason" arcp:"!"`
}

// Interrupt puts a prompt to something that runs.
type Interrupt struct {
	Target   CancelTarget `json:"target" arcp:"!"`
	TargetID string       `json:"target_id" arcp:"!"`
	Prompt   string       `json:"prompt" arcp:"!"`
}

// Resume is the older form of resuming, after a message or a checkpoint
// (RE-10).
type Resume struct {
	AfterMessageID     MessageID `json:"after_message_id,omitzero"`
	CheckpointID       string    `json:"checkpoint_id,omitzero"`
	IncludeOpenStreams bool      `json:"include_open_streams,omitzero" arcp:"="`
}

// Backpressure asks the other side to slow down.
type Backpressure struct {
	DesiredRatePerSecond *uint32 `json:"desired_rate_per_second,omitzero"` // chunks a second
	BufferRemainingBytes *uint64 `json:"buffer_remaining_bytes,omitzero"`
	Reason               string  `json:"reason,omitzero"`
}
