package lease

import (
	"maps"
	"math"
	"slices"

	"github.com/arcp-nats/arcp/envelope"
)

// Budget counts what a job may still spend, in millionths of each currency (open dialect BG-1). The zero value bounds
// nothing. It is not safe for concurrent use.
type Budget struct {
	left  map[string]int64 // nil: no budget
	whole map[string]int64 // as it began; it is not written
	told  map[string]int64 // what was left when that was said last, see Meter
}

// NewBudget returns the budget of a lease, which may be nil. Of a currency that is listed twice the last amount counts
// (open dialect 3.8). More than nine million million of a currency count as that.
func NewBudget(l *envelope.Lease) Budget {
	if l == nil || l.Budget == nil {
		return Budget{}
	}
	b := Budget{left: make(map[string]int64, len(l.Budget)), told: make(map[string]int64)}
	for _, a := range l.Budget {
		b.left[a.Currency] = millionths(a.Value)
	}
	b.whole = maps.Clone(b.left)
	return b
}

// Clone returns a budget that is counted apart from this one.
func (b *Budget) Clone() Budget {
	return Budget{left: maps.Clone(b.left), whole: b.whole, told: maps.Clone(b.told)}
}

// millionths is an amount as budgets count it.
func millionths(d envelope.Decimal) int64 {
	n, fits := d.Millionths()
	if !fits {
		return math.MaxInt64
	}
	return n
}

// Charge takes an amount off the budget. budgeted tells whether its currency is bounded; an unbounded one can be charged
// without end (open dialect BG-5). BUDGET_EXHAUSTED: more is asked for than is left, and nothing was taken; less may still
// be had (BG-3).
func (b *Budget) Charge(a envelope.Amount) (left envelope.Amount, budgeted bool, err error) {
	have, budgeted := b.left[a.Currency]
	if !budgeted {
		return envelope.Amount{}, false, nil
	}
	cost, fits := a.Value.Millionths()
	if !fits || cost > have {
		return b.of(a.Currency), true, envelope.Errorf(envelope.CodeBudgetExhausted,
			"%s cannot be spent: %s is left", a, b.of(a.Currency))
	}
	b.left[a.Currency] = have - cost
	return b.of(a.Currency), true, nil
}

// Meter takes off an amount that was spent already, also if that is more than is left: what is left is below zero then. tell: that
// is news to the client, as it is the first time, a twentieth of the whole less than it was told last, or nothing is left any
// more.
func (b *Budget) Meter(a envelope.Amount) (left float64, budgeted, tell bool) {
	have, budgeted := b.left[a.Currency]
	if !budgeted {
		return 0, false, false
	}
	now := max(have-millionths(a.Value), math.MinInt64/2)
	b.left[a.Currency] = now
	last, before := b.told[a.Currency]
	if tell = !before || last-now >= max(b.whole[a.Currency]/20, 1) && last > 0 || now <= 0 && last > 0; tell {
		b.told[a.Currency] = now
	}
	return float64(now) / 1e6, true, tell
}

// Bounds reports whether an amount of a currency is counted.
func (b *Budget) Bounds(currency string) bool {
	_, budgeted := b.left[currency]
	return budgeted
}

// Spent takes off what was spent before, as far as there is something to take it from.
func (b *Budget) Spent(all []envelope.Amount) {
	for _, a := range all {
		if have, budgeted := b.left[a.Currency]; budgeted {
			b.left[a.Currency] = max(0, have-min(have, millionths(a.Value)))
		}
	}
}

// Remaining is what is left, by currency; never less than nothing. It is nil without a budget.
func (b *Budget) Remaining() []envelope.Amount {
	if b.left == nil {
		return nil
	}
	all := make([]envelope.Amount, 0, len(b.left))
	for _, currency := range slices.Sorted(maps.Keys(b.left)) {
		all = append(all, b.of(currency))
	}
	return all
}

func (b *Budget) of(currency string) envelope.Amount {
	return envelope.Amount{Currency: currency, Value: envelope.DecimalFromMillionths(b.left[currency])}
}
