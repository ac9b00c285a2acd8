package auth

import (
	"encoding/json"
	"fmt"
	"log/slog"
)

const redacted = "[redacted]"

// Secret holds a text that must not be printed, logged or encoded: every way
// of showing it yields `[redacted]`. [Secret.Reveal] is the only way out.
//
// The text sits behind a pointer because fmt reaches into unexported fields of
// an enclosing struct without asking their methods; there it finds an address.
// For the same reason == compares places, not texts. The zero value is empty.
type Secret struct{ text *string }

// NewSecret wraps a text.
func NewSecret(text string) Secret { return Secret{text: &text} }

// Reveal returns the text.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Empty reports whether there is nothing to hide.
func (s Secret) Empty() bool { return s.Reveal() == "" }

// String returns `[redacted]`.
func (Secret) String() string { return redacted }

// GoString returns `[redacted]`.
func (Secret) GoString() string { return redacted }

// Format prints `[redacted]`, whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue implements [slog.LogValuer].
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON implements [json.Marshaler].
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText covers the encoders that know texts only, and map keys.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// UnmarshalText takes the text as it is, so that a Secret can be a flag.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}

// marshalGroup encodes a log group as a JSON object, so that a type says only
// once what of it may be seen.
func marshalGroup(v slog.Value) ([]byte, error) {
	m := make(map[string]any)
	for _, attr := range v.Group() {
		m[attr.Key] = attr.Value.Any()
	}
	return json.Marshal(m)
}
