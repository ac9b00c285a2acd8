// Package wstest is a WebSocket client for tests that shares no code with the edge: another WebSocket library, and
// plain JSON maps instead of this module's envelopes. What it accepts, a stranger's client accepts.
package wstest

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
)

// Wait bounds every wait for a frame; a test that reaches it fails.
const Wait = 20 * time.Second

// Message is an envelope as JSON decodes it.
type Message map[string]any

// Type is the envelope's type.
func (m Message) Type() string { return m.Str("type") }

// Str returns a top-level string member, or "".
func (m Message) Str(member string) string {
	s, _ := m[member].(string)
	return s
}

// Seq is event_seq, or 0 where there is none.
func (m Message) Seq() int {
	n, _ := m["event_seq"].(float64)
	return int(n)
}

// Payload returns the payload.
func (m Message) Payload() Message {
	p, _ := m["payload"].(map[string]any)
	return p
}

// Peer is one connection. It is for one goroutine.
type Peer struct {
	t    testing.TB
	conn *websocket.Conn
	next int
	// Raw holds every text frame received.
	Raw [][]byte
	// Patience is how long a frame may take, Wait by default.
	Patience time.Duration
}

// Dial connects to an edge. The connection is closed at the end of the test.
func Dial(t testing.TB, url string) *Peer {
	t.Helper()
	p, err := TryDial(t, url)
	require.NoError(t, err)
	return p
}

// TryDial is Dial for an edge that may not be there.
func TryDial(t testing.TB, url string) (*Peer, error) {
	t.Helper()
	return tryDial(t, url, nil)
}

// DialOver is Dial over a connection that wrap makes of the TCP connection.
func DialOver(t testing.TB, url string, wrap func(net.Conn) net.Conn) *Peer {
	t.Helper()
	var dialer net.Dialer
	p, err := tryDial(t, url, &websocket.DialOptions{HTTPClient: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return wrap(conn), nil
		},
	}}})
	require.NoError(t, err)
	return p
}

func tryDial(t testing.TB, url string, options *websocket.DialOptions) (*Peer, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Wait)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, url, options)
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(16 << 20)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &Peer{t: t, conn: conn, Patience: Wait}, nil
}

// Send sends an envelope of a type with a payload and, optionally, further top-level members as key and value pairs.
// It returns the message's id.
func (p *Peer) Send(typ string, payload any, members ...any) string {
	p.t.Helper()
	id, err := p.TrySend(typ, payload, members...)
	require.NoError(p.t, err)
	return id
}

// TrySend is Send for a connection that may have ended.
func (p *Peer) TrySend(typ string, payload any, members ...any) (id string, err error) {
	p.next++
	id = fmt.Sprintf("msg_test%p%d", p, p.next)
	m := map[string]any{
		"arcp": "1.1", "id": id, "timestamp": time.Now().UTC().Format(time.RFC3339Nano),
		"type": typ, "payload": payload,
	}
	for i := 0; i+1 < len(members); i += 2 {
		m[members[i].(string)] = members[i+1]
	}
	data, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	return id, p.TryWrite(websocket.MessageText, data)
}

// SendRaw sends a text frame as it is.
func (p *Peer) SendRaw(frame string) {
	p.t.Helper()
	require.NoError(p.t, p.TryWrite(websocket.MessageText, []byte(frame)))
}

// SendPart sends the beginning of a text frame, and returns what sends the rest.
func (p *Peer) SendPart(frame string, bytes int) (finish func()) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*Wait)
	p.t.Cleanup(cancel)
	w, err := p.conn.Writer(ctx, websocket.MessageText)
	require.NoError(p.t, err)
	_, err = w.Write([]byte(frame[:bytes]))
	require.NoError(p.t, err)
	return func() {
		p.t.Helper()
		_, err := w.Write([]byte(frame[bytes:]))
		require.NoError(p.t, err)
		require.NoError(p.t, w.Close())
	}
}

// SendBinary sends a binary frame.
func (p *Peer) SendBinary(frame []byte) {
	p.t.Helper()
	require.NoError(p.t, p.TryWrite(websocket.MessageBinary, frame))
}

// TryWrite sends a frame and returns what came of it.
func (p *Peer) TryWrite(kind websocket.MessageType, frame []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), Wait)
	defer cancel()
	return p.conn.Write(ctx, kind, frame)
}

// Next returns the next envelope.
func (p *Peer) Next() Message {
	p.t.Helper()
	m, err := p.TryNext()
	require.NoError(p.t, err)
	return m
}

// TryNext returns the next envelope or why there is none.
func (p *Peer) TryNext() (Message, error) {
	data, err := p.TryFrame()
	if err != nil {
		return nil, err
	}
	p.Raw = append(p.Raw, data)
	var m Message
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, err
	}
	return m, nil
}

// TryFrame returns the next text frame, which Raw does not keep, or why there is none.
func (p *Peer) TryFrame() ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), p.Patience)
	defer cancel()
	kind, data, err := p.conn.Read(ctx)
	if err != nil {
		return nil, err
	}
	if kind != websocket.MessageText {
		return nil, fmt.Errorf("a frame of kind %s", kind)
	}
	return data, nil
}

// Expect returns the next envelope, which must be of one type.
func (p *Peer) Expect(typ string) Message {
	p.t.Helper()
	m := p.Next()
	require.Equal(p.t, typ, m.Type(), "%v", m)
	return m
}

// Until reads envelopes until one of a type comes, and returns all of them, that one last.
func (p *Peer) Until(typ string) []Message {
	p.t.Helper()
	var all []Message
	for {
		m := p.Next()
		all = append(all, m)
		if m.Type() == typ {
			return all
		}
	}
}

// Quiet shows that nothing has been sent that was not read: a ping sent now is answered next.
func (p *Peer) Quiet() {
	p.t.Helper()
	id := p.Send("session.ping", map[string]any{"nonce": "quiet", "sent_at": "2026-01-01T00:00:00Z"})
	m := p.Expect("session.pong")
	require.Equal(p.t, id, m["correlation_id"])
}

// Closed waits for the end of the connection and returns its close code, -1 if there was none.
func (p *Peer) Closed() int {
	p.t.Helper()
	for {
		_, err := p.TryNext()
		if err == nil {
			continue
		}
		require.NotErrorIs(p.t, err, context.DeadlineExceeded, "the connection is still open")
		return CloseCode(err)
	}
}

// CloseCode is the close code that an error of TryNext carries, -1 if none.
func CloseCode(err error) int { return int(websocket.CloseStatus(err)) }

// Drop ends the connection without a word.
func (p *Peer) Drop() { _ = p.conn.CloseNow() }

// Open opens a session with a bearer token and returns session.accepted.
func (p *Peer) Open(token string) Message {
	p.t.Helper()
	p.Send("session.open", OpenPayload(token))
	return p.Expect("session.accepted")
}

// OpenPayload is the payload of a session.open with a bearer token.
func OpenPayload(token string) map[string]any {
	return map[string]any{
		"auth":   map[string]any{"scheme": "bearer", "token": token},
		"client": map[string]any{"kind": "test", "version": "1"},
	}
}

// Invoke invokes a tool and returns the message's id.
func (p *Peer) Invoke(tool string, arguments any, members ...any) string {
	p.t.Helper()
	return p.Send("tool.invoke", map[string]any{"tool": tool, "arguments": arguments}, members...)
}

// Resume resumes a session and returns session.resumed.
func (p *Peer) Resume(token string, last int) Message {
	p.t.Helper()
	p.Send("session.resume", map[string]any{"resume_token": token, "last_event_seq": last})
	return p.Expect("session.resumed")
}

// TryResume is Resume for a connection that may be cut, or an edge that may refuse: it returns what came.
func (p *Peer) TryResume(token string, last int) (Message, error) {
	p.next++
	data, err := json.Marshal(map[string]any{
		"arcp": "1.1", "id": fmt.Sprintf("msg_resume%p%d", p, p.next), "timestamp": "2026-01-01T00:00:00Z",
		"type": "session.resume", "payload": map[string]any{"resume_token": token, "last_event_seq": last},
	})
	if err != nil {
		return nil, err
	}
	if err := p.TryWrite(websocket.MessageText, data); err != nil {
		return nil, err
	}
	return p.TryNext()
}
