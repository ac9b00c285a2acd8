package integration_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/internal/wstest"
)

// leased invokes a tool under a lease.
func leased(p *wstest.Peer, tool string, arguments any, lease obj) []wstest.Message {
	p.Send("tool.invoke", obj{"tool": tool, "arguments": arguments, "lease_request": lease})
	for all := []wstest.Message{}; ; {
		m := p.Next()
		all = append(all, m)
		switch m.Type() {
		case "job.completed", "job.failed":
			return all
		}
	}
}

func charges(amounts ...float64) obj {
	var all []any
	for _, a := range amounts {
		all = append(all, obj{"name": "cost.search", "amount": a, "currency": "USD"})
	}
	return obj{"charges": all}
}

func TestBG4MetricsOfACharge(t *testing.T) {
	_, e := newStack(t)
	e.knows(t, "charge")
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	for _, budget := range []string{"cost_budget", "cost.budget"} { // the later draft's spelling enforces as well
		all := leased(p, "charge", charges(0.1, 0.2), obj{budget: []string{"USD:0.30", "credits:5"}})
		require.Equal(t, []string{"job.accepted", "job.started", "metric", "metric", "metric", "metric", "job.completed"}, types(all))
		require.Contains(t, all[0].Payload()["lease"], budget, "TI-4")
		require.Equal(t, wstest.Message{"name": "cost.search", "value": 0.1, "unit": "USD"}, all[2].Payload())
		require.Equal(t, wstest.Message{"name": "cost.budget.remaining", "value": 0.2, "unit": "USD"}, all[3].Payload())
		require.Equal(t, wstest.Message{"name": "cost.budget.remaining", "value": 0.0, "unit": "USD"}, all[5].Payload())
		require.Equal(t, obj{"remaining": obj{"USD": 0.0, "credits": 5.0}}, all[6].Payload()["value"])
	}
	// TI-1: the top-level budget alone is a lease.
	p.Send("tool.invoke", obj{"tool": "charge", "arguments": charges(1), "cost_budget": []string{"USD:0.5"}})
	failed := last(p.Until("job.failed"))
	require.Equal(t, "BUDGET_EXHAUSTED", failed.Payload()["code"])
	require.Equal(t, false, failed.Payload()["retryable"])
}

func TestBG2ANegativeChargeIsRefused(t *testing.T) {
	_, e := newStack(t)
	e.knows(t, "charge")
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	all := leased(p, "charge", charges(-1), obj{"cost_budget": []string{"USD:1"}})
	require.Equal(t, "INVALID_ARGUMENT", last(all).Payload()["code"])
	require.NotContains(t, types(all), "metric")
}

func TestBG6MetricsOfClientsChargeNothing(t *testing.T) {
	_, e := newStack(t)
	e.knows(t, "charge")
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	p.Send("metric", obj{"name": "cost.search", "value": 1, "unit": "USD"})
	all := leased(p, "charge", charges(1), obj{"cost_budget": []string{"USD:1"}})
	require.Equal(t, "job.completed", last(all).Type())
}

func TestMU2ModelsByPattern(t *testing.T) {
	_, e := newStack(t)
	e.knows(t, "model")
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	for _, c := range []struct {
		lease   obj
		allowed bool
	}{
		{obj{"model_use": []string{"*a"}}, true}, // aba: leftmost matching would refuse it
		{obj{"model.use": []string{"ab*"}}, true},
		{obj{"model_use": []string{"*b"}}, false},
		{obj{"model_use": []string{}}, false},
		{obj{"model.use": []string{}}, false},
		{obj{"colour": "blue"}, true},
	} {
		end := last(leased(p, "model", obj{"model": "aba"}, c.lease))
		if c.allowed {
			require.Equal(t, obj{"model": "aba"}, end.Payload()["value"], c.lease)
		} else {
			require.Equal(t, "PERMISSION_DENIED", end.Payload()["code"], c.lease)
		}
	}
	// What cannot be read is refused before the job exists.
	all := leased(p, "model", obj{"model": "aba"}, obj{"model.use": "aba"})
	require.Equal(t, []string{"job.failed"}, types(all))
	require.Equal(t, "INVALID_ARGUMENT", all[0].Payload()["code"])
	require.Contains(t, all[0].Payload()["message"], "model.use")
}
