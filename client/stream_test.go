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

// TestAStreamIsSaidAgain: the log did not take a chunk, so the one after it came too early; both are said again, and what
// was refused in between counts no more.
func TestAStreamIsSaidAgain(t *testing.T) {
	ctx := t.Context()
	url := serve(t, func(p *peer) {
		p.open("t1")
		p.expect(envelope.TypeStreamOpen)
		first, second := p.expect(envelope.TypeStreamChunk), p.expect(envelope.TypeStreamChunk)
		end := p.expect(envelope.TypeStreamClose)
		p.say(0, first, "", envelope.TypeNack, envelope.Nack{Code: envelope.CodeUnavailable, Message: "m", Details: []byte(`{"retryable":true}`)})
		p.say(1, second, "", envelope.TypeNack, envelope.Nack{Code: envelope.CodeOutOfRange, Message: "m"})
		p.say(2, end, "", envelope.TypeNack, envelope.Nack{Code: envelope.CodeOutOfRange, Message: "m"})
		p.say(0, p.remember(envelope.TypePing), "", envelope.TypePong, envelope.Pong{})
		p.expect(envelope.TypeStreamOpen)
		for _, before := range []*envelope.Envelope{first, second, end} {
			if again := p.next(); again.ID != before.ID || string(again.Payload) != string(before.Payload) {
				p.fail("%+v was said again as %+v", before, again)
			}
		}
		p.fence(3)
		p.expect(envelope.TypeStreamOpen)
		refused := p.expect(envelope.TypeStreamClose)
		p.say(4, refused, "", envelope.TypeNack, envelope.Nack{Code: envelope.CodePermissionDenied, Message: "not your job"})
		p.say(0, p.remember(envelope.TypePing), "", envelope.TypePong, envelope.Pong{})
		p.closed()
	})
	s := dial(t, config(url))
	out, err := s.OpenStream(ctx, jobID, envelope.StreamOpen{Kind: envelope.StreamText})
	require.NoError(t, err)
	require.NoError(t, out.Send(ctx, "a"))
	require.NoError(t, out.Send(ctx, "b"))
	require.NoError(t, out.Close(ctx))
	out, err = s.OpenStream(ctx, jobID, envelope.StreamOpen{Kind: envelope.StreamText})
	require.NoError(t, err)
	require.Equal(t, envelope.CodePermissionDenied, envelope.CodeOf(out.Close(ctx)))
	require.NoError(t, s.Close(ctx))
}
