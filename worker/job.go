package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/arcp-nats/arcp/envelope"
)

// Handler runs one attempt at a job. Its result, anything that encodes as
// JSON, completes the job; an error fails it, with the code of the
// [*envelope.Error] in its chain, else INTERNAL. An error with code CANCELLED
// (a cancelled context's is one) ends the job as cancelled.
//
// ctx ends when the client cancels, the attempt's time is up, or the worker
// leaves; [context.Cause] says which: a [*CancelError], [ErrTimeout] or
// [ErrDraining]. The handler must then return soon. One that does not is
// abandoned: the job ends without it, and it keeps its place among the tool's
// concurrent jobs until it returns.
//
// A handler that panics fails its job with INTERNAL; nothing else is harmed.
type Handler func(ctx context.Context, job *Job) (any, error)

// Job is one attempt at a job, as its handler sees it. All methods are safe
// for concurrent use.
//
// What a handler says arrives in the order in which it said it. The methods
// that say something return when the event is in the job's outbox; while that
// is full, because the log is slow or away, they wait until ctx ends. After
// the end of the job they return [ErrJobEnded].
type Job struct {
	inv     invocation
	tool    envelope.AgentRef
	attempt int
	early   int             // deliveries of a scheduled job before it was due
	ctx     context.Context // the attempt's; for the logger, which may be given none
	cancel  context.CancelCauseFunc
	speaker speaker
	out     *outbox
	bus     Bus
	// keepArtifacts is Config.ArtifactRetention.
	keepArtifacts time.Duration

	checkpoints checkpoints
	result      resultStream
	spending    spending
	streams     openStreams
	thoughts    thoughts
	permits     permits
	input       inputReader[*envelope.Envelope]
	inputs      map[inputKey]envelope.StreamRule // of what Input has handed out
	children    children
	inbox       inbox
	extensions  inputReader[Extension]

	traceOnce   sync.Once
	mintedTrace string // see ownTrace
}

// ID is the job's id.
func (j *Job) ID() envelope.JobID { return j.speaker.job }

// SessionID is the session that the job was submitted in.
func (j *Job) SessionID() envelope.SessionID { return j.speaker.session }

// Principal is the authenticated one that submitted the job.
func (j *Job) Principal() string { return j.inv.rec.Principal }

// Tool is the resolved tool: name and version.
func (j *Job) Tool() envelope.AgentRef { return j.tool }

// Reference is the tool as the client wrote it, with or without a version.
func (j *Job) Reference() string { return j.inv.call.Tool }

// Attempt counts the attempts at the job, this one included, from 1. Numbers
// may be missing: not every attempt gets to its start.
func (j *Job) Attempt() int { return j.attempt - j.early }

// TraceID is the trace that the submitter named, or "".
func (j *Job) TraceID() string { return j.speaker.trace }

// SpanID is this attempt's span: a child of the submitter's, "" if there is
// no trace.
func (j *Job) SpanID() string { return j.speaker.span }

// Arguments is what the client passed, any JSON value. It must not be changed.
func (j *Job) Arguments() json.RawMessage { return j.inv.call.Arguments }

// Lease is what the job may do and spend, or nil for no bounds (open dialect
// TI-1), as it is enforced: what a client spells as a later draft does stands in
// the members that these are. It must not be changed.
func (j *Job) Lease() *envelope.Lease { return j.inv.lease }

// Bind reads the arguments into a value as package json does; members that it
// does not have are passed over. The error is an INVALID_ARGUMENT that names
// the member at fault, ready to be returned by the handler.
func (j *Job) Bind(into any) error {
	err := jsonv2.Unmarshal(j.Arguments(), into, jsonv2.MatchCaseInsensitiveNames(false))
	if err == nil {
		return nil
	}
	where, what := "arguments", "cannot be read"
	var semantic *jsonv2.SemanticError
	if errors.As(err, &semantic) {
		for name := range semantic.JSONPointer.Tokens() {
			where += "." + name
		}
		if semantic.GoType != nil {
			what = fmt.Sprintf("a JSON %s is no %v", kindName(semantic.JSONKind), semantic.GoType)
		}
	}
	return &envelope.Error{Code: envelope.CodeInvalidArgument, Message: where + ": " + what, Err: err}
}

func kindName(kind jsontext.Kind) string {
	switch kind {
	case '{':
		return "object"
	case '[':
		return "array"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	case '"':
		return "string"
	case '0':
		return "number"
	}
	return "value"
}

// Progress says how far a job is.
type Progress struct {
	Current float64
	// Total is what Current goes up to; 0: not known.
	Total float64
	// Units names what is counted, for people; may be empty.
	Units   string
	Message string
}

// Progress says how far the job is. Numbers that are not finite, negative, or
// beyond their total are refused with INVALID_REQUEST and not sent (open
// dialect 3.5).
func (j *Job) Progress(ctx context.Context, p Progress) error {
	payload := envelope.JobProgress{Current: p.Current, Units: p.Units, Message: p.Message}
	if p.Total != 0 {
		payload.Total = &p.Total
	}
	if err := payload.Check(); err != nil {
		return err
	}
	return j.say(ctx, envelope.TypeJobProgress, payload)
}

// Log writes a log line that the client sees. attributes is any value that
// encodes as JSON, nil for none.
func (j *Job) Log(ctx context.Context, level envelope.LogLevel, message string, attributes any) error {
	switch level {
	case envelope.LogTrace, envelope.LogDebug, envelope.LogInfo,
		envelope.LogWarn, envelope.LogError, envelope.LogCritical:
	default:
		return envelope.Errorf(envelope.CodeInvalidArgument, "log: no such level %q", level)
	}
	raw, err := optional("log: attributes", attributes)
	if err != nil {
		return err
	}
	return j.say(ctx, envelope.TypeLog, &envelope.Log{
		Level: level, Message: strings.ToValidUTF8(message, "\uFFFD"), Attributes: raw,
	})
}

// Metric reports one measured value. Open dialect 3.11 reserves some names.
// dims is any value that encodes as JSON, nil for none.
//
// A metric that begins with cost. says what something has cost that was bought
// already: if the lease has a budget of its unit, that is lowered, also below
// zero, and Metric is as [Job.Charge] then, but for that nothing is refused
// except a negative value (INVALID_ARGUMENT). [Job.Authorize] fails once nothing
// is left. What is left is told at first, then every twentieth of the whole.
func (j *Job) Metric(ctx context.Context, name string, value float64, unit string, dims any) error {
	switch {
	case name == "":
		return envelope.Errorf(envelope.CodeInvalidArgument, "metric: name must not be empty")
	case math.IsNaN(value) || math.IsInf(value, 0):
		return envelope.Errorf(envelope.CodeInvalidArgument, "metric %s: value must be finite", name)
	}
	raw, err := optional("metric: dims", dims)
	if err != nil {
		return err
	}
	metric := &envelope.Metric{Name: name, Value: value, Unit: unit, Dims: raw}
	if isCost(name) {
		return j.meter(ctx, metric)
	}
	return j.say(ctx, envelope.TypeMetric, metric)
}

func optional(what string, value any) (json.RawMessage, error) {
	if value == nil {
		return nil, nil
	}
	raw, err := encodeValue(value)
	if err != nil {
		return nil, &envelope.Error{Code: envelope.CodeInvalidArgument, Message: what + " cannot be written as JSON", Err: err}
	}
	return raw, nil
}

func (j *Job) say(ctx context.Context, t envelope.Type, payload any) error {
	return j.sayAs(ctx, &j.speaker, t, payload)
}

func (j *Job) sayAs(ctx context.Context, as *speaker, t envelope.Type, payload any) error {
	if err := contextCause(ctx); err != nil {
		return err
	}
	l, err := as.line(t, payload)
	if err != nil {
		return err
	}
	return j.out.add(ctx, l)
}
