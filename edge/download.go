package edge

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/arcp-nats/arcp/artifact"
	"github.com/arcp-nats/arcp/auth"
	"github.com/arcp-nats/arcp/envelope"
)

// artifactPath is where artifacts are served; the id follows.
const artifactPath = "/artifacts/"

// maxDownloads bounds the downloads that an edge serves at a time. Each holds a few hundred kilobytes.
const maxDownloads = 256

// download serves GET and HEAD of an artifact to its principal, with ranges. The content comes from the store, a piece at
// a time. To everybody else the artifact is not there (open dialect AR-6, made good).
func (srv *Server) download(w http.ResponseWriter, r *http.Request) {
	if !srv.cors(w, r) {
		srv.refuseDownload(w, envelope.Errorf(envelope.CodePermissionDenied, "the origin is not allowed here"))
		return
	}
	if !srv.enter(&srv.downloads) {
		srv.refuseDownload(w, envelope.Errorf(envelope.CodeUnavailable, "the edge is going away"))
		return
	}
	defer srv.downloads.Done()
	select {
	case srv.downloadSlots <- struct{}{}:
		defer func() { <-srv.downloadSlots }()
	default:
		srv.refuseDownload(w, envelope.Errorf(envelope.CodeUnavailable, "%d downloads at a time, the limit", maxDownloads))
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(srv.ctx, cancel)()

	object, err := srv.openDownload(ctx, r)
	if err != nil {
		srv.refuseDownload(w, err)
		return
	}
	info := object.Info()
	header := w.Header()
	header.Set("Content-Type", contentType(info.MediaType))
	header.Set("ETag", `"`+info.SHA256+`"`)
	// Whoever made the artifact chose its type: no browser shall run it in this origin.
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	header.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": string(info.ID)}))
	header.Set("Cache-Control", "private, no-cache")
	if strings.Contains(r.Header.Get("Range"), ",") {
		r.Header.Del("Range") // several ranges cost more than the whole
	}
	body := &paced{Object: object, control: http.NewResponseController(w), timeout: srv.cfg.WriteTimeout}
	http.ServeContent(w, r, "", time.Time{}, body)
	srv.metrics.artifacts[artifactDownloaded].Inc()
	srv.metrics.content[contentOut].Add(float64(body.read))
	if body.err != nil && ctx.Err() == nil {
		srv.logger.Warn("a download broke off", "artifact", info.ID, "error", body.err)
	}
}

// openDownload finds out who asks and what for.
func (srv *Server) openDownload(ctx context.Context, r *http.Request) (artifact.Object, error) {
	known, cancel := context.WithTimeout(ctx, srv.cfg.HandshakeTimeout)
	defer cancel()
	principal, err := srv.principalOf(known, r)
	if err != nil {
		return nil, err
	}
	id, err := artifact.ParseID(r.PathValue("id"))
	if err != nil {
		return nil, envelope.Errorf(envelope.CodeNotFound, "no such artifact")
	}
	return srv.artifacts.Open(ctx, principal, id)
}

// principalOf authenticates a request by its bearer token: a token that opens sessions, or a session's resume token, which
// stands for the session's principal. The latter is how anonymous sessions, each a principal of its own, come by what is
// theirs. It is not used up.
func (srv *Server) principalOf(ctx context.Context, r *http.Request) (string, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "bearer") || token == "" {
		return "", envelope.Errorf(envelope.CodeUnauthenticated, "a bearer token is required")
	}
	if session, ok := tokenSession(token); ok {
		store, err := loadSession(ctx, srv.sessions, session)
		switch {
		case envelope.CodeOf(err) == envelope.CodeNotFound:
		case err != nil:
			return "", err
		default:
			if rec := store.snapshot(); rec.goodToken(token) {
				return rec.Principal, nil
			}
		}
		return "", errBadToken
	}
	for _, scheme := range []auth.Scheme{auth.SchemeBearer, auth.SchemeSignedJWT} {
		authenticator, ok := srv.cfg.Auth.Lookup(scheme)
		if !ok {
			continue
		}
		outcome, err := authenticator.Authenticate(ctx, auth.Attempt{Scheme: scheme, Token: token})
		_, rejected := auth.IsRejection(err)
		switch {
		case rejected:
		case err != nil:
			srv.logger.Error("authenticator failed", "error", err)
			return "", envelope.Errorf(envelope.CodeInternal, "authentication failed to run")
		case !outcome.Challenged():
			return outcome.Identity.Principal, nil
		}
	}
	return "", errBadToken
}

var errBadToken = &envelope.Error{Code: envelope.CodeUnauthenticated, Message: "the token is not good, or answers no request without a challenge"}

// httpStatus maps codes; the others are 500.
var httpStatus = map[envelope.Code]int{
	envelope.CodeUnauthenticated:  http.StatusUnauthorized,
	envelope.CodePermissionDenied: http.StatusForbidden,
	envelope.CodeNotFound:         http.StatusNotFound,
	envelope.CodeUnavailable:      http.StatusServiceUnavailable,
}

// refuseDownload answers with a JSON object of code, message and retryable.
func (srv *Server) refuseDownload(w http.ResponseWriter, err error) {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		err = envelope.Errorf(envelope.CodeUnavailable, "the store did not answer in time")
	}
	code := envelope.CodeOf(err)
	status, known := httpStatus[code]
	outcome := artifactRefused
	if !known || status == http.StatusServiceUnavailable {
		outcome = artifactFailed
		srv.logger.Warn("a download failed", "code", code, "error", err)
	}
	if !known {
		status = http.StatusInternalServerError
	}
	srv.metrics.artifacts[outcome].Inc()
	switch status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="arcp"`)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	}
	body, encodeErr := json.Marshal(map[string]any{"code": code, "message": errorText(err), "retryable": isRetryable(code, err)})
	if encodeErr != nil {
		body = []byte("{}")
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// cors lets browsers read artifacts from the origins that may open sessions. It is false for others.
func (srv *Server) cors(w http.ResponseWriter, r *http.Request) bool {
	w.Header().Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	if !srv.checkOrigin(r) {
		return false
	}
	w.Header().Set("Access-Control-Allow-Origin", origin)
	w.Header().Set("Access-Control-Expose-Headers", "Accept-Ranges, Content-Disposition, Content-Length, Content-Range, ETag")
	return true
}

// preflight answers a browser that asks whether it may send a token.
func (srv *Server) preflight(w http.ResponseWriter, r *http.Request) {
	if !srv.cors(w, r) {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	w.Header().Set("Access-Control-Allow-Methods", "GET, HEAD")
	w.Header().Set("Access-Control-Allow-Headers", "Authorization, If-None-Match, If-Range, Range")
	w.Header().Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
}

// contentType is a media type that can stand in a header, or that of bytes.
func contentType(mediaType string) string {
	if base, parameters, err := mime.ParseMediaType(mediaType); err == nil && strings.Contains(base, "/") {
		if clean := mime.FormatMediaType(base, parameters); clean != "" {
			return clean
		}
	}
	return "application/octet-stream"
}

// paced is an artifact on its way to a peer that must take some of it in every timeout.
type paced struct {
	artifact.Object
	control *http.ResponseController
	timeout time.Duration
	read    int64
	err     error // that broke the reading off
}

// Read implements io.Reader.
func (p *paced) Read(b []byte) (int, error) {
	n, err := p.Object.Read(b)
	p.read += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		p.err = err
	}
	_ = p.control.SetWriteDeadline(time.Now().Add(p.timeout))
	return n, err
}

// setWriteTimeout makes a connection of the edge's own listener give up on a peer that takes nothing. What else is known
// of deadlines there does not count, see corkConn.
func setWriteTimeout(timeout time.Duration) func(context.Context, net.Conn) context.Context {
	return func(ctx context.Context, conn net.Conn) context.Context {
		if cork, ok := conn.(*corkConn); ok {
			cork.setWriteTimeout(timeout)
		}
		return ctx
	}
}
