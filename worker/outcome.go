package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcp-nats/arcp/envelope"
)

// maxMessageBytes bounds the message of job.failed and the reason of
// job.cancelled.
const maxMessageBytes = 4 << 10

// ending is how an attempt ends: with one of three terminal events, or with
// none when the job goes to another worker.
type ending struct {
	completed *envelope.JobCompleted
	failed    *envelope.Error
	cancelled *string // the reason
}

// handedBack tells that this worker says no last word on the job.
func (e ending) handedBack() bool { return e.completed == nil && e.failed == nil && e.cancelled == nil }

// conclude maps what a handler returned to the job's end (open dialect JB-3).
// cause is why the job's context had ended when the handler returned, nil if
// it had not.
func conclude(value any, err, cause error) ending {
	if e, decided := concludeCause(cause); decided {
		return e
	}
	switch {
	case err == nil:
		return concludeValue(value)
	case cause != nil:
		// Draining or superseded: what a handler says while it is being
		// pushed out is no verdict on the job.
		return ending{}
	default:
		return concludeError(err)
	}
}

// concludeCause is the end of a job whose context was ended for good. A value
// that comes too late counts no more than an error.
func concludeCause(cause error) (ending, bool) {
	var cancel *CancelError
	switch {
	case errors.As(cause, &cancel):
		return endCancelled(cancel.Reason), true
	case errors.Is(cause, ErrTimeout):
		return ending{failed: envelope.Errorf(envelope.CodeTimeout, "the attempt ran out of time")}, true
	case errors.Is(cause, ErrLeaseExpired):
		return ending{failed: envelope.Errorf(envelope.CodeLeaseExpired, "the lease of the job has expired")}, true
	case errors.Is(cause, ErrSuperseded):
		return ending{}, true
	}
	return ending{}, false
}

func concludeError(err error) ending {
	var coded *envelope.Error
	switch {
	case envelope.CodeOf(err) == envelope.CodeCancelled:
		reason := err.Error()
		if errors.As(err, &coded) && coded.Message != "" {
			reason = coded.Message
		}
		return endCancelled(reason)
	case errors.As(err, &coded):
		failed := *coded
		if failed.Code == "" || failed.Code == envelope.CodeOK {
			failed.Code = envelope.CodeUnknown
		}
		if failed.Message == "" {
			failed.Message = string(failed.Code)
		}
		return ending{failed: &failed}
	default:
		return ending{failed: &envelope.Error{Code: envelope.CodeOf(err), Message: err.Error(), Err: err}}
	}
}

func endCancelled(reason string) ending { return ending{cancelled: &reason} }

func concludeValue(value any) ending {
	if ref, ok := value.(ResultRef); ok {
		if ref.ArtifactID == "" {
			return ending{failed: envelope.Errorf(envelope.CodeInternal, "the tool's result refers to no artifact")}
		}
		return ending{completed: &envelope.JobCompleted{ResultRef: (*envelope.ArtifactRef)(&ref)}}
	}
	encoded, err := encodeValue(value)
	if err != nil {
		return ending{failed: &envelope.Error{
			Code:    envelope.CodeUnknown, // as section 5 has it for serialisation faults
			Message: "the tool's result cannot be written as JSON",
			Err:     err,
		}}
	}
	if streamed, ok := streamedResult(encoded); ok {
		return ending{completed: streamed}
	}
	return ending{completed: &envelope.JobCompleted{Value: encoded}}
}

// encodeValue writes any value a handler may hand over as compact JSON.
func encodeValue(value any) (json.RawMessage, error) {
	switch v := value.(type) {
	case nil:
		return json.RawMessage("null"), nil
	case json.RawMessage:
		if v == nil {
			return json.RawMessage("null"), nil
		}
	}
	return jsonv2.Marshal(value, jsonv2.Deterministic(true))
}

// streamedResult reads the sentinel by which a handler says that its result
// went out in chunks (open dialect RS-2).
func streamedResult(encoded json.RawMessage) (*envelope.JobCompleted, bool) {
	const member = "$arcp_streamed_result"
	if !strings.HasPrefix(string(encoded[:min(len(encoded), len(member)+2)]), `{"`+member) {
		return nil, false
	}
	var outer map[string]json.RawMessage
	if jsonv2.Unmarshal(encoded, &outer) != nil || len(outer) != 1 {
		return nil, false
	}
	var inner map[string]json.RawMessage
	if jsonv2.Unmarshal(outer[member], &inner) != nil {
		return nil, false
	}
	var done envelope.JobCompleted
	if !readMember(inner, "result_id", &done.ResultID) || done.ResultID == "" {
		return nil, false
	}
	if size := uint64(0); readMember(inner, "result_size", &size) {
		done.ResultSize = &size
	}
	readMember(inner, "summary", &done.Summary)
	return &done, true
}

// readMember reads a member of exactly into's type, and tells whether it could.
func readMember[T any](object map[string]json.RawMessage, name string, into *T) bool {
	raw, ok := object[name]
	if !ok || string(raw) == "null" {
		return false
	}
	var v T
	if jsonv2.Unmarshal(raw, &v) != nil {
		return false
	}
	*into = v
	return true
}

// event is the terminal event's payload. The code is said in the vocabulary
// that the submitter's edge speaks.
func (e ending) event(codes envelope.Vocabulary) (envelope.Type, any) {
	switch {
	case e.completed != nil:
		return envelope.TypeJobCompleted, e.completed
	case e.cancelled != nil:
		reason := clip(*e.cancelled)
		return envelope.TypeJobCancelled, &envelope.JobCancelled{Reason: reason}
	default:
		retryable := e.failed.IsRetryable()
		return envelope.TypeJobFailed, &envelope.JobFailed{
			Code:      codes.Code(e.failed.Code),
			Retryable: &retryable,
			Message:   clip(e.failed.Message),
			Details:   e.failed.Details,
		}
	}
}

// clip makes text fit for an envelope: valid UTF-8 of bounded length.
func clip(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= maxMessageBytes {
		return text
	}
	cut := maxMessageBytes
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "..."
}

// panicked is the end of a job whose handler panicked. The stack is for the
// log of the worker, not for the client.
func panicked() ending {
	return ending{failed: &envelope.Error{Code: envelope.CodeInternal, Message: "the tool panicked"}}
}

// noAttemptLeft is the end of a job that was started as often as its tool allows.
func noAttemptLeft(limit int) ending {
	text := fmt.Sprintf("the worker was lost in each of %d attempts", limit)
	if limit == 1 {
		text = "the worker was lost, and the tool must not run twice"
	}
	return ending{failed: &envelope.Error{Code: envelope.CodeAborted, Message: text}}
}

// contextCause is the cause of ctx if it has ended, else nil.
func contextCause(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return context.Cause(ctx)
}
