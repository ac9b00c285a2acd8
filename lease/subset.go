package lease

import (
	"bytes"
	"maps"
	"slices"

	"github.com/arcp-nats/arcp/envelope"
)

// The lease members, as errors name them.
const (
	memberBudget  = "cost_budget"
	memberModels  = "model_use"
	memberExpires = "expires_at"
)

// Subset reports that a child's lease asks for no more than its parent has (open dialect LE-4); remaining is what is left
// of the parent's budget. Each member that the child names needs one of the parent's that covers it, also where the parent
// is not bounded at all; so does each pattern of a capability (see [IsCapability]). Another member that the parent has and that is not known here can only be repeated. The error is a
// LEASE_SUBSET_VIOLATION that names the member, or an INVALID_ARGUMENT as [Enforced] gives.
func Subset(parent *envelope.Lease, remaining []envelope.Amount, child *envelope.Lease) error {
	if child == nil {
		return nil
	}
	child, err := Enforced(child)
	if err != nil {
		return err
	}
	if parent, err = Enforced(parent); err != nil {
		return err
	}
	if parent == nil {
		parent = new(envelope.Lease)
	}
	if err := budgetWithin(parent, remaining, child); err != nil {
		return err
	}
	for _, pattern := range child.ModelUse {
		if !slices.ContainsFunc(parent.ModelUse, func(p string) bool { return Covers(p, pattern) }) {
			return violation(memberModels, "no pattern of the parent's covers %q", pattern)
		}
	}
	if child.ModelUse != nil && parent.ModelUse == nil {
		return violation(memberModels, "the parent has none")
	}
	if child.ExpiresAt != nil {
		switch {
		case parent.ExpiresAt == nil:
			return violation(memberExpires, "the parent has none")
		case child.ExpiresAt.After(parent.ExpiresAt.Time):
			return violation(memberExpires, "is later than the parent's")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(child.Extra)) {
		if IsCapability(name) {
			if err := capabilitiesWithin(parent, child, name); err != nil {
				return err
			}
			continue
		}
		if theirs, has := parent.Extra[name]; has && !same(theirs, child.Extra[name]) {
			return violation(name, "differs from the parent's, and is not known here")
		}
	}
	return nil
}

// budgetWithin is the budget's part of Subset.
func budgetWithin(parent *envelope.Lease, remaining []envelope.Amount, child *envelope.Lease) error {
	if child.Budget == nil {
		return nil
	}
	if parent.Budget == nil {
		return violation(memberBudget, "the parent has none")
	}
	left := amounts(remaining)
	for _, wanted := range child.Budget {
		have, listed := left[wanted.Currency]
		switch {
		case !listed:
			return violation(memberBudget, "the parent has none in %s", wanted.Currency)
		case wanted.Value.Cmp(have) > 0:
			return violation(memberBudget, "%s is wanted, the parent has %s left", wanted, have)
		}
	}
	return nil
}

// Inherit is the lease that a child gets which asked for a subset: what it leaves out it has from its parent. Of the
// budget that is all that remains. The result shares no list with the arguments; it is nil if neither has a lease. Both
// are leases that Subset has let pass.
func Inherit(parent *envelope.Lease, remaining []envelope.Amount, child *envelope.Lease) *envelope.Lease {
	if parent == nil && child == nil {
		return nil
	}
	if enforced, err := Enforced(parent); err == nil {
		parent = enforced
	}
	if enforced, err := Enforced(child); err == nil {
		child = enforced
	}
	out := new(envelope.Lease)
	if child != nil {
		*out = envelope.Lease{
			Budget: slices.Clone(child.Budget), ModelUse: slices.Clone(child.ModelUse), ExpiresAt: child.ExpiresAt, Extra: maps.Clone(child.Extra),
		}
	}
	if parent == nil {
		return out
	}
	if out.Budget == nil && parent.Budget != nil {
		out.Budget = append([]envelope.Amount{}, remaining...)
	}
	if out.ModelUse == nil {
		out.ModelUse = slices.Clone(parent.ModelUse)
	}
	if out.ExpiresAt == nil {
		out.ExpiresAt = parent.ExpiresAt
	}
	for name, value := range parent.Extra {
		if _, has := out.Extra[name]; !has {
			if out.Extra == nil {
				out.Extra = maps.Clone(parent.Extra)
				break
			}
			out.Extra[name] = value
		}
	}
	return out
}

// amounts maps currencies to amounts. Of a currency that is listed twice the last one counts.
func amounts(list []envelope.Amount) map[string]envelope.Decimal {
	left := make(map[string]envelope.Decimal, len(list))
	for _, a := range list {
		left[a.Currency] = a.Value
	}
	return left
}

func same(a, b []byte) bool {
	ca, errA := envelope.Canonical(a)
	cb, errB := envelope.Canonical(b)
	return errA == nil && errB == nil && bytes.Equal(ca, cb)
}

func violation(member, format string, args ...any) error {
	e := envelope.Errorf(envelope.CodeLeaseSubsetViolation, "lease."+member+": "+format, args...)
	never := false
	e.Retryable = &never
	return e
}
