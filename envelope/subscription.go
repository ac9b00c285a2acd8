package envelope

import "encoding/json"

// SubscribeFilter says which envelopes a subscriber wants; all conditions
// given must hold, a list holds if the value is in it (SB-2). Types are
// compared as text. An empty MinPriority is no condition, which differs from
// normal: the latter leaves out low.
type SubscribeFilter struct {
	SessionID   []SessionID `json:"session_id,omitempty" arcp:"="`
	TraceID     []string    `json:"trace_id,omitempty" arcp:"="`
	JobID       []JobID     `json:"job_id,omitempty" arcp:"="`
	StreamID    []StreamID  `json:"stream_id,omitempty" arcp:"="`
	Types       []string    `json:"types,omitempty" arcp:"="`
	MinPriority Priority    `json:"min_priority,omitzero"`
}

// SubscribeSince says where history starts (BF-1).
type SubscribeSince struct {
	AfterMessageID MessageID `json:"after_message_id,omitzero"`
}

// Subscribe asks for copies of envelopes.
type Subscribe struct {
	Filter SubscribeFilter `json:"filter,omitempty" arcp:"="`
	Since  *SubscribeSince `json:"since,omitzero"`
}

// SubscribeAccepted names the subscription.
type SubscribeAccepted struct {
	SubscriptionID SubscriptionID `json:"subscription_id" arcp:"!"`
}

// SubscribeEvent wraps a whole envelope.
type SubscribeEvent struct {
	Event json.RawMessage `json:"event" arcp:"!"`
}

// Unsubscribe ends a subscription; there is no reply (SB-8).
type Unsubscribe struct {
	SubscriptionID SubscriptionID `json:"subscription_id" arcp:"!"`
}

// SubscribeClosed says that the runtime ended a subscription.
type SubscribeClosed struct {
	SubscriptionID SubscriptionID `json:"subscription_id" arcp:"!"`
	Code           Code           `json:"code" arcp:"!"`
	Reason         string         `json:"reason" arcp:"!"`
}

// JobSubscribe asks for copies of a job's events (JS-6).
type JobSubscribe struct {
	JobID        JobID   `json:"job_id" arcp:"!"`
	FromEventSeq *uint64 `json:"from_event_seq,omitzero"`
	History      bool    `json:"history,omitzero" arcp:"="`
}

// JobSubscribed says where the job stands. CurrentStatus is a [JobState], but
// a reader takes any string.
type JobSubscribed struct {
	JobID          JobID    `json:"job_id" arcp:"!"`
	CurrentStatus  JobState `json:"current_status" arcp:"!,lax"`
	Agent          string   `json:"agent" arcp:"!"`
	ParentJobID    JobID    `json:"parent_job_id,omitzero"`
	TraceID        string   `json:"trace_id,omitzero"`
	SubscribedFrom uint64   `json:"subscribed_from" arcp:"!"`
	Replayed       bool     `json:"replayed,omitzero" arcp:"="`
	// Lease, what is left of its Budget and, of a job that has failed, the Code
	// are told to clients of dialects that ask for them. The open dialect has
	// none of them.
	Lease  *Lease   `json:"lease,omitzero"`
	Budget []Amount `json:"budget,omitzero"`
	Code   Code     `json:"code,omitzero"`
	// Credentials are told to such clients of the job's principal, and never
	// stored.
	Credentials []Credential `json:"credentials,omitzero"`
}

// JobUnsubscribe ends the copies; there is no reply (JS-9).
type JobUnsubscribe struct {
	JobID JobID `json:"job_id" arcp:"!"`
}
