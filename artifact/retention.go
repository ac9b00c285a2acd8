package artifact

import (
	"time"

	"github.com/arcp-nats/arcp/envelope"
)

// Retention says how long artifacts are kept.
type Retention struct {
	// Default is for those whose maker does not say.
	Default time.Duration
	// Max is the most that can be asked for; more is taken for this (open dialect AR-7).
	Max time.Duration
}

// Of is how long an artifact is kept for which a client asked for seconds; nil: it did not say. 0 is no time at all
// (open dialect AR-2).
func (r Retention) Of(seconds *uint64) time.Duration {
	if seconds == nil {
		return min(r.Default, r.Max)
	}
	if *seconds > uint64(r.Max/time.Second) {
		return r.Max
	}
	return time.Duration(*seconds) * time.Second
}

// Until is when an artifact ends that is made now and kept for a time, as precisely as an [Info] says it.
func Until(now time.Time, keep time.Duration) time.Time {
	return now.Add(keep).UTC().Truncate(time.Millisecond)
}

// Capability is how sessions are told, in whole seconds.
func (r Retention) Capability() *envelope.ArtifactRetention {
	return &envelope.ArtifactRetention{
		DefaultSeconds: uint64(min(r.Default, r.Max) / time.Second), MaxSeconds: uint64(r.Max / time.Second),
	}
}
