package program

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/arcp-nats/arcp/envelope"
)

// DefaultVersion is the version of a tool whose spec names none.
const DefaultVersion = "1"

// Spec is a tool and the program behind it.
type Spec struct {
	Tool envelope.AgentRef // with a version
	// Path is the program's file; Args are its arguments, without the name.
	Path string
	Args []string
}

// Parse reads NAME[@VERSION]=COMMAND ARGS... The command line is split into
// words as a shell does, with quotes and backslashes, and no other meaning of
// the shell's; see [Split]. The command must be a file that can be run, found
// in PATH if it has no slash.
func Parse(text string) (Spec, error) {
	name, command, ok := strings.Cut(text, "=")
	if !ok {
		return Spec{}, fmt.Errorf("program %q: want NAME[@VERSION]=COMMAND ARGS...", text)
	}
	ref, err := envelope.ParseAgentRef(name)
	if err != nil {
		return Spec{}, fmt.Errorf("program %q: %w", name, err)
	}
	if ref.Version == "" {
		ref.Version = DefaultVersion
	}
	words, err := Split(command)
	if err != nil {
		return Spec{}, fmt.Errorf("program %s: %w", ref, err)
	}
	if len(words) == 0 {
		return Spec{}, fmt.Errorf("program %s: there is no command", ref)
	}
	path, err := exec.LookPath(words[0])
	if err != nil {
		return Spec{}, fmt.Errorf("program %s: %w", ref, err)
	}
	return Spec{Tool: ref, Path: path, Args: words[1:]}, nil
}

var (
	errOpenQuote = errors.New("a quote is not closed")
	errEndSlash  = errors.New("nothing follows the last backslash")
)

// Split splits a command line into words at blanks. Single quotes keep
// everything up to the next one as it is. Double quotes do too, but for a
// backslash before a double quote or a backslash. Outside quotes a backslash
// keeps the next character as it is. There are no variables, patterns,
// redirections or comments.
func Split(text string) ([]string, error) {
	var (
		words  []string
		word   strings.Builder
		inWord bool
		quote  rune // the open one, or 0
		escape bool // the last character was a backslash
	)
	for _, c := range text {
		switch {
		case escape:
			if quote == '"' && c != '"' && c != '\\' {
				word.WriteByte('\\')
			}
			word.WriteRune(c)
			escape = false
		case c == '\\' && quote != '\'':
			escape, inWord = true, true
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			quote, inWord = c, true
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		default:
			word.WriteRune(c)
			inWord = true
		}
	}
	switch {
	case escape:
		return nil, errEndSlash
	case quote != 0:
		return nil, errOpenQuote
	case inWord:
		words = append(words, word.String())
	}
	return words, nil
}
