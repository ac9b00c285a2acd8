package auth

import (
	"context"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// tokenFlag is the flag whose values Config.Tokens holds.
const tokenFlag = "--token"

// origin is where an entry was read, for complaints about it.
type origin struct {
	source string
	item   int
}

func (o origin) fault(reason string) error {
	return &ConfigError{Source: o.source, Item: o.item, Reason: reason}
}

// relativeTo names the origin in a complaint about another one.
func (o origin) relativeTo(other origin) string {
	item := strconv.Itoa(o.item)
	switch {
	case strings.HasPrefix(o.source, "--"):
		return o.source + " " + item
	case o.source == other.source:
		return "line " + item
	}
	return o.source + ":" + item
}

// bearer is the scheme `bearer` over a table of tokens.
type bearer struct {
	ring       *keyring
	principals []string // by position in the ring
	origins    []origin // likewise, only for complaints while loading
	challenges bool     // tokens that begin with hmacPrefix mean challenges
}

func newBearer() *bearer { return &bearer{ring: newKeyring()} }

// addFile adds the `token principal` lines of a file.
func (b *bearer) addFile(path string, data []byte) error {
	lines, err := parseLines(path, data, "token principal")
	if err != nil {
		return err
	}
	for _, l := range lines {
		if err := b.add(l.origin, l.fields[0], l.fields[1]); err != nil {
			return err
		}
	}
	return nil
}

// addFlags adds TOKEN=PRINCIPAL values. The last `=` separates, as tokens in
// base64 end in that sign and principals hardly hold it.
func (b *bearer) addFlags(values []string) error {
	for i, v := range values {
		at := origin{tokenFlag, i + 1}
		sep := strings.LastIndexByte(v, '=')
		if sep < 0 {
			return at.fault("want TOKEN=PRINCIPAL")
		}
		if err := b.add(at, v[:sep], v[sep+1:]); err != nil {
			return err
		}
	}
	return nil
}

func (b *bearer) add(at origin, token, principal string) error {
	if fault := wordFault("token", token); fault != "" {
		return at.fault(fault)
	}
	if b.challenges && strings.HasPrefix(token, hmacPrefix) {
		return at.fault("tokens that begin with " + hmacPrefix + " are reserved while HMAC keys are configured")
	}
	if fault := principalFault(principal); fault != "" {
		return at.fault(fault)
	}
	if i, fresh := b.ring.add(token); !fresh {
		return at.fault("token was given before, at " + b.origins[i].relativeTo(at))
	}
	b.principals = append(b.principals, principal)
	b.origins = append(b.origins, at)
	return nil
}

// Authenticate looks the token up (HS-4).
func (b *bearer) Authenticate(_ context.Context, a Attempt) (Outcome, error) {
	if err := checkToken(a.Token); err != nil {
		return Outcome{}, err
	}
	i := b.ring.find(a.Token)
	if i < 0 {
		return Outcome{}, Reject("token not known")
	}
	return Outcome{Identity: Identity{Principal: b.principals[i]}}, nil
}

// checkToken rejects what no scheme that needs a token has to look at.
func checkToken(token string) error {
	switch {
	case token == "":
		return Reject("token is missing")
	case len(token) > MaxTokenBytes:
		return Reject("token is longer than %d bytes", MaxTokenBytes)
	}
	return nil
}

// wordFault says what is wrong with a configured token, key id or secret, ""
// when it is fine. A client could never send what is refused here.
func wordFault(what, word string) string {
	switch {
	case word == "":
		return what + " is empty"
	case len(word) > MaxTokenBytes:
		return what + " is longer than " + strconv.Itoa(MaxTokenBytes) + " bytes"
	case !utf8.ValidString(word):
		return what + " is not valid UTF-8"
	case strings.ContainsFunc(word, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
		return what + " holds a space or control character"
	}
	return ""
}
