package cli

import (
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"
)

// EnvPrefix begins the environment variable of every flag: --jwt-audience is
// also ARCP_JWT_AUDIENCE. A flag on the command line wins.
const EnvPrefix = "ARCP"

// Parse fills into, a pointer to a kong struct, from args (without the
// program's name) and the environment. Help goes to stdout, complaints go to
// stderr.
//
// When done is true the process has nothing left to do and ends with exit:
// ExitOK after help, ExitUsage after a mistake.
//
// A field whose type has a method `Validate() error` is checked by kong; what
// it returns is printed, so it must not repeat secrets.
func Parse(name, description string, into any, args []string, stdout, stderr io.Writer) (exit int, done bool) {
	if v := reflect.ValueOf(into); v.Kind() != reflect.Pointer || v.IsNil() {
		fmt.Fprintf(stderr, "%s: flags must be parsed into a struct pointer, not %T\n", name, into)
		return ExitFailed, true
	}
	code, exited := ExitOK, false
	parser, err := kong.New(into,
		kong.Name(name),
		kong.Description(description),
		kong.Writers(stdout, stderr),
		kong.DefaultEnvars(EnvPrefix),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		// kong calls this after printing help, then goes on parsing: what it
		// says after that is about flags that a reader of the help left out.
		kong.Exit(func(c int) {
			if !exited {
				code, exited = c, true
			}
		}),
	)
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", name, err)
		return ExitFailed, true
	}
	_, err = parser.Parse(args)
	switch {
	case exited:
		return code, true
	case err != nil:
		Complain(stderr, name, err)
		fmt.Fprintf(stderr, "Run \"%s --help\" for the flags.\n", name)
		return ExitUsage, true
	default:
		return ExitOK, false
	}
}

// Complain writes err to w as the binaries say it: the program's name, then
// what is wrong, on one line.
func Complain(w io.Writer, name string, err error) {
	fmt.Fprintf(w, "%s: %s\n", name, strings.ReplaceAll(err.Error(), "\n", "; "))
}
