package worker

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"github.com/arcp-nats/arcp/envelope"
)

// Bounds of a streamed result, in bytes of the chunks' data as it is sent (open
// dialect RS-4).
const (
	maxChunkData  = 1 << 20
	maxResultData = 256 << 20
)

// chunkRule is what the chunks of a job's streamed result must be, one after
// the other. It is a value: take returns the rule for the next chunk.
type chunkRule struct {
	begun    bool
	ended    bool
	id       string
	encoding envelope.ChunkEncoding
	next     uint64 // sequence number
	data     int    // bytes of data so far
}

// take checks a chunk (open dialect RS-4). Beyond what that asks for, the
// encoding must be one that is known, the same for all, and what the data is
// in: a reader could not put the result together else.
func (r chunkRule) take(c *envelope.JobResultChunk) (chunkRule, error) {
	refuse := func(code envelope.Code, format string, args ...any) (chunkRule, error) {
		return r, envelope.Errorf(code, "job.result_chunk: "+format, args...)
	}
	switch {
	case c.ResultID == "":
		return refuse(envelope.CodeInvalidRequest, "result_id must not be empty")
	case len(c.Data) > maxChunkData:
		return refuse(envelope.CodeInternal, "data has %d bytes, the limit is %d", len(c.Data), maxChunkData)
	case !r.begun && c.ChunkSeq != 0:
		return refuse(envelope.CodeFailedPrecondition, "the first chunk_seq must be 0, not %d", c.ChunkSeq)
	case r.ended:
		return refuse(envelope.CodeFailedPrecondition, "the chunk before was the last one")
	case r.begun && c.ResultID != r.id:
		return refuse(envelope.CodeFailedPrecondition, "result_id %q is not the one of the chunks before, %q", c.ResultID, r.id)
	case c.ChunkSeq != r.next:
		return refuse(envelope.CodeOutOfRange, "chunk_seq must be %d, not %d", r.next, c.ChunkSeq)
	case len(c.Data) > maxResultData-r.data:
		return refuse(envelope.CodeInternal, "the data of the result exceeds %d bytes", maxResultData)
	case r.begun && c.Encoding != r.encoding:
		return refuse(envelope.CodeFailedPrecondition, "encoding %q is not the one of the chunks before, %q", c.Encoding, r.encoding)
	}
	switch c.Encoding {
	case envelope.EncodingUTF8:
		if !utf8.ValidString(c.Data) {
			return refuse(envelope.CodeInvalidArgument, "data is not UTF-8")
		}
	case envelope.EncodingBase64:
		// The decoder would pass over line breaks, which other ones do not.
		if _, err := base64.StdEncoding.Strict().DecodeString(c.Data); err != nil || strings.ContainsAny(c.Data, "\r\n") {
			return refuse(envelope.CodeInvalidArgument, "data is not base64")
		}
	default:
		return refuse(envelope.CodeInvalidArgument, "no such encoding %q", c.Encoding)
	}
	r.begun, r.ended = true, !c.More
	r.id, r.encoding = c.ResultID, c.Encoding
	r.next++
	r.data += len(c.Data)
	return r, nil
}

// complete checks what a job is to be completed with after its chunks (open
// dialect RS-5).
func (r chunkRule) complete(done *envelope.JobCompleted) error {
	switch {
	case !r.begun:
		return nil
	case done.ResultID != r.id:
		return envelope.Errorf(envelope.CodeFailedPrecondition,
			"the job sent chunks of the result %q, and was not completed with it", r.id)
	case !r.ended:
		return envelope.Errorf(envelope.CodeFailedPrecondition, "the result %q has no last chunk", r.id)
	}
	return nil
}
