// Package wordcount is a real program for the demonstration: it counts the lines and words of every Go file below a
// folder, file by file, and says so on standard output in the form that workers understand.
package wordcount

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"
)

// Input is what the program reads.
type Input struct {
	Folder string `json:"folder"`
	// PaceMS is how long the program rests after each file, in milliseconds.
	PaceMS int `json:"pace_ms,omitzero"`
}

// Total is the result.
type Total struct {
	Files int   `json:"files"`
	Lines int64 `json:"lines"`
	Words int64 `json:"words"`
	Bytes int64 `json:"bytes"`
}

type progress struct {
	Current int    `json:"current"`
	Total   int    `json:"total"`
	Units   string `json:"units"`
	Message string `json:"message"`
}

// Main reads one [Input] from stdin and writes one line a file and one for the total to stdout. It ends early with ctx.
func Main(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	var in Input
	if err := json.UnmarshalRead(stdin, &in); err != nil {
		return fmt.Errorf("wordcount: input: %w", err)
	}
	if in.Folder == "" {
		return fmt.Errorf("wordcount: input: folder is missing")
	}
	if in.PaceMS < 0 {
		return fmt.Errorf("wordcount: input: pace_ms is negative")
	}
	files, err := Files(in.Folder)
	if err != nil {
		return err
	}
	var total Total
	for i, path := range files {
		one, err := countFile(filepath.Join(in.Folder, path))
		if err != nil {
			return err
		}
		total.add(one)
		if err := say(stdout, "progress", progress{
			Current: i + 1, Total: len(files), Units: "files",
			Message: fmt.Sprintf("%s: %d lines, %d words", filepath.ToSlash(path), one.Lines, one.Words),
		}); err != nil {
			return err
		}
		if err := rest(ctx, time.Duration(in.PaceMS)*time.Millisecond); err != nil {
			return err
		}
	}
	return say(stdout, "result", total)
}

// Files returns the Go files below folder, relative to it and sorted. Hidden folders and those named vendor, testdata
// or node_modules are left out, symbolic links too.
func Files(folder string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != folder && skipped(entry.Name()):
			return fs.SkipDir
		case !entry.Type().IsRegular() || filepath.Ext(path) != ".go":
			return nil
		}
		relative, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		files = append(files, relative)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("wordcount: %w", err)
	}
	return files, nil // WalkDir goes in lexical order
}

func skipped(folder string) bool {
	switch folder {
	case "vendor", "testdata", "node_modules":
		return true
	default:
		return strings.HasPrefix(folder, ".") || strings.HasPrefix(folder, "_")
	}
}

func countFile(path string) (Total, error) {
	f, err := os.Open(path)
	if err != nil {
		return Total{}, fmt.Errorf("wordcount: %w", err)
	}
	defer f.Close()
	one, err := Count(f)
	if err != nil {
		return Total{}, fmt.Errorf("wordcount: %s: %w", path, err)
	}
	return one, nil
}

// Count counts one text. A line ends with a newline or with the text; a word is what white space (Unicode) separates.
func Count(r io.Reader) (Total, error) {
	total := Total{Files: 1}
	in := bufio.NewReader(r)
	word, last := false, '\n'
	for {
		c, size, err := in.ReadRune()
		if errors.Is(err, io.EOF) {
			if last != '\n' {
				total.Lines++
			}
			return total, nil
		}
		if err != nil {
			return Total{}, err
		}
		total.Bytes += int64(size)
		if c == '\n' {
			total.Lines++
		}
		if space := unicode.IsSpace(c); !space && !word {
			total.Words++
			word = true
		} else if space {
			word = false
		}
		last = c
	}
}

func (t *Total) add(one Total) {
	t.Files += one.Files
	t.Lines += one.Lines
	t.Words += one.Words
	t.Bytes += one.Bytes
}

func say(w io.Writer, name string, value any) error {
	line, err := json.Marshal(map[string]any{name: value})
	if err != nil {
		return fmt.Errorf("wordcount: %w", err)
	}
	if _, err := w.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("wordcount: %w", err)
	}
	return nil
}

func rest(ctx context.Context, d time.Duration) error {
	pause := time.NewTimer(d)
	defer pause.Stop()
	select {
	case <-pause.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
