package worker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/lease"
)

// TestAuthorize: the end of the lease, then its patterns, then its budget.
func TestAuthorize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		done := make(chan struct{})
		w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
			defer close(done)
			require.NoError(t, job.Authorize(ctx, lease.ToolCall, "search.web"))
			require.Equal(t, envelope.CodePermissionDenied, envelope.CodeOf(job.Authorize(ctx, lease.ToolCall, "mail")))
			require.Equal(t, envelope.CodeInvalidArgument, envelope.CodeOf(job.Authorize(ctx, "fs.delete", "/a")))
			require.NoError(t, job.Charge(ctx, "cost.x", amount("USD:1")))
			require.Equal(t, envelope.CodePermissionDenied, envelope.CodeOf(job.Authorize(ctx, lease.ToolCall, "mail")))
			err := job.Authorize(ctx, lease.ToolCall, "search.web")
			require.Equal(t, envelope.CodeBudgetExhausted, envelope.CodeOf(err))
			var coded *envelope.Error
			require.ErrorAs(t, err, &coded)
			require.False(t, coded.IsRetryable())
			time.Sleep(2 * time.Hour) // fake
			require.Equal(t, envelope.CodeLeaseExpired, envelope.CodeOf(job.Authorize(ctx, lease.ToolCall, "mail")))
			return nil, nil
		})
		until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
		b.await(b.submit(`{}`, bounded(`{"cost_budget":["USD:1"],"tool.call":["search.*"],"expires_at":"`+until+`"}`)), envelope.TypeJobFailed)
		<-done
		w.end(t)
	})
}
