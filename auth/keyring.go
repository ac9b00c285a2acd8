package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
)

// keyring finds a name among many without telling by its timing how close a
// guess came. It keeps no names, only their HMACs under a key that exists in
// this process alone, so a memory dump gives nothing to look up elsewhere.
//
// What the time depends on is the length of the name asked for, which the
// asker chose, and the number of names, which is the same for all: every entry
// is compared, each compare is constant time, and a hit neither ends the walk
// nor branches.
type keyring struct {
	key  [sha256.Size]byte
	macs [][sha256.Size]byte

	// places serves add alone: while a file is loaded nobody can measure, and
	// walking all entries for each would take quadratic time.
	places map[[sha256.Size]byte]int
}

func newKeyring() *keyring {
	k := &keyring{places: make(map[[sha256.Size]byte]int)}
	_, _ = rand.Read(k.key[:]) // documented never to fail
	return k
}

// add appends a name. If the ring holds it already, it returns the position it
// has and false.
func (k *keyring) add(name string) (place int, fresh bool) {
	mac := k.mac(name)
	if place, ok := k.places[mac]; ok {
		return place, false
	}
	place = len(k.macs)
	k.macs = append(k.macs, mac)
	k.places[mac] = place
	return place, true
}

// find returns the position of a name, -1 if it is unknown.
func (k *keyring) find(name string) int {
	mac := k.mac(name)
	found := -1
	for i := range k.macs {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(k.macs[i][:], mac[:]), i, found)
	}
	return found
}

func (k *keyring) mac(name string) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, k.key[:])
	h.Write([]byte(name))
	h.Sum(sum[:0])
	return sum
}
