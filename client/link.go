package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/arcp-nats/arcp/envelope"
)

// link is one WebSocket connection to one edge. One goroutine may read and one may write; close is free for all.
type link struct {
	url   string
	ws    *websocket.Conn
	epoch int // from 1, rising with each connection of the session
	wire  wire

	// fence is the id of a message whose answer is numbered, and so comes after the whole replay; "" when there is
	// nothing to wait for. It belongs to the reader once the writer runs.
	fence envelope.MessageID
	// resend takes, once, the requests to send again after the fence.
	resend chan []*request

	proofs       chan []byte   // to the writer: answers to session.refresh
	gone         chan struct{} // closed by close
	closeOnce    sync.Once
	keepAlive    time.Duration
	writeTimeout time.Duration
}

// dialLink connects to url. ctx bounds the dialing only.
func dialLink(ctx context.Context, cfg *Config, url string) (*link, error) {
	dialer := websocket.Dialer{Proxy: http.ProxyFromEnvironment}
	ws, response, err := dialer.DialContext(ctx, url, nil)
	if err != nil {
		if response != nil {
			return nil, fmt.Errorf("%w: HTTP status %s", err, response.Status)
		}
		return nil, err
	}
	l := &link{
		url:          url,
		ws:           ws,
		resend:       make(chan []*request, 1),
		proofs:       make(chan []byte),
		gone:         make(chan struct{}),
		keepAlive:    cfg.KeepAlive,
		writeTimeout: cfg.WriteTimeout,
	}
	ws.SetReadLimit(int64(cfg.MaxMessageBytes))
	answerPing := ws.PingHandler()
	ws.SetPingHandler(func(data string) error { l.alive(); return answerPing(data) })
	ws.SetPongHandler(func(string) error { l.alive(); return nil })
	return l, nil
}

// alive pushes back the moment at which silence loses the connection.
func (l *link) alive() {
	// The error can only be that of a closed socket, which the next read reports.
	_ = l.ws.SetReadDeadline(time.Now().Add(2 * l.keepAlive))
}

// read returns the next message. Binary frames are ignored (open dialect 1.4).
func (l *link) read() (message, error) {
	for {
		l.alive() // silence begins here: the reader may have been away, with frames waiting for it
		kind, data, err := l.ws.ReadMessage()
		if err != nil {
			return message{}, err
		}
		switch {
		case kind != websocket.TextMessage:
		case l.wire == nil:
			return message{raw: data}, nil
		default:
			if e, ok := l.wire.in(data); ok {
				return message{raw: data, e: e}, nil
			}
		}
	}
}

func (l *link) write(frame []byte) error {
	if l.wire != nil {
		text, err := l.wire.out(frame)
		if err != nil || text == nil {
			return err
		}
		frame = text
	}
	if err := l.ws.SetWriteDeadline(time.Now().Add(l.writeTimeout)); err != nil {
		return err
	}
	return l.ws.WriteMessage(websocket.TextMessage, frame)
}

// ping asks the peer's WebSocket layer for a sign of life.
func (l *link) ping() error {
	return l.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(l.writeTimeout))
}

// close drops the connection; a blocked read or write returns at once. What the peer makes of it is a lost
// connection, never a closed session.
func (l *link) close() {
	l.closeOnce.Do(func() {
		close(l.gone)
		_ = l.ws.Close()
	})
}

// lost turns the error that ended a connection into a verdict: a fatalError if the edge meant to end the session or
// will not listen to what this client sends, else err as it is.
func lost(err error) error {
	var closed *websocket.CloseError
	if !errors.As(err, &closed) {
		return err
	}
	switch closed.Code {
	case websocket.CloseNormalClosure:
		return fatalError{ErrClosed}
	case websocket.CloseInvalidFramePayloadData, websocket.ClosePolicyViolation, websocket.CloseMessageTooBig:
		return fatalError{fmt.Errorf("client: the edge refused the connection: %w", closed)}
	default:
		return err
	}
}

// fatalError ends the session, not only the connection.
type fatalError struct{ error }

func (e fatalError) Unwrap() error { return e.error }
