package artifact

import (
	"context"
	"io"

	"github.com/arcp-nats/arcp/envelope"
)

// Store keeps artifacts until they expire or are removed. Errors carry a protocol code (envelope.CodeOf): NOT_FOUND for an
// artifact that is not there, or not of the principal; RESOURCE_EXHAUSTED when the store is full; UNAVAILABLE when it
// cannot be reached. All methods are safe for concurrent use.
type Store interface {
	// Create begins an artifact, of which ID, Principal, MediaType and ExpiresAt must be given. ctx bounds all that the
	// Upload does.
	Create(ctx context.Context, info Info) (Upload, error)
	// Open finds an artifact. ctx bounds the reading, too.
	Open(ctx context.Context, principal string, id envelope.ArtifactID) (Object, error)
	// Remove removes an artifact at once. That there is none is no error.
	Remove(ctx context.Context, principal string, id envelope.ArtifactID) error
}

// Upload is an artifact that is being written. Nobody can open it before Commit has returned; if that never happens,
// nothing of it is left once it would have expired. It is not safe for concurrent use.
type Upload interface {
	io.Writer
	// Commit makes it an artifact and returns its description, with size and hash.
	Commit() (Info, error)
	// Abort removes what was written. After Commit it does nothing.
	Abort()
}

// Object is an artifact that is being read: from the store, a piece at a time, from wherever Seek says. Reading fails with
// NOT_FOUND if it is removed meanwhile, and with DATA_LOSS if a part of it is gone. It is not safe for concurrent use.
type Object interface {
	io.ReadSeeker
	Info() Info
}
