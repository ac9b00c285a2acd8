package client_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/envelope"
)

const (
	sessionID = envelope.SessionID("sess_1")
	jobID     = envelope.JobID("job_1")
)

// newEdge serves each WebSocket connection with the next script; a connection without one is closed at once.
func newEdge(t *testing.T, scripts ...func(*peer)) (url string) {
	t.Helper()
	var mu sync.Mutex
	return serve(t, func(p *peer) {
		mu.Lock()
		var script func(*peer)
		if len(scripts) > 0 {
			script, scripts = scripts[0], scripts[1:]
		}
		mu.Unlock()
		if script != nil {
			script(p)
		}
	})
}

// serve runs script for each connection, on a goroutine of its own that a failed expectation ends.
func serve(t *testing.T, script func(*peer)) (url string) {
	t.Helper()
	upgrader := websocket.Upgrader{}
	var running sync.WaitGroup
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		running.Add(1) // while the server still counts this connection as its own
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			running.Done()
			return // cut while shaking hands
		}
		go func() {
			defer running.Done()
			defer func() { _ = ws.Close() }()
			script(&peer{t: t, ws: ws})
		}()
	}))
	t.Cleanup(func() {
		server.Close()
		running.Wait()
	})
	return "ws" + strings.TrimPrefix(server.URL, "http")
}

// peer is the edge's side of a connection, as a script sees it.
type peer struct {
	t    *testing.T
	ws   *websocket.Conn
	last *envelope.Envelope // of remember
}

// remember is expect that keeps the envelope to answer it later.
func (p *peer) remember(want envelope.Type) *envelope.Envelope {
	p.last = p.expect(want)
	return p.last
}

func (p *peer) fail(format string, args ...any) {
	p.t.Errorf(format, args...)
	runtime.Goexit()
}

// next returns what the client says next, but for acknowledgements.
func (p *peer) next() *envelope.Envelope {
	for {
		e, err := p.read()
		if err != nil {
			p.fail("the client is gone: %v", err)
		}
		if e.Type != envelope.TypeSessionAck {
			return e
		}
	}
}

func (p *peer) read() (*envelope.Envelope, error) {
	_, raw, err := p.ws.ReadMessage()
	if err != nil {
		return nil, err
	}
	return envelope.Decode(raw, envelope.DefaultLimits())
}

func (p *peer) expect(want envelope.Type) *envelope.Envelope {
	e := p.next()
	if e.Type != want {
		p.fail("the client says %s where %s was due", e.Type, want)
	}
	return e
}

// end waits until the client has left.
func (p *peer) end() {
	for {
		if _, _, err := p.ws.ReadMessage(); err != nil {
			return
		}
	}
}

// say sends an envelope that answers to. seq 0 is none.
func (p *peer) say(seq uint64, to *envelope.Envelope, job envelope.JobID, t envelope.Type, payload any) {
	raw := frame(p.t, seq, to, job, t, payload)
	if err := p.ws.WriteMessage(websocket.TextMessage, raw); err != nil {
		p.fail("write: %v", err)
	}
}

func frame(t *testing.T, seq uint64, to *envelope.Envelope, job envelope.JobID, typ envelope.Type, payload any) []byte {
	e, err := envelope.New(typ, payload)
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
	e.EventSeq, e.JobID, e.SessionID = seq, job, sessionID
	if to != nil {
		e.CorrelationID = to.ID
	}
	raw, err := e.Encode()
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
	return raw
}

// open accepts a session.
func (p *peer) open(token string) {
	p.say(0, p.expect(envelope.TypeSessionOpen), "", envelope.TypeSessionAccepted, envelope.SessionAccepted{
		SessionID: sessionID, Runtime: envelope.Runtime{Kind: "test", Version: "1"}, ResumeToken: token,
	})
}

// resume accepts a resume that must come with token and last, and hands out successor.
func (p *peer) resume(token string, last uint64, successor string) {
	p.grant(p.askedToResume(token, last), last, successor)
}

func (p *peer) askedToResume(token string, last uint64) *envelope.Envelope {
	e := p.expect(envelope.TypeSessionResume)
	asked, err := envelope.DecodePayload[envelope.SessionResume](e)
	if err != nil {
		p.fail("%v", err)
	}
	if asked.ResumeToken != token || asked.LastEventSeq != last {
		p.fail("resumed with %s after %d, not %s after %d", asked.ResumeToken, asked.LastEventSeq, token, last)
	}
	return e
}

func (p *peer) grant(to *envelope.Envelope, last uint64, successor string) {
	p.say(0, to, "", envelope.TypeSessionResumed, envelope.SessionResumed{
		SessionID: sessionID, ResumeToken: successor, ReplayedFrom: last, Replayed: true,
	})
}

func (p *peer) reject(to *envelope.Envelope, code envelope.Code) {
	p.say(0, to, "", envelope.TypeSessionRejected, envelope.SessionRejected{Code: code, Message: "no"})
}

// fence answers the message that asks where the replay ends.
func (p *peer) fence(seq uint64) {
	e := p.expect(envelope.TypeCancel)
	asked, err := envelope.DecodePayload[envelope.Cancel](e)
	if err != nil {
		p.fail("%v", err)
	}
	p.say(seq, e, "", envelope.TypeCancelRefused,
		envelope.CancelRefused{TargetID: asked.TargetID, Reason: "malformed job id"})
}

func (p *peer) accepted(seq uint64, invoke *envelope.Envelope) {
	p.say(seq, invoke, jobID, envelope.TypeJobAccepted, envelope.JobAccepted{JobID: jobID})
}

func (p *peer) progress(seq uint64, invoke *envelope.Envelope, n float64) {
	p.say(seq, invoke, jobID, envelope.TypeJobProgress, envelope.JobProgress{Current: n})
}

func (p *peer) completed(seq uint64, invoke *envelope.Envelope, value string) {
	p.say(seq, invoke, jobID, envelope.TypeJobCompleted, envelope.JobCompleted{Value: []byte(value)})
}

// closed ends the connection as an edge does after session.close.
func (p *peer) closed() {
	p.expect(envelope.TypeSessionClose)
	p.sayGoodbye(websocket.CloseNormalClosure)
}

func (p *peer) sayGoodbye(code int) {
	_ = p.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, "bye"), time.Now().Add(time.Second))
	p.end()
}

// config is for tests: short pauses, no patience.
func config(urls ...string) client.Config {
	return client.Config{
		URLs: urls, Token: "secret",
		Reconnect: client.Reconnect{MinDelay: time.Millisecond, MaxDelay: 5 * time.Millisecond, MaxWait: 10 * time.Second},
	}
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func dial(t *testing.T, cfg client.Config) *client.Session {
	t.Helper()
	s, err := client.Dial(testContext(t), cfg)
	require.NoError(t, err)
	t.Cleanup(s.Detach)
	return s
}

// types collects the events of a job.
func types(t *testing.T, ctx context.Context, job *client.Job) []envelope.Type {
	t.Helper()
	var all []envelope.Type
	for e, err := range job.Events(ctx) {
		require.NoError(t, err)
		all = append(all, e.Type)
	}
	return all
}
