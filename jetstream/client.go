package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/arcp-nats/arcp/envelope"
)

// Config says how to reach the broker. Zero values mean the defaults given.
type Config struct {
	// URLs of the servers, tried in random order; default nats://127.0.0.1:4222. Not used if InProcess is set.
	URLs []string
	// Name of the connection, for the broker's operators.
	Name string
	// Logger gets connection changes and foreign messages; nil discards them.
	Logger *slog.Logger
	// InProcess connects to a server in this process (see embedded.Server.InProcess); nil means URLs.
	InProcess func() (net.Conn, error)
	// MaxPending bounds the records that are on their way to the log; default 4096.
	MaxPending int
	// MaxPendingBytes bounds their size, bodies and headers; default 32 MiB.
	MaxPendingBytes int
	// AckTimeout bounds the time from Publish until a record is stored, retries included; default 5 s. It must be
	// shorter than the dedup window of the log.
	AckTimeout time.Duration
}

func (cfg Config) withDefaults() Config {
	if len(cfg.URLs) == 0 {
		cfg.URLs = []string{nats.DefaultURL}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxPending <= 0 {
		cfg.MaxPending = 4096
	}
	if cfg.MaxPendingBytes <= 0 {
		cfg.MaxPendingBytes = 32 << 20
	}
	if cfg.AckTimeout <= 0 {
		cfg.AckTimeout = 5 * time.Second
	}
	return cfg
}

const (
	apiTimeout     = 5 * time.Second // one request to the broker, unless its context ends before
	dialTimeout    = 5 * time.Second //
	pingInterval   = 2 * time.Second // a server that is silent for three of them is given up on, and another one is tried
	firstReconnect = 50 * time.Millisecond
	lastReconnect  = 2 * time.Second
)

// Client is a connection to the broker that comes back by itself. All methods are safe for concurrent use.
type Client struct {
	cfg       Config
	log       *slog.Logger
	nc        *nats.Conn
	js        natsjs.JetStream
	closed    chan struct{} // the connection is closed for good
	connects  atomic.Uint64 // connections dialled so far; counts before a connection can be used
	publisher *publisher
	handles   handles

	mu        sync.Mutex
	up        bool          // as of the last callback
	changed   chan struct{} // closed and replaced when the connection comes or goes
	listeners []func(connected bool)
}

// Connect dials until a server answers or ctx ends, and fails with UNAVAILABLE then. The client reconnects for ever,
// with a growing, jittered delay; nothing that is said to it meanwhile is buffered, except by Publish.
func Connect(ctx context.Context, cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	c := &Client{
		cfg:     cfg,
		log:     cfg.Logger,
		closed:  make(chan struct{}),
		changed: make(chan struct{}),
	}
	options := []nats.Option{
		nats.Name(cfg.Name),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(),
		nats.CustomReconnectDelay(func(rounds int) time.Duration { return backoff(rounds, firstReconnect, lastReconnect) }),
		nats.ReconnectBufSize(-1),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(2),
		nats.Timeout(dialTimeout),
		nats.ConnectHandler(c.connected),
		nats.ReconnectHandler(c.connected),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { c.disconnected(err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.log.Warn("nats", "error", err) }),
		nats.ClosedHandler(func(*nats.Conn) { close(c.closed) }),
	}
	if cfg.InProcess != nil {
		options = append(options, nats.InProcessServer(inProcess{c}))
	} else {
		options = append(options, nats.SetCustomDialer(dialer{c}))
	}
	var err error
	if c.nc, err = nats.Connect(strings.Join(cfg.URLs, ","), options...); err != nil {
		return nil, envelope.Errorf(envelope.CodeUnavailable, "connecting to NATS: %w", err)
	}
	if c.js, err = natsjs.New(c.nc); err != nil {
		c.nc.Close()
		<-c.closed
		return nil, envelope.Errorf(envelope.CodeInternal, "connecting to NATS: %w", err)
	}
	if err := c.waitConnected(ctx); err != nil {
		if last := c.nc.LastError(); last != nil {
			err = last
		}
		c.nc.Close()
		<-c.closed
		return nil, envelope.Errorf(envelope.CodeUnavailable, "connecting to NATS: %w", err)
	}
	if c.publisher, err = newPublisher(c); err != nil {
		c.nc.Close()
		<-c.closed
		return nil, envelope.Errorf(envelope.CodeUnavailable, "connecting to NATS: %w", err)
	}
	return c, nil
}

// connectTry is how long ConnectRetrying waits before it says that there is no answer.
const connectTry = 5 * time.Second

// ConnectRetrying is Connect for a process that has nothing to do without a broker: it tries until ctx ends, and says
// so in the log every few seconds. It fails only with the cause of ctx.
func ConnectRetrying(ctx context.Context, cfg Config) (*Client, error) {
	for {
		try, cancel := context.WithTimeout(ctx, connectTry)
		c, err := Connect(try, cfg)
		cancel()
		switch {
		case err == nil:
			return c, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		}
		cfg.withDefaults().Logger.Warn("NATS cannot be reached, trying again", "error", err)
	}
}

// Close ends the connection. Records that are still on their way are reported as UNAVAILABLE; whoever wants them stored
// waits for them first. Close returns when everything that the client started has ended. Only the first call counts.
func (c *Client) Close() {
	c.publisher.close()
	c.nc.Close()
	<-c.closed
}

// bounded is ctx with the time that one request to the broker may take. An answer that was lost with a connection never
// comes, however long the caller would wait.
func (c *Client) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.cfg.AckTimeout)
}

// Connected tells whether the connection is up.
func (c *Client) Connected() bool { return c.nc.IsConnected() }

// OnState calls fn, from one goroutine, each time the connection goes or comes back. It must not block.
func (c *Client) OnState(fn func(connected bool)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listeners = append(c.listeners, fn)
}

func (c *Client) connected(nc *nats.Conn) {
	c.log.Info("nats connected", "server", nc.ConnectedServerName())
	c.stateChanged(true)
}

func (c *Client) disconnected(err error) {
	if err != nil {
		c.log.Warn("nats disconnected", "error", err)
	}
	c.stateChanged(false)
}

// stateChanged runs on the connection's one callback goroutine.
func (c *Client) stateChanged(connected bool) {
	c.mu.Lock()
	c.up = connected
	close(c.changed)
	c.changed = make(chan struct{})
	listeners := c.listeners
	c.mu.Unlock()
	for _, fn := range listeners {
		fn(connected)
	}
}

// state tells whether the connection is up, and returns a channel that is closed when that changes. The callbacks come
// a little late; a connection counts as up once its own callback has come.
func (c *Client) state() (up bool, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.up && c.nc.IsConnected(), c.changed
}

// waitConnected returns when the connection is up, with an error if that can no longer be or ctx ends.
func (c *Client) waitConnected(ctx context.Context) error {
	for {
		up, changed := c.state()
		if up {
			return ctx.Err()
		}
		select {
		case <-changed:
		case <-c.closed:
			return errClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pause waits before the next try, or until ctx ends or the client is closed.
func (c *Client) pause(ctx context.Context, try int) error {
	timer := time.NewTimer(backoff(try, firstReconnect, lastReconnect))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-c.closed:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// backoff returns a random time between a half and the whole of first, doubled with each try up to last.
func backoff(try int, first, last time.Duration) time.Duration {
	d := last
	if try < 16 {
		d = min(last, first<<max(try, 0))
	}
	return d/2 + rand.N(d/2+1)
}

var errClosed = errors.New("the client is closed")

// dialer counts connections, so that the publisher knows of a new one before anything can be sent on it.
type dialer struct{ c *Client }

func (d dialer) Dial(network, address string) (net.Conn, error) {
	d.c.connects.Add(1)
	return net.DialTimeout(network, address, dialTimeout)
}

// inProcess does the same for connections within the process.
type inProcess struct{ c *Client }

func (p inProcess) InProcessConn() (net.Conn, error) {
	p.c.connects.Add(1)
	return p.c.cfg.InProcess()
}

// handles caches what nats.go looks up with a request each: stream and bucket handles.
type handles struct {
	streams, buckets sync.Map // name to natsjs.Stream, natsjs.KeyValue
}

func (c *Client) stream(ctx context.Context, name string) (natsjs.Stream, error) {
	if s, ok := c.handles.streams.Load(name); ok {
		return s.(natsjs.Stream), nil
	}
	s, err := c.js.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", name, err)
	}
	c.handles.streams.Store(name, s)
	return s, nil
}

func (c *Client) bucket(ctx context.Context, name string) (natsjs.KeyValue, error) {
	if b, ok := c.handles.buckets.Load(name); ok {
		return b.(natsjs.KeyValue), nil
	}
	b, err := c.js.KeyValue(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", name, err)
	}
	c.handles.buckets.Store(name, b)
	return b, nil
}
