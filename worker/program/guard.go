package program

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Guard is a process that outlives this one just long enough to kill the
// process groups of its programs. It learns of them through a pipe: when the
// pipe ends without a farewell, this process was killed.
//
// A nil Guard is valid and guards nothing. All methods are safe for concurrent
// use.
type Guard struct {
	cmd *exec.Cmd

	mu   sync.Mutex
	pipe io.WriteCloser
}

// StartGuard starts the guard: command must come to [RunGuard] in the child
// process, with its standard input. Usually it is this program's own file and
// a hidden argument.
func StartGuard(command string, args ...string) (*Guard, error) {
	cmd := exec.Command(command, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's ^C is not for it
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("program guard: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("program guard: %w", err)
	}
	return &Guard{cmd: cmd, pipe: pipe}, nil
}

// Close ends the guard. Programs that still run are killed, as if this process
// had ended.
func (g *Guard) Close() error {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	_ = g.pipe.Close()
	g.mu.Unlock()
	if err := g.cmd.Wait(); err != nil {
		return fmt.Errorf("program guard: %w", err)
	}
	return nil
}

func (g *Guard) watch(group int)  { g.tell('+', group) }
func (g *Guard) forget(group int) { g.tell('-', group) }

// tell is a write to a pipe that its reader empties at once. A guard that has
// died cannot be helped: the programs still die with this process, if not what
// they have started.
func (g *Guard) tell(sign byte, group int) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	_, _ = fmt.Fprintf(g.pipe, "%c%d\n", sign, group)
}

// RunGuard is the guard's side: it reads which process groups live from in
// until that ends, kills those that are left, and returns. It shrugs off
// SIGINT and SIGTERM, which are for the process that it guards.
func RunGuard(in io.Reader) {
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(ignored)

	groups := map[int]bool{}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			continue
		}
		sign, number := line[0], line[1:]
		group, err := strconv.Atoi(number)
		if err != nil || group <= 1 {
			continue
		}
		if sign == '+' {
			groups[group] = true
		} else {
			delete(groups, group)
		}
	}
	for group := range groups {
		endGroup(group)
	}
	if len(groups) > 0 {
		time.Sleep(guardGrace)
	}
	for group := range groups {
		killGroup(group)
	}
}

// guardGrace is how long programs may tidy up after their worker was killed.
const guardGrace = 500 * time.Millisecond
