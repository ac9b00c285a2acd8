package envelope

import "encoding/json"

// JobState is where a job stands.
type JobState string

// The states of a job; the last three are terminal.
const (
	JobStateAccepted  JobState = "accepted"
	JobStateQueued    JobState = "queued"
	JobStateRunning   JobState = "running"
	JobStateBlocked   JobState = "blocked"
	JobStatePaused    JobState = "paused"
	JobStateCompleted JobState = "completed"
	JobStateFailed    JobState = "failed"
	JobStateCancelled JobState = "cancelled"
)

// Terminal reports whether nothing can follow this state.
func (v JobState) Terminal() bool {
	return v == JobStateCompleted || v == JobStateFailed || v == JobStateCancelled
}

func (v *JobState) fromWire(s string) error {
	return oneOf(v, s, JobStateAccepted, JobStateQueued, JobStateRunning, JobStateBlocked,
		JobStatePaused, JobStateCompleted, JobStateFailed, JobStateCancelled)
}

// JobAccepted says that the job exists. Credentials are secrets; Lease is the
// effective lease with normalised amounts (TI-4).
type JobAccepted struct {
	JobID       JobID        `json:"job_id" arcp:"!"`
	Credentials []Credential `json:"credentials,omitempty" arcp:"="`
	Lease       *Lease       `json:"lease,omitzero"`
	// Agent, the tool as it was resolved, and ParentJobID are told to clients
	// of dialects that ask for them. The open dialect has neither.
	Agent       string `json:"agent,omitzero"`
	ParentJobID JobID  `json:"parent_job_id,omitzero"`
}

// JobStarted says that a worker runs the job. Attempt counts from 1; 0 is
// absent.
type JobStarted struct {
	Description string `json:"description,omitzero"`
	Attempt     uint64 `json:"attempt,omitzero"`
}

// JobHeartbeat says that the job still runs. DeadlineMS is the time in
// milliseconds within which the next one comes.
type JobHeartbeat struct {
	Sequence   uint64   `json:"sequence" arcp:"!"`
	DeadlineMS *uint64  `json:"deadline_ms,omitzero"`
	State      JobState `json:"state" arcp:"!"`
}

// JobCompleted ends a job with a result: a value, an artifact, or the result
// stream named by ResultID (RS-2). A value of null is kept as such; to a
// reader it says the same as no value.
type JobCompleted struct {
	Value      json.RawMessage `json:"value,omitzero" arcp:"keepnull"`
	ResultRef  *ArtifactRef    `json:"result_ref,omitzero"`
	ResultID   string          `json:"result_id,omitzero"`
	ResultSize *uint64         `json:"result_size,omitzero"` // bytes
	Summary    string          `json:"summary,omitzero"`
}

// JobFailed ends a job with an error.
type JobFailed struct {
	Code      Code            `json:"code" arcp:"!"`
	Retryable *bool           `json:"retryable,omitzero"`
	Message   string          `json:"message" arcp:"!"`
	Details   json.RawMessage `json:"details,omitzero"`
}

// JobCancelled ends a job that was cancelled.
type JobCancelled struct {
	Reason string `json:"reason,omitzero"`
}

// ChunkEncoding says how the data of a result chunk is to be read.
type ChunkEncoding string

// The encodings of job.result_chunk.
const (
	EncodingUTF8   ChunkEncoding = "utf8"
	EncodingBase64 ChunkEncoding = "base64"
)

func (v *ChunkEncoding) fromWire(s string) error {
	return oneOf(v, s, EncodingUTF8, EncodingBase64)
}

// JobResultChunk is a piece of a streamed result (RS-3). ChunkSeq counts from
// 0; More is false on the last piece.
type JobResultChunk struct {
	ResultID string        `json:"result_id" arcp:"!"`
	ChunkSeq uint64        `json:"chunk_seq" arcp:"!"`
	Data     string        `json:"data" arcp:"!"`
	Encoding ChunkEncoding `json:"encoding" arcp:"!"`
	More     bool          `json:"more" arcp:"!"`
}
