package jetstream

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/arcp-nats/arcp/artifact"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/subjects"
)

// Objects is the store of the artifacts: an artifact.Store. It lays objects out as other NATS clients do, so that the nats
// command can look at them, and adds three things. An object's name holds its principal. Every message of it has a time to
// live, so that the broker itself removes it, and what is left of one whose writer died. And it is read by direct gets,
// from any offset, without a consumer. All methods are safe for concurrent use.
type Objects struct {
	c      *Client
	bucket string
}

// Artifacts returns the store of the artifacts. Whether it exists shows at its first use.
func (c *Client) Artifacts() *Objects { return &Objects{c: c, bucket: BucketArtifacts} }

// chunkBytesMax is the most of an object in one message, as other clients have it.
const chunkBytesMax = 128 << 10

// minSlack and maxSlack bound how much longer the messages of an object live than it can be opened: a tenth of its life.
// Reading may go on for so long.
const (
	minSlack = time.Second
	maxSlack = time.Minute
)

func objectStream(bucket string) string         { return "OBJ_" + bucket }
func chunkSubject(bucket, chunks string) string { return "$O." + bucket + ".C." + chunks }

func metaSubject(bucket, name string) string {
	return "$O." + bucket + ".M." + base64.URLEncoding.EncodeToString([]byte(name))
}

// Members of an object's metadata.
const (
	metaID        = "arcp_id"
	metaPrincipal = "arcp_principal"
	metaMediaType = "arcp_media_type"
	metaExpires   = "arcp_expires_at"
	metaIndex     = "arcp_index"
)

// name of an artifact's object. Nobody who asks with another principal comes upon it.
func objectName(principal string, id envelope.ArtifactID) string {
	return subjects.Key(subjects.PrincipalToken(principal), string(id))
}

// stat returns the description of an object as the leader of the stream has it. NOT_FOUND: there is none, or its time
// is over.
func (o *Objects) stat(ctx context.Context, principal string, id envelope.ArtifactID) (stored *natsjs.ObjectInfo, info artifact.Info, err error) {
	if _, err := artifact.ParseID(string(id)); err != nil {
		return nil, info, errNoArtifact // no artifact has such an id, and the broker may not take it as a subject
	}
	op, cancel := o.c.bounded(ctx)
	defer cancel()
	m, err := o.c.lastStored(op, objectStream(o.bucket), metaSubject(o.bucket, objectName(principal, id)))
	switch {
	case envelope.CodeOf(err) == envelope.CodeNotFound:
		return nil, info, errNoArtifact
	case err != nil:
		return nil, info, failed(ctx, "artifact", err)
	}
	stored = new(natsjs.ObjectInfo)
	if err := json.Unmarshal(m.Data, stored); err != nil {
		return nil, info, envelope.Errorf(envelope.CodeDataLoss, "the description of an artifact cannot be read: %w", err)
	}
	if info, err = described(stored); err != nil {
		return nil, info, err
	}
	if stored.Deleted || info.Principal != principal || info.ID != id || info.Expired(time.Now()) {
		return nil, info, errNoArtifact
	}
	return stored, info, nil
}

var errNoArtifact = &envelope.Error{Code: envelope.CodeNotFound, Message: "no such artifact"}

// described reads what is stored of an artifact.
func described(stored *natsjs.ObjectInfo) (artifact.Info, error) {
	info := artifact.Info{
		ID: envelope.ArtifactID(stored.Metadata[metaID]), Principal: stored.Metadata[metaPrincipal],
		MediaType: stored.Metadata[metaMediaType], Size: int64(stored.Size),
	}
	var err error
	if info.ExpiresAt, err = time.Parse(time.RFC3339Nano, stored.Metadata[metaExpires]); err == nil {
		var sum []byte
		digest, _ := strings.CutPrefix(stored.Digest, digestPrefix)
		if sum, err = base64.URLEncoding.DecodeString(digest); err == nil {
			info.SHA256 = hex.EncodeToString(sum)
		}
	}
	if err != nil {
		return info, envelope.Errorf(envelope.CodeDataLoss, "the description of an artifact cannot be read: %w", err)
	}
	return info, nil
}

const digestPrefix = "SHA-256="

// Open implements artifact.Store.
func (o *Objects) Open(ctx context.Context, principal string, id envelope.ArtifactID) (artifact.Object, error) {
	stored, info, err := o.stat(ctx, principal, id)
	if err != nil {
		return nil, err
	}
	object, err := newObject(ctx, o, info, stored)
	if err != nil {
		return nil, envelope.Errorf(envelope.CodeDataLoss, "the description of an artifact cannot be read: %w", err)
	}
	return object, nil
}

// Remove implements artifact.Store. The description goes first: from then on nobody finds the rest.
func (o *Objects) Remove(ctx context.Context, principal string, id envelope.ArtifactID) error {
	stored, _, err := o.stat(ctx, principal, id)
	switch {
	case envelope.CodeOf(err) == envelope.CodeNotFound:
		return nil
	case err != nil:
		return err
	}
	if err := o.purge(ctx, metaSubject(o.bucket, objectName(principal, id))); err != nil {
		return err
	}
	return o.purge(ctx, chunkSubject(o.bucket, stored.NUID))
}

func (o *Objects) purge(ctx context.Context, subject string) error {
	op, cancel := o.c.bounded(ctx)
	defer cancel()
	stream, err := o.c.stream(op, objectStream(o.bucket))
	if err == nil {
		err = stream.Purge(op, natsjs.WithPurgeSubject(subject))
	}
	if err != nil {
		return failed(ctx, "removing an artifact", err)
	}
	return nil
}

// messageTTL is how long a message of an object that expires at a time is kept from now on.
func messageTTL(expires time.Time) time.Duration {
	left := max(time.Until(expires), 0)
	return (left + min(max(left/10, minSlack), maxSlack)).Truncate(time.Second) + time.Second
}

var _ artifact.Store = (*Objects)(nil)

// errExpired ends an upload that takes longer than its artifact is kept.
func errExpired(info artifact.Info) error {
	return envelope.Errorf(envelope.CodeDeadlineExceeded, "artifact: it was not written before it expired, at %s",
		info.ExpiresAt.Format(time.RFC3339))
}

func wrongSize(what string, got, want int) error {
	return envelope.Errorf(envelope.CodeDataLoss, "artifact: %s of %d bytes, want %d", what, got, want)
}
