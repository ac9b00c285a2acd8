package integration_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/internal/wstest"
)

// binaryDir is where the program under test was built, "" if no test has needed it.
var binaryDir string

func removeBinary() {
	if binaryDir != "" {
		_ = os.RemoveAll(binaryDir)
	}
}

// binary builds the program under test once for all tests of the package.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "arcp-integration-")
	if err != nil {
		return "", err
	}
	binaryDir = dir
	path := filepath.Join(dir, "arcp")
	build := exec.Command("go", "build", "-o", path, "github.com/arcp-nats/arcp/cmd/arcp")
	build.Stderr = os.Stderr
	return path, build.Run()
})

// process is a real process of the program, killed with the test at the latest.
type process struct {
	t     testing.TB
	cmd   *exec.Cmd
	ready map[string]string // the pairs of the ready line
	logs  *lockedBuffer
	done  chan struct{}
}

// start runs the program with arguments and waits for its ready line.
func start(t testing.TB, args ...string) *process {
	t.Helper()
	path, err := binary()
	require.NoError(t, err)
	p := &process{t: t, cmd: exec.Command(path, args...), logs: new(lockedBuffer), done: make(chan struct{})}
	p.cmd.Stderr = p.logs
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	stdout, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("log of %s:\n%s", strings.Join(args, " "), p.logs)
		}
	})

	lines := make(chan string, 1)
	go func() {
		defer close(p.done)
		scanner := bufio.NewScanner(stdout)
		if scanner.Scan() {
			lines <- scanner.Text()
		}
		close(lines)
		_, _ = io.Copy(io.Discard, stdout)
		_ = p.cmd.Wait()
	}()
	ctx, cancel := context.WithTimeout(context.Background(), wstest.Wait)
	defer cancel()
	select {
	case line := <-lines:
		words := strings.Fields(line)
		require.NotEmpty(t, words, "no ready line: %s", p.logs)
		require.Equal(t, "ready", words[0])
		p.ready = make(map[string]string)
		for _, word := range words[1:] {
			key, value, _ := strings.Cut(word, "=")
			p.ready[key] = value
		}
	case <-ctx.Done():
		t.Fatalf("no ready line: %s", p.logs)
	}
	return p
}

// kill ends the process and all that it started, without warning.
func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// terminate asks the process to drain.
func (p *process) terminate() { _ = p.cmd.Process.Signal(syscall.SIGTERM) }

// Signals that stop a process and let it go on.
const (
	stopped   = syscall.SIGSTOP
	continued = syscall.SIGCONT
)

func (p *process) signal(s syscall.Signal) { require.NoError(p.t, p.cmd.Process.Signal(s)) }

// exit waits for the end and returns the exit status.
func (p *process) exit() int {
	<-p.done
	return p.cmd.ProcessState.ExitCode()
}

// processes is a cluster of real processes.
type processes struct {
	t      testing.TB
	dir    string
	server *process // NATS
	nats   string   // its URL
	tokens string   // file
}

func startProcesses(t testing.TB) *processes {
	t.Helper()
	dir := t.TempDir()
	tokens := filepath.Join(dir, "tokens")
	require.NoError(t, os.WriteFile(tokens, []byte(aliceToken+" alice\n"+bobToken+" bob\n"), 0o600))
	server := start(t, "__nats", "-dir", filepath.Join(dir, "nats"))
	return &processes{t: t, dir: dir, server: server, nats: server.ready["nats"], tokens: tokens}
}

func (c *processes) edge(name string, args ...string) *process {
	return start(c.t, append([]string{"__edge", "--nats", c.nats, "--listen", "127.0.0.1:0", "--name", name, "--token-file", c.tokens}, args...)...)
}

func (c *processes) worker(name string, args ...string) *process {
	return start(c.t, append([]string{"__worker", "--nats", c.nats, "--name", name, "--demo-tools"}, args...)...)
}

// reader is a client that reads one session's envelopes through any number of connections, and holds the server to
// its numbers: each once, in one order, without gap.
type reader struct {
	t     testing.TB
	peer  *wstest.Peer
	token string
	seq   int
	raw   [][]byte // every numbered envelope, in order
	ended string   // the type of the job's terminal event
}

func openReader(t testing.TB, url string) *reader {
	t.Helper()
	r := &reader{t: t, peer: wstest.Dial(t, url)}
	r.token = token(r.peer.Open(aliceToken))
	return r
}

// resume goes on with the session on another connection, as often as it takes.
func (r *reader) resume(url string) {
	r.t.Helper()
	r.peer.Drop()
	r.peer = wstest.Dial(r.t, url)
	r.token = token(r.peer.Resume(r.token, r.seq))
}

// resumeThrough goes on with the session over connections that may be cut at any byte.
func (r *reader) resumeThrough(url string) {
	r.t.Helper()
	r.peer.Drop()
	for {
		peer, err := wstest.TryDial(r.t, url)
		if err != nil {
			continue // cut in the HTTP upgrade
		}
		r.peer = peer
		m, err := peer.TryResume(r.token, r.seq)
		if err != nil {
			continue // cut in the reply: the token that was used is still good
		}
		require.Equal(r.t, "session.resumed", m.Type(), "%v", m)
		r.token = token(m)
		return
	}
}

// next reads one envelope. It is false when the connection has ended.
func (r *reader) next() bool {
	r.t.Helper()
	m, err := r.peer.TryNext()
	if err != nil {
		require.NotErrorIs(r.t, err, context.DeadlineExceeded, "nothing more came after %d", r.seq)
		return false
	}
	r.take(m)
	return true
}

// take judges one envelope.
func (r *reader) take(m wstest.Message) {
	r.t.Helper()
	if m.Seq() == 0 {
		return
	}
	r.seq++
	require.Equal(r.t, r.seq, m.Seq())
	r.raw = append(r.raw, r.peer.Raw[len(r.peer.Raw)-1])
	switch m.Type() {
	case "job.completed", "job.failed", "job.cancelled":
		r.ended = m.Type()
	}
}

// readTo reads until event_seq is at least seq, or the job or the connection has ended.
func (r *reader) readTo(seq int) {
	r.t.Helper()
	for r.ended == "" && r.seq < seq && r.next() {
	}
}

// finish reads to the end of the job, and then has another edge tell the whole story again, byte for byte.
func (r *reader) finish(again string, want int) {
	r.t.Helper()
	for r.ended == "" {
		require.True(r.t, r.next(), "the connection ended before the job")
	}
	require.Equal(r.t, "job.completed", r.ended)
	require.Equal(r.t, want, r.seq)
	r.peer.Drop()
	p := wstest.Dial(r.t, again)
	p.Resume(r.token, 0)
	for i := range r.raw {
		p.Next()
		require.True(r.t, bytes.Equal(r.raw[i], p.Raw[1+i]), "%s\n%s", r.raw[i], p.Raw[1+i])
	}
	p.Quiet()
	p.Drop()
}

// untilServed waits until an edge knows the worker's tools.
func untilServed(t testing.TB, url, tool string) {
	t.Helper()
	require.Eventually(t, func() bool {
		p := wstest.Dial(t, url)
		defer p.Drop()
		p.Open(aliceToken)
		p.Invoke(tool, map[string]any{})
		for {
			switch p.Next().Type() {
			case "job.completed":
				return true
			case "job.failed":
				return false
			}
		}
	}, wstest.Wait, 50*time.Millisecond)
}
