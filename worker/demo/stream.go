package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/worker"
)

// stream says a number of chunks in a stream of a kind.
func stream(ctx context.Context, job *worker.Job) (any, error) {
	var args struct {
		Kind    envelope.StreamKind `json:"kind"`
		Chunks  int64               `json:"chunks"`
		EveryMS int64               `json:"every_ms"`
	}
	if err := job.Bind(&args); err != nil {
		return nil, err
	}
	if args.Kind == "" {
		args.Kind = envelope.StreamText
	}
	if err := inRange("chunks", args.Chunks, 0, maxSteps); err != nil {
		return nil, err
	}
	if err := inRange("every_ms", args.EveryMS, 0, maxMS); err != nil {
		return nil, err
	}
	out, err := job.OpenStream(ctx, args.Kind)
	if err != nil {
		return nil, err
	}
	for i := range args.Chunks {
		if err := pauseUnless(ctx, args.EveryMS, out.Cancelled()); err != nil {
			return nil, err
		}
		err := sayChunk(ctx, out, args.Kind, i)
		if errors.Is(err, worker.ErrStreamCancelled) {
			return map[string]int64{"chunks": i}, nil
		}
		if err != nil {
			return nil, err
		}
	}
	if err := out.Close(ctx); err != nil {
		return nil, err
	}
	return map[string]int64{"chunks": args.Chunks}, nil
}

// pauseUnless is a pause that ends early when stop is closed.
func pauseUnless(ctx context.Context, ms int64, stop <-chan struct{}) error {
	timer := time.NewTimer(time.Duration(ms) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-stop:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// sayChunk says chunk i, in the way of the kind.
func sayChunk(ctx context.Context, out *worker.Stream, kind envelope.StreamKind, i int64) error {
	text := fmt.Sprintf("chunk %d", i)
	switch kind {
	case envelope.StreamText:
		return out.Send(ctx, text)
	case envelope.StreamBinary:
		return out.Send(ctx, []byte(text))
	case envelope.StreamThought:
		return out.Think(ctx, "assistant", text, i%2 == 1)
	default:
		return out.Send(ctx, map[string]any{"chunk": i})
	}
}

// collect returns what the client streams to the job, until it closes a stream.
func collect(ctx context.Context, job *worker.Job) (any, error) {
	chunks := []json.RawMessage{}
	for m, err := range job.Input(ctx) {
		switch {
		case err != nil:
			return nil, err
		case m.Err != nil:
			return nil, m.Err
		case m.Chunk != nil:
			chunks = append(chunks, m.Chunk.Data)
		case m.Close != nil:
			return map[string]any{"chunks": chunks}, nil
		}
	}
	return nil, ctx.Err()
}
