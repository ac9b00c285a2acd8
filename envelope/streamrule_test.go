package envelope_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
)

func TestStreamRule(t *testing.T) {
	open := func(kind envelope.StreamKind) *envelope.Envelope {
		return jobEvent(t, envelope.TypeStreamOpen, &envelope.StreamOpen{Kind: kind})
	}
	chunk := func(n uint64, data string, sum string) *envelope.Envelope {
		return jobEvent(t, envelope.TypeStreamChunk, &envelope.StreamChunk{Sequence: n, Data: json.RawMessage(data), SHA256: sum})
	}
	end := func(final ...uint64) *envelope.Envelope {
		c := new(envelope.StreamClose)
		if len(final) > 0 {
			c.FinalSequence = &final[0]
		}
		return jobEvent(t, envelope.TypeStreamClose, c)
	}
	failed := jobEvent(t, envelope.TypeStreamError, &envelope.StreamError{Code: envelope.CodeUnknown, Message: "x"})
	hash := func(text string) string { sum := sha256.Sum256([]byte(text)); return hex.EncodeToString(sum[:]) }
	const text, binary, event = envelope.StreamText, envelope.StreamBinary, envelope.StreamEvent
	for name, c := range map[string]struct {
		events []*envelope.Envelope
		code   envelope.Code // of the last one; "" for none
	}{
		"text":                   {[]*envelope.Envelope{open(text), chunk(0, `"a"`, hash("a")), chunk(1, `"b"`, ""), end(1)}, ""},
		"binary":                 {[]*envelope.Envelope{open(binary), chunk(0, `"AAE="`, hash("\x00\x01"))}, ""},
		"objects":                {[]*envelope.Envelope{open(event), chunk(0, `{}`, ""), failed}, ""},
		"nothing":                {[]*envelope.Envelope{open(text), end()}, ""},
		"a thought":              {[]*envelope.Envelope{open(envelope.StreamThought), chunk(0, `"a"`, ""), chunk(1, ` {"a":1}`, "")}, ""},
		"not open":               {[]*envelope.Envelope{chunk(0, `"a"`, "")}, envelope.CodeFailedPrecondition},
		"open twice":             {[]*envelope.Envelope{open(text), open(text)}, envelope.CodeFailedPrecondition},
		"after the end":          {[]*envelope.Envelope{open(text), end(), chunk(0, `"a"`, "")}, envelope.CodeFailedPrecondition},
		"after an error":         {[]*envelope.Envelope{open(text), failed, end()}, envelope.CodeFailedPrecondition},
		"a gap":                  {[]*envelope.Envelope{open(text), chunk(1, `"a"`, "")}, envelope.CodeOutOfRange},
		"a repeat":               {[]*envelope.Envelope{open(text), chunk(0, `"a"`, ""), chunk(0, `"a"`, "")}, envelope.CodeOutOfRange},
		"another final sequence": {[]*envelope.Envelope{open(text), chunk(0, `"a"`, ""), end(1)}, envelope.CodeOutOfRange},
		"text that is none":      {[]*envelope.Envelope{open(text), chunk(0, `{}`, "")}, envelope.CodeInvalidArgument},
		"binary that is none":    {[]*envelope.Envelope{open(binary), chunk(0, `"?"`, "")}, envelope.CodeInvalidArgument},
		"binary that is no text": {[]*envelope.Envelope{open(binary), chunk(0, `1`, "")}, envelope.CodeInvalidArgument},
		"an object that is none": {[]*envelope.Envelope{open(event), chunk(0, `"a"`, "")}, envelope.CodeInvalidArgument},
		"a thought that is none": {[]*envelope.Envelope{open(envelope.StreamThought), chunk(0, `1`, "")}, envelope.CodeInvalidArgument},
		"another hash":           {[]*envelope.Envelope{open(text), chunk(0, `"a"`, hash("b"))}, envelope.CodeInvalidArgument},
	} {
		t.Run(name, func(t *testing.T) {
			var rule envelope.StreamRule
			for i, e := range c.events {
				next, err := rule.Take(e)
				if i == len(c.events)-1 && c.code != "" {
					require.Equal(t, c.code, envelope.CodeOf(err), "%v", err)
					require.Equal(t, rule, next)
					return
				}
				require.NoError(t, err)
				rule = next
			}
		})
	}
	opening := open(text)
	rule, err := envelope.StreamRule{}.Take(opening)
	require.NoError(t, err)
	rule, err = rule.Take(chunk(0, `"a"`, ""))
	require.NoError(t, err)
	require.True(t, rule.Repeats(opening))
	require.False(t, rule.Repeats(open(text)), "another one")
	require.True(t, rule.Repeats(chunk(0, `"a"`, "")))
	require.False(t, rule.Repeats(chunk(1, `"b"`, "")))
	require.False(t, rule.Repeats(end()))
	require.False(t, envelope.StreamRule{}.Repeats(opening))

	c := envelope.StreamChunk{Data: json.RawMessage(`"` + base64.StdEncoding.EncodeToString([]byte("ab")) + `"`)}
	raw, err := c.Bytes(binary)
	require.NoError(t, err)
	require.Equal(t, "ab", string(raw))
}
