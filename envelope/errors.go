package envelope

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Error is a failure with a code: what job.failed, nack and the rejections
// carry. It compares by code in [errors.Is], so a bare &Error{Code: c} serves
// as a target.
type Error struct {
	Code    Code
	Message string          // for people; no peer may parse it, and it holds no secret
	Details json.RawMessage // any JSON value; nil for none
	// Retryable overrides the code's default when not nil.
	Retryable *bool
	// Err is the cause. It is not sent.
	Err error
}

// Errorf makes an error with a formatted message. A %w operand becomes the
// cause.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Err: errors.Unwrap(err)}
}

// Error is the code and the message.
func (e *Error) Error() string {
	if e.Message == "" {
		return string(e.Code)
	}
	return string(e.Code) + ": " + e.Message
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is an *Error of the same code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// IsRetryable is the override if there is one, else the code's default.
func (e *Error) IsRetryable() bool {
	if e.Retryable != nil {
		return *e.Retryable
	}
	return e.Code.Retryable()
}

// CodeOf is the code that err stands for: OK for nil, that of the first
// [*Error] or [*DecodeError] in its chain, CANCELLED and DEADLINE_EXCEEDED for
// the errors of a context, else INTERNAL.
func CodeOf(err error) Code {
	if err == nil {
		return CodeOK
	}
	var coded *Error
	if errors.As(err, &coded) {
		return coded.Code
	}
	var bad *DecodeError
	if errors.As(err, &bad) {
		return bad.Code
	}
	switch {
	case errors.Is(err, context.Canceled):
		return CodeCancelled
	case errors.Is(err, context.DeadlineExceeded):
		return CodeDeadlineExceeded
	}
	return CodeInternal
}

// DecodeError says why a message could not be read. It never quotes values of
// the message, which may be secret.
type DecodeError struct {
	// Member is the path of the member at fault, such as "payload.auth.scheme",
	// or "" when the frame as a whole is no envelope.
	Member string
	// Reason is for people.
	Reason string
	// Limit names the limit that was passed: MaxBytes, MaxDepth or MaxKeys.
	// It is "" for any other fault.
	Limit string
	// Code to answer with: INVALID_ARGUMENT, or UNIMPLEMENTED for a type that
	// is well formed but has no handler here (EX-3).
	Code Code
	// ID and Type are what could be read of the message, for correlation.
	ID   MessageID
	Type string
	// Silent asks for no answer at all: experimental types, and unknown
	// extensions that call themselves optional (EX-3).
	Silent bool
}

// Error names the member and the reason.
func (e *DecodeError) Error() string {
	var b strings.Builder
	b.WriteString("envelope: ")
	if e.Member != "" {
		b.WriteString(e.Member)
		b.WriteString(": ")
	}
	b.WriteString(e.Reason)
	return b.String()
}

// Answer is the failure to report to the peer.
func (e *DecodeError) Answer() *Error {
	message := e.Reason
	if e.Member != "" {
		message = e.Member + ": " + message
	}
	return &Error{Code: e.Code, Message: message, Err: e}
}
