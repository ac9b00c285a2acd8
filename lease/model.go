package lease

import (
	"slices"

	"github.com/arcp-nats/arcp/envelope"
)

// CheckModel reports that a lease allows the use of a model (open dialect MU-1): a pattern of its model_use matches, or it
// has none. An empty list allows nothing. PERMISSION_DENIED: it does not.
func CheckModel(l *envelope.Lease, model string) error {
	if l == nil || l.ModelUse == nil || slices.ContainsFunc(l.ModelUse, func(p string) bool { return Match(p, model) }) {
		return nil
	}
	return envelope.Errorf(envelope.CodePermissionDenied, "lease.%s: the lease does not allow the model %q", memberModels, model)
}
