package worker

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/cenkalti/backoff/v5"
	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// checkpoints is what an attempt knows of the job's last checkpoint.
type checkpoints struct {
	mu   sync.Mutex
	read bool            // earlier attempts have been looked at
	last json.RawMessage // nil: there is none
}

// Checkpoint saves data, anything that encodes as JSON, for a later attempt at
// the job. It returns when the data is in the log, with all that the handler
// said before: after that, losing the worker loses nothing up to here. Clients
// that have negotiated it see it as job.checkpoint.
func (j *Job) Checkpoint(ctx context.Context, data any) error {
	raw, err := encodeValue(data)
	if err != nil {
		return &envelope.Error{
			Code: envelope.CodeInvalidArgument, Message: "checkpoint: data cannot be written as JSON", Err: err,
		}
	}
	id := string(envelope.NewMessageID())
	if err := j.say(ctx, envelope.TypeJobCheckpoint, &envelope.JobCheckpoint{CheckpointID: id, Data: raw}); err != nil {
		return err
	}
	if err := j.out.sync(ctx); err != nil {
		return err
	}
	j.checkpoints.mu.Lock()
	defer j.checkpoints.mu.Unlock()
	j.checkpoints.read, j.checkpoints.last = true, raw
	return nil
}

// LastCheckpoint returns the data that was saved last, by this attempt or, in
// a later attempt, by the ones before it; false if there is none. An attempt
// that another one had already taken over from when it saved is not heard.
//
// While the log is away it waits until ctx ends.
func (j *Job) LastCheckpoint(ctx context.Context) (json.RawMessage, bool, error) {
	c := &j.checkpoints
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.read && j.attempt > 1 {
		past, err := readHistory(ctx, j.bus, j.inv, j.attempt)
		if err != nil {
			return nil, false, err
		}
		if past.checkpoint != nil {
			if c.last, err = readCheckpoint(past.checkpoint); err != nil {
				return nil, false, err
			}
		}
	}
	c.read = true
	return c.last, c.last != nil, nil
}

func readCheckpoint(line []byte) (json.RawMessage, error) {
	var stored struct {
		Payload envelope.JobCheckpoint `json:"payload"`
	}
	if err := jsonv2.Unmarshal(line, &stored); err != nil {
		return nil, &envelope.Error{Code: envelope.CodeDataLoss, Message: "the checkpoint in the log cannot be read", Err: err}
	}
	return stored.Payload.Data, nil
}

// readHistory folds what the attempts before this one left in the log.
func readHistory(ctx context.Context, bus Bus, inv invocation, attempt int) (*history, error) {
	var past *history
	err := retry(ctx, func() error {
		past = newHistory(inv)
		err := bus.ReadJob(ctx, subjects.JobEvents(inv.rec.Subject), func(r *record.Record) bool {
			if r.Attempt < attempt {
				past.add(r)
			}
			return true
		})
		if err != nil && !worthAnotherTry(err) {
			return backoff.Permanent(err)
		}
		return err
	})
	return past, err
}
