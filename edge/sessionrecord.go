package edge

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/arcp-nats/arcp/edge/dialect"
	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/subjects"
)

// sessionRecord is what the Sessions bucket holds of a session: all that an edge needs to go on with it. It is
// written by compare-and-set, so of two edges that want a session one gets it.
type sessionRecord struct {
	Session   envelope.SessionID `json:"session"`
	Principal string             `json:"principal"`
	Dialect   string             `json:"dialect"`
	// Place is where the session's records are written. It may be behind what the log says by one move.
	Place        view.Place            `json:"place"`
	Capabilities envelope.Capabilities `json:"capabilities"`
	// Proof says how the client has shown who it is, so that any edge can ask it again.
	Proof proof `json:"proof"`
	// LeaseGranted and LeaseExpires say since when and until when the proof is good (open dialect HS-9).
	LeaseGranted time.Time `json:"lease_granted_at"`
	LeaseExpires time.Time `json:"lease_expires_at"`
	CreatedAt    time.Time `json:"created_at"`
	// Holder and Epoch say which edge has the session, and how often it changed hands.
	Holder string `json:"holder"`
	Epoch  uint64 `json:"epoch"`
	// Token is the hash of the resume token. Previous are the hashes of those before it that are good until the client has
	// shown that it holds a later one, oldest first: a resume that the client has given up may come after the next one, with
	// an older token, and the client holds any of them.
	Token    string   `json:"token"`
	Previous []string `json:"previous,omitempty"`
	// Start is the view of a client that has seen nothing: all of the session's records stand after it.
	Start view.Checkpoint `json:"start"`
	// Checkpoint is a view of which the client has seen everything.
	Checkpoint view.Checkpoint `json:"checkpoint"`
	// Recent is a later view, of which the client may not have seen everything. A resume begins with it if the client
	// says that it has. Its position may lie after the session's last record: nothing of the session stands between.
	Recent *view.Checkpoint `json:"recent,omitempty"`
}

func (r *sessionRecord) key() string { return subjects.Key(string(r.Session)) }

func (r *sessionRecord) encode() ([]byte, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("session record: %w", err)
	}
	return data, nil
}

func decodeSessionRecord(data []byte) (*sessionRecord, error) {
	r := new(sessionRecord)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("session record: %w", err)
	}
	if _, ok := dialect.Named(r.Dialect); !ok {
		return nil, fmt.Errorf("session record: this edge does not speak the dialect %q", r.Dialect)
	}
	return r, nil
}

// subject is where the edge writes what it says to the session.
func (r *sessionRecord) subject() subjects.Subject { return r.subjectAt(r.Place) }

func (r *sessionRecord) subjectAt(place view.Place) subjects.Subject {
	return subjects.Subject{
		Shard: place.Shard, Lane: subjects.Event, Feed: place.Feed,
		Principal: r.Principal, Session: string(r.Session),
	}
}

// startingView is the newest view that a client which has seen the envelopes up to seq can go on from.
func (r *sessionRecord) startingView(seq uint64) *view.View {
	newest := r.Start
	if r.Checkpoint.Seq > 0 && r.Checkpoint.Seq <= seq {
		newest = r.Checkpoint
	}
	if r.Recent != nil && r.Recent.Seq <= seq && r.Recent.Seq >= newest.Seq {
		newest = *r.Recent
	}
	return view.Restore(newest)
}

// maxPrevious bounds the tokens that are good beside the last one.
const maxPrevious = 8

// goodToken reports whether a token is good for the session.
func (r *sessionRecord) goodToken(token string) bool {
	good := tokenMatches(r.Token, token)
	for _, hash := range r.Previous {
		good = tokenMatches(hash, token) || good
	}
	return good
}

// renew makes a token one more that is good, without an end of those before it: the client may hold any of them, and what
// it says next proves nothing, as it may have been on its way already. The one that it resumed with stays in any case.
func (r *sessionRecord) renew(another string) {
	previous := append(slices.Clone(r.Previous), r.Token)
	if len(previous) > maxPrevious {
		previous = slices.Delete(previous, 1, 2)
	}
	r.Previous, r.Token = previous, hashToken(another)
}

// rotate makes a token the last one; those before it stay good for now.
func (r *sessionRecord) rotate(successor string) {
	previous := append(slices.Clone(r.Previous), r.Token)
	r.Previous = previous[max(0, len(previous)-maxPrevious):]
	r.Token = hashToken(successor)
}
