package lease

import (
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcp-nats/arcp/envelope"
)

// Names of capabilities of the later draft. Leases have them as members of their own, lists of patterns; what vendors name
// begins with x-vendor. and has at least two segments more.
const (
	FSRead        = "fs.read"
	FSWrite       = "fs.write"
	NetFetch      = "net.fetch"
	ToolCall      = "tool.call"
	AgentDelegate = "agent.delegate"
	// ModelUse is the member model_use, whose patterns are of [Match].
	ModelUse = "model.use"
)

var (
	capabilities = []string{FSRead, FSWrite, NetFetch, ToolCall, AgentDelegate}
	vendorName   = regexp.MustCompile(`^x-vendor(\.[a-z0-9_-]+){2,}$`)
)

// IsCapability reports whether a member of a lease that is not one of the open dialect's is a list of patterns.
func IsCapability(name string) bool {
	return slices.Contains(capabilities, name) || vendorName.MatchString(name)
}

// Permits reports that a lease allows an operation: a pattern of the capability's covers the target, in its plain form (see
// [Target]). A lease without the capability allows nothing, no lease at all neither. PERMISSION_DENIED: it does not;
// INVALID_ARGUMENT: there is no such capability, or the lease's cannot be read.
func Permits(l *envelope.Lease, capability, target string) error {
	if capability == ModelUse {
		if l == nil || l.ModelUse == nil {
			return denied(capability, target)
		}
		return CheckModel(l, target)
	}
	patterns, err := patternsOf(l, capability)
	if err != nil {
		return err
	}
	plain := Target(capability, target)
	if !slices.ContainsFunc(patterns, func(p string) bool { return MatchPath(p, plain) }) {
		return denied(capability, target)
	}
	return nil
}

// Delegates reports that a lease lets its job start a child of a tool. One that lists capabilities must list agent.delegate with a
// pattern for the tool's name; one that does not, as in the open dialect, says nothing of it. PERMISSION_DENIED: it does not.
func Delegates(l *envelope.Lease, tool string) error {
	if l == nil {
		return nil
	}
	for name := range l.Extra {
		if IsCapability(name) {
			return Permits(l, AgentDelegate, tool)
		}
	}
	return nil
}

func denied(capability, target string) error {
	return envelope.Errorf(envelope.CodePermissionDenied, "lease.%s: the lease does not allow %.256q", capability, target)
}

// patternsOf are the patterns of a capability, nil if a lease has none.
func patternsOf(l *envelope.Lease, capability string) (patterns []string, err error) {
	if !IsCapability(capability) {
		return nil, envelope.Errorf(envelope.CodeInvalidArgument, "%.64q is no capability: those of vendors begin with x-vendor", capability)
	}
	if l == nil || l.Extra[capability] == nil {
		return nil, nil
	}
	if err := jsonv2.Unmarshal(l.Extra[capability], &patterns); err != nil {
		return nil, envelope.Errorf(envelope.CodeInvalidArgument, "lease.%s: must be a list of patterns", capability)
	}
	return patterns, nil
}

// Target is the plain form of what an operation is about, to be matched: of fs.read and fs.write the path without . and ..
// and double slashes, of net.fetch the URL with scheme and host in lower case and its path so, of the others the text.
func Target(capability, target string) string {
	switch capability {
	case FSRead, FSWrite:
		return path.Clean(target)
	case NetFetch:
		u, err := url.Parse(target)
		if err != nil || u.Host == "" {
			return target
		}
		plain := strings.ToLower(u.Scheme) + "://" + strings.ToLower(u.Host)
		if u.Path == "" || u.Path == "/" {
			return plain + u.Path
		}
		cleaned := path.Clean(u.EscapedPath())
		if strings.HasSuffix(u.Path, "/") && cleaned != "/" {
			cleaned += "/"
		}
		return plain + cleaned
	}
	return target
}

// MatchPath reports whether a pattern matches the whole of a text, segment by segment between slashes: a * in a segment
// stands for any run of characters without a slash, ** for any number of segments, none included. Case matters.
func MatchPath(pattern, text string) bool {
	return matchSegments(strings.Split(pattern, "/"), strings.Split(text, "/"))
}

func matchSegments(pattern, text []string) bool {
	for len(pattern) > 0 {
		if pattern[0] == "**" {
			rest := trimStars(pattern)
			for skip := range len(text) + 1 {
				if matchSegments(rest, text[skip:]) {
					return true
				}
			}
			return false
		}
		if len(text) == 0 || !Match(pattern[0], text[0]) {
			return false
		}
		pattern, text = pattern[1:], text[1:]
	}
	return len(text) == 0
}

// trimStars drops the leading **, of which one does as much as many.
func trimStars(pattern []string) []string {
	for len(pattern) > 0 && pattern[0] == "**" {
		pattern = pattern[1:]
	}
	return pattern
}

// CoversPath reports whether a pattern of MatchPath matches all that another one does. In doubt it does not.
func CoversPath(pattern, other string) bool {
	return coversSegments(strings.Split(pattern, "/"), strings.Split(other, "/"))
}

func coversSegments(pattern, other []string) bool {
	for len(pattern) > 0 {
		if pattern[0] == "**" {
			rest := trimStars(pattern)
			for skip := range len(other) + 1 {
				if coversSegments(rest, other[skip:]) {
					return true
				}
			}
			return false
		}
		// A star of the other stands for what no literal is: only a star matches it. And ** may be no segment, or many.
		if len(other) == 0 || other[0] == "**" || !Match(pattern[0], other[0]) {
			return false
		}
		pattern, other = pattern[1:], other[1:]
	}
	return len(other) == 0
}

// capabilitiesWithin is the part of Subset that is about capabilities: each pattern of the child's needs one of the parent's
// that covers it.
func capabilitiesWithin(parent, child *envelope.Lease, name string) error {
	wanted, err := patternsOf(child, name)
	if err != nil {
		return err
	}
	theirs, err := patternsOf(parent, name)
	if err != nil {
		return err
	}
	for _, pattern := range wanted {
		if !slices.ContainsFunc(theirs, func(p string) bool { return CoversPath(p, pattern) }) {
			return violation(name, "no pattern of the parent's covers %.256q", pattern)
		}
	}
	return nil
}
