package edge

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/arcp-nats/arcp/credential"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/subjects"
)

// grantState says how far the credentials of a job have come.
type grantState string

const (
	// grantAsking: the provisioner is being asked, or was, and nobody wrote down what it said.
	grantAsking grantState = "asking"
	// grantGiven: they are good, as long as the job has not ended.
	grantGiven grantState = "given"
	// grantRevoking: they are to be revoked.
	grantRevoking grantState = "revoking"
)

// grant is the ledger's entry on the credentials of one job (open dialect CR-3). It is written before the provisioner is
// asked and removed when all of it is revoked, so that nothing that was issued can be forgotten. The invocation's record
// names it; a grant that no invocation names belongs to a job that was never stored.
type grant struct {
	State grantState `json:"state"`
	At    time.Time  `json:"at"`   // since when, by the clock of the edge that wrote it
	Edge  string     `json:"edge"` // that asked

	Invocation string          `json:"invocation"` // the subject that the job's invocation is to stand on
	Principal  string          `json:"principal"`
	Lease      *envelope.Lease `json:"lease,omitempty"` // to ask again

	IDs    []string `json:"ids,omitempty"`    // that are not revoked
	Sealed []byte   `json:"sealed,omitempty"` // the credentials, while they are good

	Tries  int       `json:"tries,omitempty"`  // revocations that failed
	Next   time.Time `json:"next,omitzero"`    // the next one is not before
	Holder string    `json:"holder,omitempty"` // the edge that revokes now
	Until  time.Time `json:"until,omitzero"`   // and by when it will have said what came of it
}

// request is what the provisioner is asked for.
func (g *grant) request() (credential.Request, error) {
	sub, err := subjects.Parse(g.Invocation)
	if err != nil {
		return credential.Request{}, fmt.Errorf("ledger: %w", err)
	}
	return credential.Request{
		JobID: envelope.JobID(sub.Job), SessionID: envelope.SessionID(sub.Session), Principal: g.Principal, Lease: g.Lease,
	}, nil
}

// give seals the credentials into the grant.
func (g *grant) give(id string, credentials []envelope.Credential, keys Sealer, now time.Time) error {
	secret, err := json.Marshal(credentials)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	g.State, g.At = grantGiven, now
	g.IDs, g.Sealed = idsOf(credentials), keys.Seal(secret, g.sealContext(id))
	return nil
}

// open returns the credentials.
func (g *grant) open(id string, keys Sealer) (credentials []envelope.Credential, err error) {
	secret, err := keys.Open(g.Sealed, g.sealContext(id))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(secret, &credentials); err != nil {
		return nil, fmt.Errorf("ledger: the credentials of a grant cannot be read") // the cause may quote them
	}
	return credentials, nil
}

// sealContext binds what is sealed to its entry: moved to another job's, it does not open.
func (g *grant) sealContext(id string) string { return id + " " + g.Invocation }

// revoke makes the grant one whose credentials are to be revoked. From here on nobody is shown them.
func (g *grant) revoke(now time.Time) {
	if g.State != grantRevoking {
		g.State, g.At, g.Sealed = grantRevoking, now, nil
	}
}

// until is how long the grant is to be left alone, unless it is this edge that holds it: another edge is revoking at this
// moment, or the next try is not due. A time that is much further off than an edge may write is of a clock that is ahead, and
// does not count.
func (g *grant) until(edge string, now time.Time) (due time.Time) {
	if g.Holder != edge && g.Until.Sub(now) < 2*revokeClaim {
		due = g.Until
	}
	if g.Next.After(due) && g.Next.Sub(now) < 2*revokeLongest {
		due = g.Next
	}
	return due
}

// failed notes that a revocation did not come to its end, and when the next one is due.
func (g *grant) failed(now time.Time) {
	wait := revokeLongest
	if g.Tries < 16 {
		wait = min(revokeLongest, revokeShortest<<g.Tries)
	}
	g.Tries++
	g.Next, g.Holder, g.Until = now.Add(wait), "", time.Time{}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func idsOf(credentials []envelope.Credential) []string {
	var ids []string
	for _, c := range credentials {
		if c.ID != "" { // without a name it cannot be revoked
			ids = append(ids, c.ID)
		}
	}
	return ids
}
