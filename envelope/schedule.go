package envelope

import "encoding/json"

// JobSchedule starts a job later: Job is what a tool.invoke would say, When is
// the time. The original only reserves the name.
type JobSchedule struct {
	Job  ToolInvoke `json:"job" arcp:"!"`
	When When       `json:"when" arcp:"!"`
}

// When is a moment: exactly one member is to be given, which whoever acts on it
// checks. After counts seconds from the moment at which the message is
// received. Every is a recurrence rule as RFC 5545 has them.
type When struct {
	At    *Time           `json:"at,omitzero"`
	After *float64        `json:"after,omitzero"`
	Every json.RawMessage `json:"every,omitzero"`
}

// CheckpointExtension is the extension (EX-1) that a client names to be sent
// job.checkpoint, which 2.0.0 does not know. It has no messages of its own.
const CheckpointExtension = "arcpx.job.checkpoint.v1"

// JobCheckpoint says that a job has saved Data to go on from, should its worker
// be lost. CheckpointID is unique within the job.
type JobCheckpoint struct {
	CheckpointID string          `json:"checkpoint_id" arcp:"!"`
	Data         json.RawMessage `json:"data" arcp:"!"`
}
