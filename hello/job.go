package hello

import (
	"encoding/json"

	"github.com/arcp-nats/arcp/envelope"
)

// Submit is the payload of job.submit.
type Submit struct {
	Agent            string            `json:"agent"`
	Input            json.RawMessage   `json:"input,omitzero"`
	LeaseRequest     json.RawMessage   `json:"lease_request,omitzero"`
	LeaseConstraints *LeaseConstraints `json:"lease_constraints,omitzero"`
	IdempotencyKey   string            `json:"idempotency_key,omitzero"`
	MaxRuntimeSec    int64             `json:"max_runtime_sec,omitzero"`
}

// LeaseConstraints bound a lease as a whole. ExpiresAt must be in UTC.
type LeaseConstraints struct {
	ExpiresAt string `json:"expires_at,omitzero"`
}

// Accepted is the payload of job.accepted. Lease is never absent (annex A, 7), and no optional member is null (annex A, 8).
type Accepted struct {
	JobID            string             `json:"job_id"`
	Agent            string             `json:"agent,omitzero"`
	Lease            Lease              `json:"lease"`
	LeaseConstraints *LeaseConstraints  `json:"lease_constraints,omitzero"`
	Budget           map[string]float64 `json:"budget,omitzero"`
	Credentials      []Credential       `json:"credentials,omitzero"`
	AcceptedAt       envelope.Time      `json:"accepted_at"`
	ParentJobID      string             `json:"parent_job_id,omitzero"`
	TraceID          string             `json:"trace_id,omitzero"`
	RequestID        string             `json:"request_id,omitzero"`
}

// Credential is a provisioned credential. Value is a secret.
type Credential struct {
	ID          string       `json:"id"`
	Scheme      string       `json:"scheme"`
	Value       string       `json:"value"`
	Endpoint    string       `json:"endpoint"`
	Profile     string       `json:"profile,omitzero"`
	Constraints *Constraints `json:"constraints,omitzero"`
}

// Constraints bound a credential, in the words of all libraries at once (rule 98).
type Constraints struct {
	Budget        []string  `json:"cost.budget,omitzero"`
	ModelUse      []string  `json:"model.use,omitzero"`
	AllowedModels []string  `json:"allowed_models,omitzero"`
	MaxSpend      *MaxSpend `json:"max_spend,omitzero"`
	ExpiresAt     string    `json:"expires_at,omitzero"`
}

// MaxSpend is the first amount of a budget.
type MaxSpend struct {
	Currency string  `json:"currency"`
	Amount   float64 `json:"amount"`
}

// Event is the payload of job.event.
type Event struct {
	Kind Kind            `json:"kind"`
	TS   envelope.Time   `json:"ts"`
	Body json.RawMessage `json:"body"`
}

// Result is the payload of job.result. The value stands twice, as the libraries do not agree on its name (annex A, 14); with a
// streamed result it stands nowhere (annex A, 15).
type Result struct {
	FinalStatus Status          `json:"final_status"`
	Result      json.RawMessage `json:"result,omitzero"`
	Output      json.RawMessage `json:"output,omitzero"`
	ResultID    string          `json:"result_id,omitzero"`
	ResultSize  *uint64         `json:"result_size,omitzero"` // bytes
	Summary     string          `json:"summary,omitzero"`
	CompletedAt envelope.Time   `json:"completed_at"`
}

// JobError is the payload of job.error.
type JobError struct {
	FinalStatus Status `json:"final_status"`
	Problem
	CompletedAt envelope.Time `json:"completed_at"`
}

// Cancelled is the payload of job.cancelled, which acknowledges a job.cancel.
type Cancelled struct {
	JobID  string `json:"job_id"`
	Reason string `json:"reason,omitzero"`
}

// Subscribe is the payload of job.subscribe.
type Subscribe struct {
	JobID        string `json:"job_id"`
	FromEventSeq uint64 `json:"from_event_seq,omitzero"`
	History      bool   `json:"history,omitzero"`
}

// Unsubscribe is the payload of job.unsubscribe.
type Unsubscribe struct {
	JobID string `json:"job_id"`
}

// Subscribed is the payload of job.subscribed.
type Subscribed struct {
	JobID            string             `json:"job_id"`
	CurrentStatus    Status             `json:"current_status"`
	Agent            string             `json:"agent"`
	Lease            Lease              `json:"lease"`
	LeaseConstraints *LeaseConstraints  `json:"lease_constraints,omitzero"`
	Budget           map[string]float64 `json:"budget,omitzero"`
	Credentials      []Credential       `json:"credentials,omitzero"`
	ParentJobID      *string            `json:"parent_job_id"`
	TraceID          string             `json:"trace_id,omitzero"`
	SubscribedFrom   uint64             `json:"subscribed_from"`
	Replayed         bool               `json:"replayed"`
	RequestID        string             `json:"request_id,omitzero"`
}

// Status is where a job stands (rule 62).
type Status string

// The six states.
const (
	StatusPending   Status = "pending"
	StatusRunning   Status = "running"
	StatusSuccess   Status = "success"
	StatusError     Status = "error"
	StatusCancelled Status = "cancelled"
	StatusTimedOut  Status = "timed_out"
)

// StatusOf is the status of a job of the open dialect; code is why it has failed, if it has.
func StatusOf(state envelope.JobState, code envelope.Code) Status {
	switch state {
	case envelope.JobStateAccepted, envelope.JobStateQueued:
		return StatusPending
	case envelope.JobStateCompleted:
		return StatusSuccess
	case envelope.JobStateCancelled:
		return StatusCancelled
	case envelope.JobStateFailed:
		if code == envelope.CodeTimeout || code == envelope.CodeDeadlineExceeded {
			return StatusTimedOut
		}
		return StatusError
	}
	return StatusRunning
}

// State is the state of the open dialect that a status stands for.
func (s Status) State() envelope.JobState {
	switch s {
	case StatusPending:
		return envelope.JobStateQueued
	case StatusSuccess:
		return envelope.JobStateCompleted
	case StatusError, StatusTimedOut:
		return envelope.JobStateFailed
	case StatusCancelled:
		return envelope.JobStateCancelled
	}
	return envelope.JobStateRunning
}
