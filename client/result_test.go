package client_test

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/envelope"
)

// chunk says a piece of a result.
func (p *peer) chunk(seq uint64, invoke *envelope.Envelope, n uint64, data string, more bool) {
	p.say(seq, invoke, jobID, envelope.TypeJobResultChunk, envelope.JobResultChunk{
		ResultID: "r", ChunkSeq: n, Data: data, Encoding: envelope.EncodingUTF8, More: more,
	})
}

func TestResultReader(t *testing.T) {
	ctx := testContext(t)
	done := func(p *peer, seq uint64, invoke *envelope.Envelope) {
		p.say(seq, invoke, jobID, envelope.TypeJobCompleted, envelope.JobCompleted{ResultID: "r"})
	}
	for name, c := range map[string]struct {
		says func(p *peer, invoke *envelope.Envelope)
		text string
		err  error
	}{
		"a result": {func(p *peer, invoke *envelope.Envelope) {
			p.chunk(2, invoke, 0, "ab", true)
			p.chunk(3, invoke, 1, "cd", false)
			done(p, 4, invoke)
		}, "abcd", nil},
		"a value": {func(p *peer, invoke *envelope.Envelope) { p.completed(2, invoke, `1`) }, "", nil},
		"a gap": {func(p *peer, invoke *envelope.Envelope) {
			p.chunk(2, invoke, 0, "ab", true)
			p.chunk(3, invoke, 2, "cd", false)
		}, "ab", &envelope.Error{Code: envelope.CodeDataLoss}},
		"another attempt": {func(p *peer, invoke *envelope.Envelope) {
			p.say(2, invoke, jobID, envelope.TypeJobStarted, envelope.JobStarted{Attempt: 1})
			p.chunk(3, invoke, 0, "ab", true)
			p.say(4, invoke, jobID, envelope.TypeJobStarted, envelope.JobStarted{Attempt: 2})
		}, "ab", client.ErrResultRestarted},
		"a failure": {func(p *peer, invoke *envelope.Envelope) {
			p.chunk(2, invoke, 0, "ab", true)
			p.say(3, invoke, jobID, envelope.TypeJobFailed, envelope.JobFailed{Code: envelope.CodeNotFound, Message: "no"})
		}, "ab", &envelope.Error{Code: envelope.CodeNotFound}},
	} {
		t.Run(name, func(t *testing.T) {
			url := newEdge(t, func(p *peer) {
				p.open("t1")
				invoke := p.expect(envelope.TypeToolInvoke)
				p.accepted(1, invoke)
				c.says(p, invoke)
				p.closed()
			})
			s := dial(t, config(url))
			job, err := s.Invoke(ctx, "chunks", nil)
			require.NoError(t, err)
			r := job.ResultReader(ctx)
			text, err := io.ReadAll(r)
			require.Equal(t, c.text, string(text))
			if c.err == nil {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, c.err)
			}
			require.NoError(t, r.Close())
			_, err = r.Read(make([]byte, 1))
			require.Error(t, err)
			require.NoError(t, s.Close(ctx))
		})
	}
}

// TestRS6OnlyTheLastAttemptIsTheResult: ReadResult waits for it. A reader of an earlier one is told, and a new one reads on.
func TestRS6OnlyTheLastAttemptIsTheResult(t *testing.T) {
	ctx := testContext(t)
	invoke := func() *client.Job {
		s := dial(t, config(newEdge(t, func(p *peer) {
			p.open("t1")
			invoke := p.expect(envelope.TypeToolInvoke)
			p.accepted(1, invoke)
			p.say(2, invoke, jobID, envelope.TypeJobStarted, envelope.JobStarted{Attempt: 1})
			p.chunk(3, invoke, 0, "lost ", true)
			p.chunk(4, invoke, 1, "too", true)
			p.say(5, invoke, jobID, envelope.TypeJobStarted, envelope.JobStarted{Attempt: 2})
			p.say(6, invoke, jobID, envelope.TypeJobStarted, envelope.JobStarted{Attempt: 3})
			p.chunk(7, invoke, 0, "kept", false)
			p.say(8, invoke, jobID, envelope.TypeJobCompleted, envelope.JobCompleted{ResultID: "r"})
			p.end()
		})))
		job, err := s.Invoke(ctx, "chunks", nil)
		require.NoError(t, err)
		return job
	}
	whole, err := invoke().ReadResult(ctx)
	require.NoError(t, err)
	require.Equal(t, "kept", string(whole))

	job := invoke()
	first := job.ResultReader(ctx)
	part, err := io.ReadAll(first)
	require.ErrorIs(t, err, client.ErrResultRestarted)
	require.Equal(t, "lost too", string(part))
	require.NoError(t, first.Close())
	second := job.ResultReader(ctx)
	part, err = io.ReadAll(second)
	require.NoError(t, err)
	require.Equal(t, "kept", string(part))
	require.NoError(t, second.Close())
}
