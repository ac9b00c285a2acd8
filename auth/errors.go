package auth

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// ErrState is returned by [Challenger.Verify] and [Set.Verify] for a state that
// the scheme did not hand out. It is internal: the caller mixed something up.
var ErrState = errors.New("auth: challenge state does not belong to this scheme")

// rejection is a decision against the client, with a text for its eyes.
type rejection struct{ reason string }

func (r *rejection) Error() string { return "auth: rejected: " + r.reason }

// Reject makes a rejection. The text is shown to the client and logged, so it
// must not hold the token or any other secret.
func Reject(format string, args ...any) error {
	return &rejection{reason: fmt.Sprintf(format, args...)}
}

// IsRejection reports whether err is a rejection made by [Reject], however
// wrapped, and returns its text for `session.rejected` or
// `session.unauthenticated`.
func IsRejection(err error) (reason string, ok bool) {
	var r *rejection
	if errors.As(err, &r) {
		return r.reason, true
	}
	return "", false
}

// ConfigError says which flag or file cannot be used, and why. It never repeats
// what the flag or file holds.
type ConfigError struct {
	// Source is a file's path or a flag's name.
	Source string
	// Item is the line of the file or the ordinal of a repeated flag, each
	// from 1; 0 when the whole source is meant.
	Item int
	// Reason is the complaint in words.
	Reason string
	// Err is the cause, or nil.
	Err error
}

// Error gives `tokens.txt:3: reason` or, for a flag, `--token 3: reason`.
func (e *ConfigError) Error() string {
	var b strings.Builder
	b.WriteString("auth: ")
	b.WriteString(e.Source)
	if e.Item > 0 {
		if strings.HasPrefix(e.Source, "--") {
			b.WriteByte(' ')
		} else {
			b.WriteByte(':')
		}
		b.WriteString(strconv.Itoa(e.Item))
	}
	b.WriteString(": ")
	b.WriteString(e.Reason)
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(cause(e.Err))
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

// cause leaves the path out of a file error: Source has named it already.
func cause(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}
