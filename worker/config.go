package worker

import (
	"fmt"
	"log/slog"
	"time"
)

// Config says how a worker works. The zero value of every field but Name is
// useful.
type Config struct {
	// Name tells this worker from all others, in the registry and in what it
	// writes. It must not be empty, and no two live workers may share it.
	Name string
	// Queue names the queue to serve. Workers of one queue must offer the same
	// tools. Empty: derived from the tool set, so that equal workers share one.
	Queue string
	// Concurrency is how many jobs of one tool run at once, for tools whose
	// Options do not say; default 16.
	Concurrency int
	// MaxAttempts is how often a job may be started, for tools whose Options
	// do not say; default 3.
	MaxAttempts int
	// AckWait is how long this worker may be silent about a job before the
	// queue gives it to another one; default 30 s. Signs of life go out at
	// least three times as often. It belongs to the queue: workers of one
	// queue should agree.
	AckWait time.Duration
	// Heartbeat is the longest time between two job.heartbeat events of a
	// running job; default 30 s (open dialect HB-4).
	Heartbeat time.Duration
	// CancelGrace is how long a handler may go on after its timeout or the end
	// of a drain before it is abandoned; default 5 s. A client's cancel brings
	// its own grace.
	CancelGrace time.Duration
	// DrainTimeout is how long running jobs may take to finish once Run's
	// context has ended; default 30 s. What still runs then is handed back.
	// Negative: no time at all.
	DrainTimeout time.Duration
	// MaxDepth is how many jobs may stand above one that was started by
	// [Job.Delegate]; default 16.
	MaxDepth int
	// MaxEventBytes bounds one envelope that a job writes, a result included;
	// default 960,000, which fits a message of NATS as it comes, with headers,
	// and a frame of every dialect.
	MaxEventBytes int
	// ArtifactRetention is how long an artifact that a job makes is kept;
	// default 1 h. It should not be longer than what the edges tell clients.
	ArtifactRetention time.Duration
	// Logger gets what operators should know; nil discards it.
	Logger *slog.Logger
	// Metrics counts what the worker does; nil counts for nobody.
	Metrics *Metrics
}

// Options says how one tool is run. The zero value is useful.
type Options struct {
	// Concurrency is how many jobs of the tool run at once; default
	// Config.Concurrency.
	Concurrency int
	// MaxAttempts is how often a job may be started; default
	// Config.MaxAttempts. 1 is for tools that must not run twice: when their
	// worker is lost, the job fails with ABORTED.
	MaxAttempts int
	// Timeout bounds one attempt; 0 is no bound. An attempt that takes longer
	// fails the job with DEADLINE_EXCEEDED (TIMEOUT in the newer vocabulary).
	Timeout time.Duration
	// Default makes this version the one that the bare name means.
	Default bool
	// Description is shown in inventories.
	Description string
}

const (
	defaultConcurrency   = 16
	defaultMaxAttempts   = 3
	defaultAckWait       = 30 * time.Second
	defaultHeartbeat     = 30 * time.Second
	defaultCancelGrace   = 5 * time.Second
	defaultDrainTimeout  = 30 * time.Second
	defaultMaxDepth      = 16
	defaultMaxEventBytes = 960_000 // fits a frame of every dialect

	defaultArtifactRetention = time.Hour
)

// withDefaults checks c and fills in what it leaves open.
func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Name == "":
		return c, &ConfigError{Field: "Name", Reason: "must not be empty"}
	case c.Concurrency < 0:
		return c, &ConfigError{Field: "Concurrency", Reason: "must not be negative"}
	case c.MaxAttempts < 0:
		return c, &ConfigError{Field: "MaxAttempts", Reason: "must not be negative"}
	case c.AckWait < 0:
		return c, &ConfigError{Field: "AckWait", Reason: "must not be negative"}
	case c.Heartbeat < 0:
		return c, &ConfigError{Field: "Heartbeat", Reason: "must not be negative"}
	case c.CancelGrace < 0:
		return c, &ConfigError{Field: "CancelGrace", Reason: "must not be negative"}
	case c.MaxDepth < 0:
		return c, &ConfigError{Field: "MaxDepth", Reason: "must not be negative"}
	case c.ArtifactRetention < 0:
		return c, &ConfigError{Field: "ArtifactRetention", Reason: "must not be negative"}
	case c.MaxEventBytes < 0:
		return c, &ConfigError{Field: "MaxEventBytes", Reason: "must not be negative"}
	}
	fill(&c.Concurrency, defaultConcurrency)
	fill(&c.MaxAttempts, defaultMaxAttempts)
	fill(&c.AckWait, defaultAckWait)
	fill(&c.Heartbeat, defaultHeartbeat)
	fill(&c.CancelGrace, defaultCancelGrace)
	fill(&c.DrainTimeout, defaultDrainTimeout)
	fill(&c.MaxDepth, defaultMaxDepth)
	fill(&c.MaxEventBytes, defaultMaxEventBytes)
	fill(&c.ArtifactRetention, defaultArtifactRetention)
	if c.DrainTimeout < 0 {
		c.DrainTimeout = 0
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	return c, nil
}

func (o Options) withDefaults(c Config) (Options, error) {
	switch {
	case o.Concurrency < 0:
		return o, &ConfigError{Field: "Options.Concurrency", Reason: "must not be negative"}
	case o.MaxAttempts < 0:
		return o, &ConfigError{Field: "Options.MaxAttempts", Reason: "must not be negative"}
	case o.Timeout < 0:
		return o, &ConfigError{Field: "Options.Timeout", Reason: "must not be negative"}
	}
	fill(&o.Concurrency, c.Concurrency)
	fill(&o.MaxAttempts, c.MaxAttempts)
	return o, nil
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// ConfigError says which setting cannot be used and why.
type ConfigError struct {
	Field  string
	Reason string
}

// Error names the field.
func (e *ConfigError) Error() string { return fmt.Sprintf("worker: %s: %s", e.Field, e.Reason) }
