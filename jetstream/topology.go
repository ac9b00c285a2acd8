package jetstream

import (
	"time"

	"github.com/arcp-nats/arcp/subjects"
)

// The buckets.
const (
	BucketSessions    = "arcp_sessions"    // session records; values go after the resume window
	BucketTools       = "arcp_tools"       // what workers offer, see package registry; values may have a time limit each
	BucketIdempotency = "arcp_idempotency" // idempotency keys; values go after their time to live
	BucketDeadlines   = "arcp_deadlines"   // when the leases of jobs end; entries leave it with their job
	BucketCredentials = "arcp_credentials" // credentials that are outstanding, secrets sealed; they leave it when they are revoked
	BucketArtifacts   = "arcp_artifacts"   // an object store; objects go when they expire
)

// markerTTL is how long the buckets that are watched remember that a value has gone, for watchers that were away.
const markerTTL = 10 * time.Minute

// Topology is what the broker should hold. Zero values mean the defaults given.
type Topology struct {
	Shards         int           // log streams; default 1
	Replicas       int           // of everything; default 1
	Retention      time.Duration // of the log; default 72 h
	MaxBytes       int64         // of each log stream; 0 means no limit of its own
	DedupWindow    time.Duration // how long a MsgID is remembered; default 2 min
	ResumeWindow   time.Duration // how long a session record is kept untouched; default 10 min
	IdempotencyTTL time.Duration // default 24 h

	ArtifactMaxBytes int64 // of all artifacts together; 0 means no limit of its own
}

func (t Topology) withDefaults() Topology {
	t.Shards, t.Replicas = max(t.Shards, 1), max(t.Replicas, 1)
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&t.Retention, 72 * time.Hour},
		{&t.DedupWindow, 2 * time.Minute},
		{&t.ResumeWindow, 10 * time.Minute},
		{&t.IdempotencyTTL, 24 * time.Hour},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	t.DedupWindow = min(t.DedupWindow, t.Retention)
	return t
}

// StreamSpec says what a log stream should be like. All are file streams that refuse new records when they are full,
// allow direct reads and do not compress.
type StreamSpec struct {
	Name     string
	Subjects []string
	Replicas int
	MaxAge   time.Duration
	MaxBytes int64 // 0: no limit
	Dedup    time.Duration
}

// BucketSpec says what a bucket should be like. All are kept in files and remember one value a key.
type BucketSpec struct {
	Name      string
	Replicas  int
	TTL       time.Duration // of every value; 0: none
	MarkerTTL time.Duration // allows a time to live a value, see KV.PutTTL; 0: does not
}

// ObjectSpec says what an object store should be like. All are kept in files, refuse more when they are full, and allow a
// time to live an object.
type ObjectSpec struct {
	Name     string
	Replicas int
	MaxBytes int64 // 0: no limit
}

// Streams returns the log streams of the topology.
func (t Topology) Streams() []StreamSpec {
	t = t.withDefaults()
	specs := make([]StreamSpec, t.Shards)
	for shard := range specs {
		specs[shard] = StreamSpec{
			Name:     subjects.StreamName(shard),
			Subjects: subjects.StreamSubjects(shard),
			Replicas: t.Replicas,
			MaxAge:   t.Retention,
			MaxBytes: t.MaxBytes,
			Dedup:    t.DedupWindow,
		}
	}
	return specs
}

// Buckets returns the buckets of the topology.
func (t Topology) Buckets() []BucketSpec {
	t = t.withDefaults()
	return []BucketSpec{
		{Name: BucketSessions, Replicas: t.Replicas, TTL: t.ResumeWindow},
		{Name: BucketTools, Replicas: t.Replicas, MarkerTTL: markerTTL},
		{Name: BucketIdempotency, Replicas: t.Replicas, TTL: t.IdempotencyTTL},
		{Name: BucketDeadlines, Replicas: t.Replicas, MarkerTTL: markerTTL},
		{Name: BucketCredentials, Replicas: t.Replicas, MarkerTTL: markerTTL},
	}
}

// Objects returns the object stores of the topology.
func (t Topology) Objects() []ObjectSpec {
	t = t.withDefaults()
	return []ObjectSpec{{Name: BucketArtifacts, Replicas: t.Replicas, MaxBytes: t.ArtifactMaxBytes}}
}
