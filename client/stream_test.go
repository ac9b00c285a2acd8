package client_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/envelope"
)

func TestOutStream(t *testing.T) {
	ctx := testContext(t)
	url := newEdge(t, func(p *peer) {
		p.open("t1")
		open := p.expect(envelope.TypeStreamOpen)
		for n, want := range []string{"AAE=", "Ag=="} {
			e := p.expect(envelope.TypeStreamChunk)
			chunk, err := envelope.DecodePayload[envelope.StreamChunk](e)
			if err != nil || string(chunk.Data) != `"`+want+`"` || chunk.Sequence != uint64(n) || len(chunk.SHA256) != 64 ||
				e.StreamID != open.StreamID || e.JobID != jobID || e.SessionID != sessionID {
				p.fail("%+v %+v %v", e, chunk, err)
			}
		}
		end, err := envelope.DecodePayload[envelope.StreamClose](p.expect(envelope.TypeStreamClose))
		if err != nil || *end.FinalSequence != 1 {
			p.fail("%+v %v", end, err)
		}
		p.say(0, p.remember(envelope.TypePing), "", envelope.TypePong, envelope.Pong{})
		p.expect(envelope.TypeStreamOpen)
		p.expect(envelope.TypeStreamError)
		p.say(0, p.remember(envelope.TypePing), "", envelope.TypePong, envelope.Pong{})
		p.closed()
	})
	s := dial(t, config(url))
	out, err := s.OpenStream(ctx, jobID, envelope.StreamOpen{Kind: envelope.StreamBinary})
	require.NoError(t, err)
	require.NoError(t, out.Send(ctx, []byte{0, 1}))
	require.Equal(t, envelope.CodeInvalidArgument, envelope.CodeOf(out.Send(ctx, 1)))
	require.NoError(t, out.Send(ctx, []byte{2}))
	require.NoError(t, out.Close(ctx))
	require.NoError(t, out.Close(ctx))
	require.ErrorIs(t, out.Send(ctx, []byte{3}), client.ErrStreamEnded)
	out, err = s.OpenStream(ctx, "", envelope.StreamOpen{Kind: envelope.StreamText})
	require.NoError(t, err)
	require.NoError(t, out.Fail(ctx, envelope.CodeUnknown, "no more"))
	require.NoError(t, s.Close(ctx))
}
