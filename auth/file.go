package auth

import (
	"bytes"
	"io"
	"os"
	"strings"
)

// Bounds on one file: what is read of it and how many entries it may have.
// Every attempt walks all entries, so their number is time as well as space.
const (
	maxFileBytes   = 16 << 20
	maxFileEntries = 100_000
)

// readFile reads a file that must hold something.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &ConfigError{Source: path, Reason: "cannot be read", Err: err}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	switch {
	case err != nil:
		return nil, &ConfigError{Source: path, Reason: "cannot be read", Err: err}
	case len(data) > maxFileBytes:
		return nil, &ConfigError{Source: path, Reason: "is larger than 16 MiB"}
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, &ConfigError{Source: path, Reason: "is empty"}
	}
	return data, nil
}

// line is one entry of a line file.
type line struct {
	origin
	fields []string
}

// parseLines splits a file into entries. shape names the fields of an entry,
// separated by spaces, and so says how many there are. Blank lines and lines
// that begin with # are skipped; a file without any entry is refused.
func parseLines(path string, data []byte, shape string) ([]line, error) {
	want := len(strings.Fields(shape))
	var lines []line
	number := 0
	for text := range strings.Lines(string(data)) {
		number++
		fields := strings.Fields(text)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		at := origin{path, number}
		if len(fields) != want {
			return nil, at.fault("want a line `" + shape + "`")
		}
		if len(lines) == maxFileEntries {
			return nil, at.fault("more than 100000 entries")
		}
		lines = append(lines, line{at, fields})
	}
	if len(lines) == 0 {
		return nil, &ConfigError{Source: path, Reason: "holds no line `" + shape + "`"}
	}
	return lines, nil
}
