package envelope

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
)

// The identifiers of open dialect 1.2. Each is a prefix, an underscore and a
// rest. This package mints a ULID as the rest and accepts any non-empty one;
// after that an id is opaque and compared as a byte string.
type (
	// MessageID names one envelope: msg_...
	MessageID string
	// SessionID names a session: sess_...
	SessionID string
	// JobID names a job: job_...
	JobID string
	// StreamID names a stream: str_...
	StreamID string
	// SubscriptionID names a subscription: sub_...
	SubscriptionID string
	// LeaseID names a granted lease: lease_...
	LeaseID string
	// ArtifactID names an artifact: art_...
	ArtifactID string
)

const (
	messagePrefix      = "msg_"
	sessionPrefix      = "sess_"
	jobPrefix          = "job_"
	streamPrefix       = "str_"
	subscriptionPrefix = "sub_"
	leasePrefix        = "lease_"
	resultPrefix       = "res_"
	artifactPrefix     = "art_"
)

// NewMessageID mints an id. Ids minted by one process rise strictly.
func NewMessageID() MessageID { return MessageID(minter.mint(messagePrefix)) }

// NewSessionID mints an id. Ids minted by one process rise strictly.
func NewSessionID() SessionID { return SessionID(minter.mint(sessionPrefix)) }

// NewJobID mints an id. Ids minted by one process rise strictly.
func NewJobID() JobID { return JobID(minter.mint(jobPrefix)) }

// NewStreamID mints an id. Ids minted by one process rise strictly.
func NewStreamID() StreamID { return StreamID(minter.mint(streamPrefix)) }

// NewSubscriptionID mints an id. Ids minted by one process rise strictly.
func NewSubscriptionID() SubscriptionID { return SubscriptionID(minter.mint(subscriptionPrefix)) }

// NewLeaseID mints an id. Ids minted by one process rise strictly.
func NewLeaseID() LeaseID { return LeaseID(minter.mint(leasePrefix)) }

// NewResultID mints the id of a streamed result, which may be any text (RS-4).
// Ids minted by one process rise strictly.
func NewResultID() string { return minter.mint(resultPrefix) }

// NewArtifactID mints an id. Ids minted by one process rise strictly.
func NewArtifactID() ArtifactID { return ArtifactID(minter.mint(artifactPrefix)) }

// ParseMessageID checks the prefix and a non-empty rest.
func ParseMessageID(s string) (MessageID, error) {
	return parseID[MessageID](s, messagePrefix, "message")
}

// ParseSessionID checks the prefix and a non-empty rest.
func ParseSessionID(s string) (SessionID, error) {
	return parseID[SessionID](s, sessionPrefix, "session")
}

// ParseJobID checks the prefix and a non-empty rest.
func ParseJobID(s string) (JobID, error) { return parseID[JobID](s, jobPrefix, "job") }

// ParseStreamID checks the prefix and a non-empty rest.
func ParseStreamID(s string) (StreamID, error) {
	return parseID[StreamID](s, streamPrefix, "stream")
}

// ParseSubscriptionID checks the prefix and a non-empty rest.
func ParseSubscriptionID(s string) (SubscriptionID, error) {
	return parseID[SubscriptionID](s, subscriptionPrefix, "subscription")
}

// ParseLeaseID checks the prefix and a non-empty rest.
func ParseLeaseID(s string) (LeaseID, error) { return parseID[LeaseID](s, leasePrefix, "lease") }

// ParseArtifactID checks the prefix and a non-empty rest.
func ParseArtifactID(s string) (ArtifactID, error) {
	return parseID[ArtifactID](s, artifactPrefix, "artifact")
}

// DerivedJobID is a job id that is made of a moment and a digest of at least ten
// bytes: the same ones make the same id.
func DerivedJobID(at time.Time, digest []byte) JobID {
	var id ulid.ULID
	_ = id.SetTime(min(ulid.Timestamp(at), ulid.MaxTime()))
	copy(id[6:], digest)
	return JobID(jobPrefix + id.String())
}

// parseID never quotes its input: an id comes from a peer, and its error goes
// back to that peer and into logs.
func parseID[T ~string](s, prefix, kind string) (T, error) {
	rest, ok := strings.CutPrefix(s, prefix)
	if !ok {
		return "", fmt.Errorf("no %s id: must begin with %q", kind, prefix)
	}
	if rest == "" {
		return "", fmt.Errorf("no %s id: nothing after %q", kind, prefix)
	}
	return T(s), nil
}

func (id *MessageID) fromWire(s string) (err error)      { *id, err = ParseMessageID(s); return }
func (id *SessionID) fromWire(s string) (err error)      { *id, err = ParseSessionID(s); return }
func (id *JobID) fromWire(s string) (err error)          { *id, err = ParseJobID(s); return }
func (id *StreamID) fromWire(s string) (err error)       { *id, err = ParseStreamID(s); return }
func (id *SubscriptionID) fromWire(s string) (err error) { *id, err = ParseSubscriptionID(s); return }
func (id *LeaseID) fromWire(s string) (err error)        { *id, err = ParseLeaseID(s); return }
func (id *ArtifactID) fromWire(s string) (err error)     { *id, err = ParseArtifactID(s); return }

var minter = idMinter{now: ulid.Now, random: func(b []byte) { _, _ = rand.Read(b) }}

// idMinter mints ULIDs that rise strictly, even when the clock steps back.
// The library's monotonic source does not survive that, nor a random part
// that runs over.
type idMinter struct {
	now    func() uint64 // milliseconds
	random func([]byte)  // fills the slice; crypto/rand never fails

	mu   sync.Mutex
	last ulid.ULID
}

func (m *idMinter) mint(prefix string) string {
	id := m.next()
	var buf [len(leasePrefix) + ulid.EncodedSize]byte // the longest prefix
	n := copy(buf[:], prefix)
	// MarshalTextTo fails only on a buffer of another length.
	_ = id.MarshalTextTo(buf[n : n+ulid.EncodedSize])
	return string(buf[:n+ulid.EncodedSize])
}

func (m *idMinter) next() ulid.ULID {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := min(m.now(), ulid.MaxTime()); now > m.last.Time() {
		m.startAt(now)
	} else if !m.stepUp() {
		// The random part of this millisecond is used up: borrow the next one.
		m.startAt(m.last.Time() + 1)
	}
	return m.last
}

// startAt takes a fresh random part. Its first bit stays free, so that a
// millisecond has room for half of all ids after it.
func (m *idMinter) startAt(ms uint64) {
	m.random(m.last[6:])
	m.last[6] &= 0x7f
	_ = m.last.SetTime(ms) // within MaxTime
}

// stepUp adds a random step to the random part, and is false if it ran over.
func (m *idMinter) stepUp() bool {
	var step [4]byte
	m.random(step[:])
	carry := uint64(binary.BigEndian.Uint32(step[:])) + 1
	for i := len(m.last) - 1; i >= 6; i-- {
		carry += uint64(m.last[i])
		m.last[i] = byte(carry)
		carry >>= 8
	}
	return carry == 0
}

// Minted reports when an id minted by a runtime was made. It is false for ids
// whose rest is no ULID, which peers may well send.
func (id MessageID) Minted() (time.Time, bool) {
	rest, ok := strings.CutPrefix(string(id), messagePrefix)
	if !ok {
		return time.Time{}, false
	}
	u, err := ulid.ParseStrict(rest)
	if err != nil {
		return time.Time{}, false
	}
	return u.Timestamp().UTC(), true
}

// Derive returns an id that a runtime could have minted in the same millisecond as this one. It follows from the two
// arguments alone: whoever has the same gets the same. Randomness is 10 bytes or more, of which the first 10 count. An id
// that no runtime minted gives one of the year 1970.
func (id MessageID) Derive(randomness []byte) MessageID {
	var u ulid.ULID
	if minted, ok := id.Minted(); ok {
		_ = u.SetTime(ulid.Timestamp(minted)) // within MaxTime, as it was read from one
	}
	copy(u[6:], randomness)
	return MessageID(messagePrefix + u.String())
}
