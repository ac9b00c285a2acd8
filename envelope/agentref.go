package envelope

import (
	"errors"
	"strings"
)

// AgentRef is an agent reference (open dialect 3.4): a name, and a version if
// one is pinned.
type AgentRef struct {
	Name    string
	Version string // "" for a bare name
}

var (
	errAgentName    = errors.New("agent name must be [a-z0-9] followed by any of [a-z0-9._-]")
	errAgentVersion = errors.New("agent version must be one or more of [A-Za-z0-9.+_-]")
)

// ParseAgentRef reads name or name@version. The name is checked before the
// version; a second @ is a bad version.
func ParseAgentRef(s string) (AgentRef, error) {
	name, version, pinned := strings.Cut(s, "@")
	if !validAgentName(name) {
		return AgentRef{}, errAgentName
	}
	if pinned && !validAgentVersion(version) {
		return AgentRef{}, errAgentVersion
	}
	return AgentRef{Name: name, Version: version}, nil
}

// String gives back what was parsed.
func (r AgentRef) String() string {
	if r.Version == "" {
		return r.Name
	}
	return r.Name + "@" + r.Version
}

func validAgentName(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', isDigit(c):
		case i > 0 && (c == '.' || c == '_' || c == '-'):
		default:
			return false
		}
	}
	return s != ""
}

func validAgentVersion(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', isDigit(c):
		case c == '.', c == '+', c == '_', c == '-':
		default:
			return false
		}
	}
	return s != ""
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
