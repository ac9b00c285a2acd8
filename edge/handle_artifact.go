package edge

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/arcp-nats/arcp/artifact"
	"github.com/arcp-nats/arcp/envelope"
)

// What became of a request about an artifact, and the ways of content.
const (
	artifactPut        = "put"
	artifactFetched    = "fetched"
	artifactDownloaded = "downloaded"
	artifactReleased   = "released"
	artifactRefused    = "refused"
	artifactFailed     = "failed"

	contentIn  = "in"
	contentOut = "out"
)

const (
	// maxArtifactsWaiting bounds the requests about artifacts of one session that wait for their turn.
	maxArtifactsWaiting = 16
	// artifactTimeout bounds what one of them asks of the store.
	artifactTimeout = 15 * time.Second
)

// artifactLane works on a session's requests about artifacts, one at a time and beside the reader: the store may be slow
// without the session standing still, and the answers come in the order of the requests. The zero value is ready to use.
type artifactLane struct {
	mu      sync.Mutex
	waiting []func()
	running bool
}

// add queues a request, and starts the work if it does not run. It is false if too many wait.
func (l *artifactLane) add(request func(), start func(work func())) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == maxArtifactsWaiting {
		return false
	}
	l.waiting = append(l.waiting, request)
	if !l.running {
		l.running = true
		start(l.work)
	}
	return true
}

func (l *artifactLane) work() {
	for {
		l.mu.Lock()
		if len(l.waiting) == 0 {
			l.running, l.waiting = false, nil
			l.mu.Unlock()
			return
		}
		request := l.waiting[0]
		l.waiting[0] = nil
		l.waiting = l.waiting[1:]
		l.mu.Unlock()
		request()
	}
}

// aboutArtifact has a request worked on in its turn. done is called in any case.
func (s *session) aboutArtifact(msg *envelope.Envelope, request func(ctx context.Context) error, done func()) {
	queued := s.artifacts.add(func() {
		defer done()
		ctx, cancel := context.WithTimeout(s.conn.ctx, artifactTimeout)
		defer cancel()
		if err := request(ctx); err != nil {
			s.refuseArtifact(msg, err)
		}
	}, func(work func()) { s.conn.wg.Go(work) })
	if !queued {
		done()
		s.refuseArtifact(msg, envelope.Errorf(envelope.CodeResourceExhausted,
			"%d requests about artifacts wait in the session, the limit", maxArtifactsWaiting))
	}
}

// refuseArtifact answers a request with nack. What a later try may mend is not counted, as it says nothing about the
// artifact; and a release is not answered at all (open dialect AR-5).
func (s *session) refuseArtifact(msg *envelope.Envelope, err error) {
	if s.conn.ctx.Err() != nil {
		return
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = envelope.Errorf(envelope.CodeUnavailable, "the store of the artifacts did not answer within %s", artifactTimeout)
	}
	code := envelope.CodeOf(err)
	outcome := artifactRefused
	if code == envelope.CodeUnavailable || code == envelope.CodeResourceExhausted || code == envelope.CodeInternal {
		outcome = artifactFailed
		s.logger.Warn("request about an artifact failed", "type", msg.Type, "code", code, "error", err)
	}
	s.srv.metrics.artifacts[outcome].Inc()
	switch {
	case msg.Type == envelope.TypeArtifactRelease:
	case outcome == artifactFailed && isRetryable(code, err):
		s.conn.send(s.newNack(msg.ID, code, errorText(err), retryLater))
	default:
		s.replyBeside(s.newNack(msg.ID, code, errorText(err), nil))
	}
}

// replyBeside is reply for goroutines other than the reader's.
func (s *session) replyBeside(e *envelope.Envelope) {
	s.route.RLock() // the session does not move meanwhile
	defer s.route.RUnlock()
	s.reply(e)
}

// handleArtifactPut stores content and answers with its reference (open dialect AR-1 to AR-3, AR-7). It is in the store
// before the reference is in the log; if the edge dies in between, the artifact that nobody knows of expires.
func handleArtifactPut(c *conn, s *session, msg *envelope.Envelope) {
	free := c.takeLarge()
	put, err := envelope.DecodePayload[envelope.ArtifactPut](msg)
	if err != nil {
		free()
		c.receiveBad(s, err)
		return
	}
	msg.Payload = nil // the content is in memory once
	s.aboutArtifact(msg, func(ctx context.Context) error {
		info, err := s.storeArtifact(ctx, put)
		if err != nil {
			return err
		}
		s.srv.metrics.artifacts[artifactPut].Inc()
		s.srv.metrics.content[contentIn].Add(float64(info.Size))
		s.replyBeside(s.answer(msg, envelope.TypeArtifactRef, &envelope.ArtifactRefMessage{Artifact: info.Ref()}))
		return nil
	}, free)
}

func (s *session) storeArtifact(ctx context.Context, put *envelope.ArtifactPut) (artifact.Info, error) {
	info := artifact.Info{ID: envelope.NewArtifactID(), Principal: s.principal, MediaType: put.MediaType}
	if err := artifact.CheckMediaType(put.MediaType); err != nil {
		return info, inPayload(err)
	}
	content, err := artifact.ParseContent(put.Data, put.SHA256, s.srv.cfg.MaxArtifactBytes)
	if err != nil {
		return info, inPayload(err)
	}
	keep := s.srv.retention().Of(put.RetainSeconds)
	info.ExpiresAt = artifact.Until(time.Now(), keep)
	info.Size, info.SHA256 = content.Size(), content.SHA256()
	if keep == 0 {
		return info, nil // it has expired before it could be stored
	}
	upload, err := s.srv.artifacts.Create(ctx, info)
	if err != nil {
		return info, err
	}
	defer upload.Abort()
	if _, err := io.Copy(upload, content.Reader()); err != nil {
		return info, err
	}
	return upload.Commit()
}

// inPayload names the member that an error is about as the client sees it.
func inPayload(err error) error {
	return envelope.Errorf(envelope.CodeOf(err), "payload.%s", errorText(err))
}

func (srv *Server) retention() artifact.Retention {
	return artifact.Retention{Default: srv.cfg.ArtifactRetention, Max: srv.cfg.MaxArtifactRetention}
}

// handleArtifactFetch answers with the content, in an artifact.put (open dialect AR-4). What goes into the log is the
// envelope without it; see fetched.
func handleArtifactFetch(c *conn, s *session, msg *envelope.Envelope) {
	fetch, err := envelope.DecodePayload[envelope.ArtifactFetch](msg)
	if err != nil {
		c.receiveBad(s, err)
		return
	}
	s.aboutArtifact(msg, func(ctx context.Context) error {
		object, err := s.srv.artifacts.Open(ctx, s.principal, fetch.ArtifactID)
		if err != nil {
			return err
		}
		info := object.Info()
		if limit := s.srv.cfg.MaxArtifactBytes; info.Size > limit {
			return envelope.Errorf(envelope.CodeFailedPrecondition,
				"the artifact has %d bytes, and an envelope carries at most %d: get it over HTTP, from /artifacts/%s", info.Size, limit, info.ID)
		}
		s.replyBeside(s.answer(msg, envelope.TypeArtifactPut, &fetched{MediaType: info.MediaType, ArtifactID: info.ID}))
		return nil
	}, func() {})
}

// handleArtifactRelease removes an artifact at once and says nothing (open dialect AR-5). If the store cannot be reached
// the artifact stays until it expires.
func handleArtifactRelease(c *conn, s *session, msg *envelope.Envelope) {
	release, err := envelope.DecodePayload[envelope.ArtifactRelease](msg)
	if err != nil {
		c.receiveBad(s, err)
		return
	}
	s.aboutArtifact(msg, func(ctx context.Context) error {
		if err := s.srv.artifacts.Remove(ctx, s.principal, release.ArtifactID); err != nil {
			return err
		}
		s.srv.metrics.artifacts[artifactReleased].Inc()
		return nil
	}, func() {})
}
