package worker

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// family is a handler for parents and children of one tool: jobs with the
// argument "parent" run parent, all others child.
func family(parent, child Handler) Handler {
	return func(ctx context.Context, job *Job) (any, error) {
		if string(job.Arguments()) == `"parent"` {
			return parent(ctx, job)
		}
		return child(ctx, job)
	}
}

// children returns the invocations that have parents, in the order of the log.
func (b *bench) children() (found []*record.Record) {
	b.log.mu.Lock()
	defer b.log.mu.Unlock()
	for _, r := range b.log.log {
		if r.Subject.Lane == subjects.Invoke && r.Parent != "" {
			found = append(found, r)
		}
	}
	return found
}

// awaitChild waits for the n-th child.
func (b *bench) awaitChild(n int) *record.Record {
	for {
		b.log.mu.Lock()
		changed := b.log.changed
		b.log.mu.Unlock()
		if found := b.children(); len(found) >= n {
			return found[n-1]
		}
		<-changed
	}
}

func delegateAndWait(ctx context.Context, job *Job) (any, error) {
	child, err := job.Delegate(ctx, "tool", "child", nil)
	if err != nil {
		return nil, err
	}
	result, err := child.Wait(ctx)
	if err != nil {
		return nil, err
	}
	return result.Value, nil
}

func TestDelegateStartsAChildOfTheSameSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		// One place only: the waiting parent must not stand in its child's way.
		w := b.worker(Config{}, Options{Concurrency: 1}, family(delegateAndWait, echo))
		inv := b.submit(`"parent"`, func(e *envelope.Envelope, _ *record.Record) { e.TraceID, e.SpanID = "trace-1", "span-1" })
		began := time.Now()
		all := b.await(inv, envelope.TypeJobCompleted)
		require.Less(t, time.Since(began), time.Second, "it is told of the end, and does not wait to look")
		require.JSONEq(t, `"child"`, string(payload[envelope.JobCompleted](t, all[len(all)-1]).Value))

		child := b.children()[0]
		want := inv.Subject
		want.Job = child.Subject.Job
		require.Equal(t, want, child.Subject)
		require.Equal(t, inv.Subject.Job, child.Parent)
		require.Equal(t, 1, child.Depth)
		require.Equal(t, child.Subject.Job, child.MsgID)
		parent, err := readInvocation(inv)
		require.NoError(t, err)
		own, err := readInvocation(child)
		require.NoError(t, err)
		require.Equal(t, "trace-1", own.env.TraceID)
		for _, line := range b.events(child) {
			require.Equal(t, parent.env.ID, line.env.CorrelationID)
			require.Equal(t, parent.env.SessionID, line.env.SessionID)
		}
		w.end(t)
	})
}

func TestDelegateFindsTheChildOfAnEarlierAttempt(t *testing.T) {
	// The worker is lost before the child is in the log, or while it runs.
	for _, stored := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			runs := 0
			child := func(ctx context.Context, job *Job) (any, error) {
				runs++
				if job.Attempt() == 1 && stored {
					return untilDone(ctx, job)
				}
				return job.Attempt(), nil
			}
			if !stored {
				b.log.publish = func(r *record.Record) error {
					if r.Subject.Lane == subjects.Invoke {
						return errAway
					}
					return nil
				}
			}
			w1 := b.worker(Config{}, Options{}, family(delegateAndWait, child))
			inv := newInvocation(t, `"parent"`, nil)
			b.put(inv)
			if stored {
				b.await(b.awaitChild(1), envelope.TypeJobStarted)
			} else {
				b.await(inv, record.TypeDelegated)
			}
			w1.kill()
			b.log.mu.Lock()
			b.log.publish = nil
			b.log.mu.Unlock()
			w2 := b.worker(Config{Name: "worker-2"}, Options{}, family(delegateAndWait, child))
			all := b.await(inv, envelope.TypeJobCompleted)
			require.Len(t, b.children(), 1)
			want, starts := "1", 1
			if stored {
				want, starts = "2", 2
			}
			require.Equal(t, want, string(payload[envelope.JobCompleted](t, all[len(all)-1]).Value))
			require.Equal(t, starts, runs)
			w2.end(t)
		})
	}
}

func TestDelegateByKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		w := b.worker(Config{}, Options{}, family(func(ctx context.Context, job *Job) (any, error) {
			one, err := job.Delegate(ctx, "tool", 1, nil, WithDelegateKey("a"))
			require.NoError(t, err)
			again, err := job.Delegate(ctx, "tool", 1, nil, WithDelegateKey("a"))
			require.NoError(t, err)
			require.Equal(t, one.ID(), again.ID())
			other, err := job.Delegate(ctx, "tool", 1, nil)
			require.NoError(t, err)
			require.NotEqual(t, one.ID(), other.ID())
			_, err = job.Delegate(ctx, "tool", 2, nil, WithDelegateKey("a"))
			require.Equal(t, envelope.CodeFailedPrecondition, envelope.CodeOf(err))
			_, err = job.Delegate(ctx, "tool", 1, nil, WithDelegateKey(strings.Repeat("a", 257)))
			require.Equal(t, envelope.CodeInvalidArgument, envelope.CodeOf(err))
			return nil, nil
		}, echo))
		b.await(b.submit(`"parent"`, nil), envelope.TypeJobCompleted)
		require.Len(t, b.children(), 2)
		w.end(t)
	})
}

func TestDelegateRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		w := b.worker(Config{MaxDepth: 2}, Options{}, family(func(ctx context.Context, job *Job) (any, error) {
			for tool, code := range map[string]envelope.Code{
				"no such": envelope.CodeInvalidArgument, "nobody": envelope.CodeAgentNotAvailable, "tool@9": envelope.CodeAgentVersionNotAvailable,
			} {
				_, err := job.Delegate(ctx, tool, nil, nil)
				require.Equal(t, code, envelope.CodeOf(err), tool)
			}
			_, err := job.Delegate(ctx, "tool", make(chan int), nil)
			require.Equal(t, envelope.CodeInvalidArgument, envelope.CodeOf(err))
			return delegateAndWait(ctx, job)
		}, delegateAndWait)) // itself, without end
		inv := b.submit(`"parent"`, nil)
		all := b.await(inv, envelope.TypeJobFailed)
		failed := payload[envelope.JobFailed](t, all[len(all)-1])
		require.Equal(t, envelope.CodeResourceExhausted, failed.Code)
		require.Contains(t, failed.Message, "3 deep, the limit is 2")
		require.False(t, *failed.Retryable)
		require.Len(t, b.children(), 2)
		w.end(t)
	})
}

func leaseOf(t *testing.T, text string) *envelope.Lease {
	t.Helper()
	if text == "" {
		return nil
	}
	l := new(envelope.Lease)
	require.NoError(t, json.Unmarshal([]byte(text), l))
	return l
}

func TestLE4DelegateBoundsTheChild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		w := b.worker(Config{}, Options{}, family(func(ctx context.Context, job *Job) (any, error) {
			for _, step := range []struct{ want, got string }{
				{`{"cost_budget":["USD:2"],"model_use":["fast/one"]}`, `{"cost_budget":["USD:2"],"model_use":["fast/one"],"region":"eu"}`},
				{`{"cost_budget":["USD:4"]}`, ""}, // of 5, 2 are gone
				{`{"model_use":["*"]}`, ""},
				{`{"expires_at":"2100-01-01T00:00:00Z"}`, ""},
				{`{"cost_budget":["USD:1"]}`, `{"cost_budget":["USD:1"],"model_use":["fast/*"],"region":"eu"}`},
				{"", `{"cost_budget":["USD:2"],"model_use":["fast/*"],"region":"eu"}`},
				{`{"cost_budget":["USD:0.000001"]}`, ""},
			} {
				child, err := job.Delegate(ctx, "tool", "child", leaseOf(t, step.want))
				if step.got == "" {
					require.Equal(t, envelope.CodeLeaseSubsetViolation, envelope.CodeOf(err), step.want)
					continue
				}
				require.NoError(t, err, step.want)
				result, err := child.Wait(ctx)
				require.NoError(t, err)
				require.JSONEq(t, step.got, string(result.Value))
			}
			return nil, nil
		}, func(_ context.Context, job *Job) (any, error) { return job.Lease(), nil }))
		inv := newInvocation(t, `"parent"`, nil)
		invoke, err := readInvocation(inv)
		require.NoError(t, err)
		invoke.call.LeaseRequest = leaseOf(t, `{"cost_budget":["USD:5"],"model_use":["fast/*"],"region":"eu"}`)
		env, err := envelope.New(envelope.TypeToolInvoke, invoke.call)
		require.NoError(t, err)
		invoke.env.Payload = env.Payload
		made, err := record.New(inv.Subject, invoke.env)
		require.NoError(t, err)
		b.put(made)
		b.await(made, envelope.TypeJobCompleted)
		require.Len(t, b.children(), 3)
		w.end(t)
	})
}

func TestTheEndOfAParentCancelsItsChildren(t *testing.T) {
	for name, parent := range map[string]Handler{
		"completed": func(context.Context, *Job) (any, error) { return 1, nil },
		"failed":    func(context.Context, *Job) (any, error) { return nil, errHandler },
		"cancelled": untilDone,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				w := b.worker(Config{}, Options{}, family(func(ctx context.Context, job *Job) (any, error) {
					_, err := job.Delegate(ctx, "tool", "child", nil)
					require.NoError(t, err)
					_, err = job.Delegate(ctx, "tool", "child", nil, WithDetached())
					require.NoError(t, err)
					b.await(b.awaitChild(2), envelope.TypeJobStarted)
					return parent(ctx, job)
				}, untilDone))
				inv := b.submit(`"parent"`, nil)
				attached, detached := b.awaitChild(1), b.awaitChild(2)
				if name == "cancelled" {
					b.await(detached, envelope.TypeJobStarted)
					b.cancelJob(inv, "enough", nil)
				}
				all := b.await(attached, envelope.TypeJobCancelled)
				require.Equal(t, parentEnded, payload[envelope.JobCancelled](t, all[len(all)-1]).Reason)
				b.cancelJob(detached, "enough as well", nil)
				all = b.await(detached, envelope.TypeJobCancelled)
				require.Equal(t, "enough as well", payload[envelope.JobCancelled](t, all[len(all)-1]).Reason)
				w.end(t)
			})
		})
	}
}

// TestChildrenEndThoughTheWorkerIsLost: between the parent's end and the cancel of its children.
func TestChildrenEndThoughTheWorkerIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		ended := make(chan struct{})
		b.log.publish = func(r *record.Record) error {
			if r.Subject.Lane == subjects.Input {
				close(ended)
				b.log.publish = func(*record.Record) error { return errAway }
				return errAway
			}
			return nil
		}
		h := family(func(ctx context.Context, job *Job) (any, error) {
			_, err := job.Delegate(ctx, "tool", "child", nil)
			return nil, err
		}, untilDone)
		// Nobody serves the children's queue but for the parents' worker, which has one place.
		w1 := b.worker(Config{}, Options{Concurrency: 1}, h)
		inv := newInvocation(t, `"parent"`, nil)
		b.put(inv)
		<-ended
		w1.kill()
		b.log.mu.Lock()
		b.log.publish = nil
		b.log.mu.Unlock()
		w2 := b.worker(Config{Name: "worker-2"}, Options{}, h)
		b.await(b.awaitChild(1), envelope.TypeJobCancelled)
		w2.end(t)
	})
}

// TestALateChildOfAnEndedParentDoesNotRun: a worker that was given up on starts it, when the parent has ended.
func TestALateChildOfAnEndedParentDoesNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		w := b.worker(Config{}, Options{}, echo)
		parent := b.submit(`1`, nil)
		b.await(parent, envelope.TypeJobCompleted)
		for _, detached := range []bool{false, true} {
			child := newInvocation(t, `2`, nil)
			child.Subject.Feed, child.Subject.Session = parent.Subject.Feed, parent.Subject.Session
			child.Parent, child.Depth, child.Detached = parent.Subject.Job, 1, detached
			b.put(child)
			want := envelope.TypeJobCancelled
			if detached {
				want = envelope.TypeJobCompleted
			}
			all := b.await(child, want)
			require.Equal(t, detached, all[0].typ == envelope.TypeJobStarted)
		}
		w.end(t)
	})
}

// TestWaitSeesAnEndThatNobodyTellsOf: who ended the child was lost before it told the parent.
func TestWaitSeesAnEndThatNobodyTellsOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.log.publish = func(r *record.Record) error {
			if r.EndedChild() != "" {
				return envelope.Errorf(envelope.CodeInternal, "lost")
			}
			return nil
		}
		w := b.worker(Config{}, Options{}, family(delegateAndWait, func(ctx context.Context, job *Job) (any, error) {
			time.Sleep(time.Minute) // fake
			return 1, nil
		}))
		inv := b.submit(`"parent"`, nil)
		began := time.Now()
		b.await(inv, envelope.TypeJobCompleted)
		require.LessOrEqual(t, time.Since(began), time.Minute+lookEvery+time.Second)
		w.end(t)
	})
}

func TestAChildsFailureIsTheErrorOfWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		w := b.worker(Config{}, Options{}, family(func(ctx context.Context, job *Job) (any, error) {
			child, err := job.Delegate(ctx, "tool", "fails", nil)
			require.NoError(t, err)
			_, err = child.Wait(ctx)
			require.Equal(t, envelope.CodeOutOfRange, envelope.CodeOf(err))
			child, err = job.Delegate(ctx, "tool", "runs", nil)
			require.NoError(t, err)
			require.NoError(t, child.Cancel(ctx, "not wanted any more"))
			_, err = child.Wait(ctx)
			require.Equal(t, envelope.CodeCancelled, envelope.CodeOf(err))
			require.ErrorContains(t, err, "not wanted any more")
			require.NoError(t, child.Cancel(ctx, ""))
			waiting, cancel := context.WithCancelCause(ctx)
			cancel(errHandler)
			open, err := job.Delegate(ctx, "tool", "runs", nil)
			require.NoError(t, err)
			_, err = open.Wait(waiting)
			require.ErrorIs(t, err, errHandler)
			return nil, nil
		}, func(ctx context.Context, job *Job) (any, error) {
			if string(job.Arguments()) == `"fails"` {
				return nil, envelope.Errorf(envelope.CodeOutOfRange, "too far")
			}
			return untilDone(ctx, job)
		}))
		b.await(b.submit(`"parent"`, nil), envelope.TypeJobCompleted)
		w.end(t)
	})
}

// TestPlacesAreLentAndTakenBack: however many wait, no more handlers than allowed go on.
func TestPlacesAreLentAndTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		running, most := 0, 0
		work := func() {
			b.log.mu.Lock()
			running++
			most = max(most, running)
			b.log.mu.Unlock()
			time.Sleep(time.Second) // fake
			b.log.mu.Lock()
			running--
			b.log.mu.Unlock()
		}
		w := b.worker(Config{}, Options{Concurrency: 2}, family(func(ctx context.Context, job *Job) (any, error) {
			work()
			value, err := delegateAndWait(ctx, job)
			work()
			return value, err
		}, func(context.Context, *Job) (any, error) { work(); return 1, nil }))
		var all []*record.Record
		for range 8 {
			all = append(all, b.submit(`"parent"`, nil))
		}
		for _, inv := range all {
			b.await(inv, envelope.TypeJobCompleted)
		}
		require.Equal(t, 2, most)
		w.end(t)
		require.Zero(t, w.lent.Load())
		require.Zero(t, w.slots.debt)
		require.True(t, w.slots.free.TryAcquire(w.slots.total))
	})
}

// TestLE3AChildsDeadlineIsWrittenDownBeforeTheChild: its lease ends it, whether or not anybody takes it.
func TestLE3AChildsDeadlineIsWrittenDownBeforeTheChild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		ends := time.Now().Add(time.Hour).UTC()
		w := b.worker(Config{}, Options{}, family(func(ctx context.Context, job *Job) (any, error) {
			child, err := job.Delegate(ctx, "tool", "child", leaseOf(t, `{"expires_at":"`+ends.Format(time.RFC3339Nano)+`"}`))
			require.NoError(t, err)
			_, err = child.Wait(ctx)
			return nil, err
		}, func(_ context.Context, job *Job) (any, error) {
			b.log.mu.Lock()
			defer b.log.mu.Unlock()
			require.Len(t, b.log.deadlines, 1)
			require.Equal(t, string(job.ID()), b.log.deadlines[0].Invocation.Job)
			require.True(t, ends.Equal(b.log.deadlines[0].At))
			return nil, nil
		}))
		inv := b.submit(`"parent"`, func(e *envelope.Envelope, _ *record.Record) {
			e.Payload = []byte(`{"tool":"tool","arguments":"parent","lease_request":{"expires_at":"` + ends.Add(time.Hour).Format(time.RFC3339Nano) + `"}}`)
		})
		b.await(inv, envelope.TypeJobCompleted)
		w.end(t)
	})
}
