package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// readTimeout bounds how long a request may take to arrive; idleTimeout how long a connection may ask nothing.
	readTimeout = 5 * time.Second
	idleTimeout = 2 * time.Minute
	// writeTimeout bounds an answer, except with profiles, which take as long as they are asked to.
	writeTimeout = 30 * time.Second
	// closeTimeout bounds how long Close lets requests finish.
	closeTimeout = 2 * time.Second
)

// Config says what a server tells. Registry and Missing are required.
type Config struct {
	// Listen is the address, host:port; port 0 is any free one.
	Listen string
	// Pprof adds the profiles of net/http/pprof.
	Pprof bool
	// Registry holds the metrics; see NewRegistry.
	Registry *prometheus.Registry
	// Missing returns what keeps the process from taking work, one line each; nothing means that it is ready. It is
	// called from several goroutines at once and must not block.
	Missing func() []string
	// Logger receives what goes wrong with requests; nil discards it.
	Logger *slog.Logger
}

// Server answers operators over HTTP, without authentication. It is safe for concurrent use.
type Server struct {
	cfg      Config
	listener net.Listener
	http     *http.Server
	cancel   context.CancelFunc // ends the requests that run
	serving  sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	requests sync.WaitGroup // added to with mu held, and not once closed
}

// Start listens and serves until Close. It fails if the address cannot be listened on.
func Start(cfg Config) (*Server, error) {
	if cfg.Registry == nil || cfg.Missing == nil {
		return nil, errors.New("admin: Registry and Missing are required")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{cfg: cfg, listener: listener, cancel: cancel}
	errorLog := slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug)
	s.http = &http.Server{
		Handler:           s.counted(s.handler(errorLog)),
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          errorLog,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	if !cfg.Pprof {
		s.http.WriteTimeout = writeTimeout
	}
	s.serving.Go(func() {
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			cfg.Logger.Error("the admin address is not served any more", "error", err)
		}
	})
	return s, nil
}

// StartIf is Start if there is an address to listen on; else there is no server, which is nil and can be used as one.
func StartIf(cfg Config) (*Server, error) {
	if cfg.Listen == "" {
		return nil, nil
	}
	return Start(cfg)
}

// Addr is the address that the server listens on, host:port. Of no server it is empty.
func (s *Server) Addr() string {
	if s == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// Close stops listening, ends profiles that are being taken, lets other requests finish for two seconds, and returns
// when nothing of the server runs any more. Of no server it does nothing.
func (s *Server) Close() {
	if s == nil {
		return
	}
	s.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.requests.Wait() // none waits for anything but its own context and bounded requests to the broker
	s.serving.Wait()
}

// counted lets Close wait for the requests.
func (s *Server) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.enter() {
			return
		}
		defer s.requests.Done()
		next.ServeHTTP(w, r)
	})
}

// enter counts a request in, unless the server is closed.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.requests.Add(1)
	}
	return !s.closed
}
