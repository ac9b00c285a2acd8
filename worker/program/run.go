package program

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/worker"
)

// DefaultGrace is how long a program may go on after SIGTERM.
const DefaultGrace = 3 * time.Second

// How much of standard error a failed job tells.
const (
	tailLines = 20
	tailBytes = 4 << 10
)

// Runner runs programs as the handlers of tools.
type Runner struct {
	// Grace is how long a program may go on after SIGTERM before its process
	// group is killed; default 3 s. It should be shorter than the worker's
	// CancelGrace.
	Grace time.Duration
	// Guard kills the programs when this process is killed; nil: on Linux the
	// program itself dies with its worker, but not what it has started.
	Guard *Guard
}

// Handler returns the handler that runs the program of a spec.
func (r Runner) Handler(s Spec) worker.Handler {
	if r.Grace <= 0 {
		r.Grace = DefaultGrace
	}
	return func(ctx context.Context, job *worker.Job) (any, error) {
		p := &process{job: job, cmd: exec.Command(s.Path, s.Args...)}
		return p.run(ctx, r)
	}
}

// process is one run of a program.
type process struct {
	job *worker.Job
	cmd *exec.Cmd

	mu     sync.Mutex
	result json.RawMessage
	tail   [][]byte // the last lines of standard error
}

func (p *process) run(ctx context.Context, r Runner) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	open, err := p.gate(r.Guard)
	if err != nil {
		return nil, envelope.Errorf(envelope.CodeUnavailable, "program cannot be started: %w", err)
	}
	out, errs, err := p.start()
	if err != nil {
		open()
		return nil, envelope.Errorf(envelope.CodeUnavailable, "program cannot be started: %w", err)
	}
	defer closeAll([]*os.File{out, errs})
	group := p.cmd.Process.Pid
	r.Guard.watch(group)
	defer r.Guard.forget(group)
	open()

	ended := make(chan struct{})
	// What the program says must be read to its end even after the job's
	// context has, so that it does not hang in a write while it tidies up.
	var readers sync.WaitGroup
	readers.Go(func() { p.read(ctx, &pipe{file: out, ended: ended}, p.output) })
	readers.Go(func() { p.read(ctx, &pipe{file: errs, ended: ended}, p.complaint) })

	go func() {
		defer close(ended)
		awaitExit(p.cmd.Process) // leaves the zombie, and with it the group's number
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		endGroup(group)
		grace := time.NewTimer(r.Grace)
		select {
		case <-ended:
		case <-grace.C:
		}
		grace.Stop()
	}
	killGroup(group) // and whatever it has left running
	<-ended
	for _, f := range []*os.File{out, errs} {
		_ = f.SetReadDeadline(time.Now().Add(silence)) // wakes a reader that waits
	}
	readers.Wait()
	err = p.cmd.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return p.conclude(err)
}

// start starts the program and returns its output and its complaints, which
// the caller closes.
func (p *process) start() (out, errs *os.File, err error) {
	p.cmd.Env = environment(os.Environ(), p.job)
	p.cmd.Stdin = bytes.NewReader(p.job.Arguments())
	p.cmd.WaitDelay = silence // for the writer of standard input
	p.cmd.SysProcAttr = ownGroup()

	var opened []*os.File
	defer func() {
		if err != nil {
			closeAll(opened)
		}
	}()
	for range 2 {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, nil, err
		}
		opened = append(opened, r, w)
	}
	p.cmd.Stdout, p.cmd.Stderr = opened[1], opened[3]
	if err := p.cmd.Start(); err != nil {
		return nil, nil, err
	}
	closeAll([]*os.File{opened[1], opened[3]}) // the program has its own
	return opened[0], opened[2], nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// Bounds of what is read after the program has ended, in case something that
// left its process group still holds the pipe.
const (
	silence  = time.Second
	leftover = 1 << 20 // the most that Linux lets a pipe hold, as it comes
)

// pipe reads a program's output. While the program runs it waits for as long
// as it takes; after that it takes what is left.
type pipe struct {
	file  *os.File
	ended <-chan struct{}
	late  int
}

func (p *pipe) Read(b []byte) (int, error) {
	select {
	case <-p.ended:
		_ = p.file.SetReadDeadline(time.Now().Add(silence))
		if p.late > leftover {
			return 0, io.EOF
		}
		n, err := p.file.Read(b)
		p.late += n
		return n, err
	default:
		return p.file.Read(b)
	}
}

// read passes lines to fn until the pipe ends. Once the job does not take them
// any more they are read and dropped.
func (p *process) read(ctx context.Context, from io.Reader, fn func(context.Context, []byte, bool) error) {
	deaf := false
	_ = eachLine(from, func(line []byte, whole bool) error {
		if !deaf && fn(ctx, line, whole) != nil {
			deaf = true
		}
		return nil
	})
}

// output takes a line of standard output.
func (p *process) output(ctx context.Context, line []byte, whole bool) error {
	if whole {
		if m, ok := readMessage(line); ok {
			if m.result != nil {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.result = m.result
				return nil
			}
			return m.say(ctx, p.job)
		}
	}
	return p.job.Log(ctx, envelope.LogInfo, string(line), nil)
}

// complaint takes a line of standard error.
func (p *process) complaint(ctx context.Context, line []byte, _ bool) error {
	p.mu.Lock()
	p.tail = append(p.tail, bytes.Clone(line[max(0, len(line)-tailBytes):]))
	if len(p.tail) > tailLines {
		p.tail = p.tail[1:]
	}
	p.mu.Unlock()
	return p.job.Log(ctx, envelope.LogWarn, string(line), nil)
}

// conclude makes the job's result of the exit status.
func (p *process) conclude(exit error) (any, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var status *exec.ExitError
	switch {
	case exit == nil || errors.Is(exit, exec.ErrWaitDelay):
		return p.result, nil // nil is null
	case !errors.As(exit, &status):
		return nil, envelope.Errorf(envelope.CodeUnknown, "program: %w", exit)
	}
	said := strings.ToValidUTF8(string(bytes.Join(p.tail, []byte{'\n'})), "\uFFFD")
	details, err := jsonv2.Marshal(struct {
		ExitCode int    `json:"exit_code"`
		Signal   string `json:"signal,omitzero"`
		Stderr   string `json:"stderr"`
	}{status.ExitCode(), signalName(status), said[max(0, len(said)-tailBytes):]})
	if err != nil {
		details = nil
	}
	return nil, &envelope.Error{
		Code:    envelope.CodeUnknown,
		Message: fmt.Sprintf("program ended with %v", status),
		Details: details,
	}
}

// environment is the worker's environment without the settings of the worker
// itself, which may be secret, and with what the program may want to know.
func environment(inherited []string, job *worker.Job) []string {
	env := make([]string, 0, len(inherited)+4)
	for _, v := range inherited {
		if !strings.HasPrefix(v, "ARCP_") {
			env = append(env, v)
		}
	}
	if l := job.Lease(); l != nil {
		if text, err := jsonv2.Marshal(l); err == nil {
			env = append(env, "ARCP_LEASE="+string(text))
		}
	}
	return append(env,
		"ARCP_JOB_ID="+string(job.ID()),
		"ARCP_SESSION_ID="+string(job.SessionID()),
		"ARCP_ATTEMPT="+strconv.Itoa(job.Attempt()),
		"ARCP_TRACE_ID="+strings.ReplaceAll(job.TraceID(), "\x00", ""),
	)
}
