package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/natstest"
	"github.com/arcp-nats/arcp/internal/wstest"
	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// natsCluster is three NATS servers as processes, which keep three copies of everything.
type natsCluster struct {
	*processes
	servers map[string]*process // by name
	args    map[string][]string
	urls    map[string]string
	js      natsjs.JetStream // asks about the streams; connected to all
}

// freePorts returns ports that nobody listens on at the moment.
func freePorts(t testing.TB, n int) (ports []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer func() { _ = l.Close() }()
		_, port, err := net.SplitHostPort(l.Addr().String())
		require.NoError(t, err)
		ports = append(ports, port)
	}
	return ports
}

// startNATSCluster starts the servers, on ports that they keep.
func startNATSCluster(t testing.TB) *natsCluster {
	t.Helper()
	dir := t.TempDir()
	c := &natsCluster{
		processes: &processes{t: t, dir: dir, tokens: filepath.Join(dir, "tokens")},
		servers:   make(map[string]*process), args: make(map[string][]string), urls: make(map[string]string),
	}
	require.NoError(t, os.WriteFile(c.tokens, []byte(aliceToken+" alice\n"+bobToken+" bob\n"), 0o600))
	ports := freePorts(t, 6)
	var urls, routes []string
	for i := range 3 {
		urls = append(urls, "nats://127.0.0.1:"+ports[i])
		routes = append(routes, "nats://127.0.0.1:"+ports[3+i])
	}
	c.nats = strings.Join(urls, ",")
	for i := range 3 {
		name := fmt.Sprint("nats-", i+1)
		c.urls[name] = urls[i]
		c.args[name] = []string{
			"__nats", "-dir", filepath.Join(dir, name), "-name", name, "-port", ports[i],
			"-cluster-port", ports[3+i], "-routes", strings.Join(routes, ","),
		}
		c.servers[name] = start(t, c.args[name]...)
	}
	conn, err := nats.Connect(c.nats, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	c.js, err = natsjs.New(conn)
	require.NoError(t, err)
	return c
}

// client is a connection to some of the servers.
func (c *natsCluster) client(names ...string) *jetstream.Client {
	c.t.Helper()
	var urls []string
	for _, name := range names {
		urls = append(urls, c.urls[name])
	}
	return natstest.Connect(c.t, jetstream.Config{URLs: urls})
}

// roles returns the leader of the log and a server that follows it, once all copies of all streams are complete.
func (c *natsCluster) roles() (leader, follower string) {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		ctx, cancel := context.WithTimeout(c.t.Context(), time.Second)
		defer cancel()
		streams := c.js.ListStreams(ctx)
		for info := range streams.Info() {
			if info.Cluster == nil || info.Cluster.Leader == "" || len(info.Cluster.Replicas) != 2 {
				return false
			}
			for _, replica := range info.Cluster.Replicas {
				if !replica.Current || replica.Offline || replica.Lag > 0 {
					return false
				}
			}
			if info.Config.Name == subjects.StreamName(0) {
				leader, follower = info.Cluster.Leader, info.Cluster.Replicas[0].Name
			}
		}
		return streams.Err() == nil && leader != ""
	}, wstest.Wait, 100*time.Millisecond, "three copies of everything")
	return leader, follower
}

// probe runs small jobs, one after the other, from before a fault until well after it, and returns the longest time
// that one took from the first try to its end, refusals included. A job that a server took with it on its way to a
// worker is handed out again after the ack wait, so that is what the probe has patience for.
func probe(t *testing.T, url string, fault func(), after time.Duration) (longest time.Duration, refused int) {
	t.Helper()
	r := openReader(t, url)
	r.peer.Patience = 30*time.Second + wstest.Wait
	run := func() {
		began := time.Now()
		for r.ended = ""; r.ended == ""; {
			id := r.peer.Send("tool.invoke", map[string]any{"tool": "echo", "arguments": 1})
			for r.ended == "" {
				m := r.peer.Next()
				if m.Type() == "nack" && m["correlation_id"] == id {
					require.Equal(t, "UNAVAILABLE", m.Payload()["code"])
					refused++
					break
				}
				r.take(m)
			}
		}
		require.Equal(t, "job.completed", r.ended)
		longest = max(longest, time.Since(began))
	}
	for range 5 {
		run()
	}
	longest = 0
	fault()
	for began := time.Now(); time.Since(began) < after; {
		run()
	}
	for range 5 {
		run()
	}
	r.peer.Drop()
	return longest, refused
}

// heartbeats counts the signs of life, which only a job that takes longer than planned gives.
func heartbeats(r *reader) (n int) {
	for _, raw := range r.raw {
		if bytes.Contains(raw, []byte(`"type":"job.heartbeat"`)) {
			n++
		}
	}
	return n
}

// TestNATSServerOfThreeDies: with three copies any one server may go and come back, be it killed or away for longer than
// the others wait for it. Jobs that run meanwhile are shown 1..N, each event once, and read back the same anywhere.
func TestNATSServerOfThreeDies(t *testing.T) {
	c := startNATSCluster(t)
	replicas := []string{"--replicas", "3"}
	edges := []string{c.edge("edge-1", replicas...).ready["edge"], c.edge("edge-2", replicas...).ready["edge"]}
	c.worker("worker-1")
	c.worker("worker-2")
	untilServed(t, edges[0], "echo")
	untilServed(t, edges[1], "echo")

	kill := func(name string) func() {
		return func() { c.servers[name].kill() }
	}
	restart := func(name string) { c.servers[name] = start(t, c.args[name]...) }
	type fault struct {
		what   string
		name   string
		begin  func()
		end    func(name string)
		lasts  time.Duration
		events int // of each running job, 10 ms apart
	}
	leader, follower := c.roles()
	for i := range 3 {
		var f fault
		switch i {
		case 0:
			f = fault{"the log's leader is killed", leader, kill(leader), restart, 0, 500}
		case 1:
			f = fault{"a follower is killed", follower, kill(follower), restart, 0, 300}
		case 2: // for longer than the others wait before they choose another
			f = fault{"the log's leader is away", leader, func() { c.servers[leader].signal(stopped) },
				func(name string) { c.servers[name].signal(continued) }, 11 * time.Second, 1300}
		}
		var readers []*reader
		for n := range 4 {
			r := openReader(t, edges[n%2])
			r.peer.Invoke("count", map[string]any{"to": f.events, "every_ms": 10})
			r.readTo(20)
			readers = append(readers, r)
		}
		longest, refused := probe(t, edges[0], f.begin, f.lasts)
		f.end(f.name)
		t.Logf("%s: a new job took up to %v, %d tries were refused", f.what, longest.Round(10*time.Millisecond), refused)
		leader, follower = c.roles() // a bucket may take longer than the log
		for n, r := range readers {
			for r.ended == "" && r.next() {
			}
			r.finish(edges[(n+1)%2], f.events+3+heartbeats(r))
		}
		if testing.Short() {
			return
		}
	}
}

// TestFarServer: a client need not be connected to the server that leads what it asks for.
func TestFarServer(t *testing.T) {
	c := startNATSCluster(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*wstest.Wait)
	defer cancel()
	_, err := c.client("nats-1", "nats-2", "nats-3").EnsureRetrying(ctx, jetstream.Topology{Replicas: 3})
	require.NoError(t, err)
	t.Run("fetches end in time and lose nothing", func(t *testing.T) { c.fetchFromAfar(ctx, t) })
	t.Run("a server that is behind", func(t *testing.T) { c.readFromBehind(ctx, t) })
}

// fetchFromAfar: fetches that end after a time, at any moment, lose nothing, although the server that hands out is
// another one than the client's.
func (c *natsCluster) fetchFromAfar(ctx context.Context, t *testing.T) {
	subject := subjects.Subject{
		Lane: subjects.Invoke, Queue: "q", Tool: "echo@1", Feed: "f", Principal: "ann", Session: "s",
	}
	c.roles()
	_, err := c.client("nats-1").Queue(ctx, 0, "q", time.Hour)
	require.NoError(t, err)
	var leader, follower string
	require.Eventually(t, func() bool {
		consumer, err := c.js.Consumer(ctx, subjects.StreamName(0), subjects.ConsumerName("q"))
		if err != nil {
			return false
		}
		leader = consumer.CachedInfo().Cluster.Leader
		return leader != ""
	}, wstest.Wait, 50*time.Millisecond)
	for name := range c.urls {
		if name != leader {
			follower = name
		}
	}
	client := c.client(follower)
	queue, err := client.Queue(ctx, 0, "q", time.Hour)
	require.NoError(t, err)
	const n = 1000
	stored := make(chan error, 1)
	go func() {
		for i := range n {
			subject.Job = fmt.Sprint("j", i)
			_, err := client.PublishWait(ctx, &record.Record{
				Subject: subject, MsgID: subject.Job, Types: []envelope.Type{envelope.TypeToolInvoke}, Body: []byte(`{}`),
			})
			if err != nil {
				stored <- err
				return
			}
		}
		stored <- nil
	}()
	seen := make(map[string]int)
	for round := 0; len(seen) < n && ctx.Err() == nil; round++ {
		limited, cancel := context.WithTimeout(ctx, time.Duration(1+round%7)*time.Millisecond)
		_ = queue.Fetch(limited, 8, func(d *jetstream.Delivery) {
			seen[d.Record.Subject.Job]++
			require.NoError(t, d.Ack(ctx))
			require.Equal(t, 1, d.Attempt)
		})
		cancel()
	}
	require.NoError(t, <-stored)
	require.Len(t, seen, n)
}

// readFromBehind: a server that was away answers as soon as it is back, and does not know yet what was stored
// meanwhile. What is read through it is up to date all the same.
func (c *natsCluster) readFromBehind(ctx context.Context, t *testing.T) {
	leader, _ := c.roles()
	bucket, err := c.js.Stream(ctx, "KV_"+jetstream.BucketSessions)
	require.NoError(t, err)
	var follower string // of the log and of the bucket, so that nobody has to wait for an election
	for name := range c.urls {
		if name != leader && name != bucket.CachedInfo().Cluster.Leader {
			follower = name
		}
	}
	near, far := c.client(leader), c.client(follower)
	keys := [2]*jetstream.KV{near.KV(jetstream.BucketSessions), far.KV(jetstream.BucketSessions)}
	subject := subjects.Subject{Lane: subjects.Event, Feed: "f", Principal: "ann", Session: "s", Job: "j"}
	_, err = keys[0].Create(ctx, "key", []byte("0"))
	require.NoError(t, err)

	const rounds, each = 3, 2000
	for round := 1; round <= rounds; round++ {
		c.servers[follower].signal(stopped)
		stored := make(chan error, each)
		for i := range each {
			r := &record.Record{
				Subject: subject, MsgID: fmt.Sprint("m", round, "-", i),
				Types: []envelope.Type{envelope.TypeJobProgress}, Body: []byte(`{"n":1}`),
			}
			require.NoError(t, near.Publish(ctx, r, func(_ uint64, err error) { stored <- err }))
		}
		for range each {
			require.NoError(t, <-stored)
		}
		want := fmt.Sprint(round)
		_, revision, err := keys[0].Get(ctx, "key")
		require.NoError(t, err)
		_, err = keys[0].Update(ctx, "key", []byte(want), revision)
		require.NoError(t, err)
		c.servers[follower].signal(continued)

		value, _, err := keys[1].Get(ctx, "key")
		require.NoError(t, err)
		require.Equal(t, want, string(value))
		last, err := far.LastOf(ctx, subject)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint("m", round, "-", each-1), last.MsgID)
		got := 0
		require.NoError(t, far.ReadJob(ctx, subject, func(*record.Record) bool { got++; return true }))
		require.Equal(t, round*each, got)
	}
}
