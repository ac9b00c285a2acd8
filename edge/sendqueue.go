//go:build !linux

package edge

import "net"

// sendQueue is how many bytes the kernel holds that the peer's kernel has not confirmed, 0 if that cannot be said.
func sendQueue(net.Conn) (bytes int) { return 0 }
