package worker

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/arcp-nats/arcp/envelope"
)

// retry calls try until it returns nil or a backoff.Permanent error, which is
// then returned unwrapped, or until ctx ends. The pace is 50 ms to 5 s,
// jittered. The first call costs nothing extra.
func retry(ctx context.Context, try func() error) error {
	err := try()
	if err == nil {
		return nil
	}
	if final := (*backoff.PermanentError)(nil); errors.As(err, &final) {
		return final.Unwrap()
	}
	pace := backoff.NewExponentialBackOff()
	pace.InitialInterval = 50 * time.Millisecond
	pace.MaxInterval = 5 * time.Second
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(pace.NextBackOff()):
	}
	_, err = backoff.Retry(ctx, func() (struct{}, error) { return struct{}{}, try() },
		backoff.WithBackOff(pace), backoff.WithMaxElapsedTime(0))
	return err
}

// worthAnotherTry tells whether the log may do later what it refused now.
func worthAnotherTry(err error) bool {
	switch envelope.CodeOf(err) {
	case envelope.CodeUnavailable, envelope.CodeResourceExhausted, envelope.CodeDeadlineExceeded:
		return !tooLargeForLog(err)
	}
	return false
}

// tooLargeForLog tells whether the log refused a record for its size, which is
// an exhausted resource that no waiting brings back.
func tooLargeForLog(err error) bool {
	var coded *envelope.Error
	return errors.As(err, &coded) && coded.Code == envelope.CodeResourceExhausted && !coded.IsRetryable()
}
