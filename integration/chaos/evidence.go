package chaos

import (
	"encoding/json"
	"time"

	"github.com/arcp-nats/arcp/record"
)

// Evidence is everything that a run left behind for the judge.
type Evidence struct {
	// Sessions are the clients' notes. Each client has one session.
	Sessions []*Session
	// Log is what the log holds of all sessions, in order.
	Log []*record.Record
	// BadStops says of processes that were told to stop how they failed to.
	BadStops []string
	// Issued are the credentials of jobs, as their issuer knows them.
	Issued []Issued
	// MaxAttempts is how often a job may be started.
	MaxAttempts int
	// Slack bounds the time in which somebody may not have heard of what happened elsewhere: the longest that a fault
	// keeps a process from hearing.
	Slack time.Duration
}

// Session is what one client knows of its session.
type Session struct {
	Client    string
	Principal string
	ID        string // of the session
	Dialect   string // "" is the open one
	// Secret is a text that the client puts into its arguments, and that no other principal may ever see.
	Secret   string
	Requests []Request
	Links    []*Link
}

// Request is a message that a client tried to send. Whether it arrived is not known.
type Request struct {
	ID   string
	Type string
	At   time.Time

	// Of a tool.invoke. The arguments are compact.
	Tool      string
	Arguments json.RawMessage
	Key       string
	Lease     json.RawMessage // compact
	// Owned: the key is the client's own, and the client asks until it is answered.
	Owned bool

	// Job is the job that a cancel, an answer to a request for a permission, or a job.subscribe is for.
	Job string
	// Answers is the request for a permission that is answered.
	Answers string
	// Of a job.subscribe: whether it asks for what was, and after which number.
	History bool
	After   uint64
	// Of a subscribe: the types it asks for, and the message that its history is to begin after, if any.
	Types []string
	Since string
	// Subscription is what an unsubscribe is for.
	Subscription string
	// Artifact is what an artifact.fetch or artifact.release is about. Content is the SHA-256 of what an artifact.put
	// stores, and Private says that no other session knows of it.
	Artifact, Content string
	Private           bool
	// Stream is what a stream.open, stream.chunk or stream.close is about.
	Stream string
	// Note is the number of an event.emit, from 1.
	Note int
}

// Issued is a credential.
type Issued struct {
	ID, Value, Job, Session, Principal string
	// At is when it was minted.
	At time.Time
	// Revoked is when that was asked for first; zero: it never was.
	Revoked time.Time
}

// Link is one connection of a session.
type Link struct {
	Edge string
	// From is the number that the client had when it connected, as it told the edge.
	From uint64
	// Frames is what was received, in order.
	Frames [][]byte
	// Sent is what was said, in order, from the first message on. It is noted of clients of the hello dialect.
	Sent []Sent
}

// Sent is a message of a client.
type Sent struct {
	// After is how many frames had been received before.
	After int
	Text  []byte
}

// frame is an envelope as a client reads it. It shares nothing with the runtime's own decoder.
type frame struct {
	ID             string          `json:"id"`
	Type           string          `json:"type"`
	Timestamp      time.Time       `json:"timestamp"`
	SessionID      string          `json:"session_id"`
	JobID          string          `json:"job_id"`
	ParentJobID    string          `json:"parent_job_id"`
	CorrelationID  string          `json:"correlation_id"`
	IdempotencyKey string          `json:"idempotency_key"`
	SubscriptionID string          `json:"subscription_id"`
	EventSeq       uint64          `json:"event_seq"`
	Payload        json.RawMessage `json:"payload"`
}

// payload holds the members of payloads that the harness reads.
type payload struct {
	SessionID   string          `json:"session_id"`
	ResumeToken string          `json:"resume_token"`
	Code        string          `json:"code"`
	Reason      string          `json:"reason"`
	TargetID    string          `json:"target_id"`
	Value       json.RawMessage `json:"value"`
	Current     float64         `json:"current"`
	Message     string          `json:"message"`
	Event       json.RawMessage `json:"event"`
	Name        string          `json:"name"`
	Data        json.RawMessage `json:"data"`
	ChunkSeq    int             `json:"chunk_seq"`
	Sequence    int             `json:"sequence"`
	More        bool            `json:"more"`
	ResultID    string          `json:"result_id"`
	ResultSize  int             `json:"result_size"`
	ResultRef   artifactRef     `json:"result_ref"`
	Artifact    artifactRef     `json:"artifact"`
	Permission  string          `json:"permission"`
	Resource    string          `json:"resource"`
	Operation   string          `json:"operation"`
	Unit        string          `json:"unit"`
	Replayed    bool            `json:"replayed"`
	Retryable   bool            `json:"retryable"`
	Credentials []struct {
		ID    string `json:"id"`
		Value string `json:"value"`
	} `json:"credentials"`
	Details struct {
		Retryable bool `json:"retryable"`
	} `json:"details"`
}

type artifactRef struct {
	ArtifactID string `json:"artifact_id"`
	SHA256     string `json:"sha256"`
	Size       int    `json:"size"`
}

// text is the data of a payload, if it is a text.
func (p *payload) text() (s string) {
	_ = json.Unmarshal(p.Data, &s) // else it is none
	return s
}

func (f *frame) read() (p payload) {
	_ = json.Unmarshal(f.Payload, &p) // what is not there reads as nothing, and is judged as that
	return p
}

// terminal tells whether the frame ends a job.
func (f *frame) terminal() bool { return terminal(f.Type) }

func terminal(typ string) bool {
	return typ == "job.completed" || typ == "job.failed" || typ == "job.cancelled"
}

// lacksLog tells whether a nack refuses for want of the log, so that the request can be sent again.
func lacksLog(p payload) bool { return p.Code == "RESOURCE_EXHAUSTED" || p.Code == "UNAVAILABLE" }
