package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/arcp-nats/arcp/envelope"
)

// Error codes of the JetStream API that nats.go has no names for.
const (
	jsNoPeers            natsjs.ErrorCode = 10005 // no suitable peers for placement: too few servers of the cluster are up
	jsStreamOffline      natsjs.ErrorCode = 10118 // stream is offline
	jsConsumerOffline    natsjs.ErrorCode = 10119 // consumer is offline
	jsNotAvailable       natsjs.ErrorCode = 10008 // JetStream system temporarily unavailable
	jsNotLeader          natsjs.ErrorCode = 10009 // this server cannot handle the request
	jsNoResources        natsjs.ErrorCode = 10023 // insufficient resources
	jsNoMemory           natsjs.ErrorCode = 10028 // insufficient memory resources available
	jsNoStorage          natsjs.ErrorCode = 10047 // insufficient storage resources available
	jsAccountLimits      natsjs.ErrorCode = 10002 // resource limits exceeded for account
	jsStoreFailed        natsjs.ErrorCode = 10077 // storing failed; the description says why
	jsStreamMaxBytes     natsjs.ErrorCode = 10122 // stream max bytes exceeds account limit
	jsHeaderExceedsLimit natsjs.ErrorCode = 10097 // header size exceeds maximum allowed
	jsDuplicateInFlight  natsjs.ErrorCode = 10158 // a message with this id is being stored
)

// codeOfAPI returns the protocol code of an error that the broker answered with.
func codeOfAPI(err *natsjs.APIError) envelope.Code {
	switch err.ErrorCode {
	case jsNoResources, jsNoMemory, jsNoStorage, jsAccountLimits, jsStreamMaxBytes:
		return envelope.CodeResourceExhausted
	case natsjs.JSErrCodeStreamMessageExceedsMaximum, jsHeaderExceedsLimit:
		return envelope.CodeResourceExhausted
	case jsStoreFailed:
		for _, reason := range []string{"maximum", "insufficient", "no space", "resource limits"} {
			if strings.Contains(err.Description, reason) {
				return envelope.CodeResourceExhausted
			}
		}
		return envelope.CodeUnavailable
	case natsjs.JSErrCodeStreamWrongLastSequence, natsjs.JSErrCodeStreamWrongLastSequenceConstant:
		return envelope.CodeAborted
	case natsjs.JSErrCodeStreamNotFound, natsjs.JSErrCodeConsumerNotFound, natsjs.JSErrCodeConsumerDoesNotExist,
		natsjs.JSErrCodeMessageNotFound:
		return envelope.CodeNotFound
	case jsNotAvailable, jsNotLeader, jsNoPeers, jsStreamOffline, jsConsumerOffline, jsDuplicateInFlight,
		natsjs.JSErrCodeJetStreamNotEnabled, natsjs.JSErrCodeJetStreamNotEnabledForAccount:
		return envelope.CodeUnavailable
	}
	if err.Code == 503 {
		return envelope.CodeUnavailable
	}
	return envelope.CodeInternal
}

// failed gives an error of nats.go its protocol code. An ended ctx is the caller's doing and keeps its own error.
func failed(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	if ended := ctx.Err(); ended != nil {
		return fmt.Errorf("%s: %w", doing, ended)
	}
	var coded *envelope.Error
	if errors.As(err, &coded) {
		return err
	}
	code := envelope.CodeUnavailable
	var api *natsjs.APIError
	switch {
	case errors.Is(err, natsjs.ErrKeyNotFound), errors.Is(err, natsjs.ErrBucketNotFound),
		errors.Is(err, natsjs.ErrMsgNotFound), errors.Is(err, natsjs.ErrStreamNotFound),
		errors.Is(err, natsjs.ErrConsumerNotFound):
		code = envelope.CodeNotFound
	case errors.Is(err, natsjs.ErrInvalidKey):
		code = envelope.CodeInvalidArgument
	case errors.Is(err, nats.ErrMaxPayload):
		return tooLarge(doing)
	case errors.As(err, &api):
		code = codeOfAPI(api)
	}
	return envelope.Errorf(code, "%s: %w", doing, err)
}

// tooLarge is the refusal of what will never fit, so trying again is no use.
func tooLarge(doing string) error {
	never := false
	err := envelope.Errorf(envelope.CodeResourceExhausted, "%s: larger than the broker's limit on one message", doing)
	err.Retryable = &never
	return err
}

// retryable tells whether the broker may answer otherwise later.
func retryable(err error) bool { return envelope.CodeOf(err) == envelope.CodeUnavailable }

// apiCode returns the protocol code of an answer of the broker, or "" if err is none.
func apiCode(err error) envelope.Code {
	var api *natsjs.APIError
	if !errors.As(err, &api) {
		return ""
	}
	return codeOfAPI(api)
}
