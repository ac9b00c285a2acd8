package client

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"sync"

	"github.com/go-json-experiment/json"

	"github.com/arcp-nats/arcp/envelope"
)

// ErrStreamEnded is the error of a stream that was closed.
var ErrStreamEnded = errors.New("client: the stream has ended")

// OutStream is a stream from the client to a job, or to the subscribers of the principal. Its methods may be called from
// several goroutines at once; what they say is said in the order in which they are called.
type OutStream struct {
	s    *Session
	job  envelope.JobID
	id   envelope.StreamID
	kind envelope.StreamKind

	mu   sync.Mutex
	rule envelope.StreamRule
}

// OpenStream opens a stream to a job of the session's principal, or, without one, to the subscribers of the principal.
//
// The edge does not answer what is said in a stream: what it refuses comes back as a nack, which Config.OnEnvelope sees.
// A message that could not be written, as the connection was lost, is sent again on the next one; the job takes each chunk
// once. One that was written and lost on its way is missed by the job, whose tool is told DATA_LOSS.
func (s *Session) OpenStream(ctx context.Context, job envelope.JobID, open envelope.StreamOpen) (*OutStream, error) {
	out := &OutStream{s: s, job: job, id: envelope.NewStreamID(), kind: open.Kind}
	if err := out.say(ctx, envelope.TypeStreamOpen, &open); err != nil {
		return nil, err
	}
	return out, nil
}

// ID is the stream's id.
func (o *OutStream) ID() envelope.StreamID { return o.id }

// Send sends a chunk: a string in a stream of text, []byte in a binary one, which goes out as base64 with its hash, and in
// the others any value that encodes as a JSON object. INVALID_ARGUMENT: it is not of the stream's kind, and was not sent.
func (o *OutStream) Send(ctx context.Context, data any) error {
	var chunk envelope.StreamChunk
	if raw, binary := data.([]byte); binary && o.kind == envelope.StreamBinary {
		sum := sha256.Sum256(raw)
		chunk.SHA256, data = hex.EncodeToString(sum[:]), base64.StdEncoding.EncodeToString(raw)
	}
	encoded, err := json.Marshal(data)
	if err != nil {
		return &envelope.Error{Code: envelope.CodeInvalidArgument, Message: "data cannot be written as JSON", Err: err}
	}
	chunk.Data = encoded
	return o.say(ctx, envelope.TypeStreamChunk, &chunk)
}

// Close ends the stream. Closing one that has ended does nothing.
func (o *OutStream) Close(ctx context.Context) error {
	err := o.say(ctx, envelope.TypeStreamClose, &envelope.StreamClose{})
	if errors.Is(err, ErrStreamEnded) {
		return nil
	}
	return err
}

// Fail ends the stream with an error.
func (o *OutStream) Fail(ctx context.Context, code envelope.Code, message string) error {
	return o.say(ctx, envelope.TypeStreamError, &envelope.StreamError{Code: code, Message: message})
}

func (o *OutStream) say(ctx context.Context, typ envelope.Type, payload any) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.rule.Ended {
		return ErrStreamEnded
	}
	switch p := payload.(type) {
	case *envelope.StreamChunk:
		p.Sequence = o.rule.Next
	case *envelope.StreamClose:
		if o.rule.Next > 0 {
			final := o.rule.Next - 1
			p.FinalSequence = &final
		}
	}
	e, err := envelope.New(typ, payload)
	if err != nil {
		return err
	}
	e.JobID, e.StreamID = o.job, o.id
	rule, err := o.rule.Take(e)
	if err != nil {
		return err
	}
	for {
		again := *e // the id and the session are set when it is sent
		if err = o.s.Tell(ctx, &again); !errors.Is(err, ErrOutcomeUnknown) {
			break
		}
	}
	if err == nil {
		o.rule = rule
	}
	return err
}
