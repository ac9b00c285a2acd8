package worker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// cancelJob puts a client's cancel into the log.
func (b *bench) cancelJob(inv *record.Record, reason string, deadlineMS *uint64) {
	b.t.Helper()
	e, err := envelope.New(envelope.TypeCancel, &envelope.Cancel{
		Target: envelope.TargetJob, TargetID: inv.Subject.Job, Reason: reason, DeadlineMS: deadlineMS,
	})
	require.NoError(b.t, err)
	r, err := record.New(subjects.JobInput(inv.Subject), e)
	require.NoError(b.t, err)
	b.put(r)
}

func untilDone(ctx context.Context, _ *Job) (any, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestLostWorkersJobIsTheNextAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		w1 := b.worker(Config{AckWait: 10 * time.Second}, Options{}, untilDone)
		inv := b.submit(`{}`, nil)
		b.await(inv, envelope.TypeJobStarted)
		w1.kill()
		w2 := b.worker(Config{Name: "worker-2", AckWait: 10 * time.Second}, Options{}, echo)
		began := time.Now()
		all := b.await(inv, envelope.TypeJobCompleted)
		require.LessOrEqual(t, time.Since(began), 11*time.Second)
		require.Equal(t, 2, all[len(all)-1].attempt)
		require.EqualValues(t, 2, payload[envelope.JobStarted](t, all[1]).Attempt)
		require.NotEqual(t, all[0].env.ID, all[1].env.ID)
		w2.end(t)
	})
}

func TestAttemptsUsedUp(t *testing.T) {
	for _, limit := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			inv := b.submit(`{}`, nil)
			runs := 0
			entered := make(chan struct{})
			h := func(ctx context.Context, job *Job) (any, error) {
				runs++
				entered <- struct{}{}
				return untilDone(ctx, job)
			}
			for range limit {
				w := b.worker(Config{}, Options{MaxAttempts: limit}, h)
				<-entered
				for len(b.events(inv)) < runs {
					time.Sleep(time.Millisecond) // fake
				}
				w.kill()
				time.Sleep(time.Minute) // fake: past the ack wait
			}
			w := b.worker(Config{}, Options{MaxAttempts: limit}, h)
			all := b.await(inv, envelope.TypeJobFailed)
			require.Equal(t, envelope.CodeAborted, payload[envelope.JobFailed](t, all[len(all)-1]).Code)
			require.Equal(t, limit, runs)
			synctest.Wait()
			require.True(t, b.job(inv).done)
			w.end(t)
		})
	}
}

// A job that was delivered and never started is not held against a tool that
// must not run twice.
func TestDeliveryWithoutStartIsNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		inv := b.submit(`{}`, nil)
		consumer, err := b.log.bus().Queue(t.Context(), 0, "q", time.Second)
		require.NoError(t, err)
		require.NoError(t, consumer.Fetch(t.Context(), 1, func(d Delivery) { require.NoError(t, d.Receipt.Nak(0)) }))
		w := b.worker(Config{}, Options{MaxAttempts: 1}, echo)
		all := b.await(inv, envelope.TypeJobCompleted)
		require.Equal(t, 2, all[0].attempt)
		w.end(t)
	})
}

// The start of the last permitted attempt is in the log before its handler
// runs, or a crash in the handler would go round for ever.
func TestLastAttemptIsRecordedBeforeItRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var inv *record.Record
		w := b.worker(Config{}, Options{MaxAttempts: 1}, func(context.Context, *Job) (any, error) {
			require.Equal(t, []envelope.Type{envelope.TypeJobStarted}, types(b.events(inv)))
			return nil, nil
		})
		inv = newInvocation(t, `{}`, nil)
		b.put(inv)
		b.await(inv, envelope.TypeJobCompleted)
		w.end(t)
	})
}

func TestEndedJobIsNotRunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		runs := 0
		h := func(context.Context, *Job) (any, error) { runs++; return nil, nil }
		w1 := b.worker(Config{}, Options{}, h)
		w1.bus.mu.Lock()
		b.log.publish = func(r *record.Record) error {
			if r.Types[len(r.Types)-1] == envelope.TypeJobCompleted {
				b.log.append(r)     // stored,
				close(w1.bus.cut)   // and the worker dies before it can acknowledge
				b.log.publish = nil // bus.gone says the rest
			}
			return nil
		}
		w1.bus.mu.Unlock()
		inv := b.submit(`{}`, nil)
		b.await(inv, envelope.TypeJobCompleted)
		w1.Stop()
		<-w1.done
		w2 := b.worker(Config{Name: "worker-2"}, Options{}, h)
		time.Sleep(time.Minute) // fake: past the ack wait
		require.Equal(t, 1, runs)
		require.True(t, b.job(inv).done)
		require.Equal(t, 2, b.job(inv).attempts)
		require.Len(t, b.events(inv), 2)
		w2.end(t)
	})
}

// A worker that slept through its ack wait finds that a later attempt has the
// job: it must not acknowledge what the other one runs.
func TestOvertakenAttemptDoesNotAcknowledge(t *testing.T) {
	testOvertaken(t, func(a *attempt) { a.lapsed.Store(true) })
}

// The delivery, or the signs of life, were on their way for too long, and the
// worker cannot know of it.
func TestAttemptThatWasOvertakenUnawaresDoesNotAcknowledge(t *testing.T) {
	testOvertaken(t, func(a *attempt) { time.Sleep(a.w.cfg.AckWait) }) // fake
}

func testOvertaken(t *testing.T, overtaken func(*attempt)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		inv := b.submit(`{}`, nil)
		gate := make(chan struct{})
		w1 := b.worker(Config{}, Options{Concurrency: 1}, func(context.Context, *Job) (any, error) { <-gate; return "first", nil })
		b.await(inv, envelope.TypeJobStarted)
		// The queue gives the job away although w1 lives, as after a pause.
		b.log.mu.Lock()
		j := b.log.queue("q").jobs[0]
		held := memReceipt{bus: w1.bus, job: j, attempt: 1}
		b.log.mu.Unlock()
		a1 := w1.held.get(inv.Subject.Job)
		overtaken(a1)

		w2 := b.worker(Config{Name: "worker-2"}, Options{}, func(context.Context, *Job) (any, error) {
			time.Sleep(time.Minute) // fake
			return "second", nil
		})
		held.expire()
		for all := b.events(inv); all[len(all)-1].attempt < 2; all = b.events(inv) {
			time.Sleep(time.Millisecond) // fake
		}
		close(gate)
		time.Sleep(time.Second) // fake
		require.False(t, b.job(inv).done)
		time.Sleep(time.Minute) // fake
		all := b.events(inv)
		require.Equal(t, 2, all[len(all)-1].attempt)
		require.True(t, b.job(inv).done)
		w1.end(t)
		w2.end(t)
	})
}

// The same worker gets the later attempt: the earlier handler is told.
func TestSupersededHandlerIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		inv := b.submit(`{}`, nil)
		told := make(chan error, 1)
		w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
			if job.Attempt() == 1 {
				<-ctx.Done()
				told <- context.Cause(ctx)
				return nil, ctx.Err()
			}
			time.Sleep(time.Second) // fake
			return "second", nil
		})
		b.await(inv, envelope.TypeJobStarted)
		b.log.mu.Lock()
		held := memReceipt{bus: w.bus, job: b.log.queue("q").jobs[0], attempt: 1}
		b.log.mu.Unlock()
		held.expire()
		require.ErrorIs(t, <-told, ErrSuperseded)
		all := b.await(inv, envelope.TypeJobCompleted)
		require.Equal(t, []envelope.Type{envelope.TypeJobStarted, envelope.TypeJobStarted, envelope.TypeJobCompleted}, types(all))
		w.end(t)
	})
}

func TestCheckpointsAreFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		inv := b.submit(`{}`, nil)
		say := func(attempt int, lines ...any) {
			var envs []*envelope.Envelope
			for i := 0; i < len(lines); i += 2 {
				e, err := envelope.New(lines[i].(envelope.Type), lines[i+1])
				require.NoError(t, err)
				envs = append(envs, e)
			}
			r, err := record.New(subjects.JobEvents(inv.Subject), envs...)
			require.NoError(t, err)
			r.Attempt, r.Sender = attempt, "w"
			b.put(r)
		}
		say(1, envelope.TypeJobStarted, &envelope.JobStarted{}, envelope.TypeJobCheckpoint, map[string]any{"data": "one"})
		say(2, envelope.TypeJobStarted, &envelope.JobStarted{})
		say(1, envelope.TypeJobCheckpoint, map[string]any{"data": "late words of a lost worker"})
		b.log.mu.Lock()
		b.log.queue("q").jobs[0].attempts = 2
		b.log.mu.Unlock()
		w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
			last, ok, err := job.LastCheckpoint(ctx)
			require.True(t, ok)
			return last, err
		})
		all := b.await(inv, envelope.TypeJobCompleted)
		require.Equal(t, `"one"`, string(payload[envelope.JobCompleted](t, all[len(all)-1]).Value))
		w.end(t)
	})
}

func TestOwnCheckpointIsTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
			_, ok, err := job.LastCheckpoint(ctx)
			require.False(t, ok)
			require.NoError(t, err)
			require.NoError(t, job.Checkpoint(ctx, 5))
			require.Error(t, job.Checkpoint(ctx, func() {}))
			require.ErrorContains(t, job.Extend(ctx, envelope.CheckpointExtension, nil), "has no messages")
			last, _, err := job.LastCheckpoint(ctx)
			return last, err
		})
		all := b.await(b.submit(`{}`, nil), envelope.TypeJobCompleted)
		require.Equal(t, "5", string(payload[envelope.JobCompleted](t, all[len(all)-1]).Value))
		w.end(t)
	})
}

func TestCancelOfARunningJob(t *testing.T) {
	zero, long := uint64(0), uint64(60_000)
	for name, c := range map[string]struct {
		reason   string
		deadline *uint64
		returns  time.Duration // how long the handler goes on
		value    any
		takes    time.Duration
		want     string
	}{
		"handler heeds it":          {reason: "enough", want: "enough"},
		"without a reason":          {want: defaultReason},
		"a late value is no result": {reason: "enough", value: 1, want: "enough"},
		"handler ignores it":        {reason: "enough", returns: time.Hour, takes: 5 * time.Second, want: "enough"},
		"within its own deadline":   {reason: "r", deadline: &long, returns: 30 * time.Second, takes: 30 * time.Second, want: "r"},
		"no grace at all":           {reason: "r", deadline: &zero, returns: time.Hour, want: "r"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				w := b.worker(Config{}, Options{}, func(ctx context.Context, _ *Job) (any, error) {
					<-ctx.Done()
					time.Sleep(c.returns) // fake
					if c.value != nil {
						return c.value, nil
					}
					return nil, context.Cause(ctx)
				})
				inv := b.submit(`{}`, nil)
				b.await(inv, envelope.TypeJobStarted)
				began := time.Now()
				b.cancelJob(inv, c.reason, c.deadline)
				all := b.await(inv, envelope.TypeJobCancelled)
				require.InDelta(t, c.takes, time.Since(began), float64(10*time.Millisecond))
				require.Equal(t, c.want, payload[envelope.JobCancelled](t, all[len(all)-1]).Reason)
				synctest.Wait()
				require.True(t, b.job(inv).done)
				time.Sleep(2 * time.Hour) // fake: whoever was abandoned returns
				require.Len(t, b.events(inv), len(all), "and is not heard")
				w.end(t)
			})
		})
	}
}

func TestCancelledBeforeItStarts(t *testing.T) {
	wantCancelledOnly := func(t *testing.T, b *bench, inv *record.Record) {
		t.Helper()
		all := b.await(inv, envelope.TypeJobCancelled)
		require.Equal(t, []envelope.Type{envelope.TypeJobCancelled}, types(all), "never started")
		require.Equal(t, "changed my mind", payload[envelope.JobCancelled](t, all[0]).Reason)
		synctest.Wait()
		require.True(t, b.job(inv).done)
	}
	t.Run("before the worker lived", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			inv := b.submit(`{}`, nil)
			b.cancelJob(inv, "changed my mind", nil)
			w := b.worker(Config{}, Options{}, echo)
			wantCancelledOnly(t, b, inv)
			w.end(t)
		})
	})
	t.Run("while the queue had it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			gate := make(chan struct{})
			w := b.worker(Config{}, Options{Concurrency: 1}, func(context.Context, *Job) (any, error) { <-gate; return nil, nil })
			first := b.submit(`{}`, nil)
			b.await(first, envelope.TypeJobStarted)
			inv := b.submit(`{}`, nil)
			b.cancelJob(inv, "changed my mind", nil)
			synctest.Wait()
			close(gate)
			wantCancelledOnly(t, b, inv)
			w.end(t)
		})
	})
	t.Run("while it waited for its tool", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			w := b.worker(Config{}, Options{Concurrency: 1}, untilDone)
			require.True(t, w.tools["tool@1"].slots.TryAcquire(1))
			inv := b.submit(`{}`, nil)
			synctest.Wait()
			require.Equal(t, 1, b.job(inv).held)
			b.cancelJob(inv, "changed my mind", nil)
			wantCancelledOnly(t, b, inv)
			w.tools["tool@1"].slots.Release(1)
			w.end(t)
		})
	})
}

func TestCancelBookIsBoundedAndForgetsNothing(t *testing.T) {
	book := newCancelBook(2)
	book.from(10)
	inv := func(job string, seq uint64) *record.Record {
		return &record.Record{Subject: subjects.Subject{Job: job}, Seq: seq}
	}
	note := func(job string, seq uint64) {
		book.note(&cancelEntry{
			job: job, seq: seq, cancel: &CancelError{Reason: job},
			subject: subjects.JobInput(subjects.Subject{Job: job}).String(),
		})
	}
	_, lookUp := book.find(inv("old", 10))
	require.True(t, lookUp, "invoked before the book begins")
	_, lookUp = book.find(inv("new", 11))
	require.False(t, lookUp)

	note("a", 20)
	note("b", 21)
	note("c", 22)
	c, _ := book.find(inv("c", 12))
	require.Equal(t, "c", c.Reason)
	c, lookUp = book.find(inv("a", 12))
	require.Nil(t, c, "pushed out")
	require.True(t, lookUp, "and so to be looked up")
	_, lookUp = book.find(inv("later", 30))
	require.False(t, lookUp)

	other := inv("c", 12)
	other.Subject.Session = "someone else's"
	c, _ = book.find(other)
	require.Nil(t, c, "a job id alone cancels nothing")

	book.forget("c")
	c, _ = book.find(inv("c", 30))
	require.Nil(t, c)
	require.Equal(t, 1, book.order.Len())
	require.Len(t, book.byJob, 1)
}

// A worker with more tools serves the queue of an older tool set too.
func TestGrownToolSetStrandsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		old := b.worker(Config{Name: "old", Queue: "old"}, Options{}, echo)
		old.end(t)
		inv := newInvocation(t, `{}`, nil)
		inv.Subject.Queue = "old"
		b.put(inv)

		bus := b.log.bus()
		w, err := New(bus, Config{Name: "new"})
		require.NoError(t, err)
		require.NoError(t, w.Handle("tool", "1", echo, Options{}))
		require.NoError(t, w.Handle("more", "1", echo, Options{}))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		b.await(inv, envelope.TypeJobCompleted)
		synctest.Wait()
		require.Contains(t, b.log.tools, "worker.old.new")
		cancel()
		require.NoError(t, <-done)
		require.NotContains(t, b.log.tools, "worker.old.new")
	})
}

func TestSeveralShards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.log.shards = func() ([]int, error) { return []int{0, 1, 2}, nil }
		w := b.worker(Config{}, Options{Concurrency: 2}, echo)
		var invs []*record.Record
		for i := range 60 {
			inv := newInvocation(t, `{}`, nil)
			inv.Subject.Shard = i % 3
			b.put(inv)
			invs = append(invs, inv)
		}
		for _, inv := range invs {
			b.await(inv, envelope.TypeJobCompleted)
		}
		w.end(t)
		require.LessOrEqual(t, b.log.largest, 2)
	})
}

// TestAForgottenAttemptFallsSilent: the broker hands a job to the worker that has it already, as the same attempt. What the
// one that was forgotten says after that would seem to be the other one's.
func TestAForgottenAttemptFallsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		runs, goOn := 0, make(chan struct{})
		w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
			runs++
			if runs == 2 {
				require.Equal(t, 1, job.Attempt())
				close(goOn)
				return "second", job.Log(ctx, envelope.LogInfo, "of the second", nil)
			}
			require.NoError(t, job.Log(ctx, envelope.LogInfo, "of the first", nil))
			<-goOn
			require.ErrorIs(t, job.Log(context.WithoutCancel(ctx), envelope.LogInfo, "too late", nil), ErrSuperseded)
			return "first", nil
		})
		inv := b.submit(`{}`, nil)
		b.await(inv, envelope.TypeLog)
		b.forget(inv)
		all := b.await(inv, envelope.TypeJobCompleted)
		require.Equal(t, []envelope.Type{
			envelope.TypeJobStarted, envelope.TypeLog, envelope.TypeJobStarted, envelope.TypeLog, envelope.TypeJobCompleted,
		}, types(all))
		require.JSONEq(t, `"second"`, string(payload[envelope.JobCompleted](t, all[4]).Value))
		w.end(t)
	})
}
