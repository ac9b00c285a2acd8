package edge

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

const (
	// corkLimit bounds what a corked connection gathers before it writes, in bytes.
	corkLimit = 64 << 10
	// corkKeep is the largest buffer that is kept for reuse, in bytes.
	corkKeep = 2 * corkLimit
)

// corkConn gathers the small writes between cork and uncork into one, so that frames which are ready together leave
// in one packet and one system call. Its write deadline is one of progress: a peer that takes some bytes in every
// timeout may be as slow as it likes. It is safe for concurrent use, as a pong may be written beside the frames.
type corkConn struct {
	net.Conn

	mu      sync.Mutex
	corked  bool
	buf     []byte
	timeout time.Duration // how long the peer may take nothing; 0: for ever
}

// SetWriteDeadline implements net.Conn and does nothing: deadlines follow progress, see setWriteTimeout.
func (c *corkConn) SetWriteDeadline(time.Time) error { return nil }

func (c *corkConn) setWriteTimeout(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timeout = d
}

// Write implements net.Conn. While corked it reports success for bytes that are still in memory; their fate is told
// by uncork.
func (c *corkConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.corked {
		return c.write(p)
	}
	c.buf = append(c.buf, p...)
	if len(c.buf) >= corkLimit {
		if err := c.flush(); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func (c *corkConn) cork() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.corked = true
}

// uncork writes what was gathered and lets later writes through at once.
func (c *corkConn) uncork() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.corked = false
	return c.flush()
}

func (c *corkConn) flush() error {
	_, err := c.write(c.buf)
	if cap(c.buf) > corkKeep {
		c.buf = nil
	} else {
		c.buf = c.buf[:0]
	}
	return err
}

// write writes all of p, for as long as the peer takes at least a byte in every timeout.
func (c *corkConn) write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		if c.timeout > 0 {
			if err := c.Conn.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
				return written, err
			}
		}
		n, err := c.Conn.Write(p[written:])
		written += n
		if err != nil && (n == 0 || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return written, err
		}
	}
	return written, nil
}

// corkListener hands out corkConns.
type corkListener struct{ net.Listener }

// Accept implements net.Listener.
func (l corkListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &corkConn{Conn: conn}, nil
}
