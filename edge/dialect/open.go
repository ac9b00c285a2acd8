package dialect

import "github.com/arcp-nats/arcp/envelope"

// Open is the open dialect: the form in which envelopes are stored.
var Open Dialect = open{}

type open struct{}

// Name implements [Dialect].
func (open) Name() string { return "open" }

// Count implements [Dialect] (open dialect FC-1).
func (open) Count(typ envelope.Type, _ []byte, _ bool) int {
	if row, _ := envelope.Lookup(typ); row.Countable {
		return 1
	}
	return 0
}

// NewCodec implements [Dialect]. The codec has no state.
func (d open) NewCodec(Settings) Codec { return d }

// Dialect implements [Codec].
func (d open) Dialect() Dialect { return d }

// Traits implements [Codec].
func (open) Traits() Traits { return Traits{} }

// Decode implements [Codec].
func (open) Decode(frame []byte, lim envelope.Limits, speaks func(extension string) bool) (*envelope.Envelope, error) {
	return envelope.DecodeWith(frame, lim, speaks)
}

// Repeated implements [Codec].
func (open) Repeated() {}

// Render implements [Codec]: the stored line with the number spliced in. What is not counted is not of the log.
func (open) Render(dst []Text, f Frame, seen uint64) []Text {
	if f.Seq <= seen {
		return dst
	}
	return append(dst, Text{Seq: f.Seq, Data: envelope.AppendSeq(nil, f.Line, f.Seq)})
}

// Resuming implements [Codec]: a resume is a message of its own.
func (open) Resuming() *Resumption { return nil }

// Leaving implements [Codec].
func (open) Leaving() Leaving { return LeaveByConfig }

// Answer implements [Codec].
func (open) Answer(e *envelope.Envelope) ([][]byte, error) {
	text, err := e.Encode()
	if err != nil {
		return nil, err
	}
	return [][]byte{text}, nil
}
