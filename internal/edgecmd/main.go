package edgecmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"

	"github.com/arcp-nats/arcp/auth"
	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/internal/admin"
	"github.com/arcp-nats/arcp/internal/cli"
	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/jetstream/embedded"
	"github.com/arcp-nats/arcp/worker"
	"github.com/arcp-nats/arcp/worker/demo"
	"github.com/arcp-nats/arcp/worker/natsbus"
)

const description = `An ARCP edge: it holds client connections and is otherwise a reader of the log.

With --dev everything runs in this process, and workers can join:

  arcp-edge --dev
  arcp-worker --nats nats://127.0.0.1:4222 --demo-tools

With --stdio it serves one session on standard input and output, as a child of the program that wants it.

Otherwise it uses the NATS servers of --nats, as every edge and worker of the deployment does. When it can take
sessions it prints one line: ready edge=URL ... name=NAME. SIGTERM drains: clients are told to resume elsewhere; a
second signal stops at once. Every flag is also an environment variable, ARCP_ and its name: ARCP_JWT_AUDIENCE.`

// Main runs arcp-edge with the given arguments (without the program's name) and returns its exit status: 0 after an
// orderly stop, 1 after a failure, 2 for arguments that cannot work.
func Main(args []string, stdout, stderr io.Writer) int {
	var flags Flags
	if exit, done := cli.Parse("arcp-edge", description, &flags, args, stdout, stderr); done {
		return exit
	}
	set, credentials, err := configure(&flags)
	if err != nil {
		cli.Complain(stderr, "arcp-edge", err)
		return cli.ExitUsage
	}
	logger, err := cli.Logger(stderr, flags.LogFormat, flags.LogLevel)
	if err != nil {
		cli.Complain(stderr, "arcp-edge", err)
		return cli.ExitUsage
	}
	for _, warning := range set.Warnings() {
		logger.Warn(warning)
	}
	drain, stop, release := cli.Signals(context.Background())
	defer release()
	if err := run(drain, stop, &flags, set, credentials, stdout, logger); err != nil {
		logger.Error("arcp-edge failed", "error", err)
		return cli.ExitFailed
	}
	return cli.ExitOK
}

func configure(flags *Flags) (set *auth.Set, credentials *issuing, err error) {
	if err = flags.check(); err != nil {
		return nil, nil, err
	}
	if set, err = flags.auth(); err != nil {
		return nil, nil, err
	}
	credentials, err = flags.issuing()
	return set, credentials, err
}

// run puts the parts together and serves until drain ends, and at the latest until stop does.
func run(drain, stop context.Context, flags *Flags, set *auth.Set, credentials *issuing, stdout io.Writer, logger *slog.Logger) error {
	defer credentials.close()
	var listener net.Listener = edge.NewPipe()
	if !flags.Stdio {
		var err error
		if listener, err = net.Listen("tcp", flags.Listen); err != nil {
			return err
		}
	}
	defer func() { _ = listener.Close() }()
	name := flags.name(listener.Addr())
	logger = logger.With("edge", name)

	probe, metrics := admin.NewProbe(drain), admin.NewRegistry()
	brokerMetrics := jetstream.NewMetrics(metrics)
	operators, err := admin.StartIf(admin.Config{
		Listen: flags.AdminListen, Pprof: flags.AdminPprof, Registry: metrics, Missing: probe.Missing, Logger: logger,
	})
	if err != nil {
		return err
	}
	defer operators.Close()

	broker := jetstream.Config{URLs: flags.NATS, Name: name, Logger: logger}
	natsURL := ""
	if flags.alone() {
		folder, err := os.MkdirTemp("", "arcp-stdio-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(folder) }()
		flags.Data, flags.NATSListen = folder, "127.0.0.1:0"
	}
	if flags.single() {
		server, err := startNATS(flags, logger)
		if err != nil {
			return err
		}
		defer server.Shutdown()
		broker.InProcess, natsURL = server.InProcess(), server.URL()
	}
	client, err := jetstream.ConnectRetrying(drain, broker)
	if err != nil {
		return nil // told to leave before there was anything to do
	}
	defer client.Close()
	brokerMetrics.Watch(client)
	probe.Connection(client.Connected)
	drift, err := client.EnsureRetrying(drain, flags.topology())
	switch {
	case drain.Err() != nil:
		return nil
	case err != nil:
		return err
	}
	for _, d := range drift {
		logger.Warn("the log is not set up as asked", "drift", d)
	}

	// What runs beside the edge ends after it: its sessions may still be told how their jobs ended.
	beside, cancel := context.WithCancel(stop)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	tools := newDirectory(client, logger)
	wg.Go(func() { tools.watch(beside) })
	if !tools.wait(drain, "") {
		return nil
	}
	if flags.single() && !flags.NoDemoTools {
		if err := startDemoTools(beside, &wg, client, worker.Config{
			Name: "worker-dev", Logger: logger, Metrics: worker.NewMetrics(metrics), ArtifactRetention: flags.ArtifactRetention,
		}); err != nil {
			return err
		}
		if !tools.wait(drain, "echo@1") {
			return nil
		}
	}

	cfg := flags.edge(name)
	cfg.Auth, cfg.Logger = set, logger
	server, err := edge.New(edge.Params{
		Config: cfg, Log: client, Tools: tools.Table, Artifacts: client.Artifacts(),
		Sessions: client.KV(jetstream.BucketSessions), Idempotency: client.KV(jetstream.BucketIdempotency),
		Deadlines: client.KV(jetstream.BucketDeadlines),
		Metrics:   edge.NewMetrics(metrics), Credentials: credentials.parts(client),
	})
	if err != nil {
		return err
	}
	defer context.AfterFunc(stop, server.Stop)()
	client.OnState(server.LogConnected)
	if pipe, ok := listener.(*edge.Pipe); ok {
		return serveStdio(drain, server, pipe, stdout, probe.Started)
	}
	return server.Serve(drain, listener, func() {
		probe.Started()
		cli.Ready(stdout, "edge", "ws://"+listener.Addr().String()+"/arcp", "nats", natsURL, "admin", operators.Addr(), "name", name)
		logger.Info("ready", "listen", listener.Addr().String())
	})
}

// serveStdio serves one session on standard input and output, until one of them ends, or drain.
func serveStdio(drain context.Context, server *edge.Server, pipe *edge.Pipe, stdout io.Writer, ready func()) error {
	serving, done := context.WithCancel(drain)
	defer done()
	began, said := make(chan struct{}), make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer done()
		select {
		case <-began:
			said <- edge.ServeLines(serving, pipe, os.Stdin, stdout)
		case <-serving.Done():
			said <- nil
		}
	})
	err := server.Serve(serving, pipe, func() { ready(); close(began) })
	done()
	wg.Wait()
	return errors.Join(err, <-said)
}

// startNATS starts the server of --dev.
func startNATS(flags *Flags, logger *slog.Logger) (*embedded.Server, error) {
	host, port, err := net.SplitHostPort(flags.NATSListen)
	if err != nil {
		return nil, fmt.Errorf("--nats-listen %q: %w", flags.NATSListen, err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, fmt.Errorf("--nats-listen %q: port: %w", flags.NATSListen, err)
	}
	if number == 0 {
		number = -1 // what NATS calls any free port
	}
	return embedded.Start(embedded.Options{
		Dir: flags.Data, Host: host, Port: number, SyncAlways: flags.Sync == "always", Logger: logger,
	})
}

// startDemoTools runs a worker with the demo tools in this process.
func startDemoTools(ctx context.Context, wg *sync.WaitGroup, client *jetstream.Client, cfg worker.Config) error {
	w, err := worker.New(natsbus.New(client), cfg)
	if err != nil {
		return err
	}
	if err := demo.Register(w); err != nil {
		return err
	}
	wg.Go(func() {
		if err := w.Run(ctx); err != nil {
			cfg.Logger.Error("demo tools stopped", "error", err)
		}
	})
	return nil
}
