package arcp_test

import (
	"go/ast"
	"os"
	"path"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/internal/edgecmd"
	"github.com/arcp-nats/arcp/internal/workercmd"
)

// fences matches the blocks of code in a page; they hold no links and no headings.
var fences = regexp.MustCompile("(?ms)^```.*?^```$")

// TestLinksLeadSomewhere: every link between files of the repository has a target, headings included.
func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	all := allPages(t)
	for from, text := range all {
		for _, match := range link.FindAllStringSubmatch(fences.ReplaceAllString(text, ""), -1) {
			target := match[1]
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			file, heading, _ := strings.Cut(target, "#")
			to := from
			if file != "" {
				to = path.Join(path.Dir(from), file)
				if _, err := os.Stat(to); err != nil {
					t.Errorf("%s links to %s: %v", from, target, err)
					continue
				}
			}
			if heading != "" && !anchors(all[to])[heading] {
				t.Errorf("%s links to %s, and %s has no such heading", from, target, to)
			}
		}
	}
}

// anchors returns the names by which the headings of a page are linked to.
func anchors(page string) map[string]bool {
	found := map[string]bool{}
	for line := range strings.Lines(fences.ReplaceAllString(page, "")) {
		title := strings.TrimLeft(line, "#")
		if len(title) == len(line) || !strings.HasPrefix(title, " ") {
			continue
		}
		var b strings.Builder
		for _, c := range strings.ToLower(strings.TrimSpace(title)) {
			switch {
			case c == ' ':
				b.WriteByte('-')
			case c == '-' || c == '_' || unicode.IsLetter(c) || unicode.IsDigit(c):
				b.WriteRune(c)
			}
		}
		found[b.String()] = true
	}
	return found
}

// TestFlagsAreDocumented: docs/operations.md speaks of every flag of the edge and the worker with the default that it
// has, and no document of a flag that there is not.
func TestFlagsAreDocumented(t *testing.T) {
	operations := allPages(t)["docs/operations.md"]
	known := map[string]bool{"help": true}
	for _, program := range []any{new(edgecmd.Flags), new(workercmd.Flags)} {
		parser, err := kong.New(program)
		require.NoError(t, err)
		for _, flag := range parser.Model.Flags {
			known[flag.Name] = true
			if flag.Name == "help" {
				continue
			}
			row := regexp.MustCompile("(?m)^\\| `--"+flag.Name+"[`= ].*$").FindAllString(operations, -1)
			require.NotEmpty(t, row, "docs/operations.md has no row for --%s", flag.Name)
			if flag.HasDefault {
				require.Contains(t, strings.Join(row, "\n"), "`"+flag.Default+"`", "--%s: default", flag.Name)
			}
		}
	}
	for name := range clientFlags(t) {
		known[name] = true
	}
	mention := regexp.MustCompile("(?:^|[\\s`(])--([a-z][a-z-]*[a-z])")
	for _, page := range []string{"README.md", "docs/operations.md", "docs/architecture.md", "docs/protocol.md", "docs/concepts.md", "docs/performance.md"} {
		for _, match := range mention.FindAllStringSubmatch(allPages(t)[page], -1) {
			if !known[match[1]] {
				t.Errorf("%s speaks of --%s, which no program has", page, match[1])
			}
		}
	}
}

// clientFlags returns the names of the flags of cmd/arcp, which cannot be imported, from its source.
func clientFlags(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for _, f := range allSources(t) {
		if f.dir != "cmd/arcp" || f.test {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			field, ok := n.(*ast.Field)
			if !ok || field.Tag == nil || len(field.Names) != 1 {
				return true
			}
			text, err := strconv.Unquote(field.Tag.Value)
			require.NoError(t, err)
			tag := reflect.StructTag(text)
			_, argument := tag.Lookup("arg")
			_, command := tag.Lookup("cmd")
			if _, flag := tag.Lookup("help"); !flag || argument || command {
				return true
			}
			name := tag.Get("name")
			if name == "" {
				name = kebab(field.Names[0].Name)
			}
			found[name] = true
			return true
		})
	}
	return found
}

// kebab turns FieldName into field-name, and URL into url.
func kebab(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, c := range runes {
		if i > 0 && unicode.IsUpper(c) && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}

// TestCodeInTheReadmeCompiles: it is quoted from an example, which is built and tested with everything else.
func TestCodeInTheReadmeCompiles(t *testing.T) {
	source, err := os.ReadFile("examples/hello/main.go")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllStringSubmatch(allPages(t)["README.md"], -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		require.Contains(t, string(source), block[1])
	}
}
