package edge

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// sendQueue is how many bytes the kernel holds that the peer's kernel has not confirmed, 0 if that cannot be said.
func sendQueue(conn net.Conn) (bytes int) {
	raw, ok := conn.(syscall.Conn)
	if !ok {
		return 0
	}
	control, err := raw.SyscallConn()
	if err != nil {
		return 0
	}
	_ = control.Control(func(fd uintptr) {
		if n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err == nil {
			bytes = n
		}
	})
	return bytes
}
