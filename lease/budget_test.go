package lease_test

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/lease"
)

func amount(t require.TestingT, text string) envelope.Amount {
	a, err := envelope.ParseAmount(text)
	require.NoError(t, err)
	return a
}

func budgetOf(t testing.TB, text string) lease.Budget { return lease.NewBudget(read(t, text)) }

func TestBG1CountersInMillionths(t *testing.T) {
	b := budgetOf(t, `{"cost_budget":["USD:1","credits:2","USD:0.3000004"]}`)
	require.Equal(t, []envelope.Amount{amount(t, "USD:0.3"), amount(t, "credits:2")}, b.Remaining(), "the last entry of a currency")
	for range 3 { // 0.1 three times is not 0.3 in floats
		_, _, err := b.Charge(amount(t, "USD:0.1"))
		require.NoError(t, err)
	}
	require.Equal(t, []envelope.Amount{amount(t, "USD:0"), amount(t, "credits:2")}, b.Remaining())
	large := budgetOf(t, `{"cost_budget":["USD:1e300"]}`)
	require.Equal(t, envelope.DecimalFromMillionths(math.MaxInt64), large.Remaining()[0].Value)
}

func TestBG3MoreThanIsLeft(t *testing.T) {
	b := budgetOf(t, `{"cost_budget":["USD:1"]}`)
	for _, text := range []string{"USD:1.000001", "USD:1e300"} {
		left, budgeted, err := b.Charge(amount(t, text))
		require.Equal(t, envelope.CodeBudgetExhausted, envelope.CodeOf(err))
		require.False(t, err.(*envelope.Error).IsRetryable())
		require.True(t, budgeted)
		require.Equal(t, amount(t, "USD:1"), left)
	}
	left, _, err := b.Charge(amount(t, "USD:0.4"))
	require.NoError(t, err)
	require.Equal(t, amount(t, "USD:0.6"), left)
	_, _, err = b.Charge(amount(t, "USD:0.6"))
	require.NoError(t, err, "all that is left can be had")
	_, _, err = b.Charge(amount(t, "USD:0.000001"))
	require.Error(t, err)
	_, _, err = b.Charge(amount(t, "USD:0"))
	require.NoError(t, err)
}

func TestBG5WhatIsNotBudgeted(t *testing.T) {
	for _, text := range []string{"", `{}`, `{"cost_budget":[]}`, `{"cost_budget":["EUR:0"]}`} {
		b := budgetOf(t, text)
		_, budgeted, err := b.Charge(amount(t, "USD:1e300"))
		require.NoError(t, err)
		require.False(t, budgeted)
	}
	none, empty := budgetOf(t, `{}`), budgetOf(t, `{"cost_budget":[]}`)
	require.Nil(t, none.Remaining())
	require.NotNil(t, empty.Remaining())
}

// TestBG3NothingIsLostOrMade: what was charged and what is left are the budget, to the millionth, whatever came in between,
// and however much of it another attempt finds spent.
func TestBG3NothingIsLostOrMade(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole := rapid.Int64Range(0, 10_000_000).Draw(t, "budget")
		l := &envelope.Lease{Budget: []envelope.Amount{{Currency: "USD", Value: envelope.DecimalFromMillionths(whole)}}}
		b, spent := lease.NewBudget(l), int64(0)
		var charged []envelope.Amount
		for range rapid.IntRange(0, 30).Draw(t, "charges") {
			if rapid.IntRange(0, 5).Draw(t, "another attempt") == 0 {
				b = lease.NewBudget(l)
				b.Spent(charged)
			}
			cost := rapid.Int64Range(0, 1_000_000).Draw(t, "cost")
			a := envelope.Amount{Currency: "USD", Value: envelope.DecimalFromMillionths(cost)}
			_, _, err := b.Charge(a)
			require.Equal(t, spent+cost > whole, err != nil)
			if err == nil {
				spent += cost
				charged = append(charged, a)
			}
			require.Equal(t, envelope.DecimalFromMillionths(whole-spent), b.Remaining()[0].Value)
		}
	})
}

func TestMU1Models(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, `{}`: true, `{"model_use":[]}`: false, `{"model_use":["slow","fast/*"]}`: true, `{"model_use":["fast"]}`: false,
	} {
		err := lease.CheckModel(read(t, text), "fast/one")
		require.Equal(t, want, err == nil, text)
		if !want {
			require.Equal(t, envelope.CodePermissionDenied, envelope.CodeOf(err))
		}
	}
}

// TestTheDottedSpellingsEnforce: the later draft's names are the same members (section 3.8 has them enforce nothing).
func TestTheDottedSpellingsEnforce(t *testing.T) {
	got, err := lease.Enforced(read(t, `{"cost.budget":["USD:1"],"model.use":["a*"],"lease.expires_at":"2026-07-01T09:00:00Z","colour":"blue"}`))
	require.NoError(t, err)
	require.Equal(t, read(t, `{"cost_budget":["USD:1"],"model_use":["a*"],"expires_at":"2026-07-01T09:00:00Z","colour":"blue"}`), got)
	plain := read(t, `{"model_use":[],"colour":"blue","cost.budget":null}`)
	same, err := lease.Enforced(plain)
	require.NoError(t, err)
	require.Same(t, plain, same)
	none, err := lease.Enforced(nil)
	require.NoError(t, err)
	require.Nil(t, none)
	for text, member := range map[string]string{
		`{"cost.budget":["USD:-1"]}`:            "cost.budget",
		`{"cost.budget":"USD:1"}`:               "cost.budget",
		`{"model.use":[1]}`:                     "model.use",
		`{"lease.expires_at":"soon"}`:           "lease.expires_at",
		`{"model.use":["a"],"model_use":["a"]}`: "model.use",
		`{"cost.budget":[],"cost_budget":[]}`:   "cost.budget",
	} {
		l := read(t, text)
		before, err := json.Marshal(l)
		require.NoError(t, err)
		_, err = lease.Enforced(l)
		require.Equal(t, envelope.CodeInvalidArgument, envelope.CodeOf(err), text)
		require.Contains(t, err.Error(), "lease."+member)
		after, err := json.Marshal(l)
		require.NoError(t, err)
		require.Equal(t, string(before), string(after))
	}
}
