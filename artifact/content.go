package artifact

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"strings"

	"github.com/arcp-nats/arcp/envelope"
)

// Content is the content of an artifact.put: base64 text that has been found in order. It is decoded as it is read, so it
// is in memory only once.
type Content struct {
	data   string
	size   int64
	sha256 string
}

// encoding is the base64 of the dialect: the standard alphabet, padded, the unused bits zero (open dialect AR-1).
var encoding = base64.StdEncoding.Strict()

// decodeStep is how much text is decoded at a time; a multiple of 4.
const decodeStep = 32 << 10

// ParseContent checks the data of an artifact.put: its base64, its size against a limit in decoded bytes, and its sha256
// if the client gave one (in hex of either case). What is wrong is INVALID_ARGUMENT and names the member.
func ParseContent(data, wantSHA256 string, limit int64) (Content, error) {
	c := Content{data: data}
	if len(data)%4 != 0 {
		return c, badBase64(len(data))
	}
	body := strings.TrimRight(data, "=")
	padding := len(data) - len(body)
	if padding > 2 {
		return c, badBase64(len(body))
	}
	c.size = int64(len(data)/4*3 - padding)
	if c.size > limit {
		return c, envelope.Errorf(envelope.CodeInvalidArgument, "data: %d bytes decoded, the limit is %d", c.size, limit)
	}
	// The decoder passes over line breaks, and takes padding for the end of a piece of the text.
	if at := strings.IndexAny(body, "=\r\n"); at >= 0 {
		return c, badBase64(at)
	}
	sum := sha256.New()
	decoded := make([]byte, encoding.DecodedLen(decodeStep))
	for at := 0; at < len(data); at += decodeStep {
		piece := data[at:min(at+decodeStep, len(data))]
		n, err := encoding.Decode(decoded, []byte(piece))
		var corrupt base64.CorruptInputError
		if errors.As(err, &corrupt) {
			return c, badBase64(at + int(corrupt))
		}
		sum.Write(decoded[:n])
	}
	c.sha256 = hex.EncodeToString(sum.Sum(nil))
	if wantSHA256 != "" && subtle.ConstantTimeCompare([]byte(strings.ToLower(wantSHA256)), []byte(c.sha256)) == 0 {
		return c, envelope.Errorf(envelope.CodeInvalidArgument, "sha256: the data has another one")
	}
	return c, nil
}

func badBase64(at int) error {
	return envelope.Errorf(envelope.CodeInvalidArgument, "data: not standard base64 with padding, at character %d", at)
}

// Size is the number of decoded bytes.
func (c Content) Size() int64 { return c.size }

// SHA256 is that of the decoded bytes, in lower-case hex.
func (c Content) SHA256() string { return c.sha256 }

// Reader decodes the content.
func (c Content) Reader() io.Reader { return base64.NewDecoder(encoding, strings.NewReader(c.data)) }

// MaxInline is the most decoded bytes that an envelope of a size in bytes carries, with room for all else that it says.
func MaxInline(envelopeBytes int) int64 {
	const room = 64 << 10
	return max(0, int64(envelopeBytes-room)/4*3)
}
