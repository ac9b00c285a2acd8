package arcp_test

import (
	"go/ast"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/envelope"
)

// TestCatalogueIsComplete: a message type has all its parts, or it is not there. See "A message type" in
// CONTRIBUTING.md.
func TestCatalogueIsComplete(t *testing.T) {
	tests := testNames(t)
	comments := typeComments(t, "envelope")
	protocol := allPages(t)["docs/protocol.md"]
	rows := envelope.Catalogue()
	require.NotEmpty(t, rows)
	for _, row := range rows {
		name := string(row.Type)
		if row.New == nil {
			t.Errorf("%s: there is no payload constructor", name)
			continue
		}
		payload := reflect.TypeOf(row.New())
		require.Equal(t, reflect.Pointer, payload.Kind(), name)
		if strings.TrimSpace(comments[payload.Elem().Name()]) == "" {
			t.Errorf("%s: type %s has no comment", name, payload.Elem().Name())
		}
		if _, err := os.Stat("envelope/testdata/golden/" + name + ".json"); err != nil {
			t.Errorf("%s: there is no golden file: %v", name, err)
		}
		if !strings.Contains(protocol, "`"+name+"`") {
			t.Errorf("%s: docs/protocol.md does not speak of it", name)
		}
		if row.Support != envelope.Implemented || !tests[row.Proof] {
			t.Errorf("%s: is %s, and its proof %q: every type that has a row is implemented, and a test shows it", name, row.Support, row.Proof)
		}
	}
}

// TestCatalogueAndEdgeAgree: what a client sends and is called implemented is handled, and the other way round.
func TestCatalogueAndEdgeAgree(t *testing.T) {
	for _, row := range envelope.Catalogue() {
		handled := edge.Handles(row.Type)
		switch {
		case row.Direction == envelope.ClientToRuntime && row.Support == envelope.Implemented:
			require.True(t, handled, "%s has no handler", row.Type)
		case handled:
			require.True(t, row.Direction.FromClient(), "%s is handled, and clients may not send it", row.Type)
			require.Equal(t, envelope.Implemented, row.Support, "%s is handled, and not called implemented", row.Type)
		}
	}
}

// handle matches the name of a rule, such as HS-1, alone or in the name of a test.
var handle = regexp.MustCompile(`\b(?:Test)?(HS|TR|FC|CP|HB|LJ|TI|ID|JB|CX|RS|BG|MU|LE|CR|SC|RE|SB|BF|JS|AR|EX|TG)-?(\d+)`)

// TestRulesThatAreCitedAreDefined: every rule that the code or a test refers to has its row in docs/protocol.md, and
// none has two.
func TestRulesThatAreCitedAreDefined(t *testing.T) {
	defined := map[string]bool{}
	row := regexp.MustCompile(`(?m)^\| ([A-Z]{2}-\d+) \|`)
	for _, match := range row.FindAllStringSubmatch(allPages(t)["docs/protocol.md"], -1) {
		require.False(t, defined[match[1]], "%s is defined twice", match[1])
		defined[match[1]] = true
	}
	require.Greater(t, len(defined), 100, "rules")
	for _, f := range allSources(t) {
		if f.path == "catalogue_test.go" {
			continue
		}
		for _, match := range handle.FindAllStringSubmatch(f.text, -1) {
			if strings.HasPrefix(match[0], "ID") && !strings.Contains(match[0], "-") {
				continue // not a rule but an identifier
			}
			if !strings.HasPrefix(match[0], "Test") && !strings.Contains(match[0], "-") {
				continue
			}
			if name := match[1] + "-" + match[2]; !defined[name] {
				t.Errorf("%s cites %s, which docs/protocol.md does not define", f.path, name)
			}
		}
	}
}

// TestWhatIsBetterIsShown: each point in which this runtime does better than 2.0.0 names a test. That the tests are there is
// for TestTestsThatAreNamedExist.
func TestWhatIsBetterIsShown(t *testing.T) {
	row := regexp.MustCompile("(?m)^\\| (\\d+) \\| [^|]+ \\| [^|]+ \\| `Test\\w+`[^|]*\\|$")
	rows := row.FindAllStringSubmatch(allPages(t)["docs/protocol.md"], -1)
	require.Len(t, rows, 36)
	for i, match := range rows {
		require.Equal(t, strconv.Itoa(i+1), match[1])
	}
}

// typeComments returns the comments of the types that a package declares.
func typeComments(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, f := range allSources(t) {
		if f.dir != dir || f.test {
			continue
		}
		for _, decl := range f.ast.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range gen.Specs {
				if typ, ok := spec.(*ast.TypeSpec); ok {
					found[typ.Name.Name] = typ.Doc.Text() + gen.Doc.Text() + typ.Comment.Text()
				}
			}
		}
	}
	return found
}
