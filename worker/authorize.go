package worker

import (
	"context"
	"slices"
	"time"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/lease"
)

// Authorize reports that the job's lease allows an operation now: a handler asks
// before it does something that leases are about, as to read a file (fs.read and
// its path), to fetch a URL (net.fetch), to call a tool (tool.call and its name)
// or to use a model (model.use), or what a vendor names. The runtime cannot know
// of it otherwise.
//
// LEASE_EXPIRED: the lease has ended. PERMISSION_DENIED: no pattern of the
// capability's covers the target; a job without a lease may do nothing that is
// asked about. BUDGET_EXHAUSTED: there is a budget of which nothing is left.
// INVALID_ARGUMENT: there is no such capability. The first of them counts, in
// this order. As [Job.Budget] it waits while the log is away.
func (j *Job) Authorize(ctx context.Context, capability, target string) error {
	l := j.inv.lease
	if l != nil && l.ExpiresAt != nil && !l.ExpiresAt.After(time.Now()) {
		return final(envelope.CodeLeaseExpired, "the lease of the job has expired")
	}
	if err := lease.Permits(l, capability, target); err != nil {
		return err
	}
	left, err := j.Budget(ctx)
	if err != nil {
		return err
	}
	zero := envelope.DecimalFromMillionths(0)
	if at := slices.IndexFunc(left, func(a envelope.Amount) bool { return a.Value.Cmp(zero) <= 0 }); at >= 0 {
		return final(envelope.CodeBudgetExhausted, "nothing is left of the budget in "+left[at].Currency)
	}
	return nil
}

// final is an error that trying again does not mend.
func final(code envelope.Code, message string) error {
	never := false
	return &envelope.Error{Code: code, Message: message, Retryable: &never}
}
