package envelope

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
)

// StreamRule is what the messages of one stream must be, one after the other
// (open dialect 3.6). The zero value is for the first one. It is a value: Take
// returns the rule for the message that comes next.
type StreamRule struct {
	Kind  StreamKind
	Next  uint64 // sequence of the next chunk
	Begun bool
	Ended bool
	// Opening is the id of the message that has opened it.
	Opening MessageID
}

// Repeats tells whether a message has been taken before: the opening itself, or
// a chunk whose sequence has passed. A sender that does not know what arrived
// may send such again.
func (r StreamRule) Repeats(e *Envelope) bool {
	switch {
	case !r.Begun:
		return false
	case e.Type == TypeStreamOpen:
		return e.ID == r.Opening
	case e.Type != TypeStreamChunk:
		return false
	}
	chunk, err := DecodePayload[StreamChunk](e)
	return err == nil && chunk.Sequence < r.Next
}

// Take checks a message of the stream: an opening first, chunks in sequence from
// 0 with data of the stream's kind and the hash that they name, then an end.
// The errors name the member: FAILED_PRECONDITION for what the stream is not
// ready for, OUT_OF_RANGE for a sequence, INVALID_ARGUMENT for data.
func (r StreamRule) Take(e *Envelope) (StreamRule, error) {
	switch {
	case r.Ended:
		return r, Errorf(CodeFailedPrecondition, "stream_id: the stream has ended")
	case e.Type == TypeStreamOpen && r.Begun:
		return r, Errorf(CodeFailedPrecondition, "stream_id: the stream is open already")
	case e.Type != TypeStreamOpen && !r.Begun:
		return r, Errorf(CodeFailedPrecondition, "stream_id: no such open stream")
	}
	switch e.Type {
	case TypeStreamOpen:
		open, err := DecodePayload[StreamOpen](e)
		if err != nil {
			return r, err
		}
		return StreamRule{Kind: open.Kind, Begun: true, Opening: e.ID}, nil
	case TypeStreamChunk:
		chunk, err := DecodePayload[StreamChunk](e)
		if err != nil {
			return r, err
		}
		return r.chunk(chunk)
	case TypeStreamClose:
		end, err := DecodePayload[StreamClose](e)
		if err != nil {
			return r, err
		}
		if final := end.FinalSequence; final != nil && *final+1 != r.Next {
			return r, Errorf(CodeOutOfRange, "payload.final_sequence: %d is not the last sequence", *final)
		}
	}
	r.Ended = true
	return r, nil
}

func (r StreamRule) chunk(c *StreamChunk) (StreamRule, error) {
	if c.Sequence != r.Next {
		return r, Errorf(CodeOutOfRange, "payload.sequence: must be %d, not %d", r.Next, c.Sequence)
	}
	if err := c.check(r.Kind); err != nil {
		return r, err
	}
	r.Next = c.Sequence + 1
	return r, nil
}

// check looks at the data of a chunk of a stream of some kind, "" for any.
func (c *StreamChunk) check(kind StreamKind) error {
	data := bytes.TrimLeft(c.Data, " \t\r\n")
	text, object := bytes.HasPrefix(data, []byte{'"'}), bytes.HasPrefix(data, []byte{'{'})
	switch {
	case kind == StreamText && !text:
		return Errorf(CodeInvalidArgument, "payload.data: must be a string in a stream of text")
	case kind == StreamBinary && !text:
		return Errorf(CodeInvalidArgument, "payload.data: must be a base64 string in a stream of kind binary")
	case kind == StreamThought && !text && !object:
		return Errorf(CodeInvalidArgument, "payload.data: must be a string or an object in a stream of kind thought")
	case (kind == StreamEvent || kind == StreamLog || kind == StreamMetric) && !object:
		return Errorf(CodeInvalidArgument, "payload.data: must be an object in a stream of kind %s", kind)
	}
	if !text || kind == "" {
		return nil
	}
	raw, err := c.Bytes(kind)
	if err != nil {
		return err
	}
	if c.SHA256 == "" {
		return nil
	}
	if sum := sha256.Sum256(raw); !strings.EqualFold(c.SHA256, hex.EncodeToString(sum[:])) {
		return Errorf(CodeInvalidArgument, "payload.sha256: is not the hash of the data")
	}
	return nil
}

// Bytes is the data of a chunk: of kind binary what the base64 stands for, of
// other kinds the text itself, and of an object its JSON. INVALID_ARGUMENT: it
// is no base64.
func (c *StreamChunk) Bytes(kind StreamKind) ([]byte, error) {
	var text string
	if json.Unmarshal(c.Data, &text) != nil {
		return c.Data, nil
	}
	if kind != StreamBinary {
		return []byte(text), nil
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, Errorf(CodeInvalidArgument, "payload.data: is not base64")
	}
	return raw, nil
}
