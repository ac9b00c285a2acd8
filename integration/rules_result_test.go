package integration_test

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/wstest"
	"github.com/arcp-nats/arcp/worker"
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

// TestRS2TheSentinelInPlaceOfAValue: of a job that has sent no chunk, as it is (RS-5).
func TestRS2TheSentinelInPlaceOfAValue(t *testing.T) {
	_, _, p, _ := session(t)
	inner := obj{"result_id": "r", "result_size": 7, "summary": "s"}
	p.Invoke("echo", obj{"$arcp_streamed_result": inner})
	require.Equal(t, wstest.Message{"result_id": "r", "result_size": 7.0, "summary": "s"}, last(p.Until("job.completed")).Payload())
	p.Invoke("echo", obj{"$arcp_streamed_result": inner, "more": 1})
	require.Contains(t, last(p.Until("job.completed")).Payload(), "value", "it has another member, so it is one")
}

// assemble puts together the result among frames of a session.
func assemble(t *testing.T, frames ...[]byte) string {
	t.Helper()
	var a envelope.ResultAssembler
	var whole strings.Builder
	for _, frame := range frames {
		e, err := envelope.Decode(frame, envelope.DefaultLimits())
		require.NoError(t, err)
		piece, err := a.Take(e)
		require.NoError(t, err)
		require.False(t, piece.Restart)
		whole.Write(piece.Data)
	}
	return whole.String()
}

// writes is a tool that writes what it is given, as it comes.
func writes(parts <-chan string) worker.Handler {
	return func(ctx context.Context, job *worker.Job) (any, error) {
		w := job.Result(ctx, worker.AsText())
		for {
			select {
			case part, more := <-parts:
				if !more {
					return nil, w.Close()
				}
				if _, err := io.WriteString(w, part); err != nil {
					return nil, err
				}
				if err := w.Flush(); err != nil {
					return nil, err
				}
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
	}
}

// TestRS6AWatchedResultOverSeveralEdges: a session that submitted a job, and one that watches it from another edge, change
// edges in the middle of its result, and get the whole of it.
func TestRS6AWatchedResultOverSeveralEdges(t *testing.T) {
	c := newCluster(t)
	parts := make(chan string)
	c.worker("worker-1", func(w *worker.Worker) { require.NoError(t, w.Handle("writes", "1", writes(parts), worker.Options{})) })
	first, second := c.edge("edge-1", nil), c.edge("edge-2", nil)
	first.knows(t, "writes")
	second.knows(t, "writes")
	p, q := wstest.Dial(t, first.url), wstest.Dial(t, second.url)
	accepted, watching := p.Open(aliceToken), q.Open(aliceToken)
	p.Invoke("writes", nil, "idempotency_key", "k")
	p.Expect("job.accepted")
	p.Expect("job.started")
	q.Invoke("writes", nil, "idempotency_key", "k")
	q.Expect("job.accepted")
	parts <- "Grüße"
	p.Expect("job.result_chunk")
	q.Expect("job.result_chunk")
	p.Drop()
	q.Drop()
	parts <- " über"
	parts <- " zwei"

	p2, q2 := wstest.Dial(t, second.url), wstest.Dial(t, first.url)
	p2.Resume(token(accepted), 3)
	q2.Resume(token(watching), 2)
	for _, peer := range []*wstest.Peer{p2, q2} {
		for range 2 {
			peer.Expect("job.result_chunk")
		}
	}
	parts <- " Server"
	close(parts)
	const want = "Grüße über zwei Server"
	for _, peers := range [][2]*wstest.Peer{{p, p2}, {q, q2}} {
		require.EqualValues(t, len(want), last(peers[1].Until("job.completed")).Payload()["result_size"])
		require.Equal(t, want, assemble(t, append(peers[0].Raw[1:], peers[1].Raw[1:]...)...))
	}
}

// TestRS6ALostWorkersResultBeginsAnew: the next attempt makes it from its beginning, and only that one's is the result, to
// who has read of the first one and to who has not.
func TestRS6ALostWorkersResultBeginsAnew(t *testing.T) {
	c := newCluster(t)
	tool := func(ctx context.Context, job *worker.Job) (any, error) {
		w := job.Result(ctx)
		if job.Attempt() == 1 {
			_, err := io.WriteString(w, "half of it")
			err = errors.Join(err, w.Flush())
			<-ctx.Done()
			return nil, errors.Join(err, w.Close())
		}
		_, err := io.WriteString(w, "all of it")
		return nil, err
	}
	add := func(w *worker.Worker) { require.NoError(t, w.Handle("halves", "1", tool, worker.Options{})) }
	one := c.worker("worker-1", add)
	e := c.edge("edge-1", nil)
	e.knows(t, "halves")
	dial := func() *client.Session {
		s, err := client.Dial(t.Context(), client.Config{URLs: []string{e.url}, Token: aliceToken})
		require.NoError(t, err)
		t.Cleanup(s.Detach)
		return s
	}
	job, err := dial().Invoke(t.Context(), "halves", nil, client.WithIdempotencyKey("k"))
	require.NoError(t, err)
	first := job.ResultReader(t.Context())
	half := make([]byte, 10)
	_, err = io.ReadFull(first, half)
	require.NoError(t, err)
	require.Equal(t, "half of it", string(half))
	watched, err := dial().Invoke(t.Context(), "halves", nil, client.WithIdempotencyKey("k"))
	require.NoError(t, err)
	_, err = watched.Accepted(t.Context())
	require.NoError(t, err)

	c.worker("worker-2", add)
	one.Stop()
	_, err = first.Read(half)
	require.ErrorIs(t, err, client.ErrResultRestarted)
	require.NoError(t, first.Close())
	for _, j := range []*client.Job{job, watched} {
		whole, err := j.ReadResult(t.Context())
		require.NoError(t, err)
		require.Equal(t, "all of it", string(whole))
	}
}

// TestRS6TenThousandChunks: come in order, and whole.
func TestRS6TenThousandChunks(t *testing.T) {
	_, e := newStack(t)
	e.knows(t, "chunks")
	s, err := client.Dial(t.Context(), client.Config{URLs: []string{e.url}, Token: aliceToken, Backpressure: true})
	require.NoError(t, err)
	defer s.Detach()
	const count, size = 10_000, 320
	job, err := s.Invoke(t.Context(), "chunks", obj{"count": count, "bytes": size, "encoding": "base64"})
	require.NoError(t, err)
	whole, err := job.ReadResult(t.Context())
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("0123456789abcdef", count*size/16), string(whole))
	require.EqualValues(t, count+3, s.Stats().Events)
}
