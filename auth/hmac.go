package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"
	"sync/atomic"
)

// hmacPrefix begins a bearer token that asks for a challenge: the rest of it
// is the key id.
const hmacPrefix = "hmac:"

// nonceBytes is the randomness in a challenge.
const nonceBytes = 32

// hmacKey is one line of an HMAC key file.
type hmacKey struct {
	secret    Secret
	principal string
}

// hmacBearer is the scheme `bearer` where tokens `hmac:KEYID` are challenged
// and all others are looked up.
type hmacBearer struct {
	table   *bearer
	ring    *keyring
	keys    []hmacKey // by position in the ring
	origins []origin  // likewise
	decoy   hmacKey   // stands in for unknown key ids
}

// newHMACBearer reads the `keyid secret principal` lines of a file. The table
// given is empty or holds no token that begins with hmacPrefix.
func newHMACBearer(tokens *bearer, path string, data []byte) (*hmacBearer, error) {
	lines, err := parseLines(path, data, "keyid secret principal")
	if err != nil {
		return nil, err
	}
	h := &hmacBearer{table: tokens, ring: newKeyring(), decoy: hmacKey{secret: NewSecret(randomHex())}}
	for _, l := range lines {
		id, secret, principal := l.fields[0], l.fields[1], l.fields[2]
		if fault := wordFault("key id", id); fault != "" {
			return nil, l.fault(fault)
		}
		if fault := wordFault("secret", secret); fault != "" {
			return nil, l.fault(fault)
		}
		if fault := principalFault(principal); fault != "" {
			return nil, l.fault(fault)
		}
		if i, fresh := h.ring.add(id); !fresh {
			return nil, l.fault("key id was given before, at " + h.origins[i].relativeTo(l.origin))
		}
		h.keys = append(h.keys, hmacKey{NewSecret(secret), principal})
		h.origins = append(h.origins, l.origin)
	}
	return h, nil
}

// challenge is the state of one nonce that was handed out.
type challenge struct {
	nonce string
	keys  []hmacKey // any of them will do
	known bool      // false: the key is the decoy, whatever the answer
	used  atomic.Bool
}

// Authenticate answers `hmac:KEYID` with a nonce, known key id or not: which
// ids exist is nobody's business. Other tokens go to the table.
func (h *hmacBearer) Authenticate(ctx context.Context, a Attempt) (Outcome, error) {
	id, ok := strings.CutPrefix(a.Token, hmacPrefix)
	if !ok {
		return h.table.Authenticate(ctx, a)
	}
	if err := checkToken(a.Token); err != nil {
		return Outcome{}, err
	}
	c := &challenge{nonce: randomHex(), keys: []hmacKey{h.decoy}}
	if i := h.ring.find(id); i >= 0 {
		c.keys[0], c.known = h.keys[i], true
	}
	return Outcome{Challenge: c.nonce, State: c}, nil
}

// Renew challenges a principal that was let in before. Any of its keys answers:
// the one that it came with may be on its way out.
func (h *hmacBearer) Renew(_ context.Context, principal string) (Outcome, error) {
	c := &challenge{nonce: randomHex(), known: true}
	for _, key := range h.keys {
		if key.principal == principal {
			c.keys = append(c.keys, key)
		}
	}
	if len(c.keys) == 0 {
		return Outcome{}, Reject("there is no key of this principal any more")
	}
	return Outcome{Challenge: c.nonce, State: c}, nil
}

// Verify accepts the lower-case hex of HMAC-SHA256(secret, nonce), where the
// nonce is the challenge's text, byte for byte. A wrong answer leaves the
// challenge open (HS-5); a right one uses it up.
func (h *hmacBearer) Verify(_ context.Context, state any, response string) (Identity, error) {
	c, ok := state.(*challenge)
	if !ok || c == nil {
		return Identity{}, ErrState
	}
	right := false
	for _, key := range c.keys {
		right = subtle.ConstantTimeCompare([]byte(response), []byte(answer(key.secret, c.nonce))) == 1 || right
	}
	if !right || !c.known {
		return Identity{}, Reject("response is wrong")
	}
	if c.used.Swap(true) {
		return Identity{}, Reject("challenge was answered before")
	}
	return Identity{Principal: c.keys[0].principal}, nil
}

// answer is what the holder of the secret says to a nonce.
func answer(secret Secret, nonce string) string {
	mac := hmac.New(sha256.New, []byte(secret.Reveal()))
	mac.Write([]byte(nonce))
	return hex.EncodeToString(mac.Sum(nil))
}

func randomHex() string {
	var b [nonceBytes]byte
	_, _ = rand.Read(b[:]) // documented never to fail
	return hex.EncodeToString(b[:])
}
