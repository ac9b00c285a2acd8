package integration_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/internal/wstest"
)

// chunk is the payload of a job.result_chunk.
func chunkOf(t *testing.T, m wstest.Message) (id string, seq int, data string, more bool) {
	t.Helper()
	require.Equal(t, "job.result_chunk", m.Type())
	p := m.Payload()
	seq64, _ := p["chunk_seq"].(float64)
	data, _ = p["data"].(string)
	if p["encoding"] == "base64" {
		raw, err := base64.StdEncoding.DecodeString(data)
		require.NoError(t, err)
		data = string(raw)
	}
	return p["result_id"].(string), int(seq64), data, p["more"].(bool)
}

// streamed reads a job's chunks and its end, and returns what they come to.
func streamed(t *testing.T, p *wstest.Peer, from int) (text string, done map[string]any) {
	t.Helper()
	for next := from; ; next++ {
		m := p.Next()
		if m.Type() == "job.completed" {
			return text, m.Payload()
		}
		_, seq, data, more := chunkOf(t, m)
		require.Equal(t, next, seq)
		text += data
		if !more {
			done = p.Expect("job.completed").Payload()
			return text, done
		}
	}
}

func TestRS3ChunksInOrderThenTheEnd(t *testing.T) {
	_, e := newStack(t)
	e.knows(t, "chunks")
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	for _, encoding := range []string{"utf8", "base64"} {
		p.Invoke("chunks", obj{"parts": []string{"Part one. ", "Part two."}, "encoding": encoding})
		p.Expect("job.accepted")
		p.Expect("job.started")
		id, seq, data, more := chunkOf(t, p.Next())
		require.NotEmpty(t, id)
		require.Equal(t, []any{0, "Part one. ", true}, []any{seq, data, more})
		text, done := streamed(t, p, 1)
		require.Equal(t, "Part two.", text)
		require.Equal(t, obj{"result_id": id, "result_size": 19.0}, done)
	}
}

// A chunk that breaks a rule is not sent, and the job fails with its code, in the codes of the session's vocabulary.
func TestRS4ABrokenStreamFailsTheJob(t *testing.T) {
	_, e := newStack(t)
	e.knows(t, "chunks")
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	for rule, want := range map[string]struct {
		code   string
		chunks int
	}{
		"empty_id":    {"INVALID_ARGUMENT", 0},
		"first_not_0": {"FAILED_PRECONDITION", 0},
		"other_id":    {"FAILED_PRECONDITION", 2},
		"skip":        {"OUT_OF_RANGE", 2},
		"after_last":  {"FAILED_PRECONDITION", 2},
		"too_long":    {"INTERNAL", 2},
		"no_last":     {"FAILED_PRECONDITION", 2},
	} {
		p.Invoke("chunks", obj{"parts": []string{"a", "b"}, "break": rule})
		events := p.Until("job.failed")
		require.Equal(t, want.code, last(events).Payload()["code"], rule)
		require.Len(t, events, 3+want.chunks, rule)
	}
}

// A result of many chunks, in the middle of which its reader is cut off and goes on at another edge.
func TestRS6AStreamedResultGoesOnElsewhere(t *testing.T) {
	const parts, size = 400, 3000
	c := newCluster(t)
	c.worker("worker-1", nil)
	first, second := c.edge("edge-1", nil), c.edge("edge-2", nil)
	first.knows(t, "chunks")
	p := wstest.Dial(t, first.url)
	accepted := p.Open(aliceToken)
	p.Invoke("chunks", obj{"count": parts, "bytes": size})
	p.Expect("job.accepted")
	p.Expect("job.started")
	var text strings.Builder
	seen := 0
	for range 100 {
		m := p.Next()
		_, seq, data, _ := chunkOf(t, m)
		require.Equal(t, seen, seq)
		text.WriteString(data)
		seen++
	}
	p.Drop()
	q := wstest.Dial(t, second.url)
	q.Resume(token(accepted), 2+seen)
	rest, done := streamed(t, q, seen)
	text.WriteString(rest)
	require.Equal(t, strings.Repeat(strings.Repeat("0123456789abcdef", size/16+1)[:size], parts), text.String())
	require.EqualValues(t, parts*size, done["result_size"])
}
