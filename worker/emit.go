package worker

import (
	"context"
	"encoding/json"
	"sync"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcp-nats/arcp/envelope"
)

// Names of events that clients of the hello dialect have a kind for.
const (
	emitStatus   = "status"
	emitToolCall = "tool_call"
)

// Emit says something that no other event is for: an event.emit with a name, any
// text, and data, any value that encodes as JSON, nil for none. Clients of the
// hello dialect see names that begin with x-vendor. as kinds of their own.
func (j *Job) Emit(ctx context.Context, name string, data any) error {
	if name == "" || name == envelope.EventBackfillComplete {
		return envelope.Errorf(envelope.CodeInvalidArgument, "event.emit: name must not be empty, or the runtime's own")
	}
	e := envelope.EventEmit{Name: name}
	if data != nil {
		raw, err := encodeValue(data)
		if err != nil {
			return &envelope.Error{Code: envelope.CodeInvalidArgument, Message: "event.emit: data cannot be written as JSON", Err: err}
		}
		e.Data = raw
	}
	return j.say(ctx, envelope.TypeEventEmit, &e)
}

// Status says which phase the job is in, in words of the tool: an event.emit
// "status". message may be empty, and details nil or a value that encodes as a
// JSON object.
func (j *Job) Status(ctx context.Context, phase, message string, details any) error {
	if phase == "" {
		return envelope.Errorf(envelope.CodeInvalidArgument, "status: phase must not be empty")
	}
	body := map[string]any{"phase": phase}
	if message != "" {
		body["message"] = message
	}
	if details != nil {
		body["details"] = details
	}
	return j.Emit(ctx, emitStatus, body)
}

// ToolCall says that the handler calls a tool, with arguments that encode as a
// JSON object, nil for none: an event.emit "tool_call". It returns the call's id,
// for [ForCall] on what comes of it.
func (j *Job) ToolCall(ctx context.Context, tool string, arguments any) (call string, err error) {
	if tool == "" {
		return "", envelope.Errorf(envelope.CodeInvalidArgument, "tool_call: tool must not be empty")
	}
	if arguments == nil {
		arguments = struct{}{}
	}
	raw, err := encodeValue(arguments)
	if err != nil || raw[0] != '{' {
		return "", &envelope.Error{Code: envelope.CodeInvalidArgument, Message: "tool_call: arguments must encode as a JSON object", Err: err}
	}
	call = "call_" + string(envelope.NewMessageID())[len("msg_"):]
	return call, j.Emit(ctx, emitToolCall, map[string]any{"tool": tool, "args": raw, "call_id": call})
}

// CallOption says more of what came of a tool that a handler has called.
type CallOption func(*speaker)

// ForCall names the call, as [Job.ToolCall] has returned it.
func ForCall(call string) CallOption {
	return func(s *speaker) { s.extensions = withExtension(s.extensions, envelope.CallIDExtension, call) }
}

// withExtension returns extensions with one more member.
func withExtension(extensions json.RawMessage, name, value string) json.RawMessage {
	members := make(map[string]json.RawMessage)
	if len(extensions) > 0 && jsonv2.Unmarshal(extensions, &members) != nil {
		return extensions
	}
	raw, err := jsonv2.Marshal(value)
	if err != nil {
		return extensions
	}
	members[name] = raw
	if raw, err = jsonv2.Marshal(members, jsonv2.Deterministic(true)); err != nil {
		return extensions
	}
	return raw
}

// thoughts is the stream that Think opens.
type thoughts struct {
	mu     sync.Mutex
	stream *Stream // nil: not yet
}

// Think says what the handler thinks, as a chunk of a stream of thoughts that the
// first call opens and the job's end closes. For several streams, or a role, see
// [Job.OpenStream].
func (j *Job) Think(ctx context.Context, text string) error {
	j.thoughts.mu.Lock()
	defer j.thoughts.mu.Unlock()
	if j.thoughts.stream == nil {
		s, err := j.OpenStream(ctx, envelope.StreamThought)
		if err != nil {
			return err
		}
		j.thoughts.stream = s
	}
	return j.thoughts.stream.Send(ctx, text)
}
