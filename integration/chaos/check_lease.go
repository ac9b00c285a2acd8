package chaos

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/arcp-nats/arcp/edge/view"
)

// leaseGrace is how long after the end of a lease a job may end, if nothing is wrong with whoever has to end it.
const leaseGrace = 5 * time.Second

// leaseOf says what is wrong with the end of a job that a lease bounds, if anything. It is false if the lease has nothing to
// do with it.
func (c *trial) leaseOf(j *job, attempt []*frame, end *frame, p payload) (reason string, bounded bool) {
	switch {
	case j.tool == "charge":
		return spentOf(j, attempt, end, p), true
	case j.tool == "model":
		return modelOf(j, end, p), true
	case !expires(j.lease):
		return "", false
	}
	ends := endOf(j.lease)
	if late := end.Timestamp.Sub(ends); late > c.Slack+leaseGrace {
		return fmt.Sprintf("it ended %v after its lease", late), true
	}
	if end.Type != "job.failed" || p.Code != "LEASE_EXPIRED" {
		return "", false
	}
	if early := ends.Sub(end.Timestamp); early > 0 {
		return fmt.Sprintf("its lease ended it %v early", early), true
	}
	return "", true
}

func modelOf(j *job, end *frame, p payload) string {
	var a struct{ Model string }
	_ = json.Unmarshal(j.arguments, &a) // none is allowed
	allowed := strings.HasPrefix(a.Model, "fast-")
	if allowed != (end.Type == "job.completed") || !allowed && p.Code != "PERMISSION_DENIED" {
		return fmt.Sprintf("the use of %s ended with %s %s", a.Model, end.Type, end.Payload)
	}
	return ""
}

// spentOf is BG-2 to BG-5: what is spent stays spent, whichever attempt spent it, and never is it more than the budget. What
// an attempt says that another one has taken over from, or after the end, may or may not have been counted.
func spentOf(j *job, attempt []*frame, end *frame, p payload) string {
	budget, charges, err := budgetOf(j)
	if err != nil {
		return err.Error()
	}
	heard, all, own := 0, 0, 0
	var run view.Run
	var status view.Status
	for _, r := range j.events {
		hears := run.Hear(r) && !status.State().Terminal()
		status.Apply(r)
		for typ, line := range r.Lines() {
			m := decode(line).read()
			if typ != "metric" || m.Name != chargeName {
				continue
			}
			all += cents(m.Value)
			if hears {
				heard += cents(m.Value)
			}
		}
	}
	for _, f := range attempt {
		if f.Type == "metric" && f.read().Name == chargeName {
			own++
		}
	}
	if heard > budget {
		return fmt.Sprintf("%d cents were spent of %d", heard, budget)
	}
	switch {
	case end.Type == "job.completed":
		var result struct{ Remaining map[string]json.RawMessage }
		_ = json.Unmarshal(p.Value, &result) // none is wrong
		left := cents(result.Remaining["USD"])
		if own != len(charges) || left > budget-heard || left < budget-all {
			return fmt.Sprintf("%d of %d charges, %d to %d cents of %d, left %d", own, len(charges), heard, all, budget, left)
		}
	case p.Code != "BUDGET_EXHAUSTED":
		return fmt.Sprintf("charges ended with %s %s", end.Type, end.Payload)
	case own >= len(charges):
		return "the budget was exhausted when all was charged"
	case charges[own] <= budget-all:
		return fmt.Sprintf("%d cents were refused, and %d to %d of %d were spent", charges[own], heard, all, budget)
	}
	return ""
}

// budgetOf reads the budget and the charges of a job, in cents.
func budgetOf(j *job) (budget int, charges []int, err error) {
	var l struct {
		Budget []string `json:"cost_budget"`
	}
	var a struct {
		Charges []struct{ Amount json.RawMessage }
	}
	if err := json.Unmarshal(j.lease, &l); err != nil || len(l.Budget) != 1 {
		return 0, nil, fmt.Errorf("a lease of one budget is %s", j.lease)
	}
	if err := json.Unmarshal(j.arguments, &a); err != nil {
		return 0, nil, fmt.Errorf("arguments: %w", err)
	}
	for _, charge := range a.Charges {
		charges = append(charges, cents(charge.Amount))
	}
	return cents(json.RawMessage(strings.TrimPrefix(l.Budget[0], "USD:"))), charges, nil
}

// cents reads an amount of dollars.
func cents(dollars json.RawMessage) int {
	var f float64
	if json.Unmarshal(dollars, &f) != nil {
		return math.MinInt32 // no amount is right
	}
	return int(math.Round(f * 100))
}
