package envelope

import (
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Class is what a type string is, apart from whether it is supported (EX-2).
type Class uint8

const (
	// ClassMalformed is neither of the others: empty, or no name at all.
	ClassMalformed Class = iota
	// ClassExperimental begins with "x-".
	ClassExperimental
	// ClassCore is a type of the catalogue or a reserved name.
	ClassCore
	// ClassExtension is a valid extension name (EX-1).
	ClassExtension
)

// String is the class in lower case.
func (c Class) String() string {
	switch c {
	case ClassExperimental:
		return "experimental"
	case ClassCore:
		return "core"
	case ClassExtension:
		return "extension"
	default:
		return "malformed"
	}
}

// extensionRow stands for the types of extensions, of which the runtime knows
// no more than the name.
var extensionRow = Row{Direction: Both, Countable: true}

// IsExtension reports whether a type is the name of an extension. Such types
// are countable.
func IsExtension(t Type) bool { return Classify(string(t)) == ClassExtension }

// Classify sorts a type string by the first match of EX-2.
func Classify(name string) Class {
	switch {
	case name == "":
		return ClassMalformed
	case strings.HasPrefix(name, "x-"):
		return ClassExperimental
	case isCore(name):
		return ClassCore
	case ValidExtension(name):
		return ClassExtension
	default:
		return ClassMalformed
	}
}

func isCore(name string) bool {
	if _, ok := catalogueIndex[name]; ok {
		return true
	}
	for _, reserved := range reservedNames {
		if name == reserved {
			return true
		}
	}
	return false
}

// ValidExtension reports whether name is an extension name (EX-1): arcpx, one
// or more segments, and a version such as v1; or a reversed domain name of at
// least three segments that ends in a version.
func ValidExtension(name string) bool {
	segments := strings.Split(name, ".")
	if len(segments) < 3 || !isVersionSegment(segments[len(segments)-1]) {
		return false
	}
	for _, segment := range segments {
		if !isSegment(segment) {
			return false
		}
	}
	// "arcpx" also has the form of a top-level domain.
	return isTopLevel(segments[0])
}

func isVersionSegment(s string) bool {
	return len(s) > 1 && s[0] == 'v' && allDigits(s[1:])
}

func isTopLevel(s string) bool {
	for i := range len(s) {
		if s[i] < 'a' || 'z' < s[i] {
			return false
		}
	}
	return 2 <= len(s) && len(s) <= 8
}

func isSegment(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', isDigit(c), c == '-', c == '_':
		default:
			return false
		}
	}
	return s != ""
}

// Members of extensions that a job's messages have for dialects which show them
// otherwise than the open one does.
const (
	// CallIDExtension is, on tool.result and tool.error, the id of the call that
	// they answer, a string.
	CallIDExtension = "arcpx.tool.call_id.v1"
	// StreamKindExtension is, on what follows the stream.open of a stream of
	// thoughts, logs or metrics, the kind of the stream, a string.
	StreamKindExtension = "arcpx.stream.kind.v1"
)

// ExtensionText returns a member of the envelope's extensions that is a string,
// "" if there is none.
func (e *Envelope) ExtensionText(name string) string {
	if len(e.Extensions) == 0 || e.Extensions[0] != '{' {
		return ""
	}
	var members map[string]jsontext.Value
	var text string
	if jsonv2.Unmarshal(e.Extensions, &members) != nil || members[name] == nil || jsonv2.Unmarshal(members[name], &text) != nil {
		return ""
	}
	return text
}
