package workercmd

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/arcp-nats/arcp/internal/admin"
	"github.com/arcp-nats/arcp/internal/cli"
	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/worker"
	"github.com/arcp-nats/arcp/worker/demo"
	"github.com/arcp-nats/arcp/worker/natsbus"
	"github.com/arcp-nats/arcp/worker/program"
)

const name = "arcp-worker"

// GuardArg, as the only argument, makes [Main] the guard of another worker's
// programs; see program.Guard. It is no flag of the command.
const GuardArg = "__program-guard"

// Main runs arcp-worker with the given arguments (without the program's name)
// and returns its exit status. It ends with the second SIGTERM or SIGINT, or
// with the drain after the first.
//
// With --exec it starts its own file again with [GuardArg], before any other
// argument in self; the process that this starts must call Main with what
// follows self.
func Main(args []string, stdout, stderr io.Writer, self ...string) int {
	if len(args) == 1 && args[0] == GuardArg {
		program.RunGuard(os.Stdin)
		return cli.ExitOK
	}
	var flags Flags
	if exit, done := cli.Parse(name, description, &flags, args, stdout, stderr); done {
		return exit
	}
	plan, err := flags.check()
	if err != nil {
		cli.Complain(stderr, name, err)
		return cli.ExitUsage
	}
	logger, err := cli.Logger(stderr, flags.LogFormat, flags.LogLevel)
	if err != nil {
		cli.Complain(stderr, name, err)
		return cli.ExitUsage
	}
	drain, stop, release := cli.Signals(context.Background())
	defer release()
	c := command{flags: &flags, plan: plan, self: self, stdout: stdout, log: logger}
	if err := c.run(drain, stop); err != nil {
		logger.Error("worker failed", "error", err)
		return cli.ExitFailed
	}
	return cli.ExitOK
}

// command is one run of arcp-worker.
type command struct {
	flags  *Flags
	plan   plan
	self   []string
	stdout io.Writer
	log    *slog.Logger
}

// run serves until drain ends, and at the latest until stop does.
func (c *command) run(drain, stop context.Context) error {
	guard, err := c.guard()
	if err != nil {
		return err
	}
	defer func() { _ = guard.Close() }()

	probe, metrics := admin.NewProbe(drain), admin.NewRegistry()
	brokerMetrics := jetstream.NewMetrics(metrics)
	operators, err := admin.StartIf(admin.Config{
		Listen: c.flags.AdminListen, Pprof: c.flags.AdminPprof, Registry: metrics, Missing: probe.Missing, Logger: c.log,
	})
	if err != nil {
		return err
	}
	defer operators.Close()

	client, err := jetstream.ConnectRetrying(drain, jetstream.Config{URLs: c.plan.servers, Name: c.plan.name, Logger: c.log})
	if err != nil {
		if drain.Err() != nil {
			return nil // told to leave before there was anything to do
		}
		return err
	}
	defer client.Close()
	brokerMetrics.Watch(client)
	probe.Connection(client.Connected)

	w, err := worker.New(natsbus.New(client), worker.Config{
		Name:         c.plan.name,
		Queue:        c.flags.Queue,
		Concurrency:  c.flags.Concurrency,
		MaxAttempts:  c.flags.MaxAttempts,
		AckWait:      c.flags.AckWait,
		DrainTimeout: drainTimeout(c.flags.DrainTimeout),

		ArtifactRetention: c.flags.ArtifactRetention,

		Logger:  c.log,
		Metrics: worker.NewMetrics(metrics),
	})
	if err != nil {
		return err
	}
	if err := c.register(w, guard); err != nil {
		return err
	}
	defer context.AfterFunc(stop, w.Stop)()

	reported := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(reported)
		select {
		case <-w.Ready():
			probe.Started()
			cli.Ready(c.stdout, "worker", c.plan.name, "tools", strings.Join(w.Tools(), ","), "admin", operators.Addr())
		case <-ended:
		}
	}()
	err = w.Run(drain)
	close(ended)
	<-reported
	return err
}

// drainTimeout says none the way that worker.Config does.
func drainTimeout(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

func (c *command) register(w *worker.Worker, guard *program.Guard) error {
	if c.flags.DemoTools {
		if err := demo.Register(w); err != nil {
			return err
		}
	}
	run := program.Runner{Guard: guard}
	for _, spec := range c.plan.programs {
		err := w.Handle(spec.Tool.Name, spec.Tool.Version, run.Handler(spec), worker.Options{
			Description: "Runs " + spec.Path + ".",
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// guard starts the guard of the programs, if there are any.
func (c *command) guard() (*program.Guard, error) {
	if len(c.plan.programs) == 0 {
		return nil, nil
	}
	file, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("own program file: %w", err)
	}
	return program.StartGuard(file, append(c.self, GuardArg)...)
}
