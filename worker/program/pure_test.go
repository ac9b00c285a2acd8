package program

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestSplit(t *testing.T) {
	for text, want := range map[string][]string{
		``:                       nil,
		`  `:                     nil,
		`a b  c`:                 {"a", "b", "c"},
		"a\tb\nc":                {"a", "b", "c"},
		`'a b' "c d"`:            {"a b", "c d"},
		`a'b'"c"d`:               {"abcd"},
		`'' ""`:                  {"", ""},
		`a\ b`:                   {"a b"},
		`'a\b'`:                  {`a\b`},
		`"a\"b\\c\d"`:            {`a"b\c\d`},
		`'it'\''s'`:              {"it's"},
		`sh -c 'echo "$1" | wc'`: {"sh", "-c", `echo "$1" | wc`},
		`$HOME *.go # no`:        {"$HOME", "*.go", "#", "no"},
		`é "ü ö"`:                {"é", "ü ö"},
	} {
		got, err := Split(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{`'a`, `"a`, `a\`, `"a\"`} {
		_, err := Split(text)
		require.Error(t, err, text)
	}
}

func TestSplitGivesBackWhatWasQuoted(t *testing.T) {
	quotes := []func(string) string{
		func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" },
		func(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` },
	}
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.String(), 0, 5).Draw(t, "words")
		var quoted []string
		for _, w := range words {
			quoted = append(quoted, rapid.SampledFrom(quotes).Draw(t, "quote")(w))
		}
		got, err := Split(strings.Join(quoted, " "))
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(words) {
			t.Fatalf("%q: %q", words, got)
		}
		for i := range got {
			if got[i] != words[i] {
				t.Fatalf("%q: %q", words[i], got[i])
			}
		}
	})
}

func FuzzSplit(f *testing.F) {
	f.Add(`sh -c 'a "b"' "\\" \x`)
	f.Fuzz(func(t *testing.T, text string) { _, _ = Split(text) })
}

func TestParse(t *testing.T) {
	spec, err := Parse(`word.count@2.1=sh -c "wc -w" x=y`)
	require.NoError(t, err)
	require.Equal(t, "word.count@2.1", spec.Tool.String())
	require.Equal(t, []string{"-c", "wc -w", "x=y"}, spec.Args)
	require.Contains(t, spec.Path, "/sh")
	spec, err = Parse(`t=true`)
	require.NoError(t, err)
	require.Equal(t, "t@1", spec.Tool.String())
	plain := filepath.Join(t.TempDir(), "plain")
	require.NoError(t, os.WriteFile(plain, nil, 0o600))
	for text, why := range map[string]string{
		`nothing`:           "want NAME",
		`=true`:             "agent name",
		`Upper=true`:        "agent name",
		`a@=true`:           "agent version",
		`a=`:                "no command",
		`a='`:               "quote",
		`a=does-not-exist-`: "does-not-exist-",
		`a=` + plain + ` x`: "permission",
	} {
		_, err := Parse(text)
		require.ErrorContains(t, err, why, text)
	}
}

func TestReadMessage(t *testing.T) {
	for text, want := range map[string]string{
		`{"result":null}`:                        "result null",
		` {"result":{"a":1}} `:                   `result {"a":1}`,
		`{"log":"x"}`:                            "log info x",
		`{"log":{"message":"x"}}`:                "log info x",
		`{"log":{"level":"warn"}}`:               "log warn ",
		`{"progress":{"current":1,"total":2}}`:   "progress 1 2",
		`{"progress":{"current":1,"percent":2}}`: "",
		`{"progress":7}`:                         "",
		`{"log":7}`:                              "",
		`{"log":{"text":"x"}}`:                   "",
		`{"result":1,"result":2}`:                "",
		`{"result":1,"log":"x"}`:                 "",
		`{}`:                                     "",
		`[{"result":1}]`:                         "",
		`{"result":1`:                            "",
		`{"Result":1}`:                           "",
		``:                                       "",
	} {
		m, ok := readMessage([]byte(text))
		got := ""
		switch {
		case !ok:
		case m.progress != nil:
			got = fmt.Sprintf("progress %v %v", m.progress.Current, m.progress.Total)
		case m.log != nil:
			got = fmt.Sprintf("log %s %s", m.log.Level, m.log.Message)
		default:
			got = "result " + string(m.result)
		}
		require.Equal(t, want, got, text)
	}
}

func FuzzReadMessage(f *testing.F) {
	f.Add([]byte(`{"progress":{"current":1}}`))
	f.Add([]byte(`{"log":{"level":"warn","message":"m"}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		m, ok := readMessage(line)
		if !ok {
			return
		}
		set := 0
		for _, is := range []bool{m.progress != nil, m.log != nil, m.result != nil} {
			if is {
				set++
			}
		}
		if set != 1 {
			t.Fatalf("%q: %d members", line, set)
		}
	})
}

// All text comes through, in pieces within bounds, and only whole lines say so.
func TestEachLine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var in strings.Builder
		var want []string
		for range rapid.IntRange(0, 6).Draw(t, "lines") {
			n := rapid.SampledFrom([]int{0, 1, 100, maxTextLine - 1, maxTextLine, maxTextLine + 1, 3*maxTextLine + 5, maxJSONLine, maxJSONLine + maxTextLine}).Draw(t, "size")
			text := strings.Repeat("x", n)
			if n > 0 && rapid.Bool().Draw(t, "json") {
				text = "{" + text[1:]
			}
			want = append(want, text)
			in.WriteString(text + rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "end"))
		}
		var got []string
		piece := ""
		err := eachLine(strings.NewReader(in.String()), func(line []byte, whole bool) error {
			if len(line) > maxJSONLine || !whole && len(line) > maxTextLine {
				t.Fatalf("%d bytes", len(line))
			}
			if whole {
				got = append(got, string(line))
				return nil
			}
			piece += string(line)
			if i := len(got); i < len(want) && strings.TrimSuffix(piece, "\r") == want[i] {
				got, piece = append(got, want[i]), ""
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Trim(piece, "\r") != "" || len(got) != len(want) {
			t.Fatalf("%d lines of %d, %d bytes left", len(got), len(want), len(piece))
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("line %d: %d bytes, want %d", i, len(got[i]), len(want[i]))
			}
		}
	})
}
