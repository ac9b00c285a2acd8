package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/arcp-nats/arcp/credential"
	"github.com/arcp-nats/arcp/internal/cutproxy"
	"github.com/arcp-nats/arcp/jetstream"
)

const (
	// ackWait is how long a worker may be silent about a job; short, so that pauses are longer.
	ackWait = 2 * time.Second
	// concurrency is how many jobs of a tool a worker runs; few, so that jobs have to wait.
	concurrency = 4
	// maxAttempts is how often a job may be started. Faults come quickly; most jobs shall survive them.
	maxAttempts = 6
	// logBytes is the size of the log between the faults that fill it.
	logBytes = 2 << 30
	// sealKey is the name of the file with the key that seals credentials.
	sealKey = "seal.key"
)

// Size is how many processes a cluster has. NATS must be 1 or 3.
type Size struct{ Edges, Workers, NATS int }

// Cluster is edges, workers and NATS servers as processes, and proxies between clients and edges, and between edges or
// workers and NATS.
type Cluster struct {
	size     Size
	issuer   string
	nats     []*node
	edges    []*node
	workers  []*node
	fronts   []*cutproxy.Proxy   // by edge
	backs    [][]*cutproxy.Proxy // by process, edges first; each has one for each NATS server
	cuts     []*cutLimits        // of all proxies, fronts first
	broken   sync.Mutex          // held while a NATS server is away: one at a time
	admin    *jetstream.Client
	topology jetstream.Topology
}

// StartCluster starts the processes of a program file in a folder, and waits until all are ready. tokens is the content
// of the edges' token file, issuer the URL of an issuer of credentials. Close ends them.
func StartCluster(ctx context.Context, file, dir, tokens, issuer string, size Size) (_ *Cluster, err error) {
	c := &Cluster{
		size: size, issuer: issuer,
		topology: jetstream.Topology{Shards: 1, Replicas: size.NATS, MaxBytes: logBytes},
	}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	tokenFile := filepath.Join(dir, "tokens")
	if err := os.WriteFile(tokenFile, []byte(tokens), 0o600); err != nil {
		return nil, fmt.Errorf("chaos: %w", err)
	}
	if err := credential.CreateKeyFile(filepath.Join(dir, sealKey)); err != nil {
		return nil, fmt.Errorf("chaos: %w", err)
	}
	addresses, err := c.startNATS(ctx, file, dir)
	if err != nil {
		return nil, err
	}
	urls := make([]string, len(addresses))
	for i, address := range addresses {
		urls[i] = "nats://" + address
	}
	if c.admin, err = jetstream.Connect(ctx, jetstream.Config{URLs: urls, Name: "chaos"}); err != nil {
		return nil, err
	}
	// A cluster of servers that have just met refuses for a moment.
	if err := persist(ctx, startPatience, func() error { _, err := c.admin.Ensure(ctx, c.topology); return err }); err != nil {
		return nil, err
	}
	for i := range size.Edges {
		if err := c.startEdge(ctx, i, file, dir, tokenFile, addresses); err != nil {
			return nil, err
		}
	}
	for i := range size.Workers {
		if err := c.startWorker(ctx, i, file, dir, addresses); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *Cluster) startNATS(ctx context.Context, file, dir string) (addresses []string, err error) {
	ports, err := freePorts(2 * c.size.NATS)
	if err != nil {
		return nil, err
	}
	var routes []string
	for i := range c.size.NATS {
		addresses = append(addresses, hostPort(ports[i]))
		routes = append(routes, "nats://"+hostPort(ports[c.size.NATS+i]))
	}
	for i := range c.size.NATS {
		name := "nats-" + strconv.Itoa(i+1)
		args := []string{"__nats", "-dir", filepath.Join(dir, name), "-port", strconv.Itoa(ports[i])}
		if c.size.NATS > 1 {
			args = append(args, "-name", name, "-cluster-port", strconv.Itoa(ports[c.size.NATS+i]), "-routes", strings.Join(routes, ","))
		}
		n, err := newNode(dir, name, file, args...)
		if err != nil {
			return nil, err
		}
		c.nats = append(c.nats, n)
	}
	return addresses, together(c.nats, func(n *node) error { return n.start(ctx) })
}

func (c *Cluster) startEdge(ctx context.Context, i int, file, dir, tokens string, nats []string) error {
	ports, err := freePorts(1)
	if err != nil {
		return err
	}
	servers, err := c.back(nats)
	if err != nil {
		return err
	}
	name := edgeName(i)
	n, err := newNode(dir, name, file, "__edge", "--nats", servers, "--listen", hostPort(ports[0]), "--name", name,
		"--token-file", tokens, "--replicas", strconv.Itoa(c.size.NATS), "--log-max-bytes", strconv.Itoa(logBytes),
		"--credential-endpoint", c.issuer, "--seal-key-file", filepath.Join(dir, sealKey), "--drain-timeout", drainTimeout.String())
	if err != nil {
		return err
	}
	c.edges = append(c.edges, n)
	limits := new(cutLimits)
	front, err := cutproxy.Start(hostPort(ports[0]), limits.next)
	if err != nil {
		return err
	}
	c.fronts = append(c.fronts, front)
	c.cuts = append(c.cuts, limits)
	return n.start(ctx)
}

func (c *Cluster) startWorker(ctx context.Context, i int, file, dir string, nats []string) error {
	servers, err := c.back(nats)
	if err != nil {
		return err
	}
	name := "worker-" + strconv.Itoa(i+1)
	n, err := newNode(dir, name, file, "__worker", "--nats", servers, "--name", name, "--demo-tools",
		"--concurrency", strconv.Itoa(concurrency), "--max-attempts", strconv.Itoa(maxAttempts),
		"--ack-wait", ackWait.String(), "--drain-timeout", drainTimeout.String())
	if err != nil {
		return err
	}
	c.workers = append(c.workers, n)
	return n.start(ctx)
}

// back makes a process's own proxies to the NATS servers and returns their URLs.
func (c *Cluster) back(nats []string) (urls string, err error) {
	var proxies []*cutproxy.Proxy
	var all []string
	for _, address := range nats {
		proxy, err := cutproxy.Start(address, nil)
		if err != nil {
			return "", err
		}
		proxies = append(proxies, proxy)
		all = append(all, "nats://"+proxy.Addr())
	}
	c.backs = append(c.backs, proxies)
	return strings.Join(all, ","), nil
}

func edgeName(i int) string { return "edge-" + strconv.Itoa(i+1) }

// URLs returns where clients reach the edges, through proxies.
func (c *Cluster) URLs() []string {
	urls := make([]string, len(c.fronts))
	for i, front := range c.fronts {
		urls[i] = "ws://" + front.Addr() + "/arcp"
	}
	return urls
}

// Stop ends all edges and workers in an orderly way and returns how that went, by name, where it went badly.
func (c *Cluster) Stop() map[string]error {
	var mu sync.Mutex
	bad := make(map[string]error)
	_ = together(append(append([]*node{}, c.workers...), c.edges...), func(n *node) error {
		if err := n.stop(); err != nil {
			mu.Lock()
			defer mu.Unlock()
			bad[n.name] = err
		}
		return nil
	})
	return bad
}

// Close ends everything, by force where it still runs.
func (c *Cluster) Close() {
	if c.admin != nil {
		c.admin.Close()
	}
	for _, nodes := range [][]*node{c.workers, c.edges, c.nats} {
		for _, n := range nodes {
			n.end()
		}
	}
	for _, proxy := range c.fronts {
		_ = proxy.Close()
	}
	for _, proxies := range c.backs {
		for _, proxy := range proxies {
			_ = proxy.Close()
		}
	}
}

// together does something to all nodes at once.
func together(nodes []*node, do func(*node) error) error {
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() { errs[i] = do(n) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// persist tries until it works, for a time at most.
func persist(ctx context.Context, patience time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := try()
		if err == nil || ctx.Err() != nil {
			return err
		}
		wait(ctx, 200*time.Millisecond)
	}
}

// Ports that processes listen on are below those that systems give to outgoing connections: one of these could take the
// port of a process while that is down.
const firstPort, lastPort = 10000, 32000

// freePorts returns loopback ports that nobody listens on.
func freePorts(n int) ([]int, error) {
	const tries = 100
	var ports []int
	for range tries {
		port := firstPort + rand.IntN(lastPort-firstPort)
		listener, err := net.Listen("tcp", hostPort(port))
		if err != nil {
			continue
		}
		defer func() { _ = listener.Close() }() // not before all are found: they must differ
		if ports = append(ports, port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, errors.New("chaos: no free ports")
}

func hostPort(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
