package worker

import (
	"context"
	"encoding/json"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
)

func echo(_ context.Context, job *Job) (any, error) { return job.Arguments(), nil }

func TestJobEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
			require.Equal(t, "alice", job.Principal())
			require.Equal(t, "tool", job.Reference())
			require.Equal(t, "tool@1", job.Tool().String())
			require.Equal(t, 1, job.Attempt())
			require.Equal(t, "trace-1", job.TraceID())
			require.NoError(t, job.Progress(ctx, Progress{Current: 1, Total: 4, Units: "steps", Message: "hm"}))
			require.NoError(t, job.Log(ctx, envelope.LogWarn, "careful", map[string]int{"n": 1}))
			require.NoError(t, job.Metric(ctx, "latency.ms", 1.5, "ms", nil))
			job.Logger().With("a", 1).WithGroup("g").Info("grouped", "b", time.Second)
			return map[string]int{"x": 1}, nil
		})
		var sent *envelope.Envelope
		inv := b.submit(`{"n":1}`, func(e *envelope.Envelope, _ *record.Record) {
			e.TraceID, e.SpanID = "trace-1", "span-1"
			sent = e
		})
		all := b.await(inv, envelope.TypeJobCompleted)
		require.Equal(t, []envelope.Type{
			envelope.TypeJobStarted, envelope.TypeJobProgress, envelope.TypeLog, envelope.TypeMetric,
			envelope.TypeLog, envelope.TypeJobCompleted,
		}, types(all))
		ids := map[envelope.MessageID]bool{}
		for _, s := range all {
			require.Equal(t, sent.ID, s.env.CorrelationID, "TR-5")
			require.Equal(t, sent.SessionID, s.env.SessionID)
			require.Equal(t, sent.JobID, s.env.JobID)
			require.Equal(t, "trace-1", s.env.TraceID)
			require.Equal(t, "span-1", s.env.ParentSpanID)
			require.Len(t, s.env.SpanID, 16)
			require.Equal(t, all[0].env.SpanID, s.env.SpanID)
			require.Zero(t, s.env.EventSeq)
			require.False(t, ids[s.env.ID], "every envelope has an id of its own")
			ids[s.env.ID] = true
			require.Equal(t, all[0].record, s.record, "a short job's events are one record")
			require.Equal(t, 1, s.attempt)
		}
		started := payload[envelope.JobStarted](t, all[0])
		require.Equal(t, "invoking tool", started.Description)
		require.EqualValues(t, 1, started.Attempt)
		require.JSONEq(t, `{"a":1,"g":{"b":"1s"}}`, string(payload[envelope.Log](t, all[4]).Attributes))
		require.JSONEq(t, `{"x":1}`, string(payload[envelope.JobCompleted](t, all[5]).Value))

		synctest.Wait()
		require.True(t, b.job(inv).done, "acknowledged")
		b.log.mu.Lock()
		r := b.log.log[len(b.log.log)-1]
		b.log.mu.Unlock()
		require.Equal(t, "worker-1", r.Sender)
		require.Equal(t, "alice", r.Principal)
		require.Equal(t, string(all[0].env.ID), r.MsgID)
		w.end(t)
	})
}

func TestNullResultIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		w := b.worker(Config{}, Options{}, func(context.Context, *Job) (any, error) { return nil, nil })
		all := b.await(b.submit(`null`, nil), envelope.TypeJobCompleted)
		require.Equal(t, "null", string(payload[envelope.JobCompleted](t, all[1]).Value))
		w.end(t)
	})
}

func TestHandlerThatPanicsOrExits(t *testing.T) {
	for name, h := range map[string]Handler{
		"panic":  func(context.Context, *Job) (any, error) { panic("secret") },
		"goexit": func(context.Context, *Job) (any, error) { runtime.Goexit(); return nil, nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				var logged lockedBuilder
				w := b.worker(Config{Logger: slog.New(slog.NewTextHandler(&logged, nil))}, Options{}, h)
				all := b.await(b.submit(`{}`, nil), envelope.TypeJobFailed)
				failed := payload[envelope.JobFailed](t, all[1])
				require.Equal(t, envelope.CodeInternal, failed.Code)
				require.NotContains(t, failed.Message, "secret")
				require.True(t, *failed.Retryable)
				// The worker is none the worse for it.
				b.await(b.submit(`{}`, nil), envelope.TypeJobFailed)
				w.end(t)
				require.Contains(t, logged.String(), "handler")
			})
		})
	}
}

func TestTimeoutIsSaidInTheSubmittersVocabulary(t *testing.T) {
	for codes, want := range map[envelope.Vocabulary]envelope.Code{
		"":                    envelope.CodeDeadlineExceeded,
		envelope.Vocabulary20: envelope.CodeDeadlineExceeded,
		envelope.Vocabulary11: envelope.CodeTimeout,
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			w := b.worker(Config{}, Options{Timeout: time.Minute}, func(ctx context.Context, _ *Job) (any, error) {
				<-ctx.Done()
				require.ErrorIs(t, context.Cause(ctx), ErrTimeout)
				return "too late", nil
			})
			began := time.Now()
			all := b.await(b.submit(`{}`, func(_ *envelope.Envelope, r *record.Record) { r.Codes = codes }), envelope.TypeJobFailed)
			require.Equal(t, want, payload[envelope.JobFailed](t, all[len(all)-1]).Code)
			require.InDelta(t, time.Minute, time.Since(began), float64(time.Second))
			w.end(t)
		})
	}
}

func TestHandlerThatIgnoresItsEndIsAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		release := make(chan struct{})
		refused := make(chan error, 1)
		w := b.worker(Config{CancelGrace: 3 * time.Second}, Options{Timeout: time.Second, Concurrency: 1},
			func(ctx context.Context, job *Job) (any, error) {
				<-release
				refused <- job.Log(context.Background(), envelope.LogInfo, "anyone there?", nil)
				return nil, nil
			})
		began := time.Now()
		inv := b.submit(`{}`, nil)
		b.await(inv, envelope.TypeJobFailed)
		require.InDelta(t, 4*time.Second, time.Since(began), float64(time.Second))
		synctest.Wait()
		require.True(t, b.job(inv).done)

		// It keeps its place: memory stays bounded whatever handlers do.
		second := b.submit(`{}`, nil)
		synctest.Wait()
		require.Empty(t, b.events(second))
		close(release)
		require.ErrorIs(t, <-refused, ErrJobEnded)
		b.await(second, envelope.TypeJobCompleted)
		w.end(t)
	})
}

func TestRunTellsOfHandlersThatNeverReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		release := make(chan struct{})
		w := b.worker(Config{DrainTimeout: time.Second}, Options{}, func(context.Context, *Job) (any, error) {
			<-release
			return nil, nil
		})
		inv := b.submit(`{}`, nil)
		b.await(inv, envelope.TypeJobStarted)
		w.drain()
		require.ErrorContains(t, <-w.done, "1 handlers")
		require.Zero(t, b.job(inv).held, "the job itself was handed back")
		close(release)
	})
}

func TestResultTooLargeFailsTheJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var said error
		w := b.worker(Config{MaxEventBytes: 4096}, Options{}, func(ctx context.Context, job *Job) (any, error) {
			said = job.Log(ctx, envelope.LogInfo, strings.Repeat("x", 5000), nil)
			return strings.Repeat("x", 5000), nil
		})
		all := b.await(b.submit(`{}`, nil), envelope.TypeJobFailed)
		failed := payload[envelope.JobFailed](t, all[len(all)-1])
		require.Equal(t, envelope.CodeResourceExhausted, failed.Code)
		require.Contains(t, failed.Message, "limit 4096")
		require.False(t, *failed.Retryable)
		require.Equal(t, envelope.CodeResourceExhausted, envelope.CodeOf(said))
		w.end(t)
	})
}

// A log that takes only small records gets small ones; what does not fit at
// all fails the job with a clear code, at once.
func TestLogThatTakesOnlySmallRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		never := false
		b.log.publish = func(r *record.Record) error {
			if len(r.Body) > 4096 {
				return &envelope.Error{Code: envelope.CodeResourceExhausted, Message: "larger than the limit", Retryable: &never}
			}
			return nil
		}
		w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
			for range 50 {
				require.NoError(t, job.Log(ctx, envelope.LogInfo, strings.Repeat("x", 500), nil))
			}
			return job.Arguments(), nil
		})
		small := b.submit(`{}`, nil)
		require.Len(t, b.await(small, envelope.TypeJobCompleted), 52)
		big := b.submit(`"`+strings.Repeat("x", 5000)+`"`, nil)
		all := b.await(big, envelope.TypeJobFailed)
		require.Equal(t, envelope.CodeResourceExhausted, payload[envelope.JobFailed](t, all[len(all)-1]).Code)
		require.False(t, *payload[envelope.JobFailed](t, all[len(all)-1]).Retryable)
		synctest.Wait()
		require.True(t, b.job(big).done)
		require.Equal(t, 1, b.job(big).attempts)
		w.end(t)
	})
}

func TestUnreadableInvocationFailsTheJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		w := b.worker(Config{}, Options{}, echo)
		inv := newInvocation(t, `{}`, nil)
		inv.Types[1] = envelope.TypePing
		b.put(inv)
		all := b.await(inv, envelope.TypeJobFailed)
		require.Equal(t, envelope.CodeInternal, payload[envelope.JobFailed](t, all[0]).Code)
		w.end(t)
	})
}

func TestToolThatIsNotOfferedHereGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		w := b.worker(Config{}, Options{}, echo)
		inv := newInvocation(t, `{}`, nil)
		inv.Subject.Tool = "other@1"
		b.put(inv)
		time.Sleep(10 * time.Second) // fake
		require.Empty(t, b.events(inv))
		require.Less(t, b.job(inv).attempts, 6, "no spinning")
		w.end(t)
	})
}

func TestConcurrencyAndNothingFetchedAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var invs []*record.Record
		for range 50 {
			invs = append(invs, b.submit(`{}`, nil))
		}
		gate := make(chan struct{})
		w := b.worker(Config{}, Options{Concurrency: 4}, func(context.Context, *Job) (any, error) {
			<-gate
			return nil, nil
		})
		synctest.Wait()
		require.Equal(t, 4, w.handlers.running)
		close(gate)
		for _, inv := range invs {
			b.await(inv, envelope.TypeJobCompleted)
		}
		w.end(t)
		require.Equal(t, 4, b.log.largest)
	})
}

func TestSignsOfLifeAndHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		w := b.worker(Config{AckWait: 6 * time.Second}, Options{Concurrency: 1}, func(ctx context.Context, _ *Job) (any, error) {
			time.Sleep(10 * time.Minute) // fake
			return nil, nil
		})
		first := b.submit(`{}`, nil)
		second := b.submit(`{}`, nil) // waits for the first, and must be kept too
		all := b.await(first, envelope.TypeJobCompleted)
		b.await(second, envelope.TypeJobCompleted)
		for _, inv := range []*record.Record{first, second} {
			j := b.job(inv)
			require.Equal(t, 1, j.attempts)
			require.GreaterOrEqual(t, j.beats, 300, "one at least every third of the ack wait")
		}
		beats := 0
		last := all[0].at
		for _, s := range all[1:] {
			require.LessOrEqual(t, s.at.Sub(last), 31*time.Second, "HB-4")
			last = s.at
			if s.typ == envelope.TypeJobHeartbeat {
				hb := payload[envelope.JobHeartbeat](t, s)
				require.EqualValues(t, beats, hb.Sequence)
				require.EqualValues(t, 60_000, *hb.DeadlineMS)
				require.Equal(t, envelope.JobStateRunning, hb.State)
				beats++
			}
		}
		require.InDelta(t, 20, beats, 5)
		w.end(t)
	})
}

func TestDrainLetsRunningJobsFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		w := b.worker(Config{}, Options{Concurrency: 1}, func(ctx context.Context, _ *Job) (any, error) {
			time.Sleep(20 * time.Second) // fake
			return "done", ctx.Err()
		})
		runs := b.submit(`{}`, nil)
		b.await(runs, envelope.TypeJobStarted)
		w.drain()
		synctest.Wait()
		late := b.submit(`{}`, nil)
		require.NoError(t, <-w.done)
		b.await(runs, envelope.TypeJobCompleted)
		require.True(t, b.job(runs).done)
		require.Zero(t, b.job(late).attempts, "nothing is fetched while draining")
		require.NotContains(t, b.log.tools, "worker.q.worker-1", "presence withdrawn")
	})
}

func TestDrainHandsBackWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		gate := make(chan struct{})
		w := b.worker(Config{}, Options{Concurrency: 1}, func(context.Context, *Job) (any, error) { <-gate; return nil, nil })
		// The slot of a second tool lets a second job of the first one in.
		first := b.submit(`{}`, nil)
		b.await(first, envelope.TypeJobStarted)
		synctest.Wait()
		w.slots.release(1)
		w.slots.free.TryAcquire(0)
		second := b.submit(`{}`, nil)
		synctest.Wait()
		require.Equal(t, 1, b.job(second).held, "fetched, and waiting")
		w.drain()
		synctest.Wait()
		require.Zero(t, b.job(second).held, "handed back at once")
		require.Empty(t, b.events(second))
		close(gate)
		w.slots.free.TryAcquire(1)
		require.NoError(t, <-w.done)
	})
}

func TestDrainTimeoutHandsOverToTheNextWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		h := func(ctx context.Context, job *Job) (any, error) {
			if job.Attempt() > 1 {
				last, ok, err := job.LastCheckpoint(ctx)
				require.NoError(t, err)
				require.True(t, ok)
				return last, nil
			}
			if err := job.Checkpoint(ctx, map[string]int{"at": 7}); err != nil {
				return nil, err
			}
			<-ctx.Done()
			require.ErrorIs(t, context.Cause(ctx), ErrDraining)
			// The context is over, and still these words are worth keeping.
			_ = job.Log(context.WithoutCancel(ctx), envelope.LogInfo, "tidied up", nil)
			return nil, ctx.Err()
		}
		w1 := b.worker(Config{DrainTimeout: 10 * time.Second}, Options{MaxAttempts: 2}, h)
		inv := b.submit(`{}`, nil)
		b.await(inv, envelope.TypeJobCheckpoint)
		w2 := b.worker(Config{Name: "worker-2"}, Options{MaxAttempts: 2}, h)
		began := time.Now()
		w1.end(t)
		all := b.await(inv, envelope.TypeJobCompleted)
		require.InDelta(t, 10*time.Second, time.Since(began), float64(time.Second), "at once, not after the ack wait")
		require.Equal(t, []envelope.Type{
			envelope.TypeJobStarted, envelope.TypeJobCheckpoint, envelope.TypeLog, typeHandedBack,
			envelope.TypeJobStarted, envelope.TypeJobCompleted,
		}, types(all))
		require.JSONEq(t, `{"at":7}`, string(payload[envelope.JobCompleted](t, all[5]).Value))
		w2.end(t)
	})
}

func TestHandBacksAreNotHeldAgainstTheJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		inv := b.submit(`{}`, nil)
		for range 5 {
			w := b.worker(Config{DrainTimeout: -1}, Options{MaxAttempts: 2}, func(ctx context.Context, _ *Job) (any, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			})
			b.await(inv, envelope.TypeJobStarted)
			w.end(t)
			require.Equal(t, typeHandedBack, types(b.events(inv))[len(b.events(inv))-1])
		}
		w := b.worker(Config{}, Options{MaxAttempts: 2}, echo)
		all := b.await(inv, envelope.TypeJobCompleted)
		require.Equal(t, 6, all[len(all)-1].attempt)
		w.end(t)
	})
}

func TestValueOfADrainedHandlerCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		w := b.worker(Config{DrainTimeout: time.Second}, Options{}, func(ctx context.Context, _ *Job) (any, error) {
			<-ctx.Done()
			return json.RawMessage(`"just made it"`), nil
		})
		inv := b.submit(`{}`, nil)
		b.await(inv, envelope.TypeJobStarted)
		w.end(t)
		b.await(inv, envelope.TypeJobCompleted)
	})
}

func TestStopEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		w := b.worker(Config{}, Options{}, func(ctx context.Context, _ *Job) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		inv := b.submit(`{}`, nil)
		b.await(inv, envelope.TypeJobStarted)
		began := time.Now()
		w.drain()
		synctest.Wait()
		w.Stop()
		require.NoError(t, <-w.done)
		require.Zero(t, time.Since(began))
		require.Zero(t, b.job(inv).held)
	})
}

func TestLogThatIsAwayLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
			for i := range 3000 {
				if err := job.Progress(ctx, Progress{Current: float64(i)}); err != nil {
					return nil, err
				}
			}
			return nil, nil
		})
		b.log.mu.Lock()
		back := time.Now().Add(40 * time.Second)
		b.log.publish = func(*record.Record) error {
			if time.Now().Before(back) {
				return errAway
			}
			return nil
		}
		b.log.mu.Unlock()
		all := b.await(b.submit(`{}`, nil), envelope.TypeJobCompleted)
		require.True(t, time.Now().After(back))
		next := 0.0
		for _, s := range all {
			if s.typ == envelope.TypeJobProgress {
				require.Equal(t, next, payload[envelope.JobProgress](t, s).Current)
				next++
			}
		}
		require.Equal(t, 3000.0, next)
		w.end(t)
	})
}

func TestConfigIsChecked(t *testing.T) {
	bus := newMemLog().bus()
	for _, cfg := range []Config{
		{}, {Name: "w", Concurrency: -1}, {Name: "w", MaxAttempts: -1}, {Name: "w", AckWait: -1},
		{Name: "w", Heartbeat: -1}, {Name: "w", CancelGrace: -1}, {Name: "w", MaxEventBytes: -1},
	} {
		_, err := New(bus, cfg)
		var bad *ConfigError
		require.ErrorAs(t, err, &bad)
	}
	_, err := New(nil, Config{Name: "w"})
	require.Error(t, err)

	w, err := New(bus, Config{Name: "w"})
	require.NoError(t, err)
	require.ErrorContains(t, w.Run(t.Context()), "tools")
	require.NoError(t, w.Handle("tool", "1", echo, Options{Default: true}))
	require.NoError(t, w.Handle("tool", "2", echo, Options{}))
	require.ErrorContains(t, w.Handle("tool", "1", echo, Options{}), "registered already")
	require.ErrorContains(t, w.Handle("tool", "3", echo, Options{Default: true}), "default")
	require.ErrorContains(t, w.Handle("Tool", "1", echo, Options{}), "agent name")
	require.ErrorContains(t, w.Handle("tool", "1@2", echo, Options{}), "agent version")
	require.ErrorContains(t, w.Handle("tool", "", echo, Options{}), "agent version")
	require.ErrorContains(t, w.Handle("nil", "1", nil, Options{}), "handler")
	require.ErrorContains(t, w.Handle("neg", "1", echo, Options{Timeout: -1}), "Timeout")
	require.ErrorContains(t, w.Handle("neg", "1", echo, Options{Concurrency: -1}), "Concurrency")
	require.ErrorContains(t, w.Handle("neg", "1", echo, Options{MaxAttempts: -1}), "MaxAttempts")
	require.Equal(t, []string{"tool@1", "tool@2"}, w.Tools())
}
