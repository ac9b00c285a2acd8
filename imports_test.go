package arcp_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// own says which packages of the module a package may import, and why only those. Packages that are not here may
// import what they like.
var own = map[string]struct {
	may []string
	why string
}{
	"envelope":           {nil, "the wire is values; everything else stands on it"},
	"subjects":           {nil, "names of places in the log know nothing of what is said there"},
	"auth":               {nil, "who may connect does not depend on what is spoken"},
	"record":             {[]string{"envelope", "subjects"}, "a message of the log: where it stands, what it says"},
	"registry":           {[]string{"envelope", "subjects"}, "pure; edges and workers both use it"},
	"artifact":           {[]string{"envelope"}, "pure; what an artifact is does not depend on where it is kept"},
	"lease":              {[]string{"envelope"}, "pure; what a lease allows does not depend on where it is asked"},
	"hello":              {[]string{"envelope", "lease"}, "the other wire form is values, too, and its leases name what others do"},
	"edge/dialect":       {[]string{"envelope", "hello"}, "pure: a dialect writes and reads envelopes, wherever they come from"},
	"edge/view":          {[]string{"edge/dialect", "envelope", "record", "subjects"}, "pure: the same log must look the same on every edge"},
	"credential":         {[]string{"envelope"}, "who issues credentials knows neither the log nor an edge"},
	"edge":               {[]string{"artifact", "auth", "credential", "edge/dialect", "edge/view", "envelope", "lease", "record", "subjects"}, "an edge knows the log by the interfaces in bus.go, and no worker"},
	"worker":             {[]string{"artifact", "envelope", "lease", "record", "registry", "subjects"}, "a worker knows the log by the interfaces in bus.go, and no edge"},
	"worker/demo":        {[]string{"envelope", "worker"}, "demo tools are tools like any other"},
	"worker/program":     {[]string{"envelope", "worker"}, "programs are tools like any other"},
	"worker/natsbus":     {[]string{"artifact", "jetstream", "worker"}, "it joins these two and nothing else"},
	"jetstream":          {[]string{"artifact", "envelope", "record", "subjects"}, "it serves edges and workers without knowing either"},
	"jetstream/embedded": {nil, "it runs a server; what is stored in it is not its business"},
	"client":             {[]string{"envelope", "hello"}, "a client knows the wire, not how the runtime is built"},
}

// elsewhere says which packages may import what is not of the module, by prefix of the import path. What is not here
// may be imported anywhere, tests included.
var elsewhere = []struct {
	prefix string
	may    []string
	tests  bool // tests may import it too
	why    string
}{
	{"github.com/nats-io/nats.go", []string{"jetstream"}, true, "one package speaks to the broker"},
	{"github.com/nats-io/nats-server", []string{"jetstream/embedded"}, true, "one package runs a broker"},
	{"github.com/gorilla/websocket", []string{"edge", "client"}, true, "only these two have sockets"},
	{"github.com/coder/websocket", []string{"integration/chaos", "internal/wstest"}, true, "the other implementation is for tests: both ends must not share a bug"},
	{"github.com/alecthomas/kong", []string{"internal/cli", "cmd/arcp"}, true, "flags belong to programs"},
	{"github.com/prometheus/client_golang", []string{"edge", "internal/admin", "jetstream", "worker"}, true, "the core counts nothing, and client programs need no metrics"},
	{"github.com/vbauerster/mpb", []string{"cmd/arcp", "internal/demo"}, false, "progress bars are for people at a terminal"},
	{"github.com/lmittmann/tint", []string{"internal/cli"}, false, "how logs look is for programs to say; packages take a *slog.Logger"},
	{"go.opentelemetry.io/otel", []string{"client", "worker"}, true, "traces begin and end where work is asked for and done; an edge carries what it is given"},
	{"github.com/golang-jwt/jwt", []string{"auth", "credential"}, true, "one package reads tokens, one makes them"},
	{"github.com/MicahParks", []string{"auth"}, true, "one package reads keys"},
	{"github.com/oklog/ulid", []string{"envelope"}, true, "one package mints ids"},
	{"github.com/stretchr/testify", []string{"internal/natstest", "internal/wstest"}, true, "assertions are for tests"},
	{"pgregory.net/rapid", nil, true, "properties are for tests"},
	{"go.uber.org/goleak", nil, true, "leaks are looked for in tests"},
	{module + "/internal/natstest", nil, true, "it helps tests"},
	{module + "/internal/wstest", nil, true, "it helps tests"},
}

// impure is what a package that must give the same answer everywhere may not import.
var impure = map[string][]string{
	"edge/dialect": {"context", "net", "os", "math/rand", "math/rand/v2", "crypto/rand", "log/slog"},
	"edge/view":    {"context", "time", "net", "os", "sync", "math/rand", "math/rand/v2", "crypto/rand", "log/slog"},
	"subjects":     {"context", "time", "net", "os", "sync", "math/rand", "math/rand/v2", "crypto/rand", "log/slog"},
}

// TestImportsPointOneWay: the packages build on each other as docs/architecture.md draws it.
func TestImportsPointOneWay(t *testing.T) {
	for _, f := range allSources(t) {
		if f.test {
			continue
		}
		rule, ruled := own[f.dir]
		for _, path := range f.imports() {
			name, ours := strings.CutPrefix(path, module+"/")
			if ruled && ours && !slices.Contains(rule.may, name) {
				t.Errorf("%s imports %s: %s", f.path, name, rule.why)
			}
			if slices.Contains(impure[f.dir], path) {
				t.Errorf("%s imports %s: package %s is pure", f.path, path, f.dir)
			}
		}
	}
}

// TestLibrariesStayWhereTheyBelong: a library that is used in one place can be replaced in one place.
func TestLibrariesStayWhereTheyBelong(t *testing.T) {
	for _, f := range allSources(t) {
		for _, path := range f.imports() {
			for _, rule := range elsewhere {
				if path != rule.prefix && !strings.HasPrefix(path, rule.prefix+"/") && !strings.HasPrefix(path, rule.prefix+".") {
					continue
				}
				if slices.Contains(rule.may, f.dir) || (f.test && rule.tests) || f.path == "tools_tmp.go" {
					continue
				}
				t.Errorf("%s imports %s: %s", f.path, path, rule.why)
			}
		}
	}
}

// TestWhatAPackageDrawsIn follows the imports through the module: no package may bring in by another what it must not
// import itself.
func TestWhatAPackageDrawsIn(t *testing.T) {
	direct := map[string]map[string]bool{}
	for _, f := range allSources(t) {
		if f.test {
			continue
		}
		if direct[f.dir] == nil {
			direct[f.dir] = map[string]bool{}
		}
		for _, path := range f.imports() {
			direct[f.dir][path] = true
		}
	}
	var drawn func(dir string, into map[string]bool)
	drawn = func(dir string, into map[string]bool) {
		for path := range direct[dir] {
			if into[path] {
				continue
			}
			into[path] = true
			if name, ours := strings.CutPrefix(path, module+"/"); ours {
				drawn(name, into)
			}
		}
	}
	for dir, forbidden := range map[string][]string{
		"edge":   {"github.com/nats-io/", module + "/worker", module + "/jetstream"},
		"worker": {"github.com/nats-io/", "github.com/gorilla/", module + "/edge", module + "/auth", module + "/jetstream"},
		"client": {"github.com/nats-io/", module + "/subjects", module + "/record", module + "/edge", module + "/worker"},
	} {
		all := map[string]bool{}
		drawn(dir, all)
		require.NotEmpty(t, all, dir)
		for _, path := range slices.Sorted(maps.Keys(all)) {
			for _, prefix := range forbidden {
				if strings.HasPrefix(path, prefix) {
					t.Errorf("package %s draws in %s", dir, path)
				}
			}
		}
	}
}

// TestRulesAreAboutPackagesThatExist keeps the tables above honest.
func TestRulesAreAboutPackagesThatExist(t *testing.T) {
	dirs := packages(t)
	for dir, rule := range own {
		require.Contains(t, dirs, dir)
		for _, name := range rule.may {
			require.Contains(t, dirs, name, dir)
		}
	}
	for _, rule := range elsewhere {
		for _, dir := range rule.may {
			require.Contains(t, dirs, dir, rule.prefix)
		}
	}
}
