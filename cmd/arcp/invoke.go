package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/eventline"
)

const (
	// maxInput bounds what is read from standard input; an envelope cannot be larger.
	maxInput = 1 << 20
	// closeTimeout bounds the goodbye to the edge.
	closeTimeout = 10 * time.Second
)

type invokeCommand struct {
	Tool      string `arg:"" help:"Name of the tool, or NAME@VERSION."`
	Arguments string `arg:"" optional:"" default:"{}" help:"JSON; - reads standard input."`

	IdempotencyKey string        `help:"Key under which the job runs once, however often it is asked for." placeholder:"KEY"`
	Lease          string        `help:"What the job may do, as JSON." placeholder:"JSON"`
	After          time.Duration `help:"Start the job when this time has passed, such as 10s." xor:"when" placeholder:"DURATION"`
	At             string        `help:"Start the job at this time, such as 2026-07-01T09:00:00Z." xor:"when" placeholder:"TIME"`

	Answer string `help:"Answer every permission that the job asks for: grant or deny." enum:",grant,deny" default:"" placeholder:"ANSWER"`

	Detach bool `help:"Print the id of the job once it is accepted, and leave it running."`
}

// Run invokes the tool. An interrupt ends the session, and with it the job.
func (c *invokeCommand) Run(p *program, std streams, signals interrupt) error {
	arguments, options, err := c.prepare(std.in)
	if err != nil {
		return err
	}
	session, err := p.dial(signals.work, std, func(cfg *client.Config) {
		cfg.Backpressure = true // there is one job, and it is read: the reader of the output sets the pace
	})
	if err != nil {
		return err
	}
	defer session.Detach()
	job, err := session.Invoke(signals.work, c.Tool, arguments, options...)
	if err != nil {
		return err
	}
	if c.Detach {
		id, err := job.Accepted(signals.work)
		if err == nil && !p.JSON {
			fmt.Fprintln(std.out, id)
		}
		return err
	}
	result, streamed, err := c.follow(signals.work, session, job, p.JSON, std.out)
	closing, cancel := context.WithTimeout(signals.cleanup, closeTimeout)
	defer cancel()
	if closeErr := session.Close(closing); err == nil && closeErr != nil {
		err = fmt.Errorf("close: %w", closeErr)
	}
	switch {
	case err != nil || p.JSON:
		return err
	case streamed != nil:
		_, err = std.out.Write(streamed)
		return err
	}
	return printResult(std.out, result)
}

// prepare checks what the command line says.
func (c *invokeCommand) prepare(stdin io.Reader) (json.RawMessage, []client.InvokeOption, error) {
	arguments := []byte(c.Arguments)
	if c.Arguments == "-" {
		var err error
		if arguments, err = io.ReadAll(io.LimitReader(stdin, maxInput+1)); err != nil {
			return nil, nil, fmt.Errorf("standard input: %w", err)
		}
		if len(arguments) > maxInput {
			return nil, nil, usageError{fmt.Errorf("ARGUMENTS exceed %d bytes", maxInput)}
		}
	}
	if err := checkJSON("ARGUMENTS", arguments); err != nil {
		return nil, nil, err
	}
	if _, err := envelope.ParseAgentRef(c.Tool); err != nil {
		return nil, nil, usageError{fmt.Errorf("TOOL: %w", err)}
	}
	var options []client.InvokeOption
	if c.IdempotencyKey != "" {
		options = append(options, client.WithIdempotencyKey(c.IdempotencyKey))
	}
	if c.Lease != "" {
		if err := checkJSON("--lease", []byte(c.Lease)); err != nil {
			return nil, nil, err
		}
		var lease envelope.Lease
		if err := jsonv2.Unmarshal([]byte(c.Lease), &lease); err != nil {
			return nil, nil, usageError{fmt.Errorf("--lease: %w", err)}
		}
		options = append(options, client.WithLease(&lease))
	}
	when, err := c.when()
	return arguments, append(options, when...), err
}

// when is the option that makes the job start later, if that is asked for.
func (c *invokeCommand) when() ([]client.InvokeOption, error) {
	switch {
	case c.After < 0:
		return nil, usageError{fmt.Errorf("--after %s: must not be negative", c.After)}
	case c.After > 0:
		return []client.InvokeOption{client.WithStartAfter(c.After)}, nil
	case c.At != "":
		at, err := time.Parse(time.RFC3339, c.At)
		if err != nil {
			return nil, usageError{fmt.Errorf("--at %s: must be a time such as 2026-07-01T09:00:00Z", c.At)}
		}
		return []client.InvokeOption{client.WithStartAt(at)}, nil
	}
	return nil, nil
}

// follow shows the events of the job until it ends. A streamed result is put together; it has 256 MiB at most (open dialect
// RS-4), and is shown when it is complete, as the job may begin anew until then. It is nil if
// nothing was streamed.
func (c *invokeCommand) follow(ctx context.Context, session *client.Session, job *client.Job, quiet bool, out io.Writer) (client.Result, []byte, error) {
	var assembler envelope.ResultAssembler
	var streamed []byte
	var broken error // why there is no result, whatever Wait says
	for e, err := range job.Events(ctx) {
		if err != nil {
			broken = err
			break
		}
		if err := c.answer(ctx, session, e); err != nil {
			return client.Result{}, nil, err
		}
		if quiet {
			continue
		}
		fmt.Fprintln(out, eventline.Format(e))
		piece, err := assembler.Take(e)
		switch {
		case e.Type == envelope.TypeJobStarted:
			streamed, broken = nil, nil // what came before it is worth nothing
		case broken == nil && err != nil:
			broken = err
		case broken == nil && e.Type == envelope.TypeJobResultChunk:
			streamed = append(streamed, piece.Data...)
			if streamed == nil {
				streamed = []byte{}
			}
		}
	}
	result, err := job.Wait(ctx)
	if err == nil {
		err = broken
	}
	return result, streamed, err
}

// grantedFor is how long a permission is granted for.
const grantedFor = time.Hour

// answer answers a request for a permission, if that was asked for.
func (c *invokeCommand) answer(ctx context.Context, session *client.Session, e *envelope.Envelope) error {
	switch {
	case e.Type != envelope.TypePermissionRequest || c.Answer == "":
		return nil
	case c.Answer == "grant":
		return session.Grant(ctx, e, grantedFor)
	default:
		return session.Deny(ctx, e, "denied by --answer")
	}
}

// checkJSON says where text stops being one JSON value.
func checkJSON(name string, text []byte) error {
	err := jsonv2.Unmarshal(text, new(jsontext.Value))
	if err == nil {
		return nil
	}
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) {
		return usageError{fmt.Errorf("%s: %w", name, err)}
	}
	before := text[:min(int(syntax.ByteOffset), len(text))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := len(before) - (bytes.LastIndexByte(before, '\n') + 1) + 1
	return usageError{fmt.Errorf("%s: invalid JSON at line %d, column %d: %w", name, line, column, syntax.Err)}
}

// printResult prints the value of a result, or else where it is to be found.
func printResult(out io.Writer, r client.Result) error {
	value := []byte(r.Value)
	if value == nil {
		var err error
		value, err = jsonv2.Marshal(struct {
			Ref  *envelope.ArtifactRef `json:"result_ref,omitzero"`
			ID   string                `json:"result_id,omitzero"`
			Size *uint64               `json:"result_size,omitzero"`
			Text string                `json:"summary,omitzero"`
		}{r.Ref, r.StreamID, r.StreamSize, r.Summary})
		if err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out, "%s\n", value)
	return err
}

// printEnvelope is a client hook that prints envelopes as they came.
func printEnvelope(out io.Writer) func([]byte, *envelope.Envelope) {
	return func(raw []byte, _ *envelope.Envelope) {
		// One write a line, so that lines of two sessions do not mix. A reader that has gone away is noticed when the
		// result is printed.
		_, _ = out.Write(append(bytes.Clone(raw), '\n'))
	}
}
