// Package embedded runs a nats-server inside the process: for development, for one-machine use, and for tests.
package embedded

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// maxPayload is the largest message that the server takes. Artifacts come in one message of up to 6 MiB.
const maxPayload = 8 << 20

// startTimeout bounds how long a start may take. Reading back a log of a million records takes a second or two.
const startTimeout = time.Minute

// Options say how to run the server.
type Options struct {
	// Dir is the folder for everything that is stored. Required.
	Dir string
	// Name of the server; made up if empty.
	Name string
	// Host to listen on; default 127.0.0.1. Not used if Port is 0.
	Host string
	// Port to listen on; -1 is any free one, 0 is none: then only InProcess connects.
	Port int
	// SyncAlways makes every write durable before it is confirmed. Otherwise a write is flushed to disk within two
	// minutes; until then it survives the end of the process, not that of the machine.
	SyncAlways bool
	// MaxStore bounds the bytes stored; 0 leaves it to the server (three quarters of the free disk).
	MaxStore int64
	// Cluster makes the server one of a cluster; nil: it stands alone. Then Name is required, and unique.
	Cluster *Cluster
	// Logger gets the server's messages: notices at level debug, the rest at their own; nil discards them.
	Logger *slog.Logger
}

// Cluster says how a server meets the others of its cluster. Clients are not told of the others: they keep to the URLs
// that they were given.
type Cluster struct {
	// Name of the cluster, the same for all its servers. Required.
	Name string
	// Host and Port for the other servers to connect to; the host's default is 127.0.0.1.
	Host string
	Port int
	// Routes are the URLs (nats://host:port) for that of the servers of the cluster; this one may be among them.
	Routes []string
}

// Server is a running server.
type Server struct {
	ns *server.Server
}

// Start runs a server and returns when it takes connections. Two servers must not share a folder. A server of a cluster
// cannot store anything until it has met enough of the others.
func Start(o Options) (*Server, error) {
	if o.Dir == "" {
		return nil, errors.New("embedded: Dir: a folder is required")
	}
	if o.Port < -1 || o.Port > 65535 {
		return nil, fmt.Errorf("embedded: Port: %d is out of range", o.Port)
	}
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	options := &server.Options{
		ServerName:             o.Name,
		Host:                   o.Host,
		Port:                   o.Port,
		DontListen:             o.Port == 0,
		NoSigs:                 true,
		MaxPayload:             maxPayload,
		JetStream:              true,
		JetStreamMaxStore:      o.MaxStore,
		StoreDir:               o.Dir,
		SyncAlways:             o.SyncAlways,
		DisableJetStreamBanner: true,
	}
	if o.Cluster != nil {
		if err := o.Cluster.join(options); err != nil {
			return nil, err
		}
	}
	ns, err := server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	log := &logger{log: o.Logger}
	ns.SetLoggerV2(log, false, false, false)
	ns.Start()
	if err := ready(ns, log); err != nil {
		ns.Shutdown()
		ns.WaitForShutdown()
		return nil, err
	}
	return &Server{ns: ns}, nil
}

// join puts the cluster into the server's options.
func (c *Cluster) join(options *server.Options) error {
	if options.ServerName == "" || c.Name == "" {
		return errors.New("embedded: Cluster: the server and the cluster need names")
	}
	options.Cluster = server.ClusterOpts{Name: c.Name, Host: cmp.Or(c.Host, "127.0.0.1"), Port: c.Port, NoAdvertise: true}
	for _, route := range c.Routes {
		u, err := url.Parse(route)
		if err != nil {
			return fmt.Errorf("embedded: Cluster: a route is no URL: %w", err)
		}
		options.Routes = append(options.Routes, u)
	}
	return nil
}

// ready waits until the server takes connections, or has said why it never will.
func ready(ns *server.Server, log *logger) error {
	const poll = 200 * time.Millisecond
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); {
		if ns.ReadyForConnections(poll) && ns.JetStreamEnabled() {
			return nil
		}
		if fatal := log.fatal.Load(); fatal != nil {
			return fmt.Errorf("embedded: %s", *fatal)
		}
	}
	return fmt.Errorf("embedded: the server did not start within %v", startTimeout)
}

// URL returns where the server listens, or "" if it does not.
func (s *Server) URL() string {
	if addr := s.Addr(); addr != nil {
		return "nats://" + addr.String()
	}
	return ""
}

// Addr returns where the server listens, or nil if it does not.
func (s *Server) Addr() net.Addr { return s.ns.Addr() }

// InProcess returns what connects to the server without a socket; see jetstream.Config.
func (s *Server) InProcess() func() (net.Conn, error) { return s.ns.InProcessConn }

// Clients returns the number of connections.
func (s *Server) Clients() int { return s.ns.NumClients() }

// Shutdown ends the server and returns when it has ended. Only the first call counts.
func (s *Server) Shutdown() {
	s.ns.Shutdown()
	s.ns.WaitForShutdown()
}
