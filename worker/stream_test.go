package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// streamEvents are the messages of streams among events, as lines: the stream's number, the type, and what it says.
func streamEvents(t *testing.T, events []said) (lines []string) {
	ids := map[envelope.StreamID]int{}
	for _, e := range events {
		if e.env == nil || !strings.HasPrefix(string(e.env.Type), "stream.") {
			continue
		}
		if _, known := ids[e.env.StreamID]; !known {
			ids[e.env.StreamID] = len(ids) + 1
		}
		lines = append(lines, fmt.Sprintf("%d %s %s", ids[e.env.StreamID], e.env.Type, e.env.Payload))
	}
	return lines
}

func TestStreamsOfEveryKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
			text, err := job.OpenStream(ctx, envelope.StreamText, WithContentType("text/plain"))
			require.NoError(t, err)
			_, err = fmt.Fprint(text.Writer(ctx), "grün")
			require.NoError(t, err)
			binary, err := job.OpenStream(ctx, envelope.StreamBinary)
			require.NoError(t, err)
			require.NoError(t, binary.Send(ctx, []byte{0, 1}))
			thoughts, err := job.OpenStream(ctx, envelope.StreamThought)
			require.NoError(t, err)
			require.NoError(t, thoughts.Think(ctx, "assistant", "hm", true))
			require.ErrorIs(t, binary.Send(ctx, 1), &envelope.Error{Code: envelope.CodeInvalidArgument})
			require.NoError(t, binary.Send(ctx, []byte{2}), "what was refused has no number")
			require.NoError(t, text.Close(ctx))
			require.NoError(t, text.Close(ctx))
			require.ErrorIs(t, text.Send(ctx, "late"), ErrStreamEnded)
			require.NoError(t, thoughts.Fail(ctx, envelope.Errorf(envelope.CodeDataLoss, "lost it")))
			return nil, nil
		})
		all := b.await(b.submit(`{}`, nil), envelope.TypeJobCompleted)
		require.Equal(t, []string{
			`1 stream.open {"kind":"text","content_type":"text/plain"}`,
			`1 stream.chunk {"sequence":0,"data":"grün"}`,
			`2 stream.open {"kind":"binary"}`,
			`2 stream.chunk {"sequence":0,"data":"AAE=","sha256":"b413f47d13ee2fe6c845b2ee141af81de858df4ec549a58b7970bb96645bc8d2"}`,
			`3 stream.open {"kind":"thought"}`,
			`3 stream.chunk {"sequence":0,"data":"hm","redacted":true,"role":"assistant"}`,
			`2 stream.chunk {"sequence":1,"data":"Ag==","sha256":"dbc1b4c900ffe48d575b5da5c638040125f65db0fe3e24494b76ea986457d986"}`,
			`1 stream.close {"final_sequence":0}`,
			`3 stream.error {"code":"DATA_LOSS","message":"lost it"}`,
			`2 stream.close {"final_sequence":1}`, // open when the handler returned
		}, streamEvents(t, all))
		w.end(t)
	})
}

func TestOpenStreamsEndWithTheirJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
			for range maxStreams {
				_, err := job.OpenStream(ctx, envelope.StreamLog)
				require.NoError(t, err)
			}
			_, err := job.OpenStream(ctx, envelope.StreamLog)
			require.ErrorIs(t, err, &envelope.Error{Code: envelope.CodeResourceExhausted})
			return nil, errors.New("no more")
		})
		lines := streamEvents(t, b.await(b.submit(`{}`, nil), envelope.TypeJobFailed))
		require.Len(t, lines, 2*maxStreams)
		require.Equal(t, `1 stream.error {"code":"INTERNAL","message":"no more"}`, lines[maxStreams])
		require.Equal(t, fmt.Sprint(maxStreams, ` stream.error {"code":"INTERNAL","message":"no more"}`), lines[2*maxStreams-1])
		w.end(t)
	})
}

// tell puts a client's message on the input lane of a job.
func (b *bench) tell(inv *record.Record, session envelope.SessionID, stream envelope.StreamID, typ envelope.Type, payload any) {
	e, err := envelope.New(typ, payload)
	require.NoError(b.t, err)
	e.SessionID, e.StreamID = session, stream
	r, err := record.New(subjects.JobInput(inv.Subject), e)
	require.NoError(b.t, err)
	b.put(r)
}

func TestCX6AStreamThatTheClientCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		opened := make(chan envelope.StreamID)
		w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
			s, err := job.OpenStream(ctx, envelope.StreamText)
			require.NoError(t, err)
			opened <- s.ID()
			<-s.Cancelled()
			require.ErrorIs(t, s.Send(ctx, "more"), ErrStreamCancelled)
			require.ErrorIs(t, s.Close(ctx), ErrStreamCancelled)
			require.NoError(t, ctx.Err(), "the job goes on")
			return 1, nil
		})
		inv := b.submit(`{}`, nil)
		id := <-opened
		b.tell(inv, "sess_1", "", envelope.TypeCancel, &envelope.Cancel{Target: envelope.TargetStream, TargetID: "str_another"})
		b.tell(inv, "sess_1", "", envelope.TypeCancel, &envelope.Cancel{Target: envelope.TargetStream, TargetID: string(id)})
		require.Equal(t, []string{
			`1 stream.open {"kind":"text"}`, `1 stream.error {"code":"CANCELLED","message":"cancelled by the client"}`,
		}, streamEvents(t, b.await(inv, envelope.TypeJobCompleted)))
		w.end(t)
	})
}

// TestInputIsWhatTheClientsSay: each message once and in order, streams of two sessions apart, and what is broken is said.
func TestInputIsWhatTheClientsSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
			var lines []string
			for m, err := range job.Input(ctx) {
				require.NoError(t, err)
				switch data, _ := m.Bytes(); {
				case m.Open != nil:
					lines = append(lines, fmt.Sprint(m.SessionID, " open ", m.Kind))
				case m.Chunk != nil:
					lines = append(lines, fmt.Sprint(m.SessionID, " ", string(data)))
				case m.Err != nil:
					lines = append(lines, fmt.Sprint(m.SessionID, " ", m.Err.Code))
				default:
					return append(lines, fmt.Sprint(m.SessionID, " close")), nil
				}
			}
			return nil, ctx.Err()
		})
		inv := b.submit(`{}`, nil)
		chunk := func(n uint64, data string) *envelope.StreamChunk {
			return &envelope.StreamChunk{Sequence: n, Data: []byte(`"` + data + `"`)}
		}
		b.tell(inv, "sess_1", "str_1", envelope.TypeStreamOpen, &envelope.StreamOpen{Kind: envelope.StreamBinary})
		b.tell(inv, "sess_2", "str_1", envelope.TypeStreamOpen, &envelope.StreamOpen{Kind: envelope.StreamText})
		b.tell(inv, "sess_1", "str_1", envelope.TypeStreamChunk, chunk(0, "YQ=="))
		b.tell(inv, "sess_1", "str_1", envelope.TypeStreamChunk, chunk(0, "YQ==")) // sent again after a cut
		b.tell(inv, "sess_2", "str_1", envelope.TypeStreamChunk, chunk(1, "gap"))
		b.tell(inv, "sess_2", "str_1", envelope.TypeStreamChunk, chunk(2, "after"))
		b.tell(inv, "sess_1", "str_1", envelope.TypeStreamChunk, chunk(1, "Yg=="))
		b.tell(inv, "sess_1", "str_1", envelope.TypeStreamClose, &envelope.StreamClose{})
		all := b.await(inv, envelope.TypeJobCompleted)
		require.JSONEq(t, `["sess_1 open binary","sess_2 open text","sess_1 a","sess_2 DATA_LOSS","sess_1 b","sess_1 close"]`,
			string(payload[envelope.JobCompleted](t, all[len(all)-1]).Value))
		w.end(t)
	})
}
