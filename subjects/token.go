package subjects

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
)

// mark begins an escape: the mark and two upper-case hex digits stand for one byte. It is the one punctuation
// character besides '-', '_' and '/' that both subjects and bucket keys allow.
const mark = '='

// empty is the token of the empty string. It is a cut-off escape, so no other string has it.
const empty = string(mark)

// none is the token of an absent job. Escape never returns it.
const none = "_"

// longest is the greatest number of escaped bytes of a principal that is still written out.
const longest = 64

// hashed begins the token of a hashed principal. Escape never returns it.
const hashed = "~"

const upperHex = "0123456789ABCDEF"

// longestName is the same for a consumer's name, which the broker makes a file name of.
const longestName = 128

// plain says which bytes stand for themselves. Bucket keys allow fewer, names of consumers fewer still.
var plain, plainKey, plainName = plainBytes("-_/@:+,"), plainBytes("-_/"), plainBytes("-_")

func plainBytes(punctuation string) (set [256]bool) {
	for c := byte('0'); c <= '9'; c++ {
		set[c] = true
	}
	for c := byte('a'); c <= 'z'; c++ {
		set[c], set[c-'a'+'A'] = true, true
	}
	for i := range len(punctuation) {
		set[punctuation[i]] = true
	}
	return set
}

// Escape returns the subject token of any string: letters, digits and -_/@:+, stand for themselves, every other byte
// becomes "=XX". Different strings have different tokens, no token is empty, and none holds a separator, a wildcard,
// a space or a control character.
func Escape(name string) string {
	if name == none {
		return "=5F"
	}
	return escape(name, &plain)
}

// Unescape returns the string whose token Escape made. It refuses everything that Escape does not return.
func Unescape(token string) (string, error) {
	if token == none {
		return "", errors.New("subjects: _ is no name")
	}
	if token == "=5F" {
		return none, nil
	}
	return unescape(token, &plain)
}

// PrincipalToken returns the subject token of a principal: the escaped name, or "~" and a hash if that would be longer
// than 64 bytes.
func PrincipalToken(principal string) string {
	token := Escape(principal)
	if len(token) <= longest {
		return token
	}
	return hashed + hash(principal)
}

func hash(name string) string {
	sum := sha256.Sum256([]byte(name))
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]))
}

// isHashed tells whether a token has the form of a hashed principal.
func isHashed(token string) bool {
	const digits = 52 // base32 of 32 bytes
	if len(token) != len(hashed)+digits || !strings.HasPrefix(token, hashed) {
		return false
	}
	for _, c := range []byte(token[len(hashed):]) {
		if (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

// Key returns the bucket key of one or more parts, joined by dots. Different lists of parts have different keys, and a
// key of n parts begins with the key of its first n-1 parts and a dot. Parts of unbounded length should be hashed first.
func Key(first string, parts ...string) string {
	var b strings.Builder
	b.WriteString(escape(first, &plainKey))
	for _, part := range parts {
		b.WriteByte('.')
		b.WriteString(escape(part, &plainKey))
	}
	return b.String()
}

// ParseKey returns the parts of a key that Key made. It refuses everything that Key does not return.
func ParseKey(key string) ([]string, error) {
	tokens := strings.Split(key, ".")
	for i, token := range tokens {
		part, err := unescape(token, &plainKey)
		if err != nil {
			return nil, fmt.Errorf("subjects: key part %d: %w", i+1, err)
		}
		tokens[i] = part
	}
	return tokens, nil
}

func escape(name string, plain *[256]bool) string {
	if name == "" {
		return empty
	}
	odd := 0
	for i := range len(name) {
		if !plain[name[i]] {
			odd++
		}
	}
	if odd == 0 {
		return name
	}
	token := make([]byte, 0, len(name)+2*odd)
	for i := range len(name) {
		if c := name[i]; plain[c] {
			token = append(token, c)
		} else {
			token = append(token, mark, upperHex[c>>4], upperHex[c&15])
		}
	}
	return string(token)
}

func unescape(token string, plain *[256]bool) (string, error) {
	if token == empty {
		return "", nil
	}
	if token == "" {
		return "", errors.New("subjects: empty token")
	}
	name := make([]byte, 0, len(token))
	for i := 0; i < len(token); i++ {
		c := token[i]
		if plain[c] {
			name = append(name, c)
			continue
		}
		if c != mark || len(token)-i < 3 {
			return "", fmt.Errorf("subjects: byte %d of token %q is not escaped", i, token)
		}
		high, low := strings.IndexByte(upperHex, token[i+1]), strings.IndexByte(upperHex, token[i+2])
		if high < 0 || low < 0 || plain[high<<4|low] {
			return "", fmt.Errorf("subjects: bad escape at byte %d of token %q", i, token)
		}
		name = append(name, byte(high<<4|low))
		i += 2
	}
	return string(name), nil
}
