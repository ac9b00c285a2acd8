package chaos

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"
)

// newCall draws an invocation.
func (c *client) newCall() call {
	r := c.random
	var it call
	switch n := r.IntN(100); {
	case n < 18:
		it = c.leased()
	case n < 28 && !c.wire.vague(): // the others cannot grant a permission, nor stream
		it = c.asking()
	case n < 36:
		it = c.delegating()
	case n < 42 && !c.wire.vague():
		it = call{tool: "collect", arguments: c.arguments(map[string]any{"chunks": 1 + r.IntN(maxFed)})}
	default:
		tool, args := plain(r)
		it = call{tool: tool, arguments: c.arguments(args)}
	}
	c.work.count++
	must := c.wire.vague() && sleepsLong(it)           // who does not know of its job cannot cancel it
	if (r.IntN(3) > 0 || must) && !expires(it.lease) { // a lease that has ended is refused, under a key as well
		it.key = fmt.Sprintf("key-%s-%d", c.notes.Client, c.work.count)
	}
	return it
}

// plain draws an invocation of a tool that needs nothing but its arguments.
func plain(r *rand.Rand) (tool string, args map[string]any) {
	switch n := r.IntN(100); {
	case n < 25:
		return "echo", map[string]any{"number": r.IntN(1000)}
	case n < 45:
		return "count", map[string]any{"to": 5 + r.IntN(40), "every_ms": 5 + r.IntN(50)}
	case n < 54:
		return "attempt", map[string]any{"to": 10 + r.IntN(30), "every_ms": 20 + r.IntN(60), "checkpoint_every": 1 + r.IntN(6)}
	case n < 70:
		return "log", map[string]any{"lines": 20 + r.IntN(300)}
	case n < 80:
		return "sleep", map[string]any{"ms": r.IntN(1500)}
	case n < 87:
		return "sleep", map[string]any{"ms": doomedMS}
	case n < 91:
		return said(r)
	case n < 95:
		return "fail", map[string]any{"code": "NOT_FOUND", "message": "as asked"}
	default:
		return "panic", map[string]any{}
	}
}

// said draws an invocation of a tool that says more than its value: chunks of a result, a stream, an artifact.
func said(r *rand.Rand) (tool string, args map[string]any) {
	switch r.IntN(3) {
	case 0:
		return "chunks", map[string]any{"count": 1 + r.IntN(40), "bytes": r.IntN(2000), "encoding": []string{"utf8", "base64"}[r.IntN(2)]}
	case 1:
		return "stream", map[string]any{"kind": []string{"text", "binary", "event", "thought"}[r.IntN(4)], "chunks": r.IntN(30), "every_ms": r.IntN(40)}
	default:
		return "artifact", map[string]any{"bytes": r.IntN(maxContent), "media_type": "text/x"}
	}
}

// leased draws an invocation under a lease, for which credentials are issued: one that spends, one that uses a model, one
// whose lease ends.
func (c *client) leased() call {
	r := c.random
	switch r.IntN(3) {
	case 0:
		charges := make([]map[string]any, 1+r.IntN(6))
		for i := range charges {
			charges[i] = map[string]any{"name": chargeName, "amount": json.Number(fmt.Sprintf("%d.%02d", r.IntN(3), r.IntN(100))), "currency": "USD"}
		}
		return call{
			tool: "charge", arguments: c.arguments(map[string]any{"charges": charges, "every_ms": r.IntN(200)}),
			lease: lease(map[string]any{"cost_budget": []string{fmt.Sprintf("USD:%d", 2+r.IntN(10))}}),
		}
	case 1:
		return call{
			tool: "model", arguments: c.arguments(map[string]any{"model": []string{"fast-1", "slow-1"}[r.IntN(2)]}),
			lease: lease(map[string]any{"model_use": []string{"fast-*"}}),
		}
	default:
		ends := time.Now().Add(between(r, 500*time.Millisecond, 5*time.Second))
		return call{
			tool: "sleep", arguments: c.arguments(map[string]any{"ms": []int{300, 3000, doomedMS}[r.IntN(3)]}),
			lease: lease(map[string]any{"expires_at": ends.UTC().Format(time.RFC3339Nano)}),
		}
	}
}

// chargeName is the name of the metrics that tell of charges.
const chargeName = "cost.chaos"

func lease(members map[string]any) json.RawMessage {
	data, _ := json.Marshal(members) // texts
	return data
}

// expires tells whether a lease ends.
func expires(lease json.RawMessage) bool { return !endOf(lease).IsZero() }

// endOf is when a lease ends, zero if it does not.
func endOf(lease json.RawMessage) time.Time {
	var l struct {
		ExpiresAt time.Time `json:"expires_at"`
	}
	_ = json.Unmarshal(lease, &l) // none does not end
	return l.ExpiresAt
}

// chunksFed is how many chunks are to be streamed to a job that collects them.
func chunksFed(arguments json.RawMessage) int {
	var a struct{ Chunks int }
	_ = json.Unmarshal(arguments, &a) // the client's own
	return a.Chunks
}

// asking draws an invocation that asks for a permission.
func (c *client) asking() call {
	return call{tool: "ask", arguments: c.arguments(map[string]any{"permission": "deploy", "resource": "service", "operation": "restart"})}
}

// delegating draws an invocation that has another tool do the work.
func (c *client) delegating() call {
	tool, args := plain(c.random)
	args["owner"] = c.notes.Secret
	return call{tool: "delegate", arguments: c.arguments(map[string]any{"tool": tool, "arguments": args})}
}

// arguments adds the principal's secret, and encodes.
func (c *client) arguments(args map[string]any) json.RawMessage {
	args["owner"] = c.notes.Secret
	data, _ := json.Marshal(args) // numbers and texts
	return data
}
