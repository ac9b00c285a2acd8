package envelope

import (
	"bytes"
	"fmt"
)

// Limits bound what [Decode] reads. A field of zero means its default.
type Limits struct {
	// MaxBytes bounds the envelope in bytes; default 1 MiB. A type with a
	// larger limit of its own in the catalogue may use that instead.
	MaxBytes int
	// MaxDepth bounds the nesting, the envelope itself being level 1;
	// default 64.
	MaxDepth int
	// MaxKeys bounds the members of all objects together; default 10,000.
	MaxKeys int
}

// DefaultLimits is what the zero [Limits] stands for.
func DefaultLimits() Limits { return Limits{MaxBytes: 1 << 20, MaxDepth: 64, MaxKeys: 10_000} }

func (l Limits) withDefaults() Limits {
	def := DefaultLimits()
	if l.MaxBytes <= 0 {
		l.MaxBytes = def.MaxBytes
	}
	if l.MaxDepth <= 0 {
		l.MaxDepth = def.MaxDepth
	}
	if l.MaxKeys <= 0 {
		l.MaxKeys = def.MaxKeys
	}
	return l
}

const (
	limitBytes = "MaxBytes"
	limitDepth = "MaxDepth"
	limitKeys  = "MaxKeys"
)

func tooBig(what, limit string, most int) *DecodeError {
	return &DecodeError{Reason: fmt.Sprintf("%s (limit %s = %d)", what, limit, most), Limit: limit}
}

// measure counts nesting and members before the parser runs, so that the
// parser is never made to recurse or to remember names without bound. It needs
// no valid JSON. compact is false if there is white space between tokens.
func measure(data []byte, lim Limits) (compact bool, fault *DecodeError) {
	depth, keys := 0, 0
	compact = true
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			i = stringEnd(data, i)
		case '{', '[':
			if depth++; depth > lim.MaxDepth {
				return compact, tooBig("nested too deep", limitDepth, lim.MaxDepth)
			}
		case '}', ']':
			depth--
		case ':':
			if keys++; keys > lim.MaxKeys {
				return compact, tooBig("too many members", limitKeys, lim.MaxKeys)
			}
		case ' ', '\t', '\r', '\n':
			compact = false
		}
	}
	return compact, nil
}

// stringEnd is the index of the quote that closes the string opened at start,
// or len(data) if none does.
func stringEnd(data []byte, start int) int {
	for from := start + 1; ; {
		n := bytes.IndexByte(data[from:], '"')
		if n < 0 {
			return len(data)
		}
		end := from + n
		slashes := end
		for slashes > start+1 && data[slashes-1] == '\\' {
			slashes--
		}
		if (end-slashes)%2 == 0 {
			return end
		}
		from = end + 1
	}
}
