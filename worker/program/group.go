//go:build unix

package program

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

func endGroup(group int)  { _ = syscall.Kill(-group, syscall.SIGTERM) }
func killGroup(group int) { _ = syscall.Kill(-group, syscall.SIGKILL) }

// signalName names the signal that ended a program, or is "".
func signalName(e *exec.ExitError) string {
	if status, ok := e.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return unix.SignalName(status.Signal())
	}
	return ""
}
