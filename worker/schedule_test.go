package worker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
)

// TestScheduledJobsAreStartedAsOftenAsOthers: the deliveries before a job is due count for nothing.
func TestScheduledJobsAreStartedAsOftenAsOthers(t *testing.T) {
	for _, limit := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			inv := newInvocation(t, `{}`, nil)
			due := time.Now().Add(time.Hour)
			inv.NotBefore = due
			b.put(inv)
			entered := make(chan int)
			h := func(ctx context.Context, job *Job) (any, error) {
				entered <- job.Attempt()
				return untilDone(ctx, job)
			}
			// Two workers come and go while it waits.
			for range 2 {
				w := b.worker(Config{}, Options{MaxAttempts: limit}, h)
				time.Sleep(time.Minute) // fake
				w.end(t)
				time.Sleep(31 * time.Minute) // fake: the second time it is due
			}
			for n := range limit {
				w := b.worker(Config{}, Options{MaxAttempts: limit}, h)
				require.Equal(t, n+1, <-entered)
				require.False(t, time.Now().Before(due))
				w.kill()
				time.Sleep(time.Minute) // fake: past the ack wait
			}
			w := b.worker(Config{}, Options{MaxAttempts: limit}, h)
			all := b.await(inv, envelope.TypeJobFailed)
			require.Equal(t, envelope.CodeAborted, payload[envelope.JobFailed](t, all[len(all)-1]).Code)
			w.end(t)
		})
	}
}

// TestScheduledJobsHoldNothingWhileTheyWait: a worker with room for one job runs another one meanwhile.
func TestScheduledJobsHoldNothingWhileTheyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		later := newInvocation(t, `"later"`, nil)
		later.NotBefore = time.Now().Add(10 * time.Second)
		b.put(later)
		w := b.worker(Config{}, Options{Concurrency: 1}, echo)
		now := b.submit(`"now"`, func(*envelope.Envelope, *record.Record) {})
		began := time.Now()
		b.await(now, envelope.TypeJobCompleted)
		require.Less(t, time.Since(began), time.Second)
		b.await(later, envelope.TypeJobCompleted)
		require.GreaterOrEqual(t, time.Since(began), 9*time.Second)
		w.end(t)
	})
}
