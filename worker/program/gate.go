package program

import (
	"fmt"
	"os"
	"os/exec"
)

// gateScript waits for a line on descriptor 3 and then becomes the program. If
// the worker dies before it writes one, the read ends without a line, and so
// does the script. Nothing of a command line is ever part of it.
const gateScript = `read -r _ <&3 && exec 3<&- && exec "$@"`

// gate makes the program wait, before it runs a single instruction of its own,
// until the guard has heard of its process group: a program that had started
// something by then would leave it behind if the worker were killed between
// the two. open lets it run; it is to be called once, whether the program was
// started or not. Without a guard there is nothing to wait for.
func (p *process) gate(g *Guard) (open func(), err error) {
	if g == nil || p.cmd.Err != nil {
		return func() {}, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("gate: %w", err)
	}
	gated := exec.Command("/bin/sh", append([]string{"-c", gateScript, "sh", p.cmd.Path}, p.cmd.Args[1:]...)...)
	gated.ExtraFiles = []*os.File{r}
	p.cmd = gated
	return func() {
		_, _ = w.WriteString("\n")
		closeAll([]*os.File{r, w})
	}, nil
}
