package lease_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/lease"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func read(t testing.TB, text string) *envelope.Lease {
	t.Helper()
	if text == "" {
		return nil
	}
	l := new(envelope.Lease)
	require.NoError(t, json.Unmarshal([]byte(text), l))
	return l
}

func TestLE4Subset(t *testing.T) {
	const parent = `{"cost_budget":["USD:5","credits:10"],"model_use":["fast/*","tiny","*-mini"],"expires_at":"2026-07-01T09:00:00Z","region":{"only":["eu"]}}`
	for _, c := range []struct{ parent, remaining, child, member string }{
		{parent, "", "", ""},
		{parent, "", `{}`, ""},
		{parent, "", `{"cost_budget":["USD:5"]}`, ""},
		{parent, "", `{"cost_budget":["USD:5.000001"]}`, "cost_budget"},
		{parent, `["USD:1"]`, `{"cost_budget":["USD:2"]}`, "cost_budget"},
		{parent, `["USD:1"]`, `{"cost_budget":["USD:1"]}`, ""},
		{parent, "", `{"cost_budget":["EUR:1"]}`, "cost_budget"},
		{parent, "", `{"cost_budget":[]}`, ""},
		{`{}`, "", `{"cost_budget":["USD:0"]}`, "cost_budget"},
		{"", "", `{"cost_budget":["USD:1"]}`, "cost_budget"},
		{parent, "", `{"model_use":["tiny","fast/one","fast/a*","gpt-mini","x*-mini"]}`, ""},
		{parent, "", `{"model_use":["*"]}`, "model_use"},
		{parent, "", `{"model_use":["fas*"]}`, "model_use"},
		{parent, "", `{"model_use":["*mini"]}`, "model_use"},
		{parent, "", `{"model_use":[]}`, ""},
		{`{"model_use":["a*b*c"]}`, "", `{"model_use":["a*c"]}`, "model_use"}, // ac is no a*b*c
		{`{"model_use":["*"]}`, "", `{"model_use":["*","a*b"]}`, ""},
		{`{"model_use":["*a"]}`, "", `{"model_use":["aba"]}`, ""},
		{`{}`, "", `{"model_use":["a"]}`, "model_use"},
		{parent, "", `{"expires_at":"2026-07-01T09:00:00Z"}`, ""},
		{parent, "", `{"expires_at":"2026-07-01T09:00:00.001Z"}`, "expires_at"},
		{`{}`, "", `{"expires_at":"2026-07-01T09:00:00Z"}`, "expires_at"},
		{parent, "", `{"region":{"only": ["eu"]}}`, ""},
		{parent, "", `{"region":{"only":["us"]}}`, "region"},
		{parent, "", `{"cost.budget":["USD:1"],"model.use":["tiny"],"lease.expires_at":"2026-07-01T08:00:00Z"}`, ""},
		{parent, "", `{"cost.budget":["USD:6"]}`, "cost_budget"},
		{parent, "", `{"model.use":["*"]}`, "model_use"},
		{parent, "", `{"colour":"blue"}`, ""},
	} {
		p, child := read(t, c.parent), read(t, c.child)
		var remaining []envelope.Amount
		switch {
		case c.remaining != "":
			require.NoError(t, json.Unmarshal([]byte(c.remaining), &remaining))
		case p != nil:
			remaining = p.Budget
		}
		err := lease.Subset(p, remaining, child)
		if c.member == "" {
			require.NoError(t, err, "%s in %s", c.child, c.parent)
			require.NoError(t, lease.Subset(p, remaining, lease.Inherit(p, remaining, child)))
			continue
		}
		require.Equal(t, envelope.CodeLeaseSubsetViolation, envelope.CodeOf(err), "%s in %s", c.child, c.parent)
		require.Contains(t, err.Error(), "lease."+c.member)
	}
}

func TestLE4AChildInheritsWhatItLeavesOut(t *testing.T) {
	parent := read(t, `{"cost_budget":["USD:5"],"model_use":[],"expires_at":"2026-07-01T09:00:00Z","region":"eu"}`)
	left := []envelope.Amount{{Currency: "USD", Value: envelope.DecimalFromMillionths(1_000_000)}}
	for child, want := range map[string]string{
		"":                          `{"cost_budget":["USD:1"],"model_use":[],"expires_at":"2026-07-01T09:00:00Z","region":"eu"}`,
		`{"cost_budget":["USD:0"]}`: `{"cost_budget":["USD:0"],"model_use":[],"expires_at":"2026-07-01T09:00:00Z","region":"eu"}`,
		`{"expires_at":"2026-07-01T08:00:00Z","tier":1}`: `{"cost_budget":["USD:1"],"model_use":[],"expires_at":"2026-07-01T08:00:00Z","region":"eu","tier":1}`,
	} {
		got, err := json.Marshal(lease.Inherit(parent, left, read(t, child)))
		require.NoError(t, err)
		require.JSONEq(t, want, string(got))
	}
	require.Nil(t, lease.Inherit(nil, nil, nil))
	require.Equal(t, &envelope.Lease{}, lease.Inherit(nil, nil, &envelope.Lease{}))
	// Nothing left is a budget of nothing, not none.
	require.NotNil(t, lease.Inherit(parent, nil, nil).Budget)
}

// slow is what a pattern means, tried in every way.
func slow(pattern, text string) bool {
	if pattern == "" {
		return text == ""
	}
	if pattern[0] == '*' {
		for i := 0; i <= len(text); i++ {
			if slow(pattern[1:], text[i:]) {
				return true
			}
		}
		return false
	}
	return text != "" && pattern[0] == text[0] && slow(pattern[1:], text[1:])
}

func TestMU2MatchIsWhatThePatternMeans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`[ab*/]{0,7}`).Draw(t, "pattern")
		text := rapid.StringMatching(`[ab/]{0,9}`).Draw(t, "text")
		require.Equal(t, slow(pattern, text), lease.Match(pattern, text))
	})
	require.True(t, lease.Match("*a", "aba"))
}

// TestLE4CoversIsContainment: what a covered pattern matches the covering one does, and if all that is short is matched, it
// is covered.
func TestLE4CoversIsContainment(t *testing.T) {
	var texts []string // all up to a length, with a letter that no pattern has
	for todo := []string{""}; len(todo) > 0; todo = todo[1:] {
		texts = append(texts, todo[0])
		if len(todo[0]) < 6 {
			for _, c := range "abz" {
				todo = append(todo, todo[0]+string(c))
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		outer := rapid.StringMatching(`[ab*]{0,4}`).Draw(t, "outer")
		inner := rapid.StringMatching(`[ab*]{0,4}`).Draw(t, "inner")
		contained := true
		for _, text := range texts {
			if lease.Match(inner, text) && !lease.Match(outer, text) {
				contained = false
			}
		}
		require.Equal(t, contained, lease.Covers(outer, inner), "%s in %s", inner, outer)
	})
}

func anyLease(t *rapid.T, name string) *envelope.Lease {
	l := new(envelope.Lease)
	if rapid.Bool().Draw(t, name+" has a budget") {
		l.Budget = []envelope.Amount{}
		for _, currency := range []string{"USD", "credits"} {
			if rapid.Bool().Draw(t, name+" "+currency) {
				l.Budget = append(l.Budget, envelope.Amount{
					Currency: currency, Value: envelope.DecimalFromMillionths(rapid.Int64Range(0, 5).Draw(t, name+" amount")),
				})
			}
		}
	}
	if rapid.Bool().Draw(t, name+" has models") {
		l.ModelUse = append([]string{}, rapid.SliceOfN(rapid.StringMatching(`[ab*]{0,3}`), 0, 3).Draw(t, name+" models")...)
	}
	if rapid.Bool().Draw(t, name+" expires") {
		at := envelope.At(time.Unix(rapid.Int64Range(0, 3).Draw(t, name+" at"), 0))
		l.ExpiresAt = &at
	}
	return l
}

// TestLE4AChildIsNeverWider: whatever passes is bounded by the parent in every way, and a child of a child by both.
func TestLE4AChildIsNeverWider(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parent, asked, further := anyLease(t, "parent"), anyLease(t, "child"), anyLease(t, "grandchild")
		if lease.Subset(parent, parent.Budget, asked) != nil {
			return
		}
		child := lease.Inherit(parent, parent.Budget, asked)
		notWider(t, parent, child)
		if lease.Subset(child, child.Budget, further) != nil {
			return
		}
		grandchild := lease.Inherit(child, child.Budget, further)
		notWider(t, parent, grandchild)
		require.NoError(t, lease.Subset(parent, parent.Budget, grandchild), "the relation is transitive")
	})
}

func notWider(t *rapid.T, parent, child *envelope.Lease) {
	require.Equal(t, parent.Budget == nil, child.Budget == nil)
	for _, a := range child.Budget {
		within := false
		for _, p := range parent.Budget {
			within = within || p.Currency == a.Currency && a.Value.Cmp(p.Value) <= 0
		}
		require.True(t, within, "%s of %s", a, parent.Budget)
	}
	allows := func(l *envelope.Lease, model string) bool {
		for _, p := range l.ModelUse {
			if lease.Match(p, model) {
				return true
			}
		}
		return l.ModelUse == nil
	}
	for _, model := range []string{"", "a", "b", "ab", "ba", "aab", "abb", strings.Repeat("z", 4)} {
		require.False(t, allows(child, model) && !allows(parent, model), model)
	}
	if parent.ExpiresAt != nil {
		require.False(t, child.ExpiresAt.After(parent.ExpiresAt.Time))
	}
}
