//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package program

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownGroup starts a program in a process group of its own. These systems have
// no way to make it die with this process; see Guard.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// awaitExit waits until the process has ended, and leaves it unreaped: until
// then no other process group can get its number.
func awaitExit(p *os.Process) {
	queue, err := unix.Kqueue()
	if err != nil {
		return
	}
	defer func() { _ = unix.Close(queue) }()
	var exit unix.Kevent_t
	unix.SetKevent(&exit, p.Pid, unix.EVFILT_PROC, unix.EV_ADD|unix.EV_ONESHOT)
	exit.Fflags = unix.NOTE_EXIT
	ended := make([]unix.Kevent_t, 1)
	for {
		_, err := unix.Kevent(queue, []unix.Kevent_t{exit}, ended, nil)
		if !errors.Is(err, unix.EINTR) {
			return // ended now, or had before: ESRCH
		}
	}
}
