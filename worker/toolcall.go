package worker

import (
	"context"
	"encoding/json"

	"github.com/arcp-nats/arcp/envelope"
)

// ToolResult says what a tool that the handler has called has given back, any
// value that encodes as JSON: an event between the job's others (open dialect
// JB-7), and not its end. Whoever calls several says which by [ForCall].
func (j *Job) ToolResult(ctx context.Context, value any, options ...CallOption) error {
	raw, err := encodeValue(value)
	if err != nil {
		return &envelope.Error{
			Code: envelope.CodeInvalidArgument, Message: "tool.result: value cannot be written as JSON", Err: err,
		}
	}
	return j.sayOfCall(ctx, envelope.TypeToolResult, &envelope.ToolResult{Value: raw}, options)
}

// ToolResultRef is ToolResult for a result that is an artifact.
func (j *Job) ToolResultRef(ctx context.Context, ref envelope.ArtifactRef, options ...CallOption) error {
	return j.sayOfCall(ctx, envelope.TypeToolResult, &envelope.ToolResult{ResultRef: &ref}, options)
}

// ToolError says that a tool which the handler has called has failed, with the
// code, details and retryability of the [*envelope.Error] in the error's chain.
// The job goes on. The text goes to the client: it must hold no secret.
func (j *Job) ToolError(ctx context.Context, failure error, options ...CallOption) error {
	if failure == nil {
		return envelope.Errorf(envelope.CodeInvalidArgument, "tool.error: there is no error")
	}
	e := toolError(failure)
	return j.sayOfCall(ctx, envelope.TypeToolError, &envelope.ToolError{
		Code: j.inv.rec.Codes.Code(e.Code), Retryable: e.Retryable, Message: clip(e.Message), Details: e.Details,
	}, options)
}

// sayOfCall says what came of a call.
func (j *Job) sayOfCall(ctx context.Context, typ envelope.Type, payload any, options []CallOption) error {
	as := j.speaker
	for _, option := range options {
		option(&as)
	}
	return j.sayAs(ctx, &as, typ, payload)
}

// toolError is what a failure would end a job with; CANCELLED is a code here.
func toolError(failure error) *envelope.Error {
	e := envelope.Error{Code: envelope.CodeCancelled}
	if end := concludeError(failure); end.failed != nil {
		e = *end.failed
	} else {
		e.Message = *end.cancelled
	}
	retryable := e.IsRetryable()
	e.Retryable = &retryable
	if !json.Valid(e.Details) {
		e.Details = nil
	}
	return &e
}
