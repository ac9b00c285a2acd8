package lease_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/lease"
)

func TestCapabilityPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		matches       bool
	}{
		{"/a/**", "/a", true},
		{"/a/**", "/a/b/c", true},
		{"/a/**", "/ab", false},
		{"/a/*", "/a/b", true},
		{"/a/*", "/a/b/c", false},
		{"/a/*.go", "/a/.go", true},
		{"/a/**/z", "/a/z", true},
		{"/a/**/z", "/a/b/c/z", true},
		{"/a/**/**/z", "/a/b/z", true},
		{"/a/**/z", "/a/b/zz", false},
		{"https://**", "https://h/p/q", true},
		{"https://*", "https://h", true},
		{"https://*", "https://h/p", false},
		{"https://*.test/**", "https://api.test/v1", true},
		{"search.*", "search.web", true},
		{"search.*", "search", false},
		{"**", "anything/at/all", true},
		{"A", "a", false},
		{"", "", true},
	} {
		require.Equal(t, c.matches, lease.MatchPath(c.pattern, c.text), "%s %s", c.pattern, c.text)
	}
}

func TestCapabilityTargets(t *testing.T) {
	for _, c := range []struct{ capability, target, plain string }{
		{lease.FSRead, "/w/./a//b/../c", "/w/a/c"},
		{lease.FSWrite, "/w/../../etc", "/etc"},
		{lease.NetFetch, "HTTPS://API.Test/v1/../V2//x", "https://api.test/V2/x"},
		{lease.NetFetch, "https://api.test", "https://api.test"},
		{lease.NetFetch, "https://api.test/v1/?q=1", "https://api.test/v1/"},
		{lease.ToolCall, "Search..Web", "Search..Web"},
	} {
		require.Equal(t, c.plain, lease.Target(c.capability, c.target))
	}
}

func TestPermits(t *testing.T) {
	l := read(t, `{"fs.read":["/w/**"],"tool.call":[],"model_use":["fast/*"],"x-vendor.acme.mail":["tenant-a/*"],"net.fetch":7}`)
	for _, c := range []struct {
		lease              *envelope.Lease
		capability, target string
		code               envelope.Code
	}{
		{l, lease.FSRead, "/w/a", ""},
		{l, lease.FSRead, "/w/../etc/passwd", envelope.CodePermissionDenied},
		{l, lease.FSWrite, "/w/a", envelope.CodePermissionDenied},
		{l, lease.ToolCall, "x", envelope.CodePermissionDenied},
		{l, lease.ModelUse, "fast/one", ""},
		{l, lease.ModelUse, "slow", envelope.CodePermissionDenied},
		{l, "x-vendor.acme.mail", "tenant-a/welcome", ""},
		{l, "x-vendor.acme.mail", "tenant-b/welcome", envelope.CodePermissionDenied},
		{l, lease.NetFetch, "https://h", envelope.CodeInvalidArgument},
		{l, "fs.delete", "/w/a", envelope.CodeInvalidArgument},
		{nil, lease.FSRead, "/w/a", envelope.CodePermissionDenied},
		{nil, lease.ModelUse, "fast/one", envelope.CodePermissionDenied},
	} {
		err := lease.Permits(c.lease, c.capability, c.target)
		if c.code == "" {
			require.NoError(t, err, c.target)
			continue
		}
		require.Equal(t, c.code, envelope.CodeOf(err), "%s %s", c.capability, c.target)
	}
}

func TestSubsetOfCapabilities(t *testing.T) {
	const parent = `{"fs.read":["/w/**","/etc/*.conf"],"net.fetch":["https://*/**"]}`
	for child, member := range map[string]string{
		`{"fs.read":["/w/a","/w/*/b","/w/**","/etc/my.conf"]}`: "",
		`{"fs.read":["/etc/*"]}`:                               "fs.read",
		`{"fs.read":["/**"]}`:                                  "fs.read",
		`{"fs.write":["/w/a"]}`:                                "fs.write",
		`{"net.fetch":["https://api.test/v1/*"]}`:              "",
		`{"net.fetch":["http://api.test/v1"]}`:                 "net.fetch",
		`{"x-vendor.acme.mail":["a"]}`:                         "x-vendor.acme.mail",
	} {
		err := lease.Subset(read(t, parent), nil, read(t, child))
		if member == "" {
			require.NoError(t, err, child)
			continue
		}
		require.Equal(t, envelope.CodeLeaseSubsetViolation, envelope.CodeOf(err), child)
		require.ErrorContains(t, err, "lease."+member)
	}
}

// TestACoveredPatternMatchesNoMore: whatever a pattern matches, one that covers it matches too.
func TestACoveredPatternMatchesNoMore(t *testing.T) {
	segment := rapid.SampledFrom([]string{"a", "b", "ab", "*", "a*", "*b", "**", ""})
	text := rapid.SampledFrom([]string{"a", "b", "ab", "aab", ""})
	rapid.Check(t, func(r *rapid.T) {
		wide := strings.Join(rapid.SliceOfN(segment, 1, 4).Draw(r, "wide"), "/")
		narrow := strings.Join(rapid.SliceOfN(segment, 1, 4).Draw(r, "narrow"), "/")
		if !lease.CoversPath(wide, narrow) {
			return
		}
		target := strings.Join(rapid.SliceOfN(text, 1, 5).Draw(r, "target"), "/")
		if lease.MatchPath(narrow, target) && !lease.MatchPath(wide, target) {
			r.Fatalf("%s is said to cover %s, which matches %s", wide, narrow, target)
		}
	})
}

// TestDelegates: a lease of capabilities must have one for the child's tool; others say nothing of it.
func TestDelegates(t *testing.T) {
	for text, code := range map[string]envelope.Code{
		`{}`:                           envelope.CodeOK,
		`{"cost_budget":["USD:1"]}`:    envelope.CodeOK,
		`{"other":1}`:                  envelope.CodeOK,
		`{"agent.delegate":["echo"]}`:  envelope.CodeOK,
		`{"agent.delegate":["e*"]}`:    envelope.CodeOK,
		`{"agent.delegate":["count"]}`: envelope.CodePermissionDenied,
		`{"agent.delegate":[]}`:        envelope.CodePermissionDenied,
		`{"fs.read":["/w/**"]}`:        envelope.CodePermissionDenied,
	} {
		var l envelope.Lease
		require.NoError(t, json.Unmarshal([]byte(text), &l))
		require.Equal(t, code, envelope.CodeOf(lease.Delegates(&l, "echo")), text)
	}
	require.NoError(t, lease.Delegates(nil, "echo"))
}
