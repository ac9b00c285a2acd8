package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/internal/cli"
)

const description = `Invokes tools on an ARCP runtime and shows what they say.

Results go to standard output, complaints to standard error. Exit status: 0 done, 1 failed, 2 usage. Every flag is also
an environment variable, ARCP_ and its name: ARCP_URL, ARCP_TOKEN.`

// program is the command line.
type program struct {
	URL       []string `help:"Edges to connect to, tried in turn." default:"ws://127.0.0.1:7777/arcp" sep:"," placeholder:"URL"`
	Token     string   `help:"Bearer token. Others on the machine can see command lines: prefer ARCP_TOKEN. Default: anonymous." placeholder:"TOKEN"`
	TokenFile string   `help:"File with the token, read again when the session's lease is to be renewed." placeholder:"FILE"`
	Scheme    string   `help:"What the token is: bearer or signed_jwt." enum:"bearer,signed_jwt" default:"bearer"`
	Dialect   string   `help:"Wire form to speak: open or hello. What hello has no message for fails." enum:"open,hello" default:"open"`
	JSON      bool     `name:"json" help:"Print every envelope received, one a line."`

	Invoke  invokeCommand  `cmd:"" help:"Invoke a tool, and show its events and result."`
	Cancel  cancelCommand  `cmd:"" help:"Cancel a job of this principal."`
	Watch   watchCommand   `cmd:"" help:"Show a job of this principal until it ends, and its result."`
	Tail    tailCommand    `cmd:"" aliases:"subscribe" help:"Show what the sessions of this principal are told and say, as it comes."`
	Jobs    jobsCommand    `cmd:"" help:"List the jobs of this principal, the oldest first."`
	Put     putCommand     `cmd:"" help:"Store a file as an artifact of this principal, and print its id."`
	Get     getCommand     `cmd:"" help:"Write an artifact of this principal to standard output, or to a file."`
	Demo    demoCommand    `cmd:"" help:"Start a small runtime, kill a part of it, and show that nothing is lost."`
	Bench   benchCommand   `cmd:"" help:"Measure a runtime."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

// streams are the process's own.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// usageError is a mistake on the command line that kong cannot see.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// errSilent fails without a message: everything has been said.
var errSilent = errors.New("failed")

// run is the program. It returns the exit status.
func run(args []string, std streams) int {
	if exit, hidden := runHidden(args, std); hidden {
		return exit
	}
	var p program
	kctx, exit, done := parse(&p, args, std)
	if done {
		return exit
	}
	drain, stop, release := cli.Signals(context.Background())
	defer release()
	err := kctx.Run(&p, std, interrupt{drain, stop})
	switch usage := (usageError{}); {
	case err == nil:
		return cli.ExitOK
	case errors.As(err, &usage):
		cli.Complain(std.err, "arcp", usage)
		return cli.ExitUsage
	case errors.Is(err, errSilent):
		return cli.ExitFailed
	default:
		cli.Complain(std.err, "arcp", err)
		return cli.ExitFailed
	}
}

// interrupt holds what the signals end: the first one the work, the second one the cleaning up too.
type interrupt struct{ work, cleanup context.Context }

func parse(p *program, args []string, std streams) (kctx *kong.Context, exit int, done bool) {
	exited := false
	parser, err := kong.New(p,
		kong.Name("arcp"),
		kong.Description(description),
		kong.Writers(std.out, std.err),
		kong.DefaultEnvars(cli.EnvPrefix),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Exit(func(c int) { exited, exit = true, c }),
	)
	if err != nil {
		cli.Complain(std.err, "arcp", err)
		return nil, cli.ExitFailed, true
	}
	kctx, err = parser.Parse(args)
	switch {
	case exited:
		return nil, cli.ExitOK, true
	case err != nil:
		cli.Complain(std.err, "arcp", err)
		fmt.Fprintln(std.err, `Run "arcp --help" for the commands and flags.`)
		return nil, cli.ExitUsage, true
	default:
		return kctx, cli.ExitOK, false
	}
}

// dial opens a session as the flags say, but for what change adjusts.
func (p *program) dial(ctx context.Context, std streams, change ...func(*client.Config)) (*client.Session, error) {
	cfg := client.Config{URLs: p.URL, Token: p.Token, ClientKind: "arcp", ClientVersion: version(), Dialect: client.Dialect(p.Dialect)}
	switch {
	case p.Token != "" && p.TokenFile != "":
		return nil, usageError{errors.New("--token and --token-file exclude each other")}
	case p.TokenFile != "":
		cfg.TokenSource = func(context.Context) (string, error) {
			token, err := os.ReadFile(p.TokenFile)
			return strings.TrimSpace(string(token)), err
		}
	}
	if p.Token != "" || p.TokenFile != "" {
		cfg.Scheme = p.Scheme
	}
	if p.JSON {
		cfg.OnEnvelope = printEnvelope(std.out)
	} else {
		cfg.OnState = func(s client.State) {
			if s.Change != client.Connected {
				fmt.Fprintf(std.err, "arcp: %s %s\n", s.Change, s.URL)
			}
		}
	}
	for _, adjust := range change {
		adjust(&cfg)
	}
	return client.Dial(ctx, cfg)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
