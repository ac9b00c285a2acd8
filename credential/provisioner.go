package credential

import (
	"context"
	"errors"
	"fmt"

	"github.com/arcp-nats/arcp/envelope"
)

// Request says whom a credential is for (open dialect CR-1).
type Request struct {
	JobID     envelope.JobID
	SessionID envelope.SessionID
	Principal string
	// Lease is the job's effective lease, never nil. A credential must not allow more.
	Lease *envelope.Lease
	// Parent is the job that delegated this one, "" for one that a client submitted.
	Parent envelope.JobID
}

// Provisioner makes credentials and revokes them. It is safe for concurrent use and heeds ctx.
type Provisioner interface {
	// Issue makes the credentials of a job, at least one. It may be called again with the same job id, when it is not
	// known what came of the first call: the answer is then revoked at once, so it had better be the same one.
	//
	// A [*Refusal] says that nothing was issued, and why; its code goes to the client. After any other error something
	// may have been issued. If credentials come with an error, they were issued and are of no use: they are to be
	// revoked.
	Issue(ctx context.Context, req Request) ([]envelope.Credential, error)
	// Revoke ends a credential. One that is not known, or no longer, is revoked: that is no error.
	Revoke(ctx context.Context, id string) error
}

// Refusal is the word of an issuer that issues nothing.
type Refusal struct {
	// Reason has the code, the text and the retryability that the client is told.
	Reason *envelope.Error
}

// Error is that of the reason.
func (r *Refusal) Error() string { return "refused: " + r.Reason.Error() }

// Unwrap is the reason.
func (r *Refusal) Unwrap() error { return r.Reason }

// Refused reports whether err says that nothing was issued.
func Refused(err error) bool {
	var refusal *Refusal
	return errors.As(err, &refusal)
}

// maxCredentials bounds what one job is given.
const maxCredentials = 16

// Check says what is wrong with the credentials of a job, nil if they can be given to a client.
func Check(credentials []envelope.Credential) error {
	if len(credentials) == 0 || len(credentials) > maxCredentials {
		return fmt.Errorf("credential: %d credentials; 1 to %d are accepted", len(credentials), maxCredentials)
	}
	ids := make(map[string]bool, len(credentials))
	for i, c := range credentials {
		member := ""
		switch {
		case c.ID == "" || len(c.ID) > maxID:
			member = "id"
		case ids[c.ID]:
			return fmt.Errorf("credential: number %d has the id of another one", i+1)
		case c.Scheme != envelope.CredentialBearer:
			member = "scheme"
		case c.Value == "":
			member = "value"
		case c.Endpoint == "":
			member = "endpoint"
		}
		if member != "" {
			return fmt.Errorf("credential: number %d has no usable `%s`", i+1, member)
		}
		ids[c.ID] = true
	}
	return nil
}

// maxID is the greatest length of a credential's id, in bytes.
const maxID = 256
