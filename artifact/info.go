package artifact

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/arcp-nats/arcp/envelope"
)

const (
	// MaxIDBytes bounds an id that is looked for. Ids that this runtime mints are far shorter.
	MaxIDBytes = 128
	// MaxMediaTypeBytes bounds a media type.
	MaxMediaTypeBytes = 255
)

// Info describes an artifact.
type Info struct {
	ID        envelope.ArtifactID
	Principal string // owns it
	MediaType string
	Size      int64  // in bytes
	SHA256    string // of the content, in lower-case hex
	// ExpiresAt is when the artifact is gone, to the millisecond.
	ExpiresAt time.Time
}

// Ref is the artifact as clients are told of it: with its sha256 and its end, always (open dialect 3.10).
func (i Info) Ref() envelope.ArtifactRef {
	expires := envelope.At(i.ExpiresAt)
	return envelope.ArtifactRef{
		ArtifactID: i.ID, URI: envelope.ArtifactURI(i.ID), MediaType: i.MediaType,
		Size: uint64(i.Size), SHA256: i.SHA256, ExpiresAt: &expires,
	}
}

// Expired reports whether the artifact is gone at a time.
func (i Info) Expired(now time.Time) bool { return !now.Before(i.ExpiresAt) }

// CheckMediaType refuses, with INVALID_ARGUMENT, what no media type can be: control characters, bad UTF-8, more than
// [MaxMediaTypeBytes]. That it is one of RFC 6838 is not asked: clients of this protocol have never been held to it.
func CheckMediaType(mediaType string) error {
	switch {
	case len(mediaType) > MaxMediaTypeBytes:
		return envelope.Errorf(envelope.CodeInvalidArgument, "media_type: longer than %d bytes", MaxMediaTypeBytes)
	case !utf8.ValidString(mediaType) || strings.ContainsFunc(mediaType, unicode.IsControl):
		return envelope.Errorf(envelope.CodeInvalidArgument, "media_type: holds control characters")
	}
	return nil
}
