package lease

import "strings"

// Match reports whether a pattern of model_use matches the whole of a text. Only * is special; it stands for any run of
// characters, "/" and none included (open dialect MU-2, without its defect: *a matches aba).
func Match(pattern, text string) bool {
	first, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == text
	}
	text, ok := strings.CutPrefix(text, first)
	if !ok {
		return false
	}
	pieces := strings.Split(rest, "*")
	for _, piece := range pieces[:len(pieces)-1] {
		// The leftmost place leaves most for the pieces after it; only the last one must stand at the end.
		at := strings.Index(text, piece)
		if at < 0 {
			return false
		}
		text = text[at+len(piece):]
	}
	return strings.HasSuffix(text, pieces[len(pieces)-1])
}

// Covers reports whether a pattern matches all that another one does. A * of the other stands for what no literal is, so
// only a * can match it: it is enough to match the other pattern as it is written.
func Covers(pattern, other string) bool { return Match(pattern, other) }
