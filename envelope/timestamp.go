package envelope

import (
	"errors"
	"time"
)

// Time is a timestamp of the wire (open dialect 1.3): read with any offset,
// held and written in UTC with 0, 3, 6 or 9 fractional digits.
type Time struct{ time.Time }

// Now is the present in UTC, without a monotonic reading, so that it compares
// equal to itself after a trip over the wire.
func Now() Time { return At(time.Now()) }

// At makes a wire time of t.
func At(t time.Time) Time { return Time{t.UTC().Round(0)} }

var errTimestamp = errors.New("no RFC 3339 timestamp")

// ParseTime reads an RFC 3339 timestamp. A space or a lower-case t may stand
// for the T, a lower-case z for the Z. A leap second counts as the second
// after it; digits beyond the nanosecond are dropped.
func ParseTime(s string) (Time, error) {
	const datePart, seconds = len("2006-01-02"), len("2006-01-02T15:04:")
	if len(s) > 64 || !rfc3339Shape(s) {
		return Time{}, errTimestamp
	}
	leap := s[seconds:seconds+2] == "60"
	if last := len(s) - 1; s[datePart] != 'T' || s[last] == 'z' || leap {
		text := []byte(s)
		text[datePart] = 'T'
		if text[last] == 'z' {
			text[last] = 'Z'
		}
		if leap {
			copy(text[seconds:], "59")
		}
		s = string(text)
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return Time{}, errTimestamp
	}
	if leap {
		t = t.Add(time.Second)
	}
	t = t.UTC()
	if t.Year() < 0 || t.Year() > 9999 {
		return Time{}, errTimestamp
	}
	return Time{t}, nil
}

// rfc3339Shape checks the places of digits and signs. Go's parser checks the
// ranges of the numbers, but takes a comma for the point, one-digit hours and
// offsets of 24 hours.
func rfc3339Shape(s string) bool {
	rest, ok := matchShape(s, "dddd-dd-ddTdd:dd:dd")
	if !ok {
		return false
	}
	if rest != "" && rest[0] == '.' {
		digits := 1
		for digits < len(rest) && isDigit(rest[digits]) {
			digits++
		}
		if digits == 1 {
			return false
		}
		rest = rest[digits:]
	}
	if rest == "Z" || rest == "z" {
		return true
	}
	offset, ok := matchShape(rest, "+dd:dd")
	return ok && offset == "" && rest[1:3] <= "23" && rest[4:6] <= "59"
}

// matchShape matches the beginning of s and gives back the rest. In the
// pattern d is a digit, T also a t or a space, + also a minus.
func matchShape(s, pattern string) (rest string, ok bool) {
	if len(s) < len(pattern) {
		return "", false
	}
	for i := range len(pattern) {
		c, fits := s[i], false
		switch pattern[i] {
		case 'd':
			fits = isDigit(c)
		case 'T':
			fits = c == 'T' || c == 't' || c == ' '
		case '+':
			fits = c == '+' || c == '-'
		default:
			fits = c == pattern[i]
		}
		if !fits {
			return "", false
		}
	}
	return s[len(pattern):], true
}

// String is the wire form.
func (t Time) String() string { return string(t.append(nil)) }

func (t Time) append(dst []byte) []byte {
	u := t.UTC()
	dst = u.AppendFormat(dst, "2006-01-02T15:04:05")
	switch ns := u.Nanosecond(); {
	case ns == 0:
	case ns%1_000_000 == 0:
		dst = u.AppendFormat(dst, ".000")
	case ns%1_000 == 0:
		dst = u.AppendFormat(dst, ".000000")
	default:
		dst = u.AppendFormat(dst, ".000000000")
	}
	return append(dst, 'Z')
}

func (t *Time) fromWire(s string) (err error) { *t, err = ParseTime(s); return }

// AppendText appends the wire form. It fails for years beyond 0 to 9999.
func (t Time) AppendText(dst []byte) ([]byte, error) {
	if y := t.UTC().Year(); y < 0 || y > 9999 {
		return dst, errTimestamp
	}
	return t.append(dst), nil
}

// MarshalText is the wire form.
func (t Time) MarshalText() ([]byte, error) { return t.AppendText(nil) }

// UnmarshalText is [ParseTime].
func (t *Time) UnmarshalText(text []byte) error { return t.fromWire(string(text)) }

// MarshalJSON is the wire form in quotes.
func (t Time) MarshalJSON() ([]byte, error) {
	b, err := t.AppendText([]byte{'"'})
	if err != nil {
		return nil, err
	}
	return append(b, '"'), nil
}

// UnmarshalJSON is [ParseTime] of a JSON string. As usual in Go, null changes
// nothing.
func (t *Time) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	if len(data) < 2 || data[0] != '"' {
		return errTimestamp
	}
	return t.fromWire(string(data[1 : len(data)-1]))
}
