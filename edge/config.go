package edge

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/arcp-nats/arcp/artifact"
	"github.com/arcp-nats/arcp/auth"
	"github.com/arcp-nats/arcp/envelope"
)

// CloseAction is what session.close does to the session's jobs.
type CloseAction string

const (
	// CloseCancel cancels them (open dialect SC-1).
	CloseCancel CloseAction = "cancel"
	// CloseDetach lets them live on (SC-2).
	CloseDetach CloseAction = "detach"
)

// Config says how an edge behaves. The zero value of a field means its default, unless the field says otherwise.
type Config struct {
	// Name is the edge's name and the name of its feed: no two edges of a cluster may share it. Required.
	Name string
	// Shard is the log stream that new sessions of this edge are written to.
	Shard int
	// Auth decides who may open a session. Required.
	Auth *auth.Set
	// Runtime describes this runtime in session.accepted. Default: kind "arcp-nats", trust level "trusted".
	Runtime envelope.Runtime
	// Capabilities is what the edge advertises, less the agents, which come from the registry.
	// Default: DefaultCapabilities.
	Capabilities *envelope.Capabilities
	// EnforceCapabilities refuses with UNIMPLEMENTED what needs a capability that was not negotiated (open dialect CP-4).
	// Off, everything works for everybody, as clients of 2.0.0 rely on.
	EnforceCapabilities bool
	// Extensions are the names of extensions (open dialect EX-1) that clients and tools may speak: the edge carries their
	// messages between a client that proposes the name and its jobs, and knows no more of them.
	// envelope.CheckpointExtension is offered without being one of them.
	Extensions []string
	// Codes is the error vocabulary sent to clients. Default: the one of 2.0.
	Codes envelope.Vocabulary
	// MaxEnvelopeBytes bounds an envelope from a client. Default 1 MiB.
	MaxEnvelopeBytes int
	// SessionLease is how long a session goes on before its client must prove again who it is (open dialect HS-9); it
	// never outlives the token. Default 1 h.
	SessionLease time.Duration
	// ResumeWindow is how long after its last sign of life a session can be resumed. It must agree with the
	// lifetime of the Sessions bucket. Default 10 min.
	ResumeWindow time.Duration
	// HandshakeTimeout bounds the time from the first byte to an open session. Default 10 s.
	HandshakeTimeout time.Duration
	// WriteTimeout is how long a socket may take nothing of what is written to it. Default 30 s.
	WriteTimeout time.Duration
	// IdlePing is the silence after which the edge asks for a sign of life; after twice that without any the socket
	// is closed, and the session can be resumed. Default 30 s.
	IdlePing time.Duration
	// DrainTimeout bounds an orderly stop. Default 30 s.
	DrainTimeout time.Duration
	// MoveAfter is how long a session that was resumed here stays in the feed of the edge that had it before; then,
	// once no job of it is open, it moves to this edge's own. It must be longer than a publish may take. Default 15 s.
	MoveAfter time.Duration
	// SubmitPatience is how long another edge may take from remembering an idempotency key to storing the job that it
	// stands for; after it a retry of the key stores the job itself. It must be longer than a publish may take.
	// Default 6 s.
	SubmitPatience time.Duration
	// MaxQueueBytes bounds the events that wait for one socket; past it the session reads on from the log when the
	// socket has taken them. Default 256 KiB.
	MaxQueueBytes int
	// SlowAfter is how long a client may keep events waiting, by not reading or not acknowledging, before it is told so
	// with backpressure. Default 1 s.
	SlowAfter time.Duration
	// MaxQueue is how long a job may wait for a worker, and MaxRuntime how long an attempt at it may run; a job that has
	// not ended after both together fails as well. What is overdue fails with DEADLINE_EXCEEDED. Together they must be
	// less than what the log retains. Default 24 h each.
	MaxQueue, MaxRuntime time.Duration
	// MaxSchedule is how far off the start of a scheduled job may be. MaxQueue counts from there, so the three together must
	// be less than what the log retains. Default 12 h.
	MaxSchedule time.Duration
	// OnSessionClose is what session.close does to the session's jobs. Default: CloseCancel.
	OnSessionClose CloseAction
	// ListScope is whose jobs session.list_jobs lists. Default: ListPrincipal.
	ListScope ListScope
	// AckWindow is how many counted envelopes a client may have before it acknowledges the first of them; the next
	// ones wait in the log. 0 means no window.
	AckWindow int
	// MaxSessionsPerPrincipal bounds the sessions of a principal that this edge holds, not those of the cluster.
	// Default 1000.
	MaxSessionsPerPrincipal int
	// MaxJobsPerSession bounds the open jobs of a session. Default 1000.
	MaxJobsPerSession int
	// MaxJobsPerPrincipal bounds the open jobs of the sessions of a principal that this edge holds. Default 10,000.
	MaxJobsPerPrincipal int
	// MaxSubscriptions bounds the subscriptions of a session. Default 16.
	MaxSubscriptions int
	// MaySubscribe says whether a principal may subscribe to what the sessions of another one say; it is asked for each
	// session of another principal that a filter names, and may be called from many goroutines. Nil: nobody may, as open
	// dialect SB-5 has it.
	MaySubscribe func(subscriber, owner string) bool
	// WatchPolicy says who may watch the jobs of other principals (open dialect JS-2). Default: nobody.
	WatchPolicy WatchPolicy
	// Rate is how many messages a session may send in a second, and twice as many at once; those over it are refused.
	// 0 means any number.
	Rate int
	// MaxArtifactBytes bounds, decoded, an artifact that travels in an envelope. It must fit into one, see
	// artifact.MaxInline. Default 4 MiB.
	MaxArtifactBytes int64
	// ArtifactRetention is how long an artifact is kept for which the client does not say, and MaxArtifactRetention the
	// most that it can have (open dialect AR-7). Default 1 h and 24 h.
	ArtifactRetention, MaxArtifactRetention time.Duration
	// ArtifactMemory bounds the envelopes over MaxEnvelopeBytes that are being read or stored at a time, in bytes. Each
	// counts as the largest that there can be; more wait, for a while. Default 64 MiB.
	ArtifactMemory int64
	// AllowOrigins are the origins that a browser may connect from, or read artifacts from, beside the edge's own host: "https://app.test",
	// or "*" for all.
	AllowOrigins []string
	// Logger receives the edge's log. Default: none.
	Logger *slog.Logger
}

// recoveryBlock is what heartbeat_recovery says (open dialect HB-4): a job whose worker is lost is not failed with
// HEARTBEAT_LOST, it stands still until another worker starts the next attempt at it.
const recoveryBlock = "block"

// DefaultCapabilities is what an edge advertises unless told otherwise (open dialect CP-1).
func DefaultCapabilities() *envelope.Capabilities {
	yes := true
	return &envelope.Capabilities{
		Streaming: &yes, DurableJobs: &yes, Interrupt: &yes, ScheduledJobs: &yes, Subscriptions: &yes, Artifacts: &yes,
		ModelUse:          &yes,
		HeartbeatRecovery: recoveryBlock,
	}
}

// withDefaults returns a copy with the defaults filled in, or says what is wrong with it.
func (c Config) withDefaults() (Config, error) {
	if c.Name == "" {
		return c, errors.New("edge: Name is required: it names the feed, and no two edges may share it")
	}
	if c.Auth == nil {
		return c, errors.New("edge: Auth is required")
	}
	if c.Runtime.Kind == "" {
		trust := "trusted"
		c.Runtime = envelope.Runtime{Kind: "arcp-nats", Version: "0.1.0", TrustLevel: trust}
	}
	if c.Capabilities == nil {
		c.Capabilities = DefaultCapabilities()
	}
	for _, name := range c.Extensions {
		if name == envelope.CheckpointExtension {
			return c, fmt.Errorf("edge: Extensions: %s is always offered", name)
		}
		if !envelope.IsExtension(envelope.Type(name)) {
			return c, fmt.Errorf("edge: Extensions: %q is no name of an extension, such as arcpx.acme.v1 or com.acme.v1", name)
		}
	}
	switch c.OnSessionClose {
	case "":
		c.OnSessionClose = CloseCancel
	case CloseCancel, CloseDetach:
	default:
		return c, fmt.Errorf("edge: OnSessionClose is %q: it can be %q or %q", c.OnSessionClose, CloseCancel, CloseDetach)
	}
	switch c.ListScope {
	case "":
		c.ListScope = ListPrincipal
	case ListPrincipal, ListSession:
	default:
		return c, fmt.Errorf("edge: ListScope is %q: it can be %q or %q", c.ListScope, ListPrincipal, ListSession)
	}
	if c.Codes == "" {
		c.Codes = envelope.Vocabulary20
	}
	for _, d := range []struct {
		field    string
		value    *time.Duration
		fallback time.Duration
	}{
		{"SessionLease", &c.SessionLease, time.Hour},
		{"ResumeWindow", &c.ResumeWindow, 10 * time.Minute},
		{"HandshakeTimeout", &c.HandshakeTimeout, 10 * time.Second},
		{"WriteTimeout", &c.WriteTimeout, 30 * time.Second},
		{"IdlePing", &c.IdlePing, 30 * time.Second},
		{"DrainTimeout", &c.DrainTimeout, 30 * time.Second},
		{"MoveAfter", &c.MoveAfter, 15 * time.Second},
		{"SlowAfter", &c.SlowAfter, time.Second},
		{"MaxQueue", &c.MaxQueue, 24 * time.Hour},
		{"MaxRuntime", &c.MaxRuntime, 24 * time.Hour},
		{"MaxSchedule", &c.MaxSchedule, 12 * time.Hour},
		{"SubmitPatience", &c.SubmitPatience, 6 * time.Second},
		{"ArtifactRetention", &c.ArtifactRetention, time.Hour},
		{"MaxArtifactRetention", &c.MaxArtifactRetention, 24 * time.Hour},
	} {
		switch {
		case *d.value < 0:
			return c, fmt.Errorf("edge: %s is %s: a duration cannot be negative", d.field, *d.value)
		case *d.value == 0:
			*d.value = d.fallback
		}
	}
	for _, n := range []struct {
		field    string
		value    *int
		fallback int
	}{
		{"MaxEnvelopeBytes", &c.MaxEnvelopeBytes, 1 << 20},
		{"MaxQueueBytes", &c.MaxQueueBytes, 256 << 10},
		{"AckWindow", &c.AckWindow, 0},
		{"MaxSessionsPerPrincipal", &c.MaxSessionsPerPrincipal, 1000},
		{"MaxJobsPerSession", &c.MaxJobsPerSession, 1000},
		{"MaxJobsPerPrincipal", &c.MaxJobsPerPrincipal, 10_000},
		{"MaxSubscriptions", &c.MaxSubscriptions, 16},
		{"Rate", &c.Rate, 0},
	} {
		switch {
		case *n.value < 0:
			return c, fmt.Errorf("edge: %s is %d: a limit cannot be negative", n.field, *n.value)
		case *n.value == 0:
			*n.value = n.fallback
		}
	}
	if err := c.artifactDefaults(); err != nil {
		return c, err
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// artifactDefaults fills in what the configuration leaves open about artifacts, or says what is wrong with it.
func (c *Config) artifactDefaults() error {
	if c.MaxArtifactBytes == 0 {
		c.MaxArtifactBytes = 4 << 20
	}
	if c.ArtifactMemory == 0 {
		c.ArtifactMemory = 64 << 20
	}
	largest := envelope.LargestMaxBytes(envelope.Limits{MaxBytes: c.MaxEnvelopeBytes})
	most := artifact.MaxInline(largest)
	switch {
	case c.MaxArtifactBytes < 0 || c.MaxArtifactBytes > most:
		return fmt.Errorf("edge: MaxArtifactBytes is %d: an envelope of at most %d bytes carries 0 to %d",
			c.MaxArtifactBytes, largest, most)
	case c.MaxEnvelopeBytes < largest && c.ArtifactMemory < int64(largest):
		return fmt.Errorf("edge: ArtifactMemory is %d: it must have room for one envelope of %d bytes",
			c.ArtifactMemory, largest)
	}
	return nil
}
