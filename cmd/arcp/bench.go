package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/internal/bench"
	"github.com/arcp-nats/arcp/internal/children"
	"github.com/arcp-nats/arcp/internal/offered"
)

// startTimeout bounds the start of a runtime.
const startTimeout = time.Minute

type benchCommand struct {
	Dev         bool   `help:"Measure a runtime of its own, in one process beside this one, and not that of --url."`
	Jobs        int    `help:"Jobs to run at each level." default:"5000"`
	Samples     int    `help:"Jobs to run one at a time for the latency." default:"300"`
	Concurrency []int  `help:"Levels: jobs in flight at once." default:"64,512"`
	Sessions    int    `help:"Sessions that share the jobs." default:"1"`
	Tool        string `help:"Tool to invoke with {\"n\": 1}, {\"n\": 2}, ..." default:"echo"`
}

// Validate is called by kong.
func (c *benchCommand) Validate() error {
	for _, n := range append([]int{c.Jobs, c.Samples, c.Sessions}, c.Concurrency...) {
		if n < 1 {
			return errors.New("--jobs, --samples, --sessions and --concurrency must be at least 1")
		}
	}
	return nil
}

// Run measures and prints a table, or with --json one object.
func (c *benchCommand) Run(p *program, std streams, signals interrupt) (err error) {
	target := *p
	target.JSON = false // envelopes are not the output here
	if c.Dev {
		stop, err := startDev(signals.work, &target)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
		cfg := client.Config{URLs: target.URL, Token: target.Token}
		if err := offered.Wait(signals.work, cfg, c.Tool, startTimeout); err != nil {
			return err
		}
	}
	report, err := bench.Run(signals.work, bench.Options{
		Dial:     func(ctx context.Context) (*client.Session, error) { return target.dial(ctx, std) },
		Sessions: c.Sessions, Samples: c.Samples, Jobs: c.Jobs, Concurrency: c.Concurrency, Tool: c.Tool,
		Progress: func(what string) { fmt.Fprintln(std.err, "arcp: "+what) },
	})
	if err != nil {
		return err
	}
	if !p.JSON {
		return report.Table(std.out)
	}
	line, err := jsonv2.Marshal(report)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.out, "%s\n", line)
	return err
}

// startDev runs an edge with everything in it and points the program at it. The caller stops it.
func startDev(ctx context.Context, p *program) (stop func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("own program file: %w", err)
	}
	dir, err := os.MkdirTemp("", "arcp-bench-")
	if err != nil {
		return nil, err
	}
	remove := func() error { return os.RemoveAll(dir) }
	p.Token = rand.Text()
	tokens := filepath.Join(dir, "tokens")
	if err := os.WriteFile(tokens, []byte(p.Token+" bench\n"), 0o600); err != nil {
		return nil, errors.Join(err, remove())
	}
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	edge, err := children.Start(starting, children.Spec{Name: "edge", File: self, Args: []string{
		"__edge", "--dev", "--listen", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0",
		"--data", filepath.Join(dir, "data"), "--token-file", tokens, "--rate", "0", "--log-level", "warn",
	}})
	if err != nil {
		return nil, errors.Join(err, remove())
	}
	p.URL = []string{edge.Ready("edge")}
	return func() error {
		stopping, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		return errors.Join(edge.Stop(stopping), remove())
	}, nil
}
