package envelope

// Scheme says how a client proves who it is.
type Scheme string

// The authentication schemes of session.open.
const (
	SchemeBearer    Scheme = "bearer"
	SchemeSignedJWT Scheme = "signed_jwt"
	SchemeNone      Scheme = "none"
	SchemeMTLS      Scheme = "mtls"
	SchemeOAuth2    Scheme = "oauth2"
)

func (v *Scheme) fromWire(s string) error {
	return oneOf(v, s, SchemeBearer, SchemeSignedJWT, SchemeNone, SchemeMTLS, SchemeOAuth2)
}

// Auth is the proof of a session.open. Token is a secret.
type Auth struct {
	Scheme Scheme `json:"scheme" arcp:"!"`
	Token  string `json:"token,omitzero"`
}

// Client is what a client says about itself. Nothing follows from it.
type Client struct {
	Kind        string `json:"kind" arcp:"!"`
	Version     string `json:"version" arcp:"!"`
	Fingerprint string `json:"fingerprint,omitzero"`
	Principal   string `json:"principal,omitzero"`
}

// Runtime is what a runtime says about itself. TrustLevel is by convention
// untrusted, constrained, trusted or privileged.
type Runtime struct {
	Kind        string `json:"kind" arcp:"!"`
	Version     string `json:"version" arcp:"!"`
	Fingerprint string `json:"fingerprint,omitzero"`
	TrustLevel  string `json:"trust_level,omitzero"`
}

// SessionOpen asks for a session (HS-1).
type SessionOpen struct {
	Auth         Auth         `json:"auth" arcp:"!"`
	Client       Client       `json:"client" arcp:"!"`
	Capabilities Capabilities `json:"capabilities,omitempty" arcp:"="`
}

// SessionChallenge asks for an answer by session.authenticate (HS-3).
type SessionChallenge struct {
	Challenge string `json:"challenge" arcp:"!"`
}

// SessionAuthenticate answers a challenge (HS-5). Response is a secret.
type SessionAuthenticate struct {
	Response string `json:"response" arcp:"!"`
}

// SessionLease says until when a session may live (HS-9).
type SessionLease struct {
	ExpiresAt Time `json:"expires_at" arcp:"!"`
}

// SessionAccepted opens the session. ResumeToken is a secret.
type SessionAccepted struct {
	SessionID    SessionID     `json:"session_id" arcp:"!"`
	Runtime      Runtime       `json:"runtime" arcp:"!"`
	Capabilities Capabilities  `json:"capabilities" arcp:"!"`
	Lease        *SessionLease `json:"lease,omitzero"`
	ResumeToken  string        `json:"resume_token,omitzero"`
}

// SessionUnauthenticated refuses the answer to a challenge.
type SessionUnauthenticated struct {
	Code    Code   `json:"code" arcp:"!"`
	Message string `json:"message" arcp:"!"`
}

// SessionRejected refuses a session.open or a session.resume.
type SessionRejected struct {
	Code    Code   `json:"code" arcp:"!"`
	Message string `json:"message" arcp:"!"`
}

// SessionRefresh asks the client to prove itself again before the deadline.
type SessionRefresh struct {
	Deadline  Time   `json:"deadline" arcp:"!"`
	Challenge string `json:"challenge,omitzero"`
}

// SessionEvicted ends a session from the runtime's side.
type SessionEvicted struct {
	Code   Code   `json:"code" arcp:"!"`
	Reason string `json:"reason" arcp:"!"`
}

// SessionClose ends a session from the client's side.
type SessionClose struct {
	Reason string `json:"reason,omitzero"`
}

// SessionClosed acknowledges a session.close that leaves jobs running (SC-2).
type SessionClosed struct {
	Reason string `json:"reason,omitzero"`
}

// SessionResume takes up a session on a new connection (RE-2). ResumeToken is
// a secret.
type SessionResume struct {
	ResumeToken  string `json:"resume_token" arcp:"!"`
	LastEventSeq uint64 `json:"last_event_seq" arcp:"!"`
}

// SessionResumed says that the session goes on; what was missed follows
// (RE-6). ResumeToken is the next one, and a secret.
type SessionResumed struct {
	SessionID    SessionID `json:"session_id" arcp:"!"`
	ResumeToken  string    `json:"resume_token" arcp:"!"`
	ReplayedFrom uint64    `json:"replayed_from" arcp:"!"`
	Replayed     bool      `json:"replayed" arcp:"!"`
}

// SessionPing asks for a session.pong (HB-2).
type SessionPing struct {
	Nonce  string `json:"nonce" arcp:"!"`
	SentAt Time   `json:"sent_at" arcp:"!"`
}

// SessionPong answers a session.ping.
type SessionPong struct {
	PingNonce  string `json:"ping_nonce" arcp:"!"`
	ReceivedAt Time   `json:"received_at" arcp:"!"`
}

// SessionAck moves the flow-control mark (FC-4).
type SessionAck struct {
	LastProcessedSeq uint64 `json:"last_processed_seq" arcp:"!"`
}

// JobListFilter narrows a listing; all conditions given must hold (LJ-2).
// Status is compared as text: an unknown status matches nothing.
type JobListFilter struct {
	Status        []string `json:"status,omitempty" arcp:"="`
	Agent         string   `json:"agent,omitzero"`
	CreatedAfter  *Time    `json:"created_after,omitzero"`
	CreatedBefore *Time    `json:"created_before,omitzero"`
}

// SessionListJobs asks for a session.jobs.
type SessionListJobs struct {
	Filter *JobListFilter `json:"filter,omitzero"`
	Limit  *uint32        `json:"limit,omitzero"`
	Cursor string         `json:"cursor,omitzero"`
}

// JobListEntry is one job of a listing. Status is a [JobState], but a reader
// takes any string.
type JobListEntry struct {
	JobID        JobID    `json:"job_id" arcp:"!"`
	Agent        string   `json:"agent" arcp:"!"`
	Status       JobState `json:"status" arcp:"!,lax"`
	ParentJobID  JobID    `json:"parent_job_id,omitzero"`
	CreatedAt    Time     `json:"created_at" arcp:"!"`
	TraceID      string   `json:"trace_id,omitzero"`
	LastEventSeq uint64   `json:"last_event_seq" arcp:"!"`
	// Lease and, of a job that has failed, the Code are told to clients of
	// dialects that ask for them. The open dialect has neither.
	Lease *Lease `json:"lease,omitzero"`
	Code  Code   `json:"code,omitzero"`
}

// SessionJobs answers a session.list_jobs. RequestID is the id of the request.
// NextCursor is written as null when there is no next page.
type SessionJobs struct {
	RequestID  string         `json:"request_id" arcp:"!"`
	Jobs       []JobListEntry `json:"jobs" arcp:"!"`
	NextCursor *string        `json:"next_cursor"`
}
