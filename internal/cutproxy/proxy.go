// Package cutproxy is a TCP proxy that cuts connections at a chosen byte, so that tests can lose a connection anywhere:
// inside a frame, between two, or before the first answer. It can also make them slow.
package cutproxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Cut says how long one connection lives. A zero Cut never cuts.
type Cut struct {
	// Up and Down are how many bytes pass from and to the client before the connection is cut; 0 means no limit.
	// Exactly that many pass, unless the other direction is cut first.
	Up, Down int64
	// Reset cuts with a TCP reset, which may also destroy bytes under way. Otherwise both ends see an end of stream.
	Reset bool
}

// Proxy forwards every connection it accepts to a target. All methods may be called from several goroutines at once.
type Proxy struct {
	target   string
	next     func(connection int) Cut
	listener net.Listener
	accepted atomic.Int64
	cuts     atomic.Int64
	delay    atomic.Int64  // time.Duration
	done     chan struct{} // closed by Close

	wg     sync.WaitGroup
	mu     sync.Mutex
	pairs  map[*pair]struct{}
	closed bool
}

// Start listens on a free loopback port and forwards to target (host:port). next is asked once a connection, which are
// counted from 1, from the accepting goroutine; nil never cuts.
func Start(target string, next func(connection int) Cut) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("cutproxy: %w", err)
	}
	if next == nil {
		next = func(int) Cut { return Cut{} }
	}
	p := &Proxy{target: target, next: next, listener: listener, pairs: make(map[*pair]struct{}), done: make(chan struct{})}
	p.wg.Go(p.accept)
	return p, nil
}

// Addr returns the host:port of the proxy.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Connections returns how many connections were accepted so far.
func (p *Proxy) Connections() int { return int(p.accepted.Load()) }

// Cuts returns how many connections a limit or CutAll has ended so far.
func (p *Proxy) Cuts() int { return int(p.cuts.Load()) }

// CutAll cuts the connections of this moment; new ones are accepted as before.
func (p *Proxy) CutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for each := range p.pairs {
		each.cut(p)
	}
}

// SetDelay makes all connections, those of this moment too, wait before each piece that they pass on, in either
// direction; 0 for no longer. What a delay holds up is not lost.
func (p *Proxy) SetDelay(d time.Duration) { p.delay.Store(int64(d)) }

// Close stops accepting, drops all connections and waits for the proxy's goroutines.
func (p *Proxy) Close() error {
	p.mu.Lock()
	if !p.closed {
		close(p.done)
	}
	p.closed = true
	err := p.listener.Close()
	for each := range p.pairs {
		each.close()
	}
	p.mu.Unlock()
	p.wg.Wait()
	return err
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		limits := p.next(int(p.accepted.Add(1)))
		p.wg.Go(func() { p.serve(client, limits) })
	}
}

func (p *Proxy) serve(client net.Conn, limits Cut) {
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		_ = client.Close()
		return
	}
	each := &pair{client: client, server: server, reset: limits.Reset}
	if !p.add(each) {
		each.close()
		return
	}
	var up sync.WaitGroup
	up.Go(func() { p.forward(each, server, client, limits.Up) })
	p.forward(each, client, server, limits.Down)
	up.Wait()
	each.close()
	p.mu.Lock()
	delete(p.pairs, each)
	p.mu.Unlock()
}

func (p *Proxy) add(each *pair) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.pairs[each] = struct{}{}
	return true
}

// forward copies until the source ends, then tells the sink so, or cuts both after limit bytes.
func (p *Proxy) forward(each *pair, sink, source net.Conn, limit int64) {
	delayed := &delayed{proxy: p, to: sink}
	if limit <= 0 {
		_, err := io.Copy(delayed, source)
		each.ended(sink, err)
		return
	}
	n, err := io.CopyN(delayed, source, limit)
	if n == limit {
		each.cut(p)
		return
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	each.ended(sink, err)
}

// delayed writes after the proxy's delay.
type delayed struct {
	proxy *Proxy
	to    net.Conn
}

func (w *delayed) Write(piece []byte) (int, error) {
	if d := time.Duration(w.proxy.delay.Load()); d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-w.proxy.done:
		}
	}
	return w.to.Write(piece)
}

// pair is one forwarded connection.
type pair struct {
	client, server net.Conn
	reset          bool
	once           sync.Once
}

// ended passes an end of stream on; anything worse ends both directions.
func (c *pair) ended(sink net.Conn, err error) {
	if tcp, ok := sink.(*net.TCPConn); ok && err == nil && tcp.CloseWrite() == nil {
		return
	}
	c.close()
}

func (c *pair) cut(p *Proxy) {
	c.once.Do(func() {
		p.cuts.Add(1) // before anyone can see the cut
		c.drop(c.reset)
	})
}

func (c *pair) close() { c.once.Do(func() { c.drop(false) }) }

func (c *pair) drop(reset bool) {
	for _, end := range []net.Conn{c.client, c.server} {
		if tcp, ok := end.(*net.TCPConn); ok && reset {
			_ = tcp.SetLinger(0)
		}
		_ = end.Close()
	}
}
