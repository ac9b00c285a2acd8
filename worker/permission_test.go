package worker

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

var toWrite = Permission{Permission: "fs.write", Resource: "/tmp/x", Operation: "write", Reason: "to keep it", For: time.Minute}

// answerTo says what a client does to a request.
func (b *bench) answerTo(inv *record.Record, request envelope.MessageID, typ envelope.Type, payload any) {
	e, err := envelope.New(typ, payload)
	require.NoError(b.t, err)
	e.CorrelationID = request
	r, err := record.New(subjects.JobInput(inv.Subject), e)
	require.NoError(b.t, err)
	b.put(r)
}

func grantFor(seconds uint64) *envelope.PermissionGrant {
	return &envelope.PermissionGrant{Permission: "fs.write", Resource: "/tmp/x", Operation: "write", LeaseSeconds: seconds}
}

// spoken are the types of what was said for clients.
func spoken(events []said) (all []string) {
	for _, e := range events {
		if e.env != nil && !strings.HasPrefix(string(e.env.Type), "_") {
			all = append(all, string(e.env.Type))
		}
	}
	return all
}

func TestLE5AGrantIsProlongedAndEndsInTheWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
			g, err := job.RequestPermission(ctx, toWrite)
			require.NoError(t, err)
			began := time.Now()
			<-g.Done()
			return time.Since(began).Seconds(), nil
		})
		inv := b.submit(`{}`, nil)
		all := b.await(inv, envelope.TypePermissionRequest)
		request := all[len(all)-1]
		ask := payload[envelope.PermissionRequest](t, request)
		require.EqualValues(t, 60, *ask.RequestedLeaseSeconds)
		require.Equal(t, "to keep it", ask.Reason)
		require.Equal(t, envelope.JobStateBlocked, w.held.get(inv.Subject.Job).job.permits.state())
		b.answerTo(inv, "msg_another", envelope.TypePermissionGrant, grantFor(5))
		b.answerTo(inv, request.env.ID, envelope.TypePermissionGrant, grantFor(10))
		all = b.await(inv, envelope.TypeLeaseGranted)
		granted := payload[envelope.LeaseGranted](t, all[len(all)-1])
		require.Equal(t, envelope.JobStateRunning, w.held.get(inv.Subject.Job).job.permits.state())
		b.answerTo(inv, request.env.ID, envelope.TypePermissionDeny, &envelope.PermissionDeny{Permission: "fs.write"}) // too late
		time.Sleep(4 * time.Second)                                                                                    // fake
		b.answerTo(inv, "", envelope.TypeLeaseRefresh, &envelope.LeaseRefresh{LeaseID: granted.LeaseID, AdditionalSeconds: 10})
		all = b.await(inv, envelope.TypeJobCompleted)
		require.Equal(t, []string{
			"job.started", "permission.request", "lease.granted", "lease.extended", "lease.revoked", "job.completed",
		}, spoken(all))
		extended := payload[envelope.LeaseExtended](t, all[3])
		require.Equal(t, granted.LeaseID, extended.LeaseID)
		require.Equal(t, 10*time.Second, extended.ExpiresAt.Sub(granted.ExpiresAt.Time))
		require.Equal(t, granted.LeaseID, payload[envelope.LeaseRevoked](t, all[4]).LeaseID)
		require.Equal(t, "20", string(payload[envelope.JobCompleted](t, all[5]).Value))
		w.end(t)
	})
}

func TestLE5ADenialIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
			_, err := job.RequestPermission(ctx, Permission{})
			require.ErrorIs(t, err, &envelope.Error{Code: envelope.CodeInvalidArgument})
			_, err = job.RequestPermission(ctx, toWrite)
			return nil, err
		})
		inv := b.submit(`{}`, nil)
		all := b.await(inv, envelope.TypePermissionRequest)
		b.answerTo(inv, all[len(all)-1].env.ID, envelope.TypePermissionDeny, &envelope.PermissionDeny{Permission: "fs.write", Reason: "not today"})
		all = b.await(inv, envelope.TypeJobFailed)
		require.Equal(t, []string{"job.started", "permission.request", "job.heartbeat", "job.failed"}, spoken(all))
		failed := payload[envelope.JobFailed](t, all[3])
		require.Equal(t, envelope.CodePermissionDenied, failed.Code)
		require.Equal(t, "not today", failed.Message)
		w.end(t)
	})
}

// TestLE5ALostAttemptsAnswersAreFound: one that was answered is not asked again; one that was not is; an answer to either
// asking counts.
func TestLE5ALostAttemptsAnswersAreFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		inv := b.submit(`{}`, nil)
		ask := func(permission string) envelope.MessageID {
			e, err := envelope.New(envelope.TypePermissionRequest, &envelope.PermissionRequest{Permission: permission})
			require.NoError(t, err)
			r, err := record.New(subjects.JobEvents(inv.Subject), e)
			require.NoError(t, err)
			r.Attempt, r.Sender = 1, "w"
			b.put(r)
			return e.ID
		}
		a, c := ask("a"), ask("c")
		again := ask("a")
		b.answerTo(inv, a, envelope.TypePermissionGrant, &envelope.PermissionGrant{Permission: "a", LeaseSeconds: 60})
		b.answerTo(inv, again, envelope.TypePermissionDeny, &envelope.PermissionDeny{Permission: "a", Reason: "once is enough"})
		b.log.mu.Lock()
		b.log.queue("q").jobs[0].attempts = 1
		b.log.mu.Unlock()
		w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
			_, err := job.RequestPermission(ctx, Permission{Permission: "a"})
			require.NoError(t, err)
			_, err = job.RequestPermission(ctx, Permission{Permission: "a"})
			require.ErrorContains(t, err, "once is enough")
			_, err = job.RequestPermission(ctx, Permission{Permission: "c"})
			return nil, err
		})
		synctest.Wait()                                                                                                // it waits for the answer to the last one
		b.answerTo(inv, c, envelope.TypePermissionGrant, &envelope.PermissionGrant{Permission: "c", LeaseSeconds: 60}) // the first asking
		all := b.await(inv, envelope.TypeJobCompleted)
		require.Equal(t, []string{
			"permission.request", "permission.request", "permission.request", // of the attempt that was lost
			"job.started", "lease.granted", "permission.request", "lease.granted", "job.completed",
		}, spoken(all))
		w.end(t)
	})
}

func TestLE5AWaitEndsWithTheJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
			_, err := job.RequestPermission(ctx, toWrite)
			return nil, err
		})
		inv := b.submit(`{}`, nil)
		b.await(inv, envelope.TypePermissionRequest)
		b.cancelJob(inv, "enough", nil)
		b.await(inv, envelope.TypeJobCancelled)
		w.end(t)
	})
}

// TestLE3AJobEndsWithItsLease: while it runs, and before it could.
func TestLE3AJobEndsWithItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		ran := 0
		w := b.worker(Config{}, Options{}, func(ctx context.Context, _ *Job) (any, error) {
			ran++
			<-ctx.Done()
			require.ErrorIs(t, context.Cause(ctx), ErrLeaseExpired)
			return 1, nil
		})
		lease := func(d time.Duration) func(*envelope.Envelope, *record.Record) {
			return bounded(`{"expires_at":"` + time.Now().Add(d).UTC().Format(time.RFC3339Nano) + `"}`)
		}
		began := time.Now()
		for _, left := range []time.Duration{time.Minute, -time.Second} {
			all := b.await(b.submit(`{}`, lease(left)), envelope.TypeJobFailed)
			failed := payload[envelope.JobFailed](t, all[len(all)-1])
			require.Equal(t, envelope.CodeLeaseExpired, failed.Code)
			require.False(t, *failed.Retryable)
		}
		require.Equal(t, time.Minute, time.Since(began))
		require.Equal(t, 1, ran)
		w.end(t)
	})
}

// TestLE3AJobWhoseWorkerIsLostEndsWithItsLease: whoever takes it when the lease has ended says so.
func TestLE3AJobWhoseWorkerIsLostEndsWithItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		lost := b.worker(Config{AckWait: 10 * time.Second}, Options{}, untilDone)
		inv := b.submit(`{}`, bounded(`{"expires_at":"`+time.Now().Add(5*time.Second).UTC().Format(time.RFC3339Nano)+`"}`))
		b.await(inv, envelope.TypeJobStarted)
		lost.kill()
		next := b.worker(Config{Name: "worker-2", AckWait: 10 * time.Second}, Options{}, echo)
		all := b.await(inv, envelope.TypeJobFailed)
		require.Equal(t, envelope.CodeLeaseExpired, payload[envelope.JobFailed](t, all[len(all)-1]).Code)
		next.end(t)
		require.True(t, b.job(inv).done)
	})
}
