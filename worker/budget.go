package worker

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/cenkalti/backoff/v5"
	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/lease"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// spending is what an attempt knows of the job's budget.
type spending struct {
	mu     sync.Mutex // held while something is charged, so that charges come one by one
	read   bool       // what others have spent is taken off
	budget lease.Budget

	heard hearing // up to this position of the job's events
	upTo  uint64
}

// charged is the payload of a marker that says what was spent.
type charged struct {
	Amounts []envelope.Amount `json:"amounts"`
}

// Charge spends an amount of the job's budget and tells the client: a metric
// with the given name, which should begin with cost., and, if the lease bounds
// the currency, one named cost.budget.remaining (open dialect BG-2 to BG-5).
// Amounts count in millionths. BUDGET_EXHAUSTED, which is not to be tried
// again: the amount is more than is left; nothing was spent or said, and a
// smaller one may still be had. INVALID_ARGUMENT: the name or the currency is
// missing; RESOURCE_EXHAUSTED: they fit no envelope. Nothing was spent then, nor
// if ctx has ended before.
//
// When Charge returns nil the charge is in the log: spent stays spent, whoever
// goes on with the job. So charge first, and buy then. An attempt that another
// worker has taken over from gets [ErrSuperseded], one whose job has ended
// meanwhile [ErrJobEnded], and has bought nothing. While the log is away it
// waits until ctx ends; whether the amount is spent then is not known.
func (j *Job) Charge(ctx context.Context, name string, amount envelope.Amount) error {
	switch {
	case name == "":
		return envelope.Errorf(envelope.CodeInvalidArgument, "charge: name must not be empty")
	case amount.Currency == "":
		return envelope.Errorf(envelope.CodeInvalidArgument, "charge: currency must not be empty")
	}
	return j.spend(ctx, func(b *lease.Budget) ([]line, error) {
		left, budgeted, err := b.Charge(amount)
		if err != nil {
			return nil, err
		}
		metric := &envelope.Metric{Name: name, Value: amount.Value.Float64(), Unit: amount.Currency}
		return j.chargeLines(metric, amount, left.Value.Float64(), budgeted, budgeted)
	})
}

// isCost reports whether a metric says what something has cost.
func isCost(name string) bool {
	return strings.HasPrefix(name, "cost.") && name != envelope.MetricBudgetRemaining
}

// meter says a metric of what something has cost, and takes it off the budget if that bounds the unit.
func (j *Job) meter(ctx context.Context, metric *envelope.Metric) error {
	bounds := lease.NewBudget(j.inv.lease)
	if !bounds.Bounds(metric.Unit) {
		return j.say(ctx, envelope.TypeMetric, metric)
	}
	millionths := math.Round(metric.Value * 1e6)
	if millionths < 0 || millionths >= math.MaxInt64 {
		return envelope.Errorf(envelope.CodeInvalidArgument, "metric %s: %v is no cost", metric.Name, metric.Value)
	}
	amount := envelope.Amount{Currency: metric.Unit, Value: envelope.DecimalFromMillionths(int64(millionths))}
	return j.spend(ctx, func(b *lease.Budget) ([]line, error) {
		left, budgeted, tell := b.Meter(amount)
		return j.chargeLines(metric, amount, left, budgeted, tell)
	})
}

// spend takes something off the budget, says so, and returns when that is in the log.
func (j *Job) spend(ctx context.Context, take func(*lease.Budget) ([]line, error)) error {
	j.spending.mu.Lock()
	defer j.spending.mu.Unlock()
	if err := j.readSpent(ctx); err != nil {
		return err
	}
	before := j.spending.budget.Clone()
	lines, err := take(&j.spending.budget)
	if err == nil {
		err = contextCause(ctx)
	}
	if err != nil {
		j.spending.budget = before // nothing was said
		return err
	}
	for _, l := range lines {
		if err := j.out.add(ctx, l); err != nil {
			return err
		}
	}
	if err := j.out.sync(ctx); err != nil {
		return err
	}
	return j.checkCurrent(ctx)
}

// chargeLines is what is said of a charge, and, if tell says so, of what is left. The mark stands first: what is spent is spent,
// also if the rest is lost.
func (j *Job) chargeLines(metric *envelope.Metric, amount envelope.Amount, left float64, budgeted, tell bool) (lines []line, err error) {
	say := func(typ envelope.Type, payload any) {
		if err != nil {
			return
		}
		var l line
		if l, err = j.speaker.line(typ, payload); err == nil {
			lines = append(lines, l)
		}
	}
	if budgeted {
		say(typeCharged, charged{Amounts: []envelope.Amount{amount}})
	}
	say(envelope.TypeMetric, metric)
	if tell {
		say(envelope.TypeMetric, &envelope.Metric{Name: envelope.MetricBudgetRemaining, Value: left, Unit: amount.Currency})
	}
	return lines, err
}

// Budget returns what is left of the job's budget, by currency; nil if the
// lease has none. It reads what earlier attempts have spent, and so waits,
// until ctx ends, while the log is away.
func (j *Job) Budget(ctx context.Context) ([]envelope.Amount, error) {
	j.spending.mu.Lock()
	defer j.spending.mu.Unlock()
	if err := j.readSpent(ctx); err != nil {
		return nil, err
	}
	return j.spending.budget.Remaining(), nil
}

// EnforceModel reports whether the lease allows the use of a model (open
// dialect MU-1): PERMISSION_DENIED if not. A handler asks before each use; the
// runtime cannot know of it otherwise.
func (j *Job) EnforceModel(model string) error { return lease.CheckModel(j.inv.lease, model) }

// readSpent takes off what earlier attempts have spent. It needs the lock.
func (j *Job) readSpent(ctx context.Context) error {
	s := &j.spending
	if s.read {
		return nil
	}
	budget := lease.NewBudget(j.inv.lease)
	if budget.Remaining() != nil {
		// What this attempt has said must be in the log before it reads: what an
		// attempt that was overtaken charges after that finds out about this one,
		// and what it charged before is read. The first attempt reads as well: it
		// may have been handed out before, and forgotten.
		if err := j.out.sync(ctx); err != nil {
			return err
		}
		past, err := readHistory(ctx, j.bus, j.inv, j.attempt+1)
		if err != nil {
			return err
		}
		if past.terminal {
			return j.overtaken(ErrJobEnded)
		}
		budget.Spent(past.spent)
	}
	s.budget, s.read = budget, true
	return nil
}

// checkCurrent fails with ErrSuperseded if another attempt had spoken before
// the last thing that this one has stored, and with ErrJobEnded if the job had
// ended. It needs the lock of the spending.
func (j *Job) checkCurrent(ctx context.Context) error {
	s := &j.spending
	until := j.out.position()
	err := retry(ctx, func() error {
		heard, ended := s.heard, false // a read that fails begins anew
		err := j.bus.ReadRange(ctx, subjects.JobEvents(j.inv.rec.Subject), s.upTo+1, until, func(r *record.Record) bool {
			ended = heard.hear(r) && slices.ContainsFunc(r.Types, terminal)
			return !ended
		})
		if ended {
			return backoff.Permanent(j.overtaken(ErrJobEnded))
		}
		if err == nil {
			s.heard, s.upTo = heard, until
		} else if !worthAnotherTry(err) {
			return backoff.Permanent(err)
		}
		return err
	})
	if err == nil && s.heard != j.self() {
		return j.overtaken(ErrSuperseded)
	}
	return err
}

// overtaken ends the handler's context: what it says from here on would not be
// heard.
func (j *Job) overtaken(why error) error {
	j.cancel(why)
	return why
}

// self is who is heard as long as no other attempt has begun.
func (j *Job) self() hearing {
	return hearing{attempt: j.out.header.Attempt, sender: j.out.header.Sender}
}

// readCharged returns what a marker says was spent.
func readCharged(line []byte) []envelope.Amount {
	var stored struct {
		Payload json.RawMessage `json:"payload"`
	}
	var said charged
	if jsonv2.Unmarshal(line, &stored) != nil || jsonv2.Unmarshal(stored.Payload, &said) != nil {
		return nil
	}
	return said.Amounts
}
