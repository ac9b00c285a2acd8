package envelope

import (
	"encoding/json"
	"log/slog"
	"reflect"

	jsonv2 "github.com/go-json-experiment/json"
)

// Lease bounds what a job may do (open dialect 3.8). It is asked for in
// tool.invoke, echoed in job.accepted and attached to credentials.
//
// Nil lists are absent; empty ones are kept, since they mean something: an
// empty ModelUse allows no model at all.
type Lease struct {
	Budget    []Amount `json:"cost_budget,omitzero"`
	ModelUse  []string `json:"model_use,omitzero"`
	ExpiresAt *Time    `json:"expires_at,omitzero"`
	// Extra holds the members that are not listed above. They are echoed and
	// enforce nothing.
	Extra map[string]json.RawMessage `json:"-" arcp:"extra"`
}

// Equal reports whether two leases say the same. Two nil leases are equal.
func (l *Lease) Equal(other *Lease) bool {
	if l == nil || other == nil {
		return l == other
	}
	a, errA := canonicalOf(l)
	b, errB := canonicalOf(other)
	return errA == nil && errB == nil && string(a) == string(b)
}

// MarshalJSON writes the known members first, then the extra ones by name.
// Amounts come out normalised: USD:5.00 as USD:5.
func (l Lease) MarshalJSON() ([]byte, error) {
	type known Lease
	raw, err := jsonv2.Marshal(known(l), marshalOptions)
	if err != nil {
		return nil, err
	}
	return appendExtra(raw, l.Extra, reflect.TypeFor[Lease]())
}

// UnmarshalJSON reads strictly: a known member that is malformed is an error.
func (l *Lease) UnmarshalJSON(data []byte) error {
	*l = Lease{}
	return unmarshal(data, l)
}

// CredentialScheme says how a credential is presented.
type CredentialScheme string

// CredentialBearer is the only scheme.
const CredentialBearer CredentialScheme = "bearer"

func (v *CredentialScheme) fromWire(s string) error { return oneOf(v, s, CredentialBearer) }

// Credential is a provisioned credential. Value is a secret, and goes to the
// submitter only.
type Credential struct {
	ID          string           `json:"id" arcp:"!"`
	Scheme      CredentialScheme `json:"scheme" arcp:"!"`
	Value       string           `json:"value" arcp:"!"`
	Endpoint    string           `json:"endpoint" arcp:"!"`
	Profile     string           `json:"profile,omitzero"`
	Constraints *Lease           `json:"constraints,omitzero"`
}

// String shows the credential without its secret.
func (c Credential) String() string { return "credential " + c.ID + " for " + c.Endpoint }

// GoString is String: no format shows the secret.
func (c Credential) GoString() string { return c.String() }

// LogValue is String, for a log.
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.String()) }
