package hello

import (
	"encoding/json"

	"github.com/arcp-nats/arcp/envelope"
)

// Hello is the payload of session.hello.
type Hello struct {
	Client       Client       `json:"client"`
	Auth         Auth         `json:"auth"`
	Capabilities Capabilities `json:"capabilities,omitzero"`
	// Resume goes on with a session (rule 24).
	Resume *Resume `json:"resume,omitzero"`
}

// Client is what a client says about itself.
type Client struct {
	Name        string `json:"name"`
	Version     string `json:"version,omitzero"`
	Fingerprint string `json:"fingerprint,omitzero"`
	Principal   string `json:"principal,omitzero"`
}

// Auth is the proof of a session.hello. Token is a secret.
type Auth struct {
	Scheme string `json:"scheme"`
	Token  string `json:"token,omitzero"`
}

// Capabilities are what a client offers.
type Capabilities struct {
	Encodings []string  `json:"encodings,omitzero"`
	Features  []Feature `json:"features,omitzero"`
}

// Resume names a session and what was seen of it. ResumeToken is a secret.
type Resume struct {
	SessionID    string `json:"session_id"`
	ResumeToken  string `json:"resume_token"`
	LastEventSeq uint64 `json:"last_event_seq"`
}

// Runtime is what a runtime says about itself.
type Runtime struct {
	Name        string `json:"name"`
	Version     string `json:"version"`
	Fingerprint string `json:"fingerprint,omitzero"`
}

// Welcome is the payload of session.welcome. ResumeToken is a secret.
type Welcome struct {
	Runtime              Runtime `json:"runtime"`
	ResumeToken          string  `json:"resume_token"`
	ResumeWindowSec      int64   `json:"resume_window_sec"`
	HeartbeatIntervalSec int64   `json:"heartbeat_interval_sec,omitzero"`
	Capabilities         Offer   `json:"capabilities"`
	// SessionID and AcceptedAt are for a library that looks for them here.
	SessionID  string        `json:"session_id"`
	AcceptedAt envelope.Time `json:"accepted_at"`
}

// Offer is what a runtime and a client have in common, and the agents.
type Offer struct {
	Encodings []string  `json:"encodings"`
	Features  []Feature `json:"features"`
	Agents    []Agent   `json:"agents"`
}

// Agent is an entry of the inventory. Versions is never absent (annex A, 4).
type Agent struct {
	Name     string   `json:"name"`
	Versions []string `json:"versions"`
	Default  string   `json:"default,omitzero"`
}

// Feature is a part of the protocol that both sides may have (rule 15).
type Feature string

// The eleven features.
const (
	FeatureHeartbeat      Feature = "heartbeat"
	FeatureAck            Feature = "ack"
	FeatureListJobs       Feature = "list_jobs"
	FeatureSubscribe      Feature = "subscribe"
	FeatureAgentVersions  Feature = "agent_versions"
	FeatureLeaseExpiresAt Feature = "lease_expires_at"
	FeatureCostBudget     Feature = "cost.budget"
	FeatureModelUse       Feature = "model.use"
	FeatureCredentials    Feature = "provisioned_credentials"
	FeatureProgress       Feature = "progress"
	FeatureResultChunk    Feature = "result_chunk"
)

// Features are all of them, in the order in which they are offered.
func Features() []Feature {
	return []Feature{
		FeatureHeartbeat, FeatureAck, FeatureListJobs, FeatureSubscribe, FeatureAgentVersions, FeatureLeaseExpiresAt,
		FeatureCostBudget, FeatureModelUse, FeatureCredentials, FeatureProgress, FeatureResultChunk,
	}
}

// Error is the payload of session.error.
type Error struct {
	Problem
	RequestID string `json:"request_id,omitzero"`
	JobID     string `json:"job_id,omitzero"`
}

// Problem is what went wrong (rule 104).
type Problem struct {
	Code      Code            `json:"code"`
	Message   string          `json:"message"`
	Retryable bool            `json:"retryable"`
	Details   json.RawMessage `json:"details,omitzero"`
}

// Reason is the payload of session.close, session.closed and session.bye, and of job.cancel.
type Reason struct {
	Reason string `json:"reason,omitzero"`
}

// Ping is the payload of session.ping.
type Ping struct {
	Nonce  string        `json:"nonce"`
	SentAt envelope.Time `json:"sent_at"`
}

// Pong is the payload of session.pong. What a client says of the time is not read (rule 9).
type Pong struct {
	PingNonce  string `json:"ping_nonce"`
	ReceivedAt string `json:"received_at"`
}

// Ack is the payload of session.ack.
type Ack struct {
	LastProcessedSeq uint64 `json:"last_processed_seq"`
}

// ListJobs is the payload of session.list_jobs.
type ListJobs struct {
	Filter *ListFilter `json:"filter,omitzero"`
	Limit  uint32      `json:"limit,omitzero"`
	Cursor *string     `json:"cursor,omitzero"`
}

// ListFilter narrows a listing (rules 48 to 51).
type ListFilter struct {
	Status        []Status       `json:"status,omitzero"`
	Agent         string         `json:"agent,omitzero"`
	CreatedAfter  *envelope.Time `json:"created_after,omitzero"`
	CreatedBefore *envelope.Time `json:"created_before,omitzero"`
}

// Jobs is the payload of session.jobs. NextCursor is never absent (annex A, 26).
type Jobs struct {
	RequestID  string  `json:"request_id"`
	Jobs       []Job   `json:"jobs"`
	NextCursor *string `json:"next_cursor"`
}

// Job is an entry of a listing.
type Job struct {
	JobID        string        `json:"job_id"`
	Agent        string        `json:"agent"`
	Status       Status        `json:"status"`
	Lease        Lease         `json:"lease"`
	ParentJobID  *string       `json:"parent_job_id"`
	CreatedAt    envelope.Time `json:"created_at"`
	TraceID      string        `json:"trace_id,omitzero"`
	LastEventSeq uint64        `json:"last_event_seq"`
	SubmittedAt  envelope.Time `json:"submitted_at"` // CreatedAt, where one library looks for it
}
