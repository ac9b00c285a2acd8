package worker

import (
	"errors"
	"fmt"
	"time"

	"github.com/arcp-nats/arcp/envelope"
)

// Causes of a job's context having ended ([context.Cause]), and what the
// methods of a [Job] return once the job is over.
var (
	// ErrDraining: the worker leaves and the drain timeout has passed. The job
	// goes to another worker as its next attempt; whatever the handler returns
	// as an error is not the job's end.
	ErrDraining = errors.New("worker: draining, the job goes to another worker")
	// ErrTimeout: the attempt took longer than its tool's Options.Timeout, or
	// than the runtime lets any job run.
	ErrTimeout = errors.New("worker: the attempt ran out of time")
	// ErrLeaseExpired: the job's lease has ended (open dialect LE-3).
	ErrLeaseExpired = errors.New("worker: the lease of the job has expired")
	// ErrSuperseded: the queue has given the job to a later attempt, since
	// this one was not heard of for too long. Nothing it says counts any more.
	ErrSuperseded = errors.New("worker: a later attempt has the job")
	// ErrJobEnded: the job has its terminal event, or was handed back.
	ErrJobEnded = errors.New("worker: the job has ended")
)

// CancelError is the cause when the client cancelled the job.
type CancelError struct {
	// Reason is the client's, or a general one if it gave none.
	Reason string
	// Grace is how long the handler may go on. After that the job ends as
	// cancelled whether or not the handler has returned.
	Grace time.Duration
}

// Error says that the job was cancelled and why.
func (e *CancelError) Error() string { return fmt.Sprintf("cancelled: %s", e.Reason) }

// tooLargeError refuses one event; it stands for RESOURCE_EXHAUSTED, and
// trying again does not help.
type tooLargeError struct {
	kind        envelope.Type
	size, limit int
}

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("%s is too large: %d bytes as an envelope, limit %d", e.kind, e.size, e.limit)
}

// As lets the error be read as the coded one that the protocol knows.
func (e *tooLargeError) As(target any) bool {
	coded, ok := target.(**envelope.Error)
	if ok {
		never := false
		*coded = &envelope.Error{Code: envelope.CodeResourceExhausted, Message: e.Error(), Retryable: &never}
	}
	return ok
}
