package program

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// Bounds of a line of output. Text that is longer comes in pieces; a line that
// begins as a JSON object may be as long as a result can be.
const (
	maxTextLine = 64 << 10
	maxJSONLine = 1 << 20
)

// eachLine passes the lines of r to fn, without their ends, until r ends or fn
// fails. A line beyond its bound comes in pieces of at most maxTextLine, of
// which whole is false. fn must not keep the line.
func eachLine(r io.Reader, fn func(line []byte, whole bool) error) error {
	in := bufio.NewReaderSize(r, maxTextLine)
	var line []byte
	split := false // pieces of this line are out already
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		full := errors.Is(err, bufio.ErrBufferFull)
		if full && !split && len(line) < bound(line) {
			continue
		}
		if err == nil {
			line = bytes.TrimSuffix(line[:len(line)-1], []byte{'\r'})
		}
		split = split || full || len(line) > bound(line)
		if split {
			for len(line) > 0 {
				n := min(len(line), maxTextLine)
				if failed := fn(line[:n], false); failed != nil {
					return failed
				}
				line = line[n:]
			}
		} else if err == nil || len(line) > 0 {
			if failed := fn(line, true); failed != nil {
				return failed
			}
		}
		line = line[:0]
		switch {
		case full:
		case err == nil:
			split = false
		case errors.Is(err, io.EOF):
			return nil
		default:
			return err
		}
	}
}

func bound(line []byte) int {
	if begins(line) {
		return maxJSONLine
	}
	return maxTextLine
}

// begins tells whether a line may be a JSON object.
func begins(line []byte) bool {
	line = bytes.TrimLeft(line, " \t")
	return len(line) > 0 && line[0] == '{'
}
