package dialect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/hello"
)

const (
	// inlineBytes bounds a stored end whose value stands in one message, where it stands twice. A larger one is streamed.
	inlineBytes = 450_000
	// pieceBytes bounds a piece of such a value. As text in a message it may be twice as long.
	pieceBytes = 256 << 10
)

// plainEnd reports whether a job.completed is one message, without reading it.
func plainEnd(line []byte) bool {
	return len(line) <= inlineBytes && !bytes.Contains(line, []byte(`"result_ref"`))
}

// marshal writes one of our own values.
func marshal(v any) json.RawMessage {
	raw, err := jsonv2.Marshal(v)
	if err != nil {
		return json.RawMessage("{}")
	}
	return raw
}

func event(e *envelope.Envelope, kind hello.Kind, body any) said {
	raw, ready := body.(json.RawMessage)
	if !ready {
		raw = marshal(body)
	}
	return said{typ: hello.TypeEvent, payload: &hello.Event{Kind: kind, TS: e.Timestamp, Body: raw}}
}

// helloEvents is what a client gets of an event of a job: a function of the envelope alone, as its numbers depend on it.
func helloEvents(e *envelope.Envelope, loose bool) []said {
	render, known := eventRenderers[e.Type]
	if !known || loose && !isOwnStatus(e) {
		return nil
	}
	return render(e)
}

// isOwnStatus reports whether an envelope is what an edge says to a session about one of its jobs.
func isOwnStatus(e *envelope.Envelope) bool {
	if e.Type != envelope.TypeEventEmit || e.JobID == "" {
		return false
	}
	p, err := envelope.DecodePayload[envelope.EventEmit](e)
	return err == nil && p.Name == string(hello.KindStatus)
}

var eventRenderers = map[envelope.Type]func(*envelope.Envelope) []said{
	envelope.TypeJobStarted: one(func(p *envelope.JobStarted) (hello.Kind, any) {
		body := &hello.StatusBody{Phase: hello.PhaseRunning, Message: p.Description}
		if p.Attempt > 1 {
			body.Details = marshal(map[string]uint64{"attempt": p.Attempt})
		}
		return hello.KindStatus, body
	}),
	envelope.TypeJobProgress: one(func(p *envelope.JobProgress) (hello.Kind, any) { return hello.KindProgress, hello.ProgressOf(p) }),
	envelope.TypeJobResultChunk: one(func(p *envelope.JobResultChunk) (hello.Kind, any) {
		return hello.KindResultChunk, &hello.ChunkBody{ResultID: orDash(p.ResultID), ChunkSeq: p.ChunkSeq, Data: p.Data, Encoding: p.Encoding, More: p.More}
	}),
	envelope.TypeLog: logEvent, envelope.TypeMetric: metricEvent,
	envelope.TypePermissionRequest: one(func(p *envelope.PermissionRequest) (hello.Kind, any) {
		return hello.KindStatus, &hello.StatusBody{
			Phase: hello.PhaseBlocked, Message: fmt.Sprintf("waits for the permission %s of %s", p.Permission, p.Resource), Details: marshal(p),
		}
	}),
	envelope.TypeToolError: func(e *envelope.Envelope) []said {
		p, err := envelope.DecodePayload[envelope.ToolError](e)
		if err != nil {
			return tooOdd(e)
		}
		problem := hello.ProblemOf(p.Code, p.Message, p.Details)
		return []said{event(e, hello.KindToolResult, &hello.ToolResultBody{CallID: callID(e), Error: &problem})}
	},
	envelope.TypeToolResult:  toolResult,
	envelope.TypeEventEmit:   emitted,
	envelope.TypeArtifactRef: artifactRef,
	envelope.TypeStreamOpen:  streamed("open"), envelope.TypeStreamChunk: streamed("chunk"),
	envelope.TypeStreamClose: streamed("close"), envelope.TypeStreamError: streamed("error"),
	envelope.TypeJobCompleted: completed, envelope.TypeJobFailed: failed, envelope.TypeJobCancelled: cancelled,
}

var (
	logEvent = one(func(p *envelope.Log) (hello.Kind, any) {
		attributes := objectOf(p.Attributes)
		body := &hello.LogBody{Level: p.Level, Message: orDash(p.Message), Attributes: attributes, Fields: attributes}
		if len(attributes) > inlineBytes {
			body.Fields = json.RawMessage("{}")
		}
		return hello.KindLog, body
	})
	metricEvent = one(func(p *envelope.Metric) (hello.Kind, any) {
		dims := textsOf(p.Dims)
		return hello.KindMetric, &hello.MetricBody{Name: orDash(p.Name), Value: p.Value, Unit: p.Unit, Dimensions: dims, Dims: dims}
	})
)

// one makes a renderer of a body.
func one[T any](body func(*T) (hello.Kind, any)) func(*envelope.Envelope) []said {
	return func(e *envelope.Envelope) []said {
		p, err := envelope.DecodePayload[T](e)
		if err != nil {
			return tooOdd(e)
		}
		kind, b := body(p)
		return []said{event(e, kind, b)}
	}
}

// tooOdd stands for an event that cannot be read: its number is not left out.
func tooOdd(e *envelope.Envelope) []said {
	return []said{event(e, hello.KindEmit, &envelope.EventEmit{Name: string(e.Type), Data: e.Payload})}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// objectOf is a JSON object, or one with the value in it.
func objectOf(raw json.RawMessage) json.RawMessage {
	switch {
	case len(raw) == 0, string(raw) == "null":
		return json.RawMessage("{}")
	case raw[0] == '{':
		return raw
	}
	return marshal(map[string]json.RawMessage{"value": raw})
}

// textsOf are the members of an object as texts, nil for none.
func textsOf(raw json.RawMessage) map[string]string {
	var members map[string]json.RawMessage
	if len(raw) == 0 || jsonv2.Unmarshal(raw, &members) != nil || len(members) == 0 {
		return nil
	}
	texts := make(map[string]string, len(members))
	for name, value := range members {
		var text string
		if jsonv2.Unmarshal(value, &text) != nil {
			text = string(value)
		}
		texts[name] = text
	}
	return texts
}

// callID names the call that a tool.result answers.
func callID(e *envelope.Envelope) string {
	if id := e.ExtensionText(envelope.CallIDExtension); id != "" {
		return id
	}
	return orDash(requestID(e.CorrelationID))
}

// toolResult: of an artifact, that it is there comes before.
func toolResult(e *envelope.Envelope) []said {
	p, err := envelope.DecodePayload[envelope.ToolResult](e)
	if err != nil {
		return tooOdd(e)
	}
	body := &hello.ToolResultBody{CallID: callID(e), Result: p.Value}
	if p.ResultRef == nil {
		if len(body.Result) == 0 || string(body.Result) == "null" {
			body.Result = json.RawMessage("{}")
		}
		return []said{event(e, hello.KindToolResult, body)}
	}
	body.Result = marshal(map[string]string{"uri": p.ResultRef.URI})
	return []said{event(e, hello.KindArtifactRef, hello.ArtifactOf(p.ResultRef)), event(e, hello.KindToolResult, body)}
}

// emitted: what this dialect has a kind for is that, and so is what a vendor calls its own.
func emitted(e *envelope.Envelope) []said {
	p, err := envelope.DecodePayload[envelope.EventEmit](e)
	if err != nil {
		return tooOdd(e)
	}
	switch kind := hello.Kind(p.Name); {
	case kind == hello.KindToolCall, kind == hello.KindStatus, kind == hello.KindDelegate, strings.HasPrefix(p.Name, "x-vendor."):
		return []said{event(e, kind, objectOf(p.Data))}
	}
	return []said{event(e, hello.KindEmit, p)}
}

func artifactRef(e *envelope.Envelope) []said {
	p, err := envelope.DecodePayload[envelope.ArtifactRefMessage](e)
	if err != nil {
		return tooOdd(e)
	}
	return []said{event(e, hello.KindArtifactRef, hello.ArtifactOf(&p.Artifact))}
}

// streamed: thoughts, logs and metrics are events of that kind, one for each chunk; that their streams begin and end is not
// shown. Other streams are.
func streamed(op string) func(*envelope.Envelope) []said {
	return func(e *envelope.Envelope) []said {
		kind := envelope.StreamKind(e.ExtensionText(envelope.StreamKindExtension))
		if e.Type == envelope.TypeStreamOpen {
			if p, err := envelope.DecodePayload[envelope.StreamOpen](e); err == nil {
				kind = p.Kind
			}
		}
		switch kind {
		case envelope.StreamThought, envelope.StreamLog, envelope.StreamMetric:
			if e.Type != envelope.TypeStreamChunk {
				return nil
			}
			return []said{streamedEvent(e, kind)}
		}
		return []said{event(e, hello.KindStream, &hello.StreamBody{StreamID: string(e.StreamID), Op: op, Payload: e.Payload})}
	}
}

// streamedEvent is a chunk as an event of its own.
func streamedEvent(e *envelope.Envelope, kind envelope.StreamKind) said {
	chunk, err := envelope.DecodePayload[envelope.StreamChunk](e)
	if err != nil {
		return tooOdd(e)[0]
	}
	if kind == envelope.StreamThought {
		var thought struct {
			Text string `json:"text"`
		}
		if !chunk.Redacted && jsonv2.Unmarshal(chunk.Data, &thought) != nil {
			_ = jsonv2.Unmarshal(chunk.Data, &thought.Text) // a bare text
		}
		return event(e, hello.KindThought, &hello.ThoughtBody{Text: thought.Text})
	}
	as := *e
	as.Payload = objectOf(chunk.Data)
	if kind == envelope.StreamMetric {
		as.Type = envelope.TypeMetric
		return metricEvent(&as)[0]
	}
	as.Type = envelope.TypeLog
	return logEvent(&as)[0]
}

// completed: the value of a large result is streamed, and of one that is an artifact, that it is there comes before.
func completed(e *envelope.Envelope) []said {
	p, err := envelope.DecodePayload[envelope.JobCompleted](e)
	if err != nil {
		return []said{{typ: hello.TypeResult, payload: &hello.Result{FinalStatus: hello.StatusSuccess, CompletedAt: e.Timestamp}}}
	}
	end := &hello.Result{
		FinalStatus: hello.StatusSuccess, ResultID: p.ResultID, ResultSize: p.ResultSize, Summary: p.Summary, CompletedAt: e.Timestamp,
	}
	last := said{typ: hello.TypeResult, payload: end}
	switch {
	case p.ResultID != "":
	case p.ResultRef != nil:
		body := hello.ArtifactOf(p.ResultRef)
		end.Result = marshal(body)
		end.Output = end.Result
		return []said{event(e, hello.KindArtifactRef, body), last}
	case len(p.Value) > inlineBytes-len(e.ID):
		end.ResultID = "res_" + strings.TrimPrefix(string(e.ID), "msg_")
		size := uint64(len(p.Value))
		end.ResultSize = &size
		return append(pieces(e, end.ResultID, p.Value), last)
	default:
		end.Result = p.Value
		if len(p.Value) == 0 {
			end.Result = json.RawMessage("null")
		}
		end.Output = end.Result
	}
	return []said{last}
}

// pieces streams a value.
func pieces(e *envelope.Envelope, id string, value []byte) (all []said) {
	for n := uint64(0); len(value) > 0; n++ {
		cut := min(pieceBytes, len(value))
		for cut < len(value) && !utf8.RuneStart(value[cut]) {
			cut--
		}
		all = append(all, event(e, hello.KindResultChunk, &hello.ChunkBody{
			ResultID: id, ChunkSeq: n, Data: string(value[:cut]), Encoding: envelope.EncodingUTF8, More: cut < len(value),
		}))
		value = value[cut:]
	}
	return all
}

func failed(e *envelope.Envelope) []said {
	p, err := envelope.DecodePayload[envelope.JobFailed](e)
	if err != nil {
		p = &envelope.JobFailed{Code: envelope.CodeInternal}
	}
	return []said{{typ: hello.TypeJobError, payload: &hello.JobError{
		FinalStatus: hello.StatusOf(envelope.JobStateFailed, p.Code), Problem: hello.ProblemOf(p.Code, p.Message, p.Details),
		CompletedAt: e.Timestamp,
	}}}
}

// cancelled: the message is never empty (rule 84).
func cancelled(e *envelope.Envelope) []said {
	reason := reasonOf(e)
	if reason == "" {
		reason = "cancelled"
	}
	return []said{{typ: hello.TypeJobError, payload: &hello.JobError{
		FinalStatus: hello.StatusCancelled, Problem: hello.ProblemOf(envelope.CodeCancelled, reason, nil), CompletedAt: e.Timestamp,
	}}}
}
