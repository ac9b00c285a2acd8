package demo

import (
	"context"
	"fmt"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/worker"
)

// Version is the version of every demo tool.
const Version = "1"

// Bounds of the arguments, so that a demo cannot be made to fill a log.
const (
	maxSteps = 10_000_000
	maxLines = 1_000_000
	maxMS    = 7 * 24 * 60 * 60 * 1000 // a week
)

type tool struct {
	name, description string
	handler           worker.Handler
}

func tools() []tool {
	return []tool{
		{"echo", "Returns its arguments.", echo},
		{"sleep", "Sleeps for ms milliseconds.", sleep},
		{"count", "Counts to a number, a progress event per step.", count},
		{"log", "Writes log lines.", logLines},
		{"fail", "Fails with a given code and message.", fail},
		{"panic", "Panics.", panics},
		{"attempt", "Counts, saves checkpoints, and goes on from the last one when its worker was lost.", attempt},
		{"charge", "Spends of its budget.", charge},
		{"model", "Uses a model, if its lease allows that.", model},
		{"ask", "Asks its client for a permission.", ask},
		{"stream", "Says chunks in a stream.", stream},
		{"collect", "Returns what its client streams to it.", collect},
		{"chunks", "Streams its result, or breaks a rule of doing so.", chunks},
		{"delegate", "Starts another tool as a child job and waits for it.", delegate},
		{"artifact", "Makes an artifact of so many bytes, as its result.", makeArtifact},
	}
}

// Tools returns the demo tools, name@version.
func Tools() []string {
	var names []string
	for _, t := range tools() {
		names = append(names, t.name+"@"+Version)
	}
	return names
}

// Register gives the worker all demo tools. It fails if one of them is
// registered already.
func Register(w *worker.Worker) error {
	for _, t := range tools() {
		err := w.Handle(t.name, Version, t.handler, worker.Options{Default: true, Description: t.description})
		if err != nil {
			return err
		}
	}
	return nil
}

func echo(_ context.Context, job *worker.Job) (any, error) { return job.Arguments(), nil }

func sleep(ctx context.Context, job *worker.Job) (any, error) {
	var args struct {
		MS int64 `json:"ms"`
	}
	if err := job.Bind(&args); err != nil {
		return nil, err
	}
	if err := inRange("ms", args.MS, 0, maxMS); err != nil {
		return nil, err
	}
	if err := pause(ctx, args.MS); err != nil {
		return nil, err
	}
	return map[string]int64{"slept_ms": args.MS}, nil
}

// steps is what the counting tools take.
type steps struct {
	To      int64 `json:"to"`
	EveryMS int64 `json:"every_ms"`
}

func (s steps) check() error {
	if err := inRange("to", s.To, 0, maxSteps); err != nil {
		return err
	}
	return inRange("every_ms", s.EveryMS, 0, maxMS)
}

// step waits for its time and reports step i.
func (s steps) step(ctx context.Context, job *worker.Job, i int64) error {
	if err := pause(ctx, s.EveryMS); err != nil {
		return err
	}
	return job.Progress(ctx, worker.Progress{Current: float64(i), Total: float64(s.To), Units: "steps"})
}

func count(ctx context.Context, job *worker.Job) (any, error) {
	var args steps
	if err := job.Bind(&args); err != nil {
		return nil, err
	}
	if err := args.check(); err != nil {
		return nil, err
	}
	for i := range args.To {
		if err := args.step(ctx, job, i+1); err != nil {
			return nil, err
		}
	}
	return map[string]int64{"counted": args.To}, nil
}

func logLines(ctx context.Context, job *worker.Job) (any, error) {
	args := struct {
		Lines int64             `json:"lines"`
		Level envelope.LogLevel `json:"level"`
	}{Level: envelope.LogInfo}
	if err := job.Bind(&args); err != nil {
		return nil, err
	}
	if err := inRange("lines", args.Lines, 0, maxLines); err != nil {
		return nil, err
	}
	for i := range args.Lines {
		if err := job.Log(ctx, args.Level, fmt.Sprintf("line %d of %d", i+1, args.Lines), nil); err != nil {
			return nil, err
		}
	}
	return map[string]int64{"lines": args.Lines}, nil
}

func fail(_ context.Context, job *worker.Job) (any, error) {
	args := struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}{Code: string(envelope.CodeUnknown), Message: "failed as asked"}
	if err := job.Bind(&args); err != nil {
		return nil, err
	}
	code, err := envelope.ParseCode(args.Code)
	if err != nil {
		return nil, envelope.Errorf(envelope.CodeInvalidArgument, "arguments.code: %w", err)
	}
	return nil, envelope.Errorf(code, "%s", args.Message)
}

func panics(context.Context, *worker.Job) (any, error) { panic("as asked") }

// counted is the checkpoint of attempt.
type counted struct {
	Counted int64 `json:"counted"`
}

func attempt(ctx context.Context, job *worker.Job) (any, error) {
	args := struct {
		steps           `json:",inline"`
		CheckpointEvery int64 `json:"checkpoint_every"`
	}{CheckpointEvery: 1}
	if err := job.Bind(&args); err != nil {
		return nil, err
	}
	if err := args.check(); err != nil {
		return nil, err
	}
	if err := inRange("checkpoint_every", args.CheckpointEvery, 1, maxSteps); err != nil {
		return nil, err
	}
	var from counted
	last, found, err := job.LastCheckpoint(ctx)
	if err != nil {
		return nil, err
	}
	if found {
		if err := jsonv2.Unmarshal(last, &from); err != nil {
			return nil, envelope.Errorf(envelope.CodeDataLoss, "checkpoint cannot be read: %w", err)
		}
	}
	for i := from.Counted + 1; i <= args.To; i++ {
		if err := args.step(ctx, job, i); err != nil {
			return nil, err
		}
		if i%args.CheckpointEvery == 0 {
			if err := job.Checkpoint(ctx, counted{Counted: i}); err != nil {
				return nil, err
			}
		}
	}
	return map[string]int64{
		"counted":      args.To,
		"attempts":     int64(job.Attempt()),
		"resumed_from": from.Counted,
	}, nil
}

// pause waits, or returns why the job is not to go on.
func pause(ctx context.Context, ms int64) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if ms == 0 {
		return nil
	}
	timer := time.NewTimer(time.Duration(ms) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func inRange(name string, value, low, high int64) error {
	if value < low || value > high {
		return envelope.Errorf(envelope.CodeInvalidArgument, "arguments.%s: must be from %d to %d", name, low, high)
	}
	return nil
}
