package workercmd_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/cli"
	"github.com/arcp-nats/arcp/internal/natstest"
	"github.com/arcp-nats/arcp/internal/workercmd"
	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/registry"
	"github.com/arcp-nats/arcp/subjects"
)

// selfArg makes the test binary arcp-worker.
const selfArg = "__worker"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == selfArg {
		os.Exit(workercmd.Main(os.Args[2:], os.Stdout, os.Stderr, selfArg))
	}
	goleak.VerifyTestMain(m)
}

const patience = 30 * time.Second

func TestMistakesEndBeforeAnythingStarts(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no tools":         {nil, "no tools"},
		"unknown flag":     {[]string{"--demo-tools", "--nope"}, "--nope"},
		"bad duration":     {[]string{"--demo-tools", "--ack-wait", "soon"}, "ack-wait"},
		"short ack wait":   {[]string{"--demo-tools", "--ack-wait", "1ms"}, "--ack-wait"},
		"negative drain":   {[]string{"--demo-tools", "--drain-timeout=-1s"}, "--drain-timeout"},
		"concurrency":      {[]string{"--demo-tools", "--concurrency", "0"}, "--concurrency"},
		"attempts":         {[]string{"--demo-tools", "--max-attempts", "0"}, "--max-attempts"},
		"log format":       {[]string{"--demo-tools", "--log-format", "xml"}, "log-format"},
		"log level":        {[]string{"--demo-tools", "--log-level", "loud"}, "log-level"},
		"exec syntax":      {[]string{"--exec", "nothing"}, "--exec"},
		"exec name":        {[]string{"--exec", "Upper=true"}, "--exec"},
		"exec command":     {[]string{"--exec", "a=does-not-exist-"}, "--exec"},
		"exec twice":       {[]string{"--exec", "a=true", "--exec", "a@1=false"}, "already"},
		"exec and demo":    {[]string{"--demo-tools", "--exec", "echo=true"}, "echo@1"},
		"nats syntax":      {[]string{"--demo-tools", "--nats", "http://user:hunter2@host"}, "--nats"},
		"nats empty":       {[]string{"--demo-tools", "--nats", "nats://a,,nats://b"}, "--nats"},
		"nats unparseable": {[]string{"--demo-tools", "--nats", "nats://user:hunter2@ho st:%%"}, "--nats"},
		"blank name":       {[]string{"--demo-tools", "--name", "a b"}, "--name"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			require.Equal(t, cli.ExitUsage, workercmd.Main(c.args, &out, &errs))
			require.Contains(t, errs.String(), c.want)
			require.NotContains(t, errs.String(), "hunter2", "no secret in an error")
			require.Empty(t, out.String())
		})
	}
}

func TestHelp(t *testing.T) {
	var out, errs bytes.Buffer
	require.Equal(t, cli.ExitOK, workercmd.Main([]string{"--help"}, &out, &errs))
	for _, want := range []string{
		"--name", "--nats", "--queue", "--demo-tools", "--exec", "--concurrency", "--max-attempts", "--ack-wait",
		"--drain-timeout", "--log-format", "--log-level", "ARCP_MAX_ATTEMPTS", "ARCP_NATS", "SIGTERM",
	} {
		require.Contains(t, out.String(), want)
	}
	require.Empty(t, errs.String())
}

// process is a running arcp-worker.
type process struct {
	*exec.Cmd
	out   *bufio.Reader
	errs  *logs
	ended chan struct{}
}

// logs is the standard error of a process.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(os.Args[0], append([]string{selfArg}, args...)...), errs: &logs{}, ended: make(chan struct{})}
	r, w := io.Pipe()
	p.Stdout, p.Stderr = w, p.errs
	p.out = bufio.NewReader(r)
	require.NoError(t, p.Start())
	go func() {
		defer close(p.ended)
		_ = p.Wait()
		_ = w.Close()
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		_ = r.Close()
		<-p.ended
		if t.Failed() {
			t.Log(p.errs.String())
		}
	})
	return p
}

func (p *process) ready(t *testing.T) string {
	t.Helper()
	line := make(chan string, 1)
	go func() { s, _ := p.out.ReadString('\n'); line <- s }()
	select {
	case s := <-line:
		return s
	case <-time.After(patience):
		t.Fatal("no ready line")
		return ""
	}
}

func (p *process) exit(t *testing.T) int {
	t.Helper()
	select {
	case <-p.ended:
		return p.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatal("the process does not end")
		return 0
	}
}

// cluster is a broker and a client that plays the edge.
type cluster struct {
	t      *testing.T
	url    string
	client *jetstream.Client
	tools  *registry.Table

	mu      sync.Mutex
	changed chan struct{}
	said    map[string][]line
}

type line struct {
	typ     envelope.Type
	attempt int
	body    string
}

func newCluster(t *testing.T) *cluster {
	srv := natstest.Start(t)
	c := &cluster{
		t: t, url: srv.URL(), client: natstest.Client(t, srv), tools: registry.NewTable(),
		changed: make(chan struct{}), said: map[string][]line{},
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	ready := make(chan struct{})
	wg.Go(func() {
		_ = c.client.Follow(ctx, 0, "edge-1", 0, func(uint64) { close(ready) }, func(r *record.Record) {
			if r.Subject.Lane != subjects.Event {
				return
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			for typ, body := range r.Lines() {
				c.said[r.Subject.Job] = append(c.said[r.Subject.Job], line{typ, r.Attempt, string(body)})
			}
			close(c.changed)
			c.changed = make(chan struct{})
		})
	})
	wg.Go(func() { _ = c.client.KV(jetstream.BucketTools).Watch(ctx, func() {}, c.tools.Apply) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	<-ready
	return c
}

func (c *cluster) submit(tool, arguments string) string {
	c.t.Helper()
	ref, err := envelope.ParseAgentRef(tool)
	require.NoError(c.t, err)
	require.Eventually(c.t, func() bool { return c.tools.Knows(tool) }, patience, 5*time.Millisecond)
	resolved, queue, err := c.tools.Resolve(ref)
	require.NoError(c.t, err)
	job := envelope.NewJobID()
	e, err := envelope.New(envelope.TypeToolInvoke, &envelope.ToolInvoke{Tool: tool, Arguments: json.RawMessage(arguments)})
	require.NoError(c.t, err)
	r, err := record.New(subjects.Subject{
		Lane: subjects.Invoke, Queue: queue, Tool: resolved.String(), Feed: "edge-1",
		Principal: "alice", Session: string(envelope.NewSessionID()), Job: string(job),
	}, e)
	require.NoError(c.t, err)
	_, err = c.client.PublishWait(c.t.Context(), r)
	require.NoError(c.t, err)
	return string(job)
}

func (c *cluster) until(job string, typ envelope.Type, n int) line {
	c.t.Helper()
	late := time.After(patience)
	for {
		c.mu.Lock()
		all, changed := c.said[job], c.changed
		c.mu.Unlock()
		got := 0
		for _, l := range all {
			if l.typ == typ {
				if got++; got == n {
					return l
				}
			}
		}
		select {
		case <-changed:
		case <-late:
			c.t.Fatalf("not %d %s: %v", n, typ, all)
		}
	}
}

func TestServesAndDrains(t *testing.T) {
	c := newCluster(t)
	p := start(t, "--nats", c.url, "--name", "worker-1", "--log-format", "json",
		"--exec", `wc@2=sh -c "wc -c"`, "--exec", `alpha=sh -c "cat >/dev/null; echo {\\\"result\\\":42}"`)
	require.Equal(t, "ready worker=worker-1 tools=alpha@1,wc@2\n", p.ready(t))
	require.Contains(t, c.until(c.submit("alpha", `{}`), envelope.TypeJobCompleted, 1).body, `"value":42`)
	slow := c.submit("wc@2", `"12345"`)
	require.Contains(t, c.until(slow, envelope.TypeLog, 1).body, `"message":"7"`)
	c.until(slow, envelope.TypeJobCompleted, 1)
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.Equal(t, cli.ExitOK, p.exit(t))
	for _, l := range strings.Split(strings.TrimSpace(p.errs.String()), "\n") {
		require.True(t, json.Valid([]byte(l)), l)
	}
	require.Eventually(t, func() bool { return !c.tools.Knows("alpha") }, patience, 5*time.Millisecond)
	_, _, err := c.tools.Resolve(envelope.AgentRef{Name: "alpha"})
	require.NoError(t, err, "known, though nobody offers it now")
}

func TestDrainFinishesAndSecondSignalDoesNotWait(t *testing.T) {
	c := newCluster(t)
	p := start(t, "--nats", c.url, "--demo-tools")
	require.Contains(t, p.ready(t), "tools=artifact@1,ask@1,attempt@1,charge@1,chunks@1,collect@1,count@1,delegate@1,echo@1,fail@1,log@1,model@1,panic@1,sleep@1,stream@1\n")
	short, long := c.submit("count", `{"to":20,"every_ms":20}`), c.submit("sleep", `{"ms":600000}`)
	c.until(short, envelope.TypeJobProgress, 1)
	c.until(long, envelope.TypeJobStarted, 1)
	require.NoError(t, p.Process.Signal(syscall.SIGINT))
	c.until(short, envelope.TypeJobCompleted, 1)
	began := time.Now()
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.Equal(t, cli.ExitOK, p.exit(t))
	require.Less(t, time.Since(began), 10*time.Second)

	// The one that slept is taken up by the next worker at once.
	next := start(t, "--nats", c.url, "--demo-tools")
	next.ready(t)
	require.Equal(t, 2, c.until(long, envelope.TypeJobStarted, 2).attempt)
}

// kill -9, with a program that has children: nothing survives, and the job
// goes on elsewhere.
func TestKilledWorker(t *testing.T) {
	c := newCluster(t)
	pids := filepath.Join(t.TempDir(), "pids")
	program := fmt.Sprintf(`tree=sh -c 'if [ $ARCP_ATTEMPT = 1 ]; then sleep 1000 & echo $$ $! > %s; wait; else echo "{\"result\":$ARCP_ATTEMPT}"; fi'`, pids)
	args := []string{"--nats", c.url, "--demo-tools", "--ack-wait", "1s", "--exec", program}
	p := start(t, args...)
	p.ready(t)
	tree := c.submit("tree", `{}`)
	counting := c.submit("attempt", `{"to":30,"every_ms":30,"checkpoint_every":5}`)
	c.until(counting, envelope.TypeJobProgress, 11)
	var numbers []string
	require.Eventually(t, func() bool {
		data, _ := os.ReadFile(pids)
		numbers = strings.Fields(string(data))
		return len(numbers) == 2 && bytes.HasSuffix(data, []byte("\n"))
	}, patience, 5*time.Millisecond)
	require.NoError(t, p.Process.Kill())
	p.exit(t)
	for _, text := range numbers {
		pid, err := strconv.Atoi(text)
		require.NoError(t, err)
		require.Eventually(t, func() bool { return !alive(pid) }, patience, 5*time.Millisecond, "process %d lives", pid)
	}

	next := start(t, args...)
	next.ready(t)
	require.Contains(t, c.until(tree, envelope.TypeJobCompleted, 1).body, `"value":2`)
	body := c.until(counting, envelope.TypeJobCompleted, 1).body
	require.Contains(t, body, `"attempts":2`)
	require.Regexp(t, `"resumed_from":(10|15|20|25)\b`, body)
	require.NoError(t, next.Process.Signal(syscall.SIGTERM))
	require.Equal(t, cli.ExitOK, next.exit(t))
}

// alive tells whether a process lives; a zombie does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := bytes.Cut(stat, []byte(") "))
	return len(after) > 0 && after[0] != 'Z' && after[0] != 'X'
}

func TestWaitsForNATS(t *testing.T) {
	p := start(t, "--nats", "nats://user:hunter2@127.0.0.1:1", "--demo-tools")
	require.Eventually(t, func() bool { return strings.Contains(p.errs.String(), "trying again") }, patience, 10*time.Millisecond)
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.Equal(t, cli.ExitOK, p.exit(t))
	require.NotContains(t, p.errs.String(), "hunter2")
}
