package integration_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/internal/wstest"
)

// seen reads up to the end of a job and returns all frames, the answer to the handshake first.
func seen(p *wstest.Peer) [][]byte {
	p.Until("job.completed")
	return slices.Clone(p.Raw)
}

// replayed expects that frames come again as they were, and then the event that says so, with the number after last.
func replayed(t *testing.T, p *wstest.Peer, request string, frames [][]byte, last int) {
	t.Helper()
	from := len(p.Raw)
	for range frames {
		p.Next()
	}
	for i, frame := range p.Raw[from:] {
		require.True(t, bytes.Equal(frames[i], frame), "%s\n%s", frames[i], frame)
	}
	end := p.Expect("event.emit")
	require.Equal(t, complete, end.Payload()["name"])
	require.Equal(t, request, end["correlation_id"])
	require.EqualValues(t, last+1, end["event_seq"])
}

func decoded(t *testing.T, frame []byte) (m wstest.Message) {
	t.Helper()
	require.NoError(t, json.Unmarshal(frame, &m))
	return m
}

func idAt(t *testing.T, frames [][]byte, n int) string {
	t.Helper()
	return decoded(t, frames[n]).Str("id")
}

// TestRE10TheOlderResumeShowsAgainWhatWasShown: after any message, with the bytes and the numbers that it had.
func TestRE10TheOlderResumeShowsAgainWhatWasShown(t *testing.T) {
	_, _, p, _ := session(t)
	p.Invoke("count", map[string]any{"to": 5})
	frames := seen(p)
	last := len(frames) - 1
	for _, after := range []int{1, 4, last} {
		id := p.Send("resume", map[string]any{"after_message_id": idAt(t, frames, after)})
		replayed(t, p, id, frames[after+1:last+1], last)
		last++ // the event that ended it is a message like others
		frames = append(frames, p.Raw[len(p.Raw)-1])
	}
	p.Invoke("echo", "goes on")
	require.Equal(t, "goes on", p.Until("job.completed")[2].Payload()["value"])
}

// TestRE10AnotherEdgeReplaysFromTheLog: what the client has acknowledged can be had again, too, and on an edge that has never
// shown it.
func TestRE10AnotherEdgeReplaysFromTheLog(t *testing.T) {
	c, _, p, accepted := session(t)
	other := c.edge("edge-2", nil)
	p.Invoke("count", map[string]any{"to": 300})
	frames := seen(p)
	last := len(frames) - 1
	p.Send("session.ack", map[string]any{"last_processed_seq": last})
	p.Quiet()
	p.Drop()
	q := wstest.Dial(t, other.url)
	q.Resume(token(accepted), last)
	id := q.Send("resume", map[string]any{"after_message_id": idAt(t, frames, 2)})
	replayed(t, q, id, frames[3:], last)
}

// TestRE10WhatIsNewWaitsForTheEndOfTheReplay: nothing comes between.
func TestRE10WhatIsNewWaitsForTheEndOfTheReplay(t *testing.T) {
	_, _, p, _ := session(t)
	p.Invoke("count", map[string]any{"to": 500})
	frames := seen(p)
	p.Invoke("count", map[string]any{"to": 200})
	p.Send("resume", map[string]any{"after_message_id": idAt(t, frames, 1)})
	p.Until("event.emit")
	var numbers []int // that came since
	for _, frame := range p.Raw[len(frames):] {
		numbers = append(numbers, int(decoded(t, frame)["event_seq"].(float64)))
	}
	back := slices.Index(numbers, 2)
	require.GreaterOrEqual(t, back, 0)
	for i, n := range numbers[back:] {
		require.Equal(t, 2+i, n)
	}
	for i, n := range numbers[:back] { // of the second job, before the resume was read: these came twice
		require.Equal(t, len(frames)+i, n)
	}
}

// TestRE10AFullAckWindowDoesNotHoldUpAReplay: what it shows has been let through once.
func TestRE10AFullAckWindowDoesNotHoldUpAReplay(t *testing.T) {
	c, _, _, _ := session(t)
	e := c.edge("narrow", func(cfg *edge.Config) { cfg.AckWindow = 4 })
	e.knows(t, "count")
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	p.Invoke("count", map[string]any{"to": 20})
	for range 4 {
		p.Next()
	}
	frames := slices.Clone(p.Raw)
	p.Send("resume", map[string]any{"after_message_id": idAt(t, frames, 1)})
	for _, frame := range frames[2:] {
		p.Next()
		require.Equal(t, string(frame), string(p.Raw[len(p.Raw)-1]))
	}
	p.Send("session.ack", map[string]any{"last_processed_seq": 4})
	require.EqualValues(t, 5, p.Next()["event_seq"])
}

func TestRE10OpenStreamsComeFirst(t *testing.T) {
	_, e, p, _ := session(t)
	e.knows(t, "stream")
	p.Invoke("stream", map[string]any{"kind": "text", "chunks": 3})
	frames := seen(p)
	last := len(frames) - 1
	opening := -1
	for i, frame := range frames {
		if decoded(t, frame).Type() == "stream.open" {
			opening = i
		}
	}
	after := opening + 2 // the second chunk
	id := p.Send("resume", map[string]any{"after_message_id": idAt(t, frames, after), "include_open_streams": true})
	replayed(t, p, id, append([][]byte{frames[opening]}, frames[after+1:]...), last)
	id = p.Send("resume", map[string]any{"after_message_id": idAt(t, frames, last), "include_open_streams": true})
	replayed(t, p, id, [][]byte{p.Raw[len(p.Raw)-1]}, last+1)
}

func TestRE10Refusals(t *testing.T) {
	c, e, p, _ := session(t)
	p.Invoke("echo", 1)
	frames := seen(p)
	stranger := wstest.Dial(t, e.url)
	stranger.Open(bobToken)
	for name, tt := range map[string]struct {
		who     *wstest.Peer
		payload map[string]any
		code    string
	}{
		"nothing named":          {p, map[string]any{}, "INVALID_ARGUMENT"},
		"both named":             {p, map[string]any{"after_message_id": idAt(t, frames, 1), "checkpoint_id": "x"}, "INVALID_ARGUMENT"},
		"no such message":        {p, map[string]any{"after_message_id": "msg_never"}, "DATA_LOSS"},
		"no such checkpoint":     {p, map[string]any{"checkpoint_id": "msg_never"}, "DATA_LOSS"},
		"of somebody else":       {stranger, map[string]any{"after_message_id": idAt(t, frames, 1)}, "DATA_LOSS"},
		"what was not a message": {p, map[string]any{"after_message_id": "msg_\u0000"}, "DATA_LOSS"},
	} {
		id := tt.who.Send("resume", tt.payload)
		nack := tt.who.Expect("nack")
		require.Equal(t, tt.code, nack.Payload()["code"], name)
		require.Equal(t, id, nack["correlation_id"], name)
		require.Contains(t, nack, "event_seq", name)
	}
	stream, err := c.jetStream().Stream(t.Context(), "ARCP_LOG_0")
	require.NoError(t, err)
	require.NoError(t, stream.Purge(t.Context(), natsjs.WithPurgeKeep(1)))
	p.Send("resume", map[string]any{"after_message_id": idAt(t, frames, 1)})
	require.Equal(t, "DATA_LOSS", p.Expect("nack").Payload()["code"])
}
