package integration_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/hello"
)

// linted returns an address that passes what clients of the hello dialect say on to an edge, and back, and has the linter read all of
// it.
func linted(t *testing.T, edge string) string {
	t.Helper()
	target, err := url.Parse(edge)
	require.NoError(t, err)
	var passing sync.WaitGroup
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		passing.Add(1)
		defer passing.Done()
		passOn(t, w, r, edge)
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		passing.Wait()
	})
	through, err := url.Parse(server.URL)
	require.NoError(t, err)
	target.Host = through.Host
	return target.String()
}

// passOn is one connection. Whichever side ends ends the other.
func passOn(t *testing.T, w http.ResponseWriter, r *http.Request, edge string) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	client, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = client.CloseNow() }()
	runtime, _, err := websocket.Dial(ctx, edge, nil)
	if err != nil {
		return
	}
	defer func() { _ = runtime.CloseNow() }()
	client.SetReadLimit(8 << 20)
	runtime.SetReadLimit(8 << 20)

	var mu sync.Mutex
	var linter hello.Linter
	pass := func(from, to *websocket.Conn, read func(text []byte)) {
		defer cancel()
		for {
			kind, text, err := from.Read(ctx)
			if err != nil {
				return
			}
			mu.Lock()
			read(text)
			mu.Unlock()
			if to.Write(ctx, kind, text) != nil {
				return
			}
		}
	}
	var both sync.WaitGroup
	both.Go(func() {
		pass(client, runtime, func(text []byte) {
			if f, err := hello.Decode(text); err == nil && f.Type == hello.TypeHello {
				p, err := hello.DecodePayload[hello.Hello](f)
				assert.NoError(t, err, "%s", text)
				if p.Resume == nil {
					p.Resume = new(hello.Resume)
				}
				linter.Connected(p.Resume.SessionID != "", p.Resume.LastEventSeq)
			}
			linter.Sent(text)
		})
	})
	both.Go(func() {
		pass(runtime, client, func(text []byte) { assert.NoError(t, linter.Received(text), "%s", text) })
	})
	both.Wait()
}
