package cli

import (
	"io"
	"strings"
)

// Ready writes the ready line to w: the word ready, then the key=value pairs
// in the given order. Pairs alternate keys and values; one with an empty value
// does not apply and is left out. The line is written in one piece, so that a
// script that waits for it never reads half of it.
func Ready(w io.Writer, pairs ...string) {
	var line strings.Builder
	line.WriteString("ready")
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			continue
		}
		line.WriteString(" " + pairs[i] + "=" + pairs[i+1])
	}
	line.WriteByte('\n')
	// A reader that has gone away does not stop the service.
	_, _ = io.WriteString(w, line.String())
}
