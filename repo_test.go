package arcp_test

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// The tests of this package look at the repository itself: they hold it to the rules that CONTRIBUTING.md states.

// module is the import path of the root.
const module = "github.com/arcp-nats/arcp"

// sourceFile is a parsed Go file of the module.
type sourceFile struct {
	path  string // slash-separated, from the root
	dir   string // of path; "." for the root
	test  bool
	text  string
	lines int
	ast   *ast.File
}

// imports returns what the file imports.
func (f *sourceFile) imports() []string {
	paths := make([]string, len(f.ast.Imports))
	for i, spec := range f.ast.Imports {
		paths[i] = strings.Trim(spec.Path.Value, `"`)
	}
	return paths
}

// sources returns every Go file of the module, parsed once.
var sources = sync.OnceValues(func() ([]*sourceFile, error) {
	var files []*sourceFile
	err := walk(".go", func(path string, text []byte) error {
		parsed, err := parser.ParseFile(token.NewFileSet(), path, text, parser.ParseComments)
		if err != nil {
			return err
		}
		files = append(files, &sourceFile{
			path: path, dir: filepath.ToSlash(filepath.Dir(path)), test: strings.HasSuffix(path, "_test.go"),
			text: string(text), lines: strings.Count(string(text), "\n"), ast: parsed,
		})
		return nil
	})
	return files, err
})

// pages returns the text of every Markdown file of the module by path.
var pages = sync.OnceValues(func() (map[string]string, error) {
	found := map[string]string{}
	err := walk(".md", func(path string, text []byte) error {
		found[path] = string(text)
		return nil
	})
	return found, err
})

// walk passes every file below the root whose name ends in suffix to fn. Folders that begin with a dot, and those that
// runs of the programs leave behind, are passed over.
func walk(suffix string, fn func(path string, text []byte) error) error {
	return filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if path != "." && (strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "arcp-data")) {
				return fs.SkipDir
			}
			return nil
		case !strings.HasSuffix(path, suffix):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return fn(filepath.ToSlash(path), text)
	})
}

func allSources(t *testing.T) []*sourceFile {
	t.Helper()
	files, err := sources()
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}

func allPages(t *testing.T) map[string]string {
	t.Helper()
	found, err := pages()
	require.NoError(t, err)
	require.NotEmpty(t, found)
	return found
}

// packages returns the folders that hold Go files other than tests, sorted.
func packages(t *testing.T) []string {
	t.Helper()
	var dirs []string
	for _, f := range allSources(t) {
		if !f.test && !slices.Contains(dirs, f.dir) {
			dirs = append(dirs, f.dir)
		}
	}
	slices.Sort(dirs)
	return dirs
}

// testNames returns the names of all test, fuzz, example and benchmark functions of the module.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, f := range allSources(t) {
		if !f.test {
			continue
		}
		for _, decl := range f.ast.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil {
				names[fn.Name.Name] = true
			}
		}
	}
	return names
}

// TestEveryPackageSaysWhatItIsFor: one package comment a package.
func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, dir := range packages(t) {
		var comments []string
		for _, f := range allSources(t) {
			if !f.test && f.dir == dir && f.ast.Doc != nil {
				comments = append(comments, f.ast.Doc.Text())
			}
		}
		require.Len(t, comments, 1, "%s: package comments", dir)
		require.NotEmpty(t, new(doc.Package).Synopsis(comments[0]), "%s", dir)
	}
}

// TestFilesAreOfOneNoun: a file that grows past this is about two things.
func TestFilesAreOfOneNoun(t *testing.T) {
	const limit = 700
	for _, f := range allSources(t) {
		require.LessOrEqual(t, f.lines, limit, f.path)
	}
}

// TestTestsDoNotSleep: a test waits for what it waits for. Inside testing/synctest time is fake and a sleep is no
// wait; such a line says so.
func TestTestsDoNotSleep(t *testing.T) {
	for _, f := range allSources(t) {
		if !f.test || f.path == "repo_test.go" {
			continue
		}
		fake := slices.Contains(f.imports(), "testing/synctest")
		number := 0
		for line := range strings.Lines(f.text) {
			number++
			if strings.Contains(line, "time.Sleep(") && (!fake || !strings.Contains(line, "// fake")) {
				t.Errorf("%s:%d sleeps", f.path, number)
			}
			if strings.Contains(line, "t.Skip") {
				t.Errorf("%s:%d skips", f.path, number)
			}
		}
	}
}

// TestNothingIsLeftUndone: what is not built is in docs/limits.md and not in a note to oneself. Nor does a file speak of
// places that only one machine has.
func TestNothingIsLeftUndone(t *testing.T) {
	rules := map[string]*regexp.Regexp{
		"a note to oneself":   regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`),
		"a path of a machine": regexp.MustCompile("(^|[\\s\"'`(=:])/(home|root|Users|work|mnt|srv)/"),
		"a path above the root of the module": regexp.MustCompile(
			`\.\./` + `(shared|work)\b`),
	}
	look := func(path, text string) {
		number := 0
		for line := range strings.Lines(text) {
			number++
			for what, rule := range rules {
				if rule.MatchString(line) {
					t.Errorf("%s:%d holds %s: %s", path, number, what, strings.TrimSpace(line))
				}
			}
		}
	}
	for _, f := range allSources(t) {
		look(f.path, f.text)
	}
	for path, text := range allPages(t) {
		look(path, text)
	}
	for _, path := range []string{"Makefile", ".golangci.yml", ".ci/run", ".gitignore"} {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		look(path, string(text))
	}
}

// TestTestsThatAreNamedExist: a document, or a comment, that names a test as its proof names one that is there.
func TestTestsThatAreNamedExist(t *testing.T) {
	names := testNames(t)
	named := regexp.MustCompile("`((?:Test|Fuzz|Benchmark|Example)[A-Z_]\\w*)`")
	for path, text := range allPages(t) {
		for _, match := range named.FindAllStringSubmatch(text, -1) {
			if !names[match[1]] {
				t.Errorf("%s names %s, which there is not", path, match[1])
			}
		}
	}
}
