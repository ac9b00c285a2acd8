// Package children runs processes of this program's own file, waits for their ready line, and makes sure that none of
// them is left behind: each is the leader of a process group that is killed as a whole, and on Linux each is killed by
// the kernel when this process dies.
package children

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// lastWords is how much of a child's standard error is kept to explain a failure.
const lastWords = 4 << 10

// Spec says what to run.
type Spec struct {
	Name string   // for messages
	File string   // the program
	Args []string // its arguments
	// Stderr gets what the child logs, as it comes; nil: only the end of it is kept.
	Stderr io.Writer
}

// Child is a running process. All methods may be called from several goroutines at once.
type Child struct {
	name  string
	ready map[string]string
	cmd   *exec.Cmd
	words *tail
	gone  chan struct{} // closed when the process has ended and its output is read
	err   error         // of the process; set before gone is closed
}

// Start runs a process and returns when it has written its ready line. When ctx ends first the process is killed.
// Environment variables that configure binaries of this project (ARCP_*) are not handed down.
func Start(ctx context.Context, spec Spec) (*Child, error) {
	c := &Child{name: spec.Name, words: &tail{also: spec.Stderr}, gone: make(chan struct{})}
	out, in, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", spec.Name, err)
	}
	c.cmd = exec.Command(spec.File, spec.Args...)
	c.cmd.Env = environment()
	c.cmd.Stdout, c.cmd.Stderr = in, c.words
	c.cmd.SysProcAttr = groupLeader()
	c.cmd.WaitDelay = time.Second // a grandchild may hold standard error open

	started := make(chan error, 1)
	read := make(chan map[string]string, 1)
	go c.run(started, in, out, read)
	if err := <-started; err != nil {
		<-c.gone
		return nil, fmt.Errorf("%s: %w", spec.Name, err)
	}
	select {
	case c.ready = <-read:
		if c.ready != nil {
			return c, nil
		}
		c.Kill()
		return nil, fmt.Errorf("%s ended before it was ready: %w", c.name, c.failure())
	case <-ctx.Done():
		c.Kill()
		return nil, fmt.Errorf("%s was not ready in time: %w", c.name, context.Cause(ctx))
	}
}

// run starts the process and waits for it, on one thread: on Linux the death of the thread that started a process
// counts as the death of its parent.
func (c *Child) run(started chan<- error, in, out *os.File, read chan<- map[string]string) {
	runtime.LockOSThread() // and never unlocked: the thread ends here too
	defer close(c.gone)
	err := c.cmd.Start()
	_ = in.Close()
	if err != nil {
		_ = out.Close()
		started <- err
		return
	}
	started <- nil
	reader := make(chan struct{})
	go func() {
		defer close(reader)
		readOutput(out, read)
	}()
	c.err = c.cmd.Wait()
	// Whoever of its group still lives keeps the output open.
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	<-reader
	_ = out.Close()
}

// readOutput passes on the ready line, nil if there is none, and throws the rest away.
func readOutput(out io.Reader, read chan<- map[string]string) {
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if pairs, ok := strings.CutPrefix(line, "ready "); ok {
			read <- parseReady(pairs)
			_, _ = io.Copy(io.Discard, lines)
			return
		}
		if err != nil {
			read <- nil
			return
		}
	}
}

func parseReady(pairs string) map[string]string {
	ready := make(map[string]string)
	for _, pair := range strings.Fields(pairs) {
		key, value, _ := strings.Cut(pair, "=")
		ready[key] = value
	}
	return ready
}

// Name returns the name given to Start.
func (c *Child) Name() string { return c.name }

// PID returns the process id, which is also that of its group.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Ready returns a value of the ready line, "" if it does not have key.
func (c *Child) Ready(key string) string { return c.ready[key] }

// Gone is closed when the process has ended.
func (c *Child) Gone() <-chan struct{} { return c.gone }

// Kill kills the process group with SIGKILL and waits for its end. It may be called when the process is gone.
func (c *Child) Kill() {
	c.signal(syscall.SIGKILL)
	<-c.gone
}

// Stop asks the process to end (SIGTERM), and kills its group when ctx ends first. It returns when the process is
// gone, with an error if it had to be killed or failed.
func (c *Child) Stop(ctx context.Context) error {
	c.signal(syscall.SIGTERM)
	select {
	case <-c.gone:
	case <-ctx.Done():
		c.Kill()
		return fmt.Errorf("%s did not stop and was killed: %w", c.name, context.Cause(ctx))
	}
	if c.err != nil {
		return fmt.Errorf("%s: %w", c.name, c.failure())
	}
	return nil
}

// Pause stops the process group where it is (SIGSTOP), until Continue. A paused process holds its sockets and answers
// nothing.
func (c *Child) Pause() { c.signal(syscall.SIGSTOP) }

// Continue lets a paused process group go on.
func (c *Child) Continue() { c.signal(syscall.SIGCONT) }

func (c *Child) signal(s syscall.Signal) {
	select {
	case <-c.gone: // the id may be somebody else's by now
	default:
		_ = syscall.Kill(-c.cmd.Process.Pid, s)
	}
}

// failure explains the end of the process; it waits for it.
func (c *Child) failure() error {
	<-c.gone
	err := c.err
	if err == nil {
		err = errors.New("exit status 0")
	}
	if words := c.words.String(); words != "" {
		return fmt.Errorf("%w: %s", err, words)
	}
	return err
}

func environment() []string {
	var env []string
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "ARCP_") {
			env = append(env, pair)
		}
	}
	return env
}
