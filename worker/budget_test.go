package worker

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

func amount(text string) envelope.Amount {
	a, err := envelope.ParseAmount(text)
	if err != nil {
		panic(err)
	}
	return a
}

// bounded lets a job have a lease.
func bounded(text string) func(*envelope.Envelope, *record.Record) {
	return func(e *envelope.Envelope, _ *record.Record) {
		e.Payload = []byte(`{"tool":"tool","arguments":{},"lease_request":` + text + `}`)
	}
}

// metrics are the metrics among events, name, value and unit.
func metrics(t *testing.T, events []said) (all [][3]any) {
	for _, e := range events {
		if e.env != nil && e.env.Type == envelope.TypeMetric {
			m := payload[envelope.Metric](t, e)
			all = append(all, [3]any{m.Name, m.Value, m.Unit})
		}
	}
	return all
}

func TestBG4AChargeIsTwoMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
			require.NoError(t, job.Charge(ctx, "cost.search", amount("USD:0.25")))
			require.NoError(t, job.Charge(ctx, "cost.search", amount("EUR:1")), "BG-5")
			require.ErrorIs(t, job.Charge(ctx, "cost.model", amount("USD:0.3")), &envelope.Error{Code: envelope.CodeBudgetExhausted})
			require.NoError(t, job.Charge(ctx, "cost.model", amount("USD:0.25")), "BG-3")
			require.ErrorIs(t, job.Charge(ctx, "", amount("USD:0")), &envelope.Error{Code: envelope.CodeInvalidArgument})
			require.ErrorIs(t, job.Charge(ctx, "cost.model", envelope.Amount{}), &envelope.Error{Code: envelope.CodeInvalidArgument})
			left, err := job.Budget(ctx)
			require.NoError(t, err)
			require.Equal(t, []envelope.Amount{amount("USD:0")}, left)
			return nil, job.Charge(ctx, "cost.model", amount("USD:1"))
		})
		all := b.await(b.submit(`{}`, bounded(`{"cost.budget":["USD:0.5"]}`)), envelope.TypeJobFailed)
		require.Equal(t, [][3]any{
			{"cost.search", 0.25, "USD"}, {"cost.budget.remaining", 0.25, "USD"}, {"cost.search", 1.0, "EUR"},
			{"cost.model", 0.25, "USD"}, {"cost.budget.remaining", 0.0, "USD"},
		}, metrics(t, all))
		failed := payload[envelope.JobFailed](t, all[len(all)-1])
		require.Equal(t, envelope.CodeBudgetExhausted, failed.Code)
		require.False(t, *failed.Retryable)
		w.end(t)
	})
}

func TestBG5WithoutABudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
			left, err := job.Budget(ctx)
			require.Nil(t, left)
			require.NoError(t, err)
			require.NoError(t, job.EnforceModel("any"), "MU-1")
			return nil, job.Charge(ctx, "cost.model", amount("USD:1e9"))
		})
		require.Len(t, metrics(t, b.await(b.submit(`{}`, nil), envelope.TypeJobCompleted)), 1)
		w.end(t)
	})
}

func TestMU1AModelThatTheLeaseDoesNotAllow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		w := b.worker(Config{}, Options{}, func(_ context.Context, job *Job) (any, error) {
			require.NoError(t, job.EnforceModel("fast/one"))
			return nil, job.EnforceModel("slow")
		})
		all := b.await(b.submit(`{}`, bounded(`{"model.use":["fast/*"]}`)), envelope.TypeJobFailed)
		require.Equal(t, envelope.CodePermissionDenied, payload[envelope.JobFailed](t, all[len(all)-1]).Code)
		w.end(t)
	})
}

// TestAChargeThatCannotBeSaidIsNone: nothing is spent, in this attempt or for the next one.
func TestAChargeThatCannotBeSaidIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
			gone, cancel := context.WithCancel(ctx)
			cancel()
			require.ErrorIs(t, job.Charge(gone, "cost.x", amount("USD:0.4")), context.Canceled)
			require.Equal(t, envelope.CodeResourceExhausted, envelope.CodeOf(job.Charge(ctx, strings.Repeat("x", 2<<20), amount("USD:0.4"))))
			left, err := job.Budget(ctx)
			require.NoError(t, err)
			require.Equal(t, []envelope.Amount{amount("USD:1")}, left)
			return nil, nil
		})
		all := b.await(b.submit(`{}`, bounded(`{"cost_budget":["USD:1"]}`)), envelope.TypeJobCompleted)
		require.Len(t, all, 2, "the start and the end")
		w.end(t)
	})
}

// TestBG5AnUnboundedChargeIsInTheLogToo: when Charge returns.
func TestBG5AnUnboundedChargeIsInTheLogToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var inv *record.Record
		w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
			require.NoError(t, job.Charge(ctx, "cost.x", amount("USD:1")))
			require.Len(t, metrics(t, b.events(inv)), 1)
			return nil, nil
		})
		inv = newInvocation(t, `{}`, nil)
		b.put(inv)
		b.await(inv, envelope.TypeJobCompleted)
		w.end(t)
	})
}

// TestSpentStaysSpent: an attempt finds what those before it have charged, but not what one of them says that had been
// taken over from by then.
func TestSpentStaysSpent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		inv := b.submit(`{}`, bounded(`{"cost_budget":["USD:1"]}`))
		say := func(attempt int, typ envelope.Type, payload any) {
			e, err := envelope.New(typ, payload)
			require.NoError(t, err)
			r, err := record.New(subjects.JobEvents(inv.Subject), e)
			require.NoError(t, err)
			r.Attempt, r.Sender = attempt, "w"
			b.put(r)
		}
		spend := func(text string) charged { return charged{Amounts: []envelope.Amount{amount(text)}} }
		say(1, envelope.TypeJobStarted, &envelope.JobStarted{})
		say(1, typeCharged, spend("USD:0.3"))
		say(2, envelope.TypeJobStarted, &envelope.JobStarted{})
		say(1, typeCharged, spend("USD:0.3")) // late words of a lost worker, which was told so
		say(2, typeCharged, spend("USD:0.3"))
		b.log.mu.Lock()
		b.log.queue("q").jobs[0].attempts = 2
		b.log.mu.Unlock()
		w := b.worker(Config{}, Options{MaxAttempts: 5}, func(ctx context.Context, job *Job) (any, error) {
			left, err := job.Budget(ctx)
			require.NoError(t, err)
			require.Equal(t, []envelope.Amount{amount("USD:0.4")}, left)
			require.Error(t, job.Charge(ctx, "cost.x", amount("USD:0.5")))
			return nil, job.Charge(ctx, "cost.x", amount("USD:0.4"))
		})
		b.await(inv, envelope.TypeJobCompleted)
		w.end(t)
	})
}

// TestAChargeOfAnAttemptThatWasOvertaken: it fails, so nothing is bought.
func TestAChargeOfAnAttemptThatWasOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		told := make(chan error, 1)
		w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
			require.NoError(t, job.Charge(ctx, "cost.x", amount("USD:0.1")))
			e, err := envelope.New(envelope.TypeJobStarted, &envelope.JobStarted{})
			require.NoError(t, err)
			r, err := record.New(subjects.JobEvents(job.inv.rec.Subject), e)
			require.NoError(t, err)
			r.Attempt, r.Sender = 2, "another"
			b.put(r)
			told <- job.Charge(ctx, "cost.x", amount("USD:0.1"))
			return nil, nil
		})
		b.submit(`{}`, bounded(`{"cost_budget":["USD:1"]}`))
		require.ErrorIs(t, <-told, ErrSuperseded)
		w.end(t)
	})
}

// TestAChargeAfterTheEnd: another attempt has ended the job, or an edge has, and what is said after that is shown to nobody.
// So nothing is bought, whether or not this attempt has charged before.
func TestAChargeAfterTheEnd(t *testing.T) {
	for _, before := range []int{0, 1} {
		t.Run(strconv.Itoa(before), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				told := make(chan error, 1)
				w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
					for range before {
						require.NoError(t, job.Charge(ctx, "cost.x", amount("USD:0.1")))
					}
					e, err := envelope.New(envelope.TypeJobFailed, &envelope.JobFailed{Code: envelope.CodeInternal, Message: "m"})
					require.NoError(t, err)
					r, err := record.New(subjects.JobEvents(job.inv.rec.Subject), e)
					require.NoError(t, err)
					b.put(r)
					told <- job.Charge(ctx, "cost.x", amount("USD:0.1"))
					require.ErrorIs(t, context.Cause(ctx), ErrJobEnded)
					return nil, nil
				})
				b.submit(`{}`, bounded(`{"cost_budget":["USD:1"]}`))
				require.ErrorIs(t, <-told, ErrJobEnded)
				w.end(t)
			})
		})
	}
}

// TestBG3TwoWorkersWithOneAttempt: the broker has forgotten that it handed the job out. What the first one has spent counts
// for the second one, and the first one learns of it before it buys again.
func TestBG3TwoWorkersWithOneAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		charged, go2, goOn := make(chan struct{}), make(chan struct{}), make(chan struct{})
		first := b.worker(Config{Name: "worker-1", Concurrency: 1}, Options{}, func(ctx context.Context, job *Job) (any, error) {
			require.NoError(t, job.Charge(ctx, "cost.x", amount("USD:0.6")))
			close(charged)
			<-goOn
			require.ErrorIs(t, job.Charge(ctx, "cost.x", amount("USD:0.1")), ErrSuperseded)
			close(go2)
			return nil, errHandler
		})
		inv := b.submit(`{}`, bounded(`{"cost_budget":["USD:1"]}`))
		<-charged
		b.forget(inv)
		second := b.worker(Config{Name: "worker-2"}, Options{}, func(ctx context.Context, job *Job) (any, error) {
			require.Equal(t, 1, job.Attempt())
			left, err := job.Budget(ctx)
			require.NoError(t, err)
			require.Equal(t, []envelope.Amount{amount("USD:0.4")}, left)
			close(goOn)
			<-go2
			require.Error(t, job.Charge(ctx, "cost.x", amount("USD:0.5")))
			return nil, job.Charge(ctx, "cost.x", amount("USD:0.4"))
		})
		b.await(inv, envelope.TypeJobCompleted)
		first.end(t)
		second.end(t)
	})
}

// TestAChargeReadsWhatIsNew: not all that the job has said so far.
func TestAChargeReadsWhatIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		const charges = 50
		w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
			for range charges {
				if err := job.Charge(ctx, "cost.x", amount("USD:0.01")); err != nil {
					return nil, err
				}
			}
			return nil, nil
		})
		b.await(b.submit(`{}`, bounded(`{"cost_budget":["USD:1"]}`)), envelope.TypeJobCompleted)
		b.log.mu.Lock()
		require.LessOrEqual(t, b.log.ranged, charges+1)
		b.log.mu.Unlock()
		w.end(t)
	})
}

func TestChargesOfManyGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
			var wg sync.WaitGroup
			refused := make(chan error, 20)
			for range 20 {
				wg.Go(func() {
					if err := job.Charge(ctx, "cost.x", amount("USD:0.1")); err != nil {
						refused <- err
					}
				})
			}
			wg.Wait()
			return len(refused), nil
		})
		all := b.await(b.submit(`{}`, bounded(`{"cost_budget":["USD:1"]}`)), envelope.TypeJobCompleted)
		require.Equal(t, "10", string(payload[envelope.JobCompleted](t, all[len(all)-1]).Value))
		w.end(t)
	})
}
