package edge

import (
	"time"

	"github.com/arcp-nats/arcp/auth"
	"github.com/arcp-nats/arcp/envelope"
)

// refreshAhead is how long before the end of a lease the client is asked to renew it, at most; of a short lease it is a
// quarter.
const refreshAhead = time.Minute

// proof is how a client has shown who it is.
type proof struct {
	Scheme auth.Scheme `json:"scheme"`
	// Challenged: it answered a challenge, and is challenged again.
	Challenged bool `json:"challenged,omitempty"`
}

// lease is how long a session may go on before its client must show again who it is (open dialect HS-9). It is a value,
// and knows no clock.
type lease struct {
	granted, ends time.Time
}

// newLease is a lease of a length that does not outlive the credential; one without an end has the zero time. A credential
// that is over by this clock and was let in all the same, as clocks may differ, is good for as long as they may.
func newLease(now time.Time, length time.Duration, credential time.Time) lease {
	l := lease{granted: now, ends: now.Add(length)}
	if credential.IsZero() {
		return l
	}
	if !credential.After(now) {
		credential = credential.Add(auth.Leeway)
	}
	if credential.Before(l.ends) {
		l.ends = credential.UTC()
	}
	return l
}

// lease is the lease as the record has it.
func (r *sessionRecord) lease() lease { return lease{granted: r.LeaseGranted, ends: r.LeaseExpires} }

// told is the lease as a client is told it.
func (l lease) told() *envelope.SessionLease {
	return &envelope.SessionLease{ExpiresAt: envelope.Time{Time: l.ends}}
}

// over reports whether the lease has ended.
func (l lease) over(now time.Time) bool { return !now.Before(l.ends) }

// nearsEnd reports whether it is time to ask for a renewal.
func (l lease) nearsEnd(now time.Time) bool {
	return !now.Before(l.ends.Add(-min(refreshAhead, l.ends.Sub(l.granted)/4)))
}
