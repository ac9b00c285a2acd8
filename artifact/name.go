package artifact

import (
	"strings"

	"github.com/arcp-nats/arcp/envelope"
)

const (
	uriScheme  = "arcp://"
	uriSegment = "artifact/"
)

// ParseRef finds the id in what a client may have been given: an artifact id, the URI that this runtime mints
// (arcp://artifact/ID), or the one of the protocol's draft (arcp://session/SESSION/artifact/ID). Anything else is refused
// with INVALID_ARGUMENT. The text is not repeated in the error.
func ParseRef(ref string) (envelope.ArtifactID, error) {
	text := ref
	if rest, isURI := strings.CutPrefix(ref, uriScheme); isURI {
		if session, ok := strings.CutPrefix(rest, "session/"); ok {
			_, rest, _ = strings.Cut(session, "/")
		}
		id, ok := strings.CutPrefix(rest, uriSegment)
		if !ok {
			return "", envelope.Errorf(envelope.CodeInvalidArgument, "no artifact URI: want %s%sID", uriScheme, uriSegment)
		}
		text = id
	}
	return ParseID(text)
}

// ParseID checks an artifact id: its prefix, its length, and that it is of printable ASCII without a slash, so that it is
// one segment of a path. Other ids may be valid on the wire; no artifact has one.
func ParseID(text string) (envelope.ArtifactID, error) {
	id, err := envelope.ParseArtifactID(text)
	if err != nil {
		return "", envelope.Errorf(envelope.CodeInvalidArgument, "%w", err)
	}
	if len(text) > MaxIDBytes {
		return "", envelope.Errorf(envelope.CodeInvalidArgument, "no artifact id: longer than %d bytes", MaxIDBytes)
	}
	for _, c := range []byte(text) {
		if c <= ' ' || c >= 0x7f || c == '/' {
			return "", envelope.Errorf(envelope.CodeInvalidArgument, "no artifact id: holds a character that ids do not have")
		}
	}
	return id, nil
}
