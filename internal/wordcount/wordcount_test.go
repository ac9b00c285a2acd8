package wordcount

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tree writes files and returns their folder.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return dir
}

func run(t *testing.T, in Input) (progress []string, total Total) {
	t.Helper()
	input, err := json.Marshal(in)
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, Main(t.Context(), bytes.NewReader(input), &out))
	for line := range strings.Lines(out.String()) {
		var said struct {
			Progress *struct {
				Current, Total int
				Units, Message string
			}
			Result *Total
		}
		require.NoError(t, json.Unmarshal([]byte(line), &said))
		if said.Result != nil {
			total = *said.Result
			continue
		}
		p := said.Progress
		require.Equal(t, "files", p.Units)
		progress = append(progress, fmt.Sprintf("%d/%d %s", p.Current, p.Total, p.Message))
	}
	return progress, total
}

func TestCountsATree(t *testing.T) {
	dir := tree(t, map[string]string{
		"b.go":                  "package b\n\nfunc  B()\t{}\n",
		"a/a.go":                "package a // ümläut",
		"a/empty.go":            "",
		"a/notes.txt":           "not counted",
		"vendor/v.go":           "not counted",
		"x/testdata/t.go":       "not counted",
		".git/g.go":             "not counted",
		"_old/o.go":             "not counted",
		"web/node_modules/n.go": "not counted",
	})
	require.NoError(t, os.Symlink(filepath.Join(dir, "b.go"), filepath.Join(dir, "link.go")))
	progress, total := run(t, Input{Folder: dir, PaceMS: 1})
	require.Equal(t, []string{
		"1/3 a/a.go: 1 lines, 4 words",
		"2/3 a/empty.go: 0 lines, 0 words",
		"3/3 b.go: 3 lines, 5 words",
	}, progress)
	require.Equal(t, Total{Files: 3, Lines: 4, Words: 9, Bytes: 45}, total)
}

// The folder itself may have any name.
func TestHiddenRoot(t *testing.T) {
	dir := tree(t, map[string]string{".hidden/a.go": "package a\n"})
	files, err := Files(filepath.Join(dir, ".hidden"))
	require.NoError(t, err)
	require.Equal(t, []string{"a.go"}, files)
}

// Another way to count gives the same.
func TestCountAgainstTheStandardLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.SampledFrom([]rune("ab \t\n\r\u00a0é世\u2028"))).Draw(t, "text")
		got, err := Count(strings.NewReader(text))
		require.NoError(t, err)
		lines := strings.Count(text, "\n")
		if text != "" && !strings.HasSuffix(text, "\n") {
			lines++
		}
		require.Equal(t, Total{
			Files: 1, Lines: int64(lines), Words: int64(len(strings.Fields(text))), Bytes: int64(len(text)),
		}, got)
	})
}

func TestBadInput(t *testing.T) {
	for input, want := range map[string]string{
		``:                                    "input",
		`{"folder":""}`:                       "folder is missing",
		`{"folder":"x","pace_ms":-1}`:         "pace_ms is negative",
		`{"folder":"/no/such/folder/at/all"}`: "no such file",
	} {
		require.ErrorContains(t, Main(t.Context(), strings.NewReader(input), &bytes.Buffer{}), want)
	}
}

func TestEndsWithItsContext(t *testing.T) {
	dir := tree(t, map[string]string{"a.go": "package a\n", "b.go": "package b\n"})
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	var out bytes.Buffer
	input, err := json.Marshal(Input{Folder: dir, PaceMS: 1 << 30})
	require.NoError(t, err)
	require.ErrorIs(t, Main(ctx, bytes.NewReader(input), &out), why)
	require.Equal(t, 1, strings.Count(out.String(), "\n"))
}

func BenchmarkCount(b *testing.B) {
	text := []byte(strings.Repeat("func Count(r io.Reader) (Total, error) {\n", 1000))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := Count(bytes.NewReader(text)); err != nil {
			b.Fatal(err)
		}
	}
}
