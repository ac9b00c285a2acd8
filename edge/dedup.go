package edge

import (
	"crypto/sha256"

	"github.com/arcp-nats/arcp/envelope"
)

const (
	// dedupSize is how many message ids a connection remembers.
	dedupSize = 8192
	// dedupIDMax is the longest id that is remembered as it is, in bytes; of a longer one the hash is.
	dedupIDMax = 64
)

// dedup remembers the last ids received on one connection, first in first out (open dialect TR-2). It is not safe
// for concurrent use: the connection's reader owns it.
type dedup struct {
	seen map[string]struct{}
	ring []string
	next int
}

// repeated reports whether id is remembered, and remembers it.
func (d *dedup) repeated(id envelope.MessageID) bool {
	key := string(id)
	if len(key) > dedupIDMax {
		sum := sha256.Sum256([]byte(key))
		key = string(sum[:])
	}
	if _, known := d.seen[key]; known {
		return true
	}
	if d.seen == nil {
		d.seen = make(map[string]struct{})
	}
	if len(d.ring) < dedupSize {
		d.ring = append(d.ring, key)
	} else {
		delete(d.seen, d.ring[d.next])
		d.ring[d.next] = key
		d.next = (d.next + 1) % dedupSize
	}
	d.seen[key] = struct{}{}
	return false
}
