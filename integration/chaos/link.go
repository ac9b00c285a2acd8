package chaos

import (
	"context"
	"time"

	"github.com/coder/websocket"
)

const (
	dialTimeout  = 2 * time.Second
	writeTimeout = 2 * time.Second
	// pingEvery is how often a client asks for a sign of life, and silence is when it gives a connection up.
	pingEvery = 500 * time.Millisecond
	silence   = 2500 * time.Millisecond
	// linkBuffer bounds the frames of a connection that nobody has looked at.
	linkBuffer = 64
	maxFrame   = 8 << 20
)

// socket is a connection to an edge. Its library is not the runtime's own: both ends must not share a bug.
type socket struct {
	conn   *websocket.Conn
	frames chan []byte // closed when the connection has ended
	stop   context.CancelFunc
	done   chan struct{}
}

// dial connects. The socket must be closed.
func dial(ctx context.Context, url string) (*socket, error) {
	dialing, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, response, err := websocket.Dial(dialing, url, nil)
	if response != nil && response.Body != nil {
		_ = response.Body.Close()
	}
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(maxFrame)
	reading, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &socket{conn: conn, frames: make(chan []byte, linkBuffer), stop: stop, done: make(chan struct{})}
	go s.read(reading)
	return s, nil
}

// read passes frames on until the connection ends or is closed.
func (s *socket) read(ctx context.Context) {
	defer close(s.done)
	defer close(s.frames)
	for {
		_, data, err := s.conn.Read(ctx)
		if err != nil {
			return
		}
		select {
		case s.frames <- data:
		case <-ctx.Done():
			return
		}
	}
}

// close drops the connection without a word.
func (s *socket) close() {
	s.stop()
	_ = s.conn.CloseNow()
	<-s.done
}

// message is an envelope as a client writes it.
type message struct {
	Version     string `json:"arcp"`
	ID          string `json:"id"`
	Timestamp   string `json:"timestamp"`
	Type        string `json:"type"`
	JobID       string `json:"job_id,omitempty"`
	Stream      string `json:"stream_id,omitempty"`
	Correlation string `json:"correlation_id,omitempty"`
	Key         string `json:"idempotency_key,omitempty"`
	Payload     any    `json:"payload"`
}

// send writes a message.
func (s *socket) send(ctx context.Context, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return s.conn.Write(ctx, websocket.MessageText, data)
}

// next returns the next frame, or false if none comes in time.
func (s *socket) next(ctx context.Context, patience time.Duration) ([]byte, bool) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case data, ok := <-s.frames:
		return data, ok
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil, false
}
