package program

import (
	"bytes"
	"context"
	"encoding/json"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/worker"
)

// message is what a line of standard output says, when it is not plain text.
// Exactly one member is set.
type message struct {
	progress *progress
	log      *logLine
	metric   *metric
	status   *status
	thought  *string
	call     *toolCall
	came     *toolResult
	result   json.RawMessage
}

type progress struct {
	Current float64 `json:"current"`
	Total   float64 `json:"total"`
	Units   string  `json:"units"`
	Message string  `json:"message"`
}

type logLine struct {
	Level      envelope.LogLevel `json:"level"`
	Message    string            `json:"message"`
	Attributes json.RawMessage   `json:"attributes"`
}

type metric struct {
	Name  string          `json:"name"`
	Value float64         `json:"value"`
	Unit  string          `json:"unit"`
	Dims  json.RawMessage `json:"dims"`
}

type status struct {
	Phase   string          `json:"phase"`
	Message string          `json:"message"`
	Details json.RawMessage `json:"details"`
}

type toolCall struct {
	Tool string          `json:"tool"`
	Args json.RawMessage `json:"args"`
	Call string          `json:"call_id"`
}

type toolResult struct {
	Call   string          `json:"call_id"`
	Result json.RawMessage `json:"result"`
	Error  *problem        `json:"error"`
}

type problem struct {
	Code      envelope.Code   `json:"code"`
	Message   string          `json:"message"`
	Retryable *bool           `json:"retryable"`
	Details   json.RawMessage `json:"details"`
}

// readMessage reads a line of standard output. It is false for text: for
// everything that is not one of the shapes.
func readMessage(line []byte) (message, bool) {
	if !begins(line) {
		return message{}, false
	}
	var members map[string]json.RawMessage
	if jsonv2.Unmarshal(line, &members) != nil || len(members) != 1 {
		return message{}, false
	}
	var m message
	for name, value := range members {
		switch name {
		case "result":
			m.result = bytes.Clone(value)
			return m, true
		case "thought":
			m.thought = new(string)
			return m, jsonv2.Unmarshal(value, m.thought) == nil
		case "log":
			m.log = &logLine{Level: envelope.LogInfo}
			if value[0] == '"' {
				return m, jsonv2.Unmarshal(value, &m.log.Message) == nil
			}
			return m, readShape(value, m.log)
		case "progress":
			m.progress = new(progress)
			return m, readShape(value, m.progress)
		case "metric":
			m.metric = new(metric)
			return m, readShape(value, m.metric)
		case "status":
			m.status = new(status)
			return m, readShape(value, m.status)
		case "tool_call":
			m.call = new(toolCall)
			return m, readShape(value, m.call)
		case "tool_result":
			m.came = new(toolResult)
			return m, readShape(value, m.came)
		}
	}
	return message{}, false
}

func readShape(value json.RawMessage, into any) bool {
	return jsonv2.Unmarshal(value, into, jsonv2.RejectUnknownMembers(true)) == nil
}

// say passes a message on to the job; a result is for the caller to keep. What
// the job refuses, such as a progress beyond its total, becomes a warning in
// the job's log: the program has no way to hear of it.
func (m message) say(ctx context.Context, job *worker.Job) error {
	var err error
	switch {
	case m.progress != nil:
		p := m.progress
		err = job.Progress(ctx, worker.Progress{Current: p.Current, Total: p.Total, Units: p.Units, Message: p.Message})
	case m.log != nil:
		err = job.Log(ctx, m.log.Level, m.log.Message, optional(m.log.Attributes))
	case m.metric != nil:
		err = job.Metric(ctx, m.metric.Name, m.metric.Value, m.metric.Unit, optional(m.metric.Dims))
	case m.status != nil:
		err = job.Status(ctx, m.status.Phase, m.status.Message, optional(m.status.Details))
	case m.thought != nil:
		err = job.Think(ctx, *m.thought)
	case m.call != nil:
		err = m.call.say(ctx, job)
	case m.came != nil:
		err = m.came.say(ctx, job)
	}
	switch envelope.CodeOf(err) {
	case envelope.CodeInvalidArgument, envelope.CodeInvalidRequest:
		return job.Log(ctx, envelope.LogWarn, "refused: "+err.Error(), nil)
	}
	return err
}

// optional is a value, nil for none.
func optional(raw json.RawMessage) any {
	if raw == nil {
		return nil
	}
	return raw
}

// say tells of a call if the lease allows it (tool.call), and else that it was
// refused: the job goes on.
func (c *toolCall) say(ctx context.Context, job *worker.Job) error {
	switch err := job.Authorize(ctx, "tool.call", c.Tool); envelope.CodeOf(err) {
	case envelope.CodeOK:
	case envelope.CodePermissionDenied, envelope.CodeBudgetExhausted, envelope.CodeLeaseExpired:
		return job.ToolError(ctx, err, worker.ForCall(c.Call))
	default:
		return err
	}
	if c.Args == nil {
		c.Args = json.RawMessage("{}")
	}
	if c.Tool == "" || c.Args[0] != '{' {
		return envelope.Errorf(envelope.CodeInvalidArgument, "tool_call: want a tool, and args that are an object")
	}
	return job.Emit(ctx, "tool_call", map[string]any{"tool": c.Tool, "args": c.Args, "call_id": c.Call})
}

func (r *toolResult) say(ctx context.Context, job *worker.Job) error {
	if p := r.Error; p != nil {
		failure := &envelope.Error{Code: p.Code, Message: p.Message, Retryable: p.Retryable, Details: p.Details}
		return job.ToolError(ctx, failure, worker.ForCall(r.Call))
	}
	return job.ToolResult(ctx, r.Result, worker.ForCall(r.Call))
}
