package edge

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"

	"github.com/arcp-nats/arcp/envelope"
)

// A resume token is "rt_", the session's id, "_" and 256 random bits in hex. The id says which record to look at,
// the rest proves the right to it. Only its hash is ever stored.
const (
	tokenPrefix = "rt_"
	tokenBytes  = 32
)

// newResumeToken mints a token for a session.
func newResumeToken(id envelope.SessionID) string {
	var secret [tokenBytes]byte
	_, _ = rand.Read(secret[:]) // never fails
	return tokenPrefix + string(id) + "_" + hex.EncodeToString(secret[:])
}

// tokenSession returns the session that a token speaks of, without any proof that it is genuine.
func tokenSession(token string) (envelope.SessionID, bool) {
	rest, ok := strings.CutPrefix(token, tokenPrefix)
	if !ok {
		return "", false
	}
	cut := strings.LastIndexByte(rest, '_')
	if cut < 0 || len(rest)-cut-1 != 2*tokenBytes {
		return "", false
	}
	id, err := envelope.ParseSessionID(rest[:cut])
	return id, err == nil
}

// hashToken is what is stored of a token. A token has more entropy than its hash could lose, so no salt is needed.
func hashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// tokenMatches compares in a time that does not depend on where the hashes differ.
func tokenMatches(hash, token string) bool {
	return hash != "" && subtle.ConstantTimeCompare([]byte(hash), []byte(hashToken(token))) == 1
}

// newTraceID is a trace id in the form of W3C.
func newTraceID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // it never fails
	return hex.EncodeToString(id[:])
}
