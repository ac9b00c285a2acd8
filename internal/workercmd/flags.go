package workercmd

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/arcp-nats/arcp/worker/demo"
	"github.com/arcp-nats/arcp/worker/program"
)

const description = `Runs tools: takes accepted jobs from NATS, calls the tool of each, and writes what it says back.

Tools are the built-in demo tools (--demo-tools), programs (--exec), or both. Any number of workers may run; those with ` +
	`the same tools share the work. A worker that is killed loses nothing: its jobs are taken up by another one.

SIGTERM or SIGINT lets the running jobs finish for --drain-timeout, hands the rest to other workers, and exits with 0. ` +
	`A second one exits at once. When ready, one line is written to standard output:

    ready worker=NAME tools=NAME@VERSION,... [admin=HOST:PORT]

Exit status: 0 drained, 1 failed, 2 the flags cannot be used.`

// Flags is the command line of arcp-worker.
type Flags struct {
	Name  string `help:"Name of this worker. No two live workers may share one. Default: worker- and a random part." placeholder:"NAME"`
	NATS  string `name:"nats" help:"NATS servers, tried in turn." default:"nats://127.0.0.1:4222" placeholder:"URL[,URL]"`
	Queue string `help:"Queue to serve. Workers of one queue must offer the same tools. Default: derived from the tools." placeholder:"NAME"`

	DemoTools bool     `help:"Offer the demo tools: echo, sleep, count and so on."`
	Exec      []string `sep:"none" help:"Offer a program as a tool; may be repeated. The arguments of a job come as JSON on standard input, lines of output become log events, {\"result\": ...} on a line is the result." placeholder:"NAME[@VERSION]=COMMAND ARGS..."`

	Concurrency  int           `help:"Jobs of one tool that run at once." default:"16" placeholder:"N"`
	MaxAttempts  int           `help:"How often a job may be started before it fails with ABORTED. 1: never run a job twice." default:"3" placeholder:"N"`
	AckWait      time.Duration `help:"How long this worker may be silent about a job before another one gets it." default:"30s" placeholder:"DURATION"`
	DrainTimeout time.Duration `help:"How long running jobs may take to finish when the worker is told to leave." default:"30s" placeholder:"DURATION"`

	ArtifactRetention time.Duration `help:"How long artifacts are kept that jobs make here. Not longer than the edges' --artifact-max-retention." default:"1h" placeholder:"DURATION"`

	AdminListen string `help:"Address for operators: /healthz, /readyz and /metrics, without authentication. Default: none." placeholder:"HOST:PORT"`
	AdminPprof  bool   `help:"Add /debug/pprof there."`

	LogFormat string `help:"Format of the log on standard error: text or json." enum:"text,json" default:"text" placeholder:"text|json"`
	LogLevel  string `help:"Least level that is logged: debug, info, warn or error." default:"info" placeholder:"LEVEL"`
}

// minAckWait keeps signs of life, at a sixth of it, from being a load.
const minAckWait = 100 * time.Millisecond

// plan is what the flags come to once checked.
type plan struct {
	name     string
	servers  []string
	programs []program.Spec
}

// check checks what kong cannot, and fills in defaults.
func (f *Flags) check() (plan, error) {
	p := plan{name: f.Name}
	switch {
	case f.AdminPprof && f.AdminListen == "":
		return p, fmt.Errorf("--admin-pprof: there is no --admin-listen to add it to")
	case f.Concurrency < 1:
		return p, fmt.Errorf("--concurrency must be at least 1")
	case f.MaxAttempts < 1:
		return p, fmt.Errorf("--max-attempts must be at least 1")
	case f.AckWait < minAckWait:
		return p, fmt.Errorf("--ack-wait must be at least %v", minAckWait)
	case f.ArtifactRetention <= 0:
		return p, fmt.Errorf("--artifact-retention must be above 0")
	case f.DrainTimeout < 0:
		return p, fmt.Errorf("--drain-timeout must not be negative")
	case strings.ContainsAny(f.Name, " \t\r\n"):
		return p, fmt.Errorf("--name must not contain blanks")
	}
	var err error
	if p.servers, err = serverURLs(f.NATS); err != nil {
		return p, err
	}
	seen := map[string]bool{}
	if f.DemoTools {
		for _, tool := range demo.Tools() {
			seen[tool] = true
		}
	}
	for _, text := range f.Exec {
		spec, err := program.Parse(text)
		if err != nil {
			return p, fmt.Errorf("--exec: %w", err)
		}
		if seen[spec.Tool.String()] {
			return p, fmt.Errorf("--exec: there is a tool %s already", spec.Tool)
		}
		seen[spec.Tool.String()] = true
		p.programs = append(p.programs, spec)
	}
	if !f.DemoTools && len(p.programs) == 0 {
		return p, fmt.Errorf("there are no tools: give --demo-tools or --exec")
	}
	if p.name == "" {
		p.name = randomName()
	}
	return p, nil
}

// serverURLs splits and checks a list of NATS servers. Its errors do not
// repeat the URL, which may hold a password.
func serverURLs(list string) ([]string, error) {
	var servers []string
	for i, text := range strings.Split(list, ",") {
		text = strings.TrimSpace(text)
		full := text
		if !strings.Contains(full, "://") {
			full = "nats://" + full
		}
		u, err := url.Parse(full)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("--nats: server %d is no URL", i+1)
		}
		switch u.Scheme {
		case "nats", "tls", "ws", "wss":
		default:
			return nil, fmt.Errorf("--nats: server %d: scheme %q is none of nats, tls, ws, wss", i+1, u.Scheme)
		}
		servers = append(servers, full)
	}
	return servers, nil
}

func randomName() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return "worker-" + hex.EncodeToString(b[:])
}
