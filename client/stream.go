package client

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/go-json-experiment/json"

	"github.com/arcp-nats/arcp/envelope"
)

// ErrStreamEnded is the error of a stream that was closed.
var ErrStreamEnded = errors.New("client: the stream has ended")

// Bounds of what a stream has written and not heard to be stored; past them it asks.
const (
	maxUnsure      = 64
	maxUnsureBytes = 512 << 10
	// maxRefusals bounds how often the same messages are sent again because the log could not take them.
	maxRefusals = 64
)

// OutStream is a stream from the client to a job, or to the subscribers of the principal. Its methods may be called from
// several goroutines at once; what they say is said in the order in which they are called.
type OutStream struct {
	s    *Session
	job  envelope.JobID
	id   envelope.StreamID
	kind envelope.StreamKind

	mu     sync.Mutex
	rule   envelope.StreamRule
	unsure []*envelope.Envelope // said, and not known to be in the log
	bytes  int                  // of them
	sent   int                  // how many of them are written to a connection
	epoch  int                  // that connection

	nacks nacks
}

// OpenStream opens a stream to a job of the session's principal, or, without one, to the subscribers of the principal.
//
// The edge does not answer what is said in a stream. The client keeps it until it knows that it is in the log, and sends it
// again if the connection is lost or the log could not take it: the job takes each chunk once, in order. What is refused for
// good, as the job has ended, is the error of a later call.
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
// the others any value that encodes as a JSON object. INVALID_ARGUMENT: it is not of the stream's kind, and was not sent. If
// ctx ends meanwhile, it is sent with what is said next.
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

// Close ends the stream and returns when all of it is in the log. Closing one that has ended does nothing.
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
	if err := o.add(e); err != nil {
		return err
	}
	o.rule = rule
	if rule.Ended || len(o.unsure) >= maxUnsure || o.bytes >= maxUnsureBytes {
		return o.confirm(ctx)
	}
	return o.write(ctx)
}

// add takes a message to be written.
func (o *OutStream) add(e *envelope.Envelope) error {
	if err := o.nacks.refused(); err != nil {
		return err
	}
	r, err := o.s.asRequest(e)
	if err != nil {
		return err
	}
	o.s.hearNacks(e.ID, &o.nacks)
	o.unsure = append(o.unsure, e)
	o.bytes += len(r.frame)
	return nil
}

// write writes what has not been written, and all that is unsure if the connection that carried it is lost: nothing goes out
// on a connection before what it follows.
func (o *OutStream) write(ctx context.Context) error {
	for o.sent < len(o.unsure) {
		on := o.epoch
		if o.sent == 0 {
			on = 0
		}
		again := *o.unsure[o.sent] // under the same id
		epoch, err := o.s.tell(ctx, &again, on)
		switch {
		case errors.Is(err, ErrOutcomeUnknown), errors.Is(err, ErrConnectionLost):
			o.sent = 0
		case err != nil:
			return err
		default:
			o.epoch = epoch
			o.sent++
		}
	}
	return nil
}

// confirm returns when all that was said is in the log: the edge stores what is said in streams before it answers what is
// said after it. Once something is said again, refusals of what was said before are waited for: they mean nothing any more.
func (o *OutStream) confirm(ctx context.Context) error {
	wait := backoff.NewExponentialBackOff()
	for refusals := 0; ; {
		if err := o.write(ctx); err != nil {
			return err
		}
		switch err := o.s.barrier(ctx, o.epoch, refusals > 0); {
		case errors.Is(err, ErrConnectionLost):
			o.sent = 0
			continue
		case err != nil:
			return err
		}
		again, err := o.nacks.take()
		if again == nil {
			o.forget()
			return err
		}
		if refusals++; refusals == maxRefusals {
			return again
		}
		o.sent = 0
		select {
		case <-time.After(wait.NextBackOff()):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// forget drops what is in the log.
func (o *OutStream) forget() {
	for _, e := range o.unsure {
		o.s.forgetNacks(e.ID)
	}
	o.unsure, o.bytes, o.sent = nil, 0, 0
}
