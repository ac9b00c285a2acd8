package hello

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcp-nats/arcp/envelope"
	leases "github.com/arcp-nats/arcp/lease"
)

// Lease is what a job may do: capability names and patterns.
type Lease map[string][]string

// Names of capabilities with a meaning of their own.
const (
	CapabilityBudget   = "cost.budget"
	CapabilityModelUse = "model.use"
)

var budgetAmount = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*:[0-9]+(\.[0-9]+)?$`)

// LeaseOf is a lease of the open dialect, and its constraints. Members that are no lists of text have no place here.
func LeaseOf(l *envelope.Lease) (Lease, *LeaseConstraints) {
	lease := make(Lease)
	if l == nil {
		return lease, nil
	}
	for name, raw := range l.Extra {
		var patterns []string
		if jsonv2.Unmarshal(raw, &patterns) == nil && patterns != nil {
			lease[name] = patterns
		}
	}
	if l.Budget != nil {
		lease[CapabilityBudget] = amounts(l.Budget)
	}
	if l.ModelUse != nil {
		lease[CapabilityModelUse] = slices.Clone(l.ModelUse)
	}
	if l.ExpiresAt == nil {
		return lease, nil
	}
	return lease, &LeaseConstraints{ExpiresAt: utc(*l.ExpiresAt)}
}

func amounts(budget []envelope.Amount) []string {
	list := make([]string, 0, len(budget))
	for _, a := range budget {
		list = append(list, a.String())
	}
	return list
}

func utc(t envelope.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999999999Z") }

// BudgetOf are the amounts of a lease by currency, nil if it has none.
func BudgetOf(budget []envelope.Amount) map[string]float64 {
	if len(budget) == 0 {
		return nil
	}
	all := make(map[string]float64, len(budget))
	for _, a := range budget {
		all[a.Currency] += a.Value.Float64()
	}
	return all
}

// Canonical is the lease that a job.submit asks for, in the open dialect; nil if it asks for none. The error names the member
// (rules 90, 92, 93).
func (s *Submit) Canonical() (*envelope.Lease, error) {
	var asked Lease
	if len(s.LeaseRequest) > 0 && string(s.LeaseRequest) != "null" {
		if err := jsonv2.Unmarshal(s.LeaseRequest, &asked, reading); err != nil {
			return nil, errors.New("payload.lease_request: must be an object of lists of text")
		}
	}
	if len(asked) == 0 && (s.LeaseConstraints == nil || s.LeaseConstraints.ExpiresAt == "") {
		return nil, nil
	}
	lease := new(envelope.Lease)
	for name, patterns := range asked {
		if err := addCapability(lease, name, patterns); err != nil {
			return nil, fmt.Errorf("payload.lease_request.%s: %w", name, err)
		}
	}
	if s.LeaseConstraints != nil && s.LeaseConstraints.ExpiresAt != "" {
		at, err := envelope.ParseTime(s.LeaseConstraints.ExpiresAt)
		if err != nil || !strings.HasSuffix(s.LeaseConstraints.ExpiresAt, "Z") {
			return nil, errors.New("payload.lease_constraints.expires_at: must be a time in UTC, as 2026-01-02T15:04:05Z")
		}
		lease.ExpiresAt = &at
	}
	return lease, nil
}

func addCapability(lease *envelope.Lease, name string, patterns []string) error {
	if name != CapabilityBudget && name != CapabilityModelUse && !leases.IsCapability(name) {
		return errors.New("no such capability: those of vendors begin with x-vendor")
	}
	if patterns == nil || slices.Contains(patterns, "") {
		return errors.New("must be a list of patterns that are not empty")
	}
	switch name {
	case CapabilityModelUse:
		lease.ModelUse = patterns
	case CapabilityBudget:
		budget, err := budgetOf(patterns)
		lease.Budget = budget
		return err
	default:
		raw, err := jsonv2.Marshal(patterns)
		if err != nil {
			return err
		}
		if lease.Extra == nil {
			lease.Extra = make(map[string]json.RawMessage)
		}
		lease.Extra[name] = raw
	}
	return nil
}

// budgetOf reads amounts; those of one currency add up (rule 93).
func budgetOf(texts []string) ([]envelope.Amount, error) {
	budget := make([]envelope.Amount, 0, len(texts))
	for _, text := range texts {
		if !budgetAmount.MatchString(text) {
			return nil, fmt.Errorf("%.32q is no amount: want a currency and a number, as USD:1.50", text)
		}
		a, err := envelope.ParseAmount(text)
		if err != nil {
			return nil, fmt.Errorf("%.32q is no amount: %w", text, err)
		}
		at := slices.IndexFunc(budget, func(other envelope.Amount) bool { return other.Currency == a.Currency })
		if at < 0 {
			budget = append(budget, a)
			continue
		}
		one, fits := budget[at].Value.Millionths()
		other, alsoFits := a.Value.Millionths()
		if !fits || !alsoFits || one+other < one {
			return nil, fmt.Errorf("the amounts in %s do not add up", a.Currency)
		}
		budget[at].Value = envelope.DecimalFromMillionths(one + other)
	}
	return budget, nil
}

// CredentialsOf are the credentials of the open dialect that all clients can read: those of another scheme than bearer, which the
// open dialect does not have, would cost some of them the whole message (annex A, 27).
func CredentialsOf(all []envelope.Credential) (credentials []Credential) {
	for i := range all {
		if c := credentialOf(&all[i]); c.Scheme == schemeBearer {
			credentials = append(credentials, c)
		}
	}
	return credentials
}

const schemeBearer = "bearer"

func credentialOf(c *envelope.Credential) Credential {
	credential := Credential{ID: c.ID, Scheme: string(c.Scheme), Value: c.Value, Endpoint: c.Endpoint, Profile: c.Profile}
	if l := c.Constraints; l != nil {
		constraints := &Constraints{ModelUse: l.ModelUse, AllowedModels: l.ModelUse}
		if len(l.Budget) > 0 {
			constraints.Budget = amounts(l.Budget)
			constraints.MaxSpend = &MaxSpend{Currency: l.Budget[0].Currency, Amount: l.Budget[0].Value.Float64()}
		}
		if l.ExpiresAt != nil {
			constraints.ExpiresAt = utc(*l.ExpiresAt)
		}
		credential.Constraints = constraints
	}
	return credential
}

// Canonical is the lease in the open dialect, nil for an empty one without an end. What cannot be read is left out: a runtime has
// said it.
func (l Lease) Canonical(limits *LeaseConstraints) *envelope.Lease {
	lease := new(envelope.Lease)
	for name, patterns := range l {
		if addCapability(lease, name, patterns) != nil {
			continue
		}
	}
	if limits != nil {
		if at, err := envelope.ParseTime(limits.ExpiresAt); err == nil {
			lease.ExpiresAt = &at
		}
	}
	if len(l) == 0 && lease.ExpiresAt == nil {
		return nil
	}
	return lease
}
