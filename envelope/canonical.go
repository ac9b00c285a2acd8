package envelope

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Canonical is the canonical form of a JSON value (RFC 8785), with one
// exception: an integer that is written without fraction and exponent keeps
// its digits. RFC 8785 reads every number as a 64-bit float, which makes
// 9007199254740993 and 9007199254740992 the same request; two requests with
// different order numbers must not be. 1.0, 1e0 and 1 are the same.
func Canonical(value json.RawMessage) ([]byte, error) {
	v := jsontext.Value(value).Clone()
	err := v.Canonicalize(jsontext.CanonicalizeRawInts(false))
	if err != nil {
		return nil, fmt.Errorf("envelope: no canonical form: %w", syntaxReason(err))
	}
	return v, nil
}

// canonicalOf is the canonical form of a Go value.
func canonicalOf(value any) ([]byte, error) {
	raw, err := jsonv2.Marshal(value, marshalOptions)
	if err != nil {
		return nil, err
	}
	return Canonical(raw)
}

// Fingerprint tells requests apart for idempotency (ID-2): the SHA-256, in
// lower-case hex, of the resolved tool name, the arguments and the effective
// lease in canonical form. Nil arguments are null; a nil lease is none.
func Fingerprint(tool string, arguments json.RawMessage, lease *Lease) (string, error) {
	if arguments == nil {
		arguments = json.RawMessage("null")
	}
	canonical, err := canonicalOf(struct {
		Arguments json.RawMessage `json:"arguments"`
		Lease     *Lease          `json:"lease,omitzero"`
		Tool      string          `json:"tool"`
	}{arguments, lease, tool})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:]), nil
}
