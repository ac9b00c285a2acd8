package edge

import (
	"crypto/sha256"
	"sync"

	"github.com/arcp-nats/arcp/envelope"
)

const (
	// dedupSize is how many message ids a connection remembers.
	dedupSize = 8192
	// dedupIDMax is the longest id that is remembered as it is, in bytes; of a longer one the hash is.
	dedupIDMax = 64
)

// dedup remembers the last ids received on one connection, first in first out (open dialect TR-2). It is safe for
// concurrent use.
type dedup struct {
	mu   sync.Mutex
	seen map[string]struct{}
	ring []string
	next int
}

// repeated reports whether id is remembered, and remembers it.
func (d *dedup) repeated(id envelope.MessageID) bool {
	key := dedupKey(id)
	d.mu.Lock()
	defer d.mu.Unlock()
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

// forget lets an id come again: the message had no effect, and its sender was told that it can try again.
func (d *dedup) forget(id envelope.MessageID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.seen, dedupKey(id)) // its place in the ring is used again in its turn
}

func dedupKey(id envelope.MessageID) string {
	if len(id) <= dedupIDMax {
		return string(id)
	}
	sum := sha256.Sum256([]byte(id))
	return string(sum[:])
}
