package edge

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/arcp-nats/arcp/edge/dialect"
	"github.com/arcp-nats/arcp/envelope"
)

const (
	// controlQueueBytes bounds the answers that are not counted and wait for one socket.
	controlQueueBytes = 256 << 10
	// closeWait is how long the peer may take to answer a close frame.
	closeWait = 5 * time.Second
	// lingerTime and lingerBytes bound what is read and thrown away after the last word.
	lingerTime  = time.Second
	lingerBytes = 16 << 20
	// preSessionBytes bounds a frame before the session is open.
	preSessionBytes = 64 << 10
)

var errHeartbeatLost = errors.New("HEARTBEAT_LOST: no sign of life")

// conn is one WebSocket connection. Its reader is the HTTP handler's goroutine, its writer one more, and a session
// that fell behind has a third; serve owns them all. Fields without a lock belong to the reader.
type conn struct {
	srv    *Server
	ws     *websocket.Conn
	cork   *corkConn // nil if the listener is not the server's own
	out    *outbox
	logger *slog.Logger
	ctx    context.Context // ends when the connection does
	cancel context.CancelFunc
	wg     sync.WaitGroup

	codec     dialect.Codec // nil until the first text message; what uses it comes after that
	dedup     dedup
	handshake handshake
	strikes   int // messages that were undecodable or gated, before the session is open

	session  atomic.Pointer[session] // set by the reader, read by the server
	lastSign atomic.Int64            // unix nanoseconds of the last sign of life
	lastPing atomic.Int64            // unix nanoseconds of the last question for one
	lastSaid atomic.Int64            // unix nanoseconds of the last messages that were written
	queued   int                     // what the kernel held for the peer at the keeper's last look

	large      largeFrame
	largeUntil atomic.Int64 // unix nanoseconds at which a large frame must be whole; 0: none is being read

	closeOnce  sync.Once
	closeFrame atomic.Pointer[[]byte] // what the writer says last
}

func newConn(srv *Server, ws *websocket.Conn, logger *slog.Logger) *conn {
	c := &conn{srv: srv, ws: ws, logger: logger}
	c.ctx, c.cancel = context.WithCancel(srv.ctx)
	c.out = newOutbox(srv.cfg.MaxQueueBytes, controlQueueBytes, c.drained)
	c.cork, _ = ws.NetConn().(*corkConn)
	if c.cork != nil {
		c.cork.setWriteTimeout(srv.cfg.WriteTimeout)
	}
	return c
}

// serve runs the connection until it ends.
func (c *conn) serve() {
	c.ws.SetReadLimit(preSessionBytes)
	_ = c.ws.SetReadDeadline(time.Now().Add(c.srv.cfg.HandshakeTimeout))
	c.ws.SetPongHandler(func(string) error { c.alive(); return nil })
	c.wg.Go(c.write)

	reason := c.read()

	if s := c.session.Load(); s != nil {
		s.leave(reason)
	}
	c.out.close()
	c.cancel()
	c.wg.Wait()
	c.linger()
	_ = c.ws.Close()
}

// linger reads on for a moment after the last word of the edge. A socket that is closed with unread bytes in it is
// reset, and a reset can overtake the close frame that says why.
func (c *conn) linger() {
	tcp, ok := c.socket().(*net.TCPConn)
	if !ok || tcp.CloseWrite() != nil {
		return
	}
	_ = tcp.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, tcp, lingerBytes)
}

// socket is the connection below the WebSocket.
func (c *conn) socket() net.Conn {
	if c.cork != nil {
		return c.cork.Conn
	}
	return c.ws.NetConn()
}

func (c *conn) closing() bool { return c.closeFrame.Load() != nil }

// read handles messages in their order of arrival until the socket ends, and says why it did.
func (c *conn) read() error {
	for {
		kind, data, err := c.readFrame()
		if err != nil {
			return c.readFailed(err)
		}
		c.handleFrame(kind, data)
		c.large.release()
	}
}

func (c *conn) handleFrame(kind int, data []byte) {
	if c.closing() {
		return // the peer is being told; what it still sends is not for a session any more
	}
	c.alive()
	switch {
	case kind != websocket.TextMessage:
		c.srv.metrics.frames[frameBinary].Inc() // ignored: open dialect 1.4
	case c.large.refused:
		c.refuseLarge(data)
		c.srv.metrics.frames[frameCrowded].Inc()
	case !utf8.Valid(data):
		c.close(closeInvalid, "a text frame is not UTF-8")
	default:
		c.srv.metrics.frames[c.receive(data)].Inc()
	}
}

// readFailed finds out why the socket ended, and tells the peer if it has not been told.
func (c *conn) readFailed(err error) error {
	var netErr net.Error
	switch {
	case c.closing():
		return errors.New("closed by the edge")
	case errors.As(err, &netErr) && netErr.Timeout():
		if c.session.Load() == nil {
			c.close(closePolicy, "handshake timeout")
			return errors.New("handshake timeout")
		}
		if s := c.session.Load(); s.traits.Heartbeats {
			c.send(s.answer(nil, envelope.TypeSessionEvicted, &envelope.SessionEvicted{Code: envelope.CodeHeartbeatLost, Reason: "no sign of life"}))
		}
		c.close(closeGoingAway, "no sign of life")
		return errHeartbeatLost
	}
	return err // of a frame over the limit the WebSocket library has told the peer
}

// write moves frames from the outbox to the socket until the outbox is closed and empty.
func (c *conn) write() {
	defer c.cancel()
	for {
		frames, ok := c.out.take()
		if !ok {
			break
		}
		if err := c.writeFrames(frames); err != nil {
			c.logger.Debug("write failed", "error", err)
			c.out.close()
			_ = c.ws.Close() // the reader ends too
			return
		}
		c.lastSaid.Store(time.Now().UnixNano())
	}
	if frame := c.closeFrame.Load(); frame != nil {
		_ = c.ws.WriteControl(websocket.CloseMessage, *frame, time.Now().Add(closeWait))
		_ = c.ws.SetReadDeadline(time.Now().Add(closeWait))
		return
	}
	_ = c.ws.SetReadDeadline(time.Now())
}

func (c *conn) writeFrames(frames []frame) error {
	if c.cork == nil || len(frames) == 1 {
		for _, f := range frames {
			if err := c.writeFrame(f); err != nil {
				return err
			}
		}
		return nil
	}
	c.cork.cork()
	for _, f := range frames {
		if f.content != nil { // the frames before it do not wait for the store
			if err := c.cork.uncork(); err != nil {
				return err
			}
		}
		if err := c.writeFrame(f); err != nil {
			return err
		}
		c.cork.cork()
	}
	return c.cork.uncork()
}

func (c *conn) writeFrame(f frame) error {
	if c.cork == nil {
		_ = c.ws.SetWriteDeadline(time.Now().Add(c.srv.cfg.WriteTimeout))
	}
	if f.content != nil {
		return c.writeFetched(f)
	}
	return c.ws.WriteMessage(websocket.TextMessage, f.text)
}

// close lets the writer send what is queued, then a close frame. It is safe to call from any goroutine; the first
// call decides.
func (c *conn) close(code int, text string) {
	c.closeOnce.Do(func() {
		frame := websocket.FormatCloseMessage(code, text)
		c.closeFrame.Store(&frame)
		c.out.close()
	})
}

// send queues an answer that is not counted. A peer that asks and does not read its answers is cut off.
func (c *conn) send(e *envelope.Envelope) {
	inTurn := e.Type == envelope.TypeNack && c.codec.Traits().AnswersInTurn
	for _, text := range c.answer(e) {
		switch {
		case inTurn && c.out.room(len(text)):
			c.out.pushEvent(frame{text: text})
		case inTurn, errors.Is(c.out.pushControl(text), errOutboxFull):
			c.close(closePolicy, "answers are not read")
		}
	}
}

// answer returns the messages that the client gets of an answer.
func (c *conn) answer(e *envelope.Envelope) [][]byte {
	texts, err := c.codec.Answer(e)
	if err != nil {
		c.logger.Error("answer does not encode", "type", e.Type, "error", err)
	}
	return texts
}

// sendLast queues an answer behind the events that wait, as the last word of a session.
func (c *conn) sendLast(e *envelope.Envelope) {
	for _, text := range c.answer(e) {
		c.out.pushEvent(frame{text: text})
	}
}

// drained is called when the socket has taken most of what waited for it.
func (c *conn) drained() {
	if s := c.session.Load(); s != nil {
		s.nudge()
	}
}

// alive notes a sign of life: any frame counts, a pong included.
func (c *conn) alive() {
	if c.session.Load() == nil || c.closing() {
		return // the handshake and the end have deadlines of their own
	}
	now := time.Now()
	c.lastSign.Store(now.UnixNano())
	deadline := now.Add(2 * c.srv.cfg.IdlePing)
	if until := c.largeUntil.Load(); until != 0 {
		deadline = time.Unix(0, until) // whatever comes in the middle of a frame
	}
	_ = c.ws.SetReadDeadline(deadline)
}
