package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/semaphore"

	"github.com/arcp-nats/arcp/artifact"
	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
)

// Server is an edge node. Use New, then Serve. It is safe for concurrent use.
type Server struct {
	cfg         Config
	log         *groupedLog
	sessions    Bucket
	idempotency *idempotency
	tools       Tools
	artifacts   artifact.Store
	largeFrames *semaphore.Weighted // bytes of Config.ArtifactMemory
	limits      envelope.Limits
	logger      *slog.Logger
	upgrader    websocket.Upgrader
	resumes     chan struct{} // a slot each resume
	listings    chan struct{} // a slot each listing that is worked on
	attaches    chan struct{} // a slot each job.subscribe that is worked on
	searches    chan struct{} // a slot each search for a message by its id
	metrics     *Metrics
	quotas      *quotas
	deadlines   *deadlines
	orphans     *orphans
	provision   *provisioning // nil: jobs get no credentials

	ctx    context.Context // ends when the server has drained
	cancel context.CancelFunc
	hub    *hub
	taps   *taps

	stopNow  context.Context // ends a drain early
	stopOnce context.CancelFunc

	mu       sync.Mutex
	draining bool
	conns    map[*conn]struct{}
	held     map[*session]struct{}
	handlers sync.WaitGroup // connections being served

	downloads     sync.WaitGroup // being served
	downloadSlots chan struct{}  // a slot each download
}

// Params are the parts that a server is made of. All are required but Metrics and Credentials.
type Params struct {
	Config      Config
	Log         Log
	Sessions    Bucket // expires what is not written for Config.ResumeWindow
	Idempotency Bucket
	Deadlines   WatchedBucket // of the leases that end
	Tools       Tools
	Artifacts   artifact.Store
	Metrics     *Metrics     // nil counts for nobody
	Credentials *Credentials // nil: jobs get none
}

// New returns a server that does nothing yet. It says what is wrong with the configuration.
func New(p Params) (*Server, error) {
	cfg, err := p.Config.withDefaults()
	if err != nil {
		return nil, err
	}
	if p.Log == nil || p.Sessions == nil || p.Idempotency == nil || p.Deadlines == nil || p.Tools == nil || p.Artifacts == nil {
		return nil, errors.New("edge: Log, Sessions, Idempotency, Deadlines, Tools and Artifacts are required")
	}
	if err := cfg.provisions(p.Credentials); err != nil {
		return nil, err
	}
	metrics := p.Metrics
	if metrics == nil {
		metrics = NewMetrics(nil)
	}
	srv := &Server{
		metrics: metrics,
		cfg:     cfg, sessions: p.Sessions, tools: p.Tools, artifacts: p.Artifacts,
		largeFrames:   semaphore.NewWeighted(cfg.ArtifactMemory),
		idempotency:   &idempotency{bucket: p.Idempotency, log: p.Log, patience: cfg.SubmitPatience},
		limits:        envelope.Limits{MaxBytes: cfg.MaxEnvelopeBytes},
		logger:        cfg.Logger,
		resumes:       make(chan struct{}, maxResumes),
		quotas:        newQuotas(cfg.MaxSessionsPerPrincipal),
		listings:      make(chan struct{}, maxListings),
		attaches:      make(chan struct{}, maxAttaches),
		searches:      make(chan struct{}, maxSearches),
		downloadSlots: make(chan struct{}, maxDownloads),
		conns:         make(map[*conn]struct{}),
		held:          make(map[*session]struct{}),
	}
	srv.upgrader = websocket.Upgrader{
		HandshakeTimeout: cfg.HandshakeTimeout, ReadBufferSize: 4 << 10, WriteBufferSize: 4 << 10,
		CheckOrigin: srv.checkOrigin,
	}
	srv.ctx, srv.cancel = context.WithCancel(context.Background())
	srv.stopNow, srv.stopOnce = context.WithCancel(context.Background())
	srv.log = newGroupedLog(srv.ctx, p.Log)
	srv.hub = newHub(srv.ctx, p.Log, cfg.Logger)
	srv.taps = newTaps(srv.ctx, p.Log, cfg.Logger)
	srv.deadlines, srv.orphans = newDeadlines(srv, p.Deadlines), newOrphans(srv)
	srv.hub.listener = srv.deadlines.hear
	if p.Credentials != nil {
		srv.provision = newProvisioning(srv.ctx, *p.Credentials, &srv.cfg, p.Log, metrics)
		srv.hub.listener = func(rec *record.Record) {
			srv.deadlines.hear(rec)
			srv.provision.revoker.hear(rec)
		}
	}
	metrics.server.Store(srv)
	return srv, nil
}

// Serve accepts connections on l until ctx ends, then drains: it stops accepting, tells every session that the edge
// is going away (close code 1001), writes their checkpoints, and returns. ready is called once the edge can take
// sessions. Serve can be called once.
func (srv *Server) Serve(ctx context.Context, l net.Listener, ready func()) error {
	own, err := srv.hub.use(ctx, srv.home())
	if err != nil {
		_ = l.Close()
		srv.stop()
		return fmt.Errorf("edge: %w", err)
	}
	server := &http.Server{
		Handler:           srv.Handler(),
		ReadHeaderTimeout: srv.cfg.HandshakeTimeout,
		IdleTimeout:       httpIdle,
		ConnContext:       setWriteTimeout(srv.cfg.WriteTimeout),
		ErrorLog:          slog.NewLogLogger(srv.logger.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { failed <- server.Serve(corkListener{l}) })
	wg.Go(func() { srv.keep(srv.ctx) })
	wg.Go(func() { newSweeper(srv).run(srv.ctx) })
	wg.Go(func() { srv.deadlines.run(srv.ctx) })
	wg.Go(func() { srv.orphans.run(srv.ctx) })
	if srv.provision != nil {
		wg.Go(srv.provision.run)
	}
	if ready != nil {
		ready()
	}
	select {
	case <-ctx.Done():
		err = nil
	case err = <-failed:
	}
	srv.drain(server)
	srv.hub.release(own)
	srv.stop()
	wg.Wait()
	srv.log.wait()
	return err
}

// home is where the server's own sessions stand in the log.
func (srv *Server) home() view.Place { return view.Place{Shard: srv.cfg.Shard, Feed: srv.cfg.Name} }

// Stop makes a Serve that drains, now or later, cut what is left at once. It does not begin a drain.
func (srv *Server) Stop() { srv.stopOnce() }

// Handler returns the HTTP handler that upgrades to WebSocket on /arcp and /, and serves artifacts below /artifacts/. Serve uses it; a program with an HTTP
// server of its own can, too, but then frames are not gathered into one write.
func (srv *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/arcp", srv.upgrade)
	mux.HandleFunc("/{$}", srv.upgrade)
	mux.HandleFunc("GET "+artifactPath+"{id}", srv.download)
	mux.HandleFunc("OPTIONS "+artifactPath+"{id}", srv.preflight)
	return mux
}

func (srv *Server) upgrade(w http.ResponseWriter, r *http.Request) {
	if !websocket.IsWebSocketUpgrade(r) {
		http.Error(w, "this is an ARCP edge: connect with WebSocket", http.StatusUpgradeRequired)
		return
	}
	if !srv.enter(&srv.handlers) {
		http.Error(w, "the edge is going away", http.StatusServiceUnavailable)
		return
	}
	defer srv.handlers.Done()
	ws, err := srv.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // the upgrader has answered
	}
	c := newConn(srv, ws, srv.logger.With("peer", r.RemoteAddr))
	if !srv.add(c) {
		c.close(closeGoingAway, "the edge is going away")
	}
	c.serve()
	srv.remove(c)
}

// enter counts a connection or a download in, unless the server is draining.
func (srv *Server) enter(in *sync.WaitGroup) bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.draining {
		return false
	}
	in.Add(1)
	return true
}

func (srv *Server) add(c *conn) bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.conns[c] = struct{}{}
	return !srv.draining
}

func (srv *Server) remove(c *conn) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	delete(srv.conns, c)
}

func (srv *Server) remember(s *session) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.held[s] = struct{}{}
}

func (srv *Server) forget(s *session) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	delete(srv.held, s)
}

// drain ends every connection in order, within the drain timeout.
func (srv *Server) drain(server *http.Server) {
	srv.mu.Lock()
	srv.draining = true
	conns := make([]*conn, 0, len(srv.conns))
	for c := range srv.conns {
		conns = append(conns, c)
	}
	srv.mu.Unlock()
	srv.logger.Info("draining", "connections", len(conns), "timeout", srv.cfg.DrainTimeout)

	ctx, cancel := context.WithTimeout(srv.stopNow, srv.cfg.DrainTimeout)
	defer cancel()
	var stopped sync.WaitGroup
	// It stops accepting, and waits for downloads; connections that were upgraded are ours.
	stopped.Go(func() { _ = server.Shutdown(ctx) })
	for _, c := range conns {
		c.close(closeGoingAway, "the edge is going away, resume elsewhere")
	}
	cut := context.AfterFunc(ctx, func() {
		srv.logger.Warn("cutting the connections that are left")
		for _, c := range conns {
			_ = c.ws.Close()
		}
	})
	srv.handlers.Wait()
	stopped.Wait()
	cut()
	_ = server.Close()
}

// stop ends everything that the server still runs, and waits for it.
func (srv *Server) stop() {
	srv.cancel()
	srv.stopOnce()
	srv.downloads.Wait()
	srv.hub.wait()
	srv.taps.wait()
}

// httpIdle is how long an HTTP connection without a request stays open.
const httpIdle = time.Minute

// checkOrigin lets a browser in from the edge's own host and from the origins that the configuration allows; other
// programs send no Origin.
func (srv *Server) checkOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(srv.cfg.AllowOrigins, "*") || slices.Contains(srv.cfg.AllowOrigins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}

// keepInterval is how often the keeper looks at what the server holds.
const keepInterval = time.Second
