package lease

import (
	"encoding/json"
	"maps"

	"github.com/arcp-nats/arcp/envelope"
)

// The spellings of a later draft. They are the same members, and enforce the same.
var dotted = map[string]string{"cost.budget": memberBudget, "model.use": memberModels, "lease.expires_at": memberExpires}

// Enforced returns a lease as it is enforced: what it says in the spellings of a later draft, cost.budget, model.use and
// lease.expires_at, stands in the members that these are. A lease without them is returned as it is, nil as nil; the other
// members are kept. INVALID_ARGUMENT, which names the member: it cannot be read, or is there in both spellings.
func Enforced(l *envelope.Lease) (*envelope.Lease, error) {
	if l == nil {
		return nil, nil
	}
	out := l
	for _, name := range [...]string{"cost.budget", "model.use", "lease.expires_at"} {
		raw, has := l.Extra[name]
		if !has || string(raw) == "null" {
			continue
		}
		if out == l {
			copied := *l
			copied.Extra = maps.Clone(l.Extra)
			out = &copied
		}
		delete(out.Extra, name)
		if err := adopt(out, name, raw); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// adopt sets the member that a dotted spelling is.
func adopt(l *envelope.Lease, name string, raw json.RawMessage) error {
	member := dotted[name]
	said := map[string]bool{memberBudget: l.Budget != nil, memberModels: l.ModelUse != nil, memberExpires: l.ExpiresAt != nil}
	if said[member] {
		return envelope.Errorf(envelope.CodeInvalidArgument, "lease.%s: is the same as %s, which is there too", name, member)
	}
	text, err := json.Marshal(map[string]json.RawMessage{member: raw})
	if err != nil {
		return envelope.Errorf(envelope.CodeInvalidArgument, "lease.%s: cannot be read", name)
	}
	var one envelope.Lease
	if err := json.Unmarshal(text, &one); err != nil {
		return envelope.Errorf(envelope.CodeInvalidArgument, "lease.%s: %w", name, err)
	}
	switch member {
	case memberBudget:
		l.Budget = one.Budget
	case memberModels:
		l.ModelUse = one.ModelUse
	default:
		l.ExpiresAt = one.ExpiresAt
	}
	return nil
}
