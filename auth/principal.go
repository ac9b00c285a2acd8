package auth

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxPrincipalBytes is the longest principal accepted, in bytes.
const MaxPrincipalBytes = 256

// AnonymousPrefix begins the principal of every anonymous session. No token
// table, key file or JWT can name such a principal, so nobody can take over
// an anonymous session's jobs.
const AnonymousPrefix = "anonymous:"

// principalFault says what is wrong with a principal, "" when it is fine. The
// text does not repeat the principal: somebody may have swapped the columns
// of a token file.
func principalFault(p string) string {
	switch {
	case p == "":
		return "principal is empty"
	case len(p) > MaxPrincipalBytes:
		return "principal is longer than 256 bytes"
	case !utf8.ValidString(p):
		return "principal is not valid UTF-8"
	case strings.ContainsFunc(p, unicode.IsControl):
		return "principal holds a control character"
	case strings.HasPrefix(p, AnonymousPrefix):
		return "principals that begin with " + AnonymousPrefix + " are reserved"
	}
	return ""
}
