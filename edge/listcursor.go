package edge

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/arcp-nats/arcp/envelope"
)

// listQuery says which jobs a listing is about.
type listQuery struct {
	Principal string
	Session   string // "" for all sessions of the principal
	// The filter, open dialect LJ-2. Status is sorted and has each state once.
	Status        []string
	Agent         string
	After, Before time.Time // zero for no bound
}

func newListQuery(principal, session string, filter *envelope.JobListFilter) listQuery {
	q := listQuery{Principal: principal, Session: session}
	if filter == nil {
		return q
	}
	q.Status = slices.Compact(slices.Sorted(slices.Values(filter.Status)))
	q.Agent = filter.Agent
	if filter.CreatedAfter != nil {
		q.After = filter.CreatedAfter.UTC()
	}
	if filter.CreatedBefore != nil {
		q.Before = filter.CreatedBefore.UTC()
	}
	return q
}

// listCursor is where a listing goes on: a position in each shard. A shard that it does not name is read from the start.
//
// On the wire it is opaque: the positions, and a digest of them and of what is listed. It says nothing that its holder may
// not know, and an edge that gets it lists jobs of the session's own principal only, wherever it begins. So the digest
// needs no key, which edges would have to share: it is there to refuse a cursor of another listing, which would leave
// jobs out silently.
type listCursor map[int]uint64

const (
	cursorVersion = 1
	cursorSum     = 12   // bytes of the digest
	cursorMax     = 4096 // characters
)

func (c listCursor) encode(q listQuery) string {
	shards := make([]int, 0, len(c))
	for shard := range c {
		shards = append(shards, shard)
	}
	slices.Sort(shards)
	b := []byte{cursorVersion}
	for _, shard := range shards {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(shard)), c[shard])
	}
	return base64.RawURLEncoding.EncodeToString(append(b, cursorDigest(q, b)...))
}

func cursorDigest(q listQuery, positions []byte) []byte {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %q %s %s ", q.Principal, q.Session, q.Status, q.Agent,
		q.After.Format(time.RFC3339Nano), q.Before.Format(time.RFC3339Nano))
	h.Write(positions)
	return h.Sum(nil)[:cursorSum]
}

// decodeListCursor reads what encode made for the same query, and nothing else.
func decodeListCursor(text string, q listQuery) (listCursor, bool) {
	if len(text) > cursorMax {
		return nil, false
	}
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(data) <= cursorSum || data[0] != cursorVersion {
		return nil, false
	}
	c := listCursor{}
	for rest := data[1 : len(data)-cursorSum]; len(rest) > 0; {
		shard, n := binary.Uvarint(rest)
		if n <= 0 || shard > 1<<20 {
			return nil, false
		}
		pos, m := binary.Uvarint(rest[n:])
		if m <= 0 {
			return nil, false
		}
		c[int(shard)], rest = pos, rest[n+m:]
	}
	return c, c.encode(q) == text
}
