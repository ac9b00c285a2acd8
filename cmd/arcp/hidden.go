package main

import (
	"context"
	"flag"
	"strings"

	"github.com/arcp-nats/arcp/internal/cli"
	"github.com/arcp-nats/arcp/internal/edgecmd"
	"github.com/arcp-nats/arcp/internal/wordcount"
	"github.com/arcp-nats/arcp/internal/workercmd"
	"github.com/arcp-nats/arcp/jetstream/embedded"
)

// runHidden plays the parts of the runtime that this program starts itself for. They are not for people and not in
// the help.
func runHidden(args []string, std streams) (exit int, hidden bool) {
	if len(args) == 0 {
		return 0, false
	}
	switch rest := args[1:]; args[0] {
	case "__edge":
		return edgecmd.Main(rest, std.out, std.err), true
	case "__worker":
		return workercmd.Main(rest, std.out, std.err, "__worker"), true
	case "__nats":
		return runNATS(rest, std), true
	case "__wordcount":
		return runWordcount(std), true
	default:
		return 0, false
	}
}

// runNATS runs a NATS server until a signal.
func runNATS(args []string, std streams) int {
	flags := flag.NewFlagSet("arcp __nats", flag.ContinueOnError)
	flags.SetOutput(std.err)
	dir := flags.String("dir", "", "folder of the data")
	port := flags.Int("port", -1, "port to listen on; -1 is any free one")
	name := flags.String("name", "", "name of the server in its cluster")
	clusterPort := flags.Int("cluster-port", 0, "port for the other servers of the cluster; 0 for a server that stands alone")
	routes := flags.String("routes", "", "URLs of the servers of the cluster, comma separated")
	if flags.Parse(args) != nil {
		return cli.ExitUsage
	}
	drain, _, release := cli.Signals(context.Background())
	defer release()
	options := embedded.Options{Dir: *dir, Port: *port, Name: *name}
	if *clusterPort != 0 {
		options.Cluster = &embedded.Cluster{Name: "arcp", Port: *clusterPort, Routes: strings.Split(*routes, ",")}
	}
	server, err := embedded.Start(options)
	if err != nil {
		cli.Complain(std.err, "arcp __nats", err)
		return cli.ExitFailed
	}
	cli.Ready(std.out, "nats", server.URL())
	<-drain.Done()
	server.Shutdown()
	return cli.ExitOK
}

func runWordcount(std streams) int {
	drain, _, release := cli.Signals(context.Background())
	defer release()
	if err := wordcount.Main(drain, std.in, std.out); err != nil {
		cli.Complain(std.err, "arcp __wordcount", err)
		return cli.ExitFailed
	}
	return cli.ExitOK
}
