package client_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/envelope"
)

func TestInvoke(t *testing.T) {
	ctx := testContext(t)
	acks := make(chan uint64, 16)
	url := newEdge(t, func(p *peer) {
		p.open("t1")
		invoke := p.expect(envelope.TypeToolInvoke)
		asked, err := envelope.DecodePayload[envelope.ToolInvoke](invoke)
		if err != nil || asked.Tool != "count" || string(asked.Arguments) != `{"to":2}` || invoke.IdempotencyKey != "k" ||
			invoke.TraceID != "trace" || invoke.SpanID != "span" || string(asked.LeaseRequest.Extra["x"]) != "1" {
			p.fail("invoke: %+v %+v %v", invoke, asked, err)
		}
		p.accepted(1, invoke)
		p.say(2, invoke, jobID, envelope.TypeJobStarted, envelope.JobStarted{Description: "go"})
		p.progress(3, invoke, 1)
		p.completed(4, invoke, `{"counted":2}`)
		for {
			e, err := p.read()
			if err != nil {
				p.fail("%v", err)
			}
			if e.Type == envelope.TypeSessionClose {
				p.sayGoodbye(websocket.CloseNormalClosure)
				return
			}
			ack, err := envelope.DecodePayload[envelope.SessionAck](e)
			if err != nil {
				p.fail("%v", err)
			}
			acks <- ack.LastProcessedSeq
		}
	})
	var seen []envelope.Type
	cfg := config(url)
	cfg.AckEvery = 4
	cfg.OnEnvelope = func(raw []byte, e *envelope.Envelope) {
		require.NotEmpty(t, raw)
		seen = append(seen, e.Type)
	}
	s := dial(t, cfg)
	require.Equal(t, sessionID, s.ID())
	lease := &envelope.Lease{}
	require.NoError(t, lease.UnmarshalJSON([]byte(`{"x":1}`)))
	job, err := s.Invoke(ctx, "count", map[string]int{"to": 2},
		client.WithIdempotencyKey("k"), client.WithTrace("trace", "span"), client.WithLease(lease))
	require.NoError(t, err)
	id, err := job.Accepted(ctx)
	require.NoError(t, err)
	require.Equal(t, jobID, id)
	result, err := job.Wait(ctx)
	require.NoError(t, err)
	require.JSONEq(t, `{"counted":2}`, string(result.Value))
	require.Equal(t, jobID, result.JobID)
	want := []envelope.Type{
		envelope.TypeJobAccepted, envelope.TypeJobStarted, envelope.TypeJobProgress, envelope.TypeJobCompleted,
	}
	require.Equal(t, want, types(t, ctx, job))
	require.Empty(t, types(t, ctx, job), "an event is handed out once")
	require.Equal(t, uint64(4), <-acks)
	require.NoError(t, s.Err())
	require.NoError(t, s.Close(ctx))
	require.ErrorIs(t, s.Err(), client.ErrClosed)
	require.NoError(t, s.Close(ctx), "again")
	require.Equal(t, client.Stats{Events: 4, LastEventSeq: 4}, s.Stats())
	require.Equal(t, append([]envelope.Type{envelope.TypeSessionAccepted}, want...), seen)
	_, err = s.Invoke(ctx, "count", nil)
	require.ErrorIs(t, err, client.ErrClosed)
}

// The first of a few events is acknowledged after AckInterval at the latest.
func TestAckInterval(t *testing.T) {
	acked := make(chan uint64)
	url := newEdge(t, func(p *peer) {
		p.open("t1")
		p.accepted(1, nil)
		e, err := p.read()
		if err != nil || e.Type != envelope.TypeSessionAck {
			p.fail("%v %v", e, err)
		}
		ack, err := envelope.DecodePayload[envelope.SessionAck](e)
		if err != nil {
			p.fail("%v", err)
		}
		acked <- ack.LastProcessedSeq
		p.end()
	})
	cfg := config(url)
	cfg.AckInterval = time.Millisecond
	dial(t, cfg)
	require.Equal(t, uint64(1), <-acked)
}

func TestJobsThatDoNotComplete(t *testing.T) {
	yes := true
	for name, c := range map[string]struct {
		answer func(*peer, *envelope.Envelope)
		want   envelope.Error
	}{
		"failed": {
			func(p *peer, invoke *envelope.Envelope) {
				p.accepted(1, invoke)
				p.say(2, invoke, jobID, envelope.TypeJobFailed,
					envelope.JobFailed{Code: envelope.CodeAborted, Message: "m", Details: []byte(`{"n":1}`), Retryable: &yes})
			},
			envelope.Error{Code: envelope.CodeAborted, Message: "m", Details: []byte(`{"n":1}`), Retryable: &yes},
		},
		"cancelled": {
			func(p *peer, invoke *envelope.Envelope) {
				p.accepted(1, invoke)
				p.say(2, invoke, jobID, envelope.TypeJobCancelled, envelope.JobCancelled{Reason: "enough"})
			},
			envelope.Error{Code: envelope.CodeCancelled, Message: "enough"},
		},
		"nack": {
			func(p *peer, invoke *envelope.Envelope) {
				p.say(0, invoke, "", envelope.TypeNack, envelope.Nack{Code: envelope.CodeUnavailable, Message: "full"})
			},
			envelope.Error{Code: envelope.CodeUnavailable, Message: "full"},
		},
		"refused without an acceptance, open dialect TI-2": {
			func(p *peer, invoke *envelope.Envelope) {
				p.say(1, invoke, jobID, envelope.TypeJobFailed,
					envelope.JobFailed{Code: envelope.CodeInvalidArgument, Message: "bad reference"})
			},
			envelope.Error{Code: envelope.CodeInvalidArgument, Message: "bad reference"},
		},
		"idempotency conflict, open dialect ID-4": {
			func(p *peer, invoke *envelope.Envelope) {
				p.say(1, invoke, "", envelope.TypeJobFailed,
					envelope.JobFailed{Code: envelope.CodeFailedPrecondition, Message: "other request"})
			},
			envelope.Error{Code: envelope.CodeFailedPrecondition, Message: "other request"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := testContext(t)
			url := newEdge(t, func(p *peer) {
				p.open("t1")
				c.answer(p, p.expect(envelope.TypeToolInvoke))
				p.closed()
			})
			s := dial(t, config(url))
			job, err := s.Invoke(ctx, "x", nil)
			require.NoError(t, err)
			_, err = job.Wait(ctx)
			var got *envelope.Error
			require.ErrorAs(t, err, &got)
			require.Equal(t, c.want, *got)
			if _, err := job.Accepted(ctx); err != nil {
				require.ErrorAs(t, err, &got)
				for _, err := range job.Events(ctx) {
					require.ErrorAs(t, err, &got)
				}
			}
			require.NoError(t, s.Close(ctx))
		})
	}
}

func TestPings(t *testing.T) {
	ctx := testContext(t)
	answered := make(chan struct{})
	url := newEdge(t, func(p *peer) {
		p.open("t1")
		ping, err := envelope.DecodePayload[envelope.Ping](p.remember(envelope.TypePing))
		if err != nil {
			p.fail("%v", err)
		}
		p.say(0, p.last, "", envelope.TypePong, envelope.Pong{Nonce: ping.Nonce})
		p.say(0, p.remember(envelope.TypePing), "", envelope.TypePong, envelope.Pong{}) // open dialect HB-1, as it was
		sp, err := envelope.DecodePayload[envelope.SessionPing](p.remember(envelope.TypeSessionPing))
		if err != nil {
			p.fail("%v", err)
		}
		p.say(0, p.last, "", envelope.TypeSessionPong, envelope.SessionPong{PingNonce: sp.Nonce, ReceivedAt: envelope.Now()})
		p.say(0, p.remember(envelope.TypePing), "", envelope.TypeNack, envelope.Nack{Code: envelope.CodeResourceExhausted})
		p.say(0, nil, "", envelope.TypeSessionPing, envelope.SessionPing{Nonce: "n-1", SentAt: envelope.Now()})
		pong, err := envelope.DecodePayload[envelope.SessionPong](p.expect(envelope.TypeSessionPong))
		if err != nil || pong.PingNonce != "n-1" {
			p.fail("pong: %v %v", pong, err)
		}
		close(answered)
		p.closed()
	})
	s := dial(t, config(url))
	rtt, err := s.Ping(ctx)
	require.NoError(t, err)
	require.Positive(t, rtt)
	_, err = s.Ping(ctx)
	require.ErrorIs(t, err, client.ErrWrongNonce)
	rtt, err = s.SessionPing(ctx)
	require.NoError(t, err)
	require.Positive(t, rtt)
	_, err = s.Ping(ctx)
	require.ErrorIs(t, err, &envelope.Error{Code: envelope.CodeResourceExhausted})
	<-answered
	require.NoError(t, s.Close(ctx))
}

func TestCancel(t *testing.T) {
	ctx := testContext(t)
	url := newEdge(t, func(p *peer) {
		p.open("t1")
		e := p.expect(envelope.TypeCancel)
		asked, err := envelope.DecodePayload[envelope.Cancel](e)
		if err != nil || asked.TargetID != string(jobID) || asked.Reason != "why" || *asked.DeadlineMS != 1500 {
			p.fail("cancel: %+v %v", asked, err)
		}
		p.say(1, e, "", envelope.TypeCancelAccepted, envelope.CancelAccepted{TargetID: string(jobID)})
		p.say(2, p.expect(envelope.TypeCancel), "", envelope.TypeCancelRefused,
			envelope.CancelRefused{TargetID: "job_2", Reason: "no such in-flight job"})
		p.say(3, p.expect(envelope.TypeCancel), "", envelope.TypeNack, envelope.Nack{Code: envelope.CodeUnimplemented})
		p.closed()
	})
	s := dial(t, config(url))
	require.NoError(t, s.Cancel(ctx, jobID, "why", 1500*time.Millisecond))
	var refused *client.RefusedError
	require.ErrorAs(t, s.Cancel(ctx, "job_2", "", 0), &refused)
	require.Equal(t, client.RefusedError{Target: "job_2", Reason: "no such in-flight job"}, *refused)
	require.ErrorIs(t, s.Cancel(ctx, "job_3", "", 0), &envelope.Error{Code: envelope.CodeUnimplemented})
	require.NoError(t, s.Close(ctx))
}

func TestOverflow(t *testing.T) {
	for name, bound := range map[string]func(*client.Config){
		"of the job":     func(c *client.Config) { c.JobBuffer = 4000 },
		"of the session": func(c *client.Config) { c.SessionBuffer = 4000 },
	} {
		t.Run(name, func(t *testing.T) {
			ctx := testContext(t)
			url := newEdge(t, func(p *peer) {
				p.open("t1")
				invoke := p.expect(envelope.TypeToolInvoke)
				p.accepted(1, invoke)
				for i := range 20 {
					p.progress(uint64(i)+2, invoke, float64(i))
				}
				p.completed(22, invoke, "true")
				p.closed()
			})
			cfg := config(url)
			bound(&cfg)
			s := dial(t, cfg)
			job, err := s.Invoke(ctx, "x", nil)
			require.NoError(t, err)
			result, err := job.Wait(ctx)
			require.NoError(t, err)
			require.Equal(t, "true", string(result.Value))
			kept := 0
			var overflow *client.OverflowError
			for _, err := range job.Events(ctx) {
				if err != nil {
					require.ErrorAs(t, err, &overflow)
					break
				}
				kept++
			}
			require.NotNil(t, overflow)
			require.Equal(t, 4000, overflow.Limit)
			require.Equal(t, jobID, overflow.Job)
			require.Positive(t, kept)
			require.Less(t, kept, 20)
			require.Equal(t, uint64(1), s.Stats().Overflows)
			require.NoError(t, s.Close(ctx))
		})
	}
}

func TestBackpressure(t *testing.T) {
	ctx := testContext(t)
	const n = 200
	url := newEdge(t, func(p *peer) {
		p.open("t1")
		invoke := p.expect(envelope.TypeToolInvoke)
		p.accepted(1, invoke)
		for i := range n {
			p.progress(uint64(i)+2, invoke, float64(i))
		}
		p.completed(n+2, invoke, "true")
		p.closed()
	})
	cfg := config(url)
	cfg.JobBuffer, cfg.Backpressure = 2000, true
	s := dial(t, cfg)
	job, err := s.Invoke(ctx, "x", nil)
	require.NoError(t, err)
	_, err = job.Accepted(ctx)
	require.NoError(t, err)
	require.Len(t, types(t, ctx, job), n+2)
	require.NoError(t, s.Close(ctx))
}

// A frame that the client does not know is no reason to lose count.
func TestUnknownFrames(t *testing.T) {
	ctx := testContext(t)
	url := newEdge(t, func(p *peer) {
		p.open("t1")
		for _, raw := range []string{"?", `{"arcp":"1.1","id":"msg_9","timestamp":"2026-01-01T00:00:00Z","type":"job.new","event_seq":1,"payload":{}}`} {
			if err := p.ws.WriteMessage(websocket.TextMessage, []byte(raw)); err != nil {
				p.fail("%v", err)
			}
		}
		if err := p.ws.WriteMessage(websocket.BinaryMessage, []byte("ignored")); err != nil {
			p.fail("%v", err)
		}
		invoke := p.expect(envelope.TypeToolInvoke)
		p.accepted(2, invoke)
		p.completed(3, invoke, "1")
		p.closed()
	})
	s := dial(t, config(url))
	job, err := s.Invoke(ctx, "x", nil)
	require.NoError(t, err)
	_, err = job.Wait(ctx)
	require.NoError(t, err)
	require.NoError(t, s.Close(ctx))
	require.Equal(t, client.Stats{Events: 3, LastEventSeq: 3, Undecodable: 2}, s.Stats())
}

func TestEndsByTheEdge(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*peer)
		want error
	}{
		"session.closed": {func(p *peer) {
			p.say(0, nil, "", envelope.TypeSessionClosed, envelope.SessionClosed{})
			p.end()
		}, client.ErrClosed},
		"close frame": {func(p *peer) { p.sayGoodbye(websocket.CloseNormalClosure) }, client.ErrClosed},
		"evicted": {func(p *peer) {
			p.say(0, nil, "", envelope.TypeSessionEvicted, envelope.SessionEvicted{Code: envelope.CodeLeaseExpired, Reason: "late"})
			p.end()
		}, &envelope.Error{Code: envelope.CodeLeaseExpired}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := testContext(t)
			url := newEdge(t, func(p *peer) {
				p.open("t1")
				p.accepted(1, p.expect(envelope.TypeToolInvoke))
				c.end(p)
			})
			s := dial(t, config(url))
			job, err := s.Invoke(ctx, "x", nil)
			require.NoError(t, err)
			_, err = job.Wait(ctx)
			require.ErrorIs(t, err, c.want)
			for _, last := range job.Events(ctx) {
				err = last
			}
			require.ErrorIs(t, err, c.want, "the events end with it too")
			<-s.Done()
			require.ErrorIs(t, s.Err(), c.want)
		})
	}
	t.Run("refused frames", func(t *testing.T) {
		url := newEdge(t, func(p *peer) { p.open("t1"); p.sayGoodbye(websocket.CloseMessageTooBig) })
		s := dial(t, config(url))
		<-s.Done()
		var closed *websocket.CloseError
		require.ErrorAs(t, s.Err(), &closed)
	})
}

func TestContextsEndWaits(t *testing.T) {
	url := newEdge(t, func(p *peer) {
		p.open("t1")
		p.end()
	})
	s := dial(t, config(url))
	job, err := s.Invoke(testContext(t), "x", nil)
	require.NoError(t, err)
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	_, err = job.Wait(ctx)
	require.ErrorIs(t, err, why)
	_, err = job.Accepted(ctx)
	require.ErrorIs(t, err, why)
	for _, err := range job.Events(ctx) {
		require.ErrorIs(t, err, why)
	}
	_, err = s.Ping(ctx)
	require.ErrorIs(t, err, why)
	require.ErrorIs(t, s.Close(ctx), why, "the edge does not answer")
	_, err = job.Wait(t.Context())
	require.ErrorIs(t, err, client.ErrClosed)
}

// With every place taken a request waits for one.
func TestMaxInFlight(t *testing.T) {
	answer := make(chan struct{})
	url := newEdge(t, func(p *peer) {
		p.open("t1")
		first := p.expect(envelope.TypeToolInvoke)
		<-answer
		p.accepted(1, first)
		p.say(2, p.expect(envelope.TypeToolInvoke), "job_2", envelope.TypeJobAccepted, envelope.JobAccepted{JobID: "job_2"})
		p.end()
	})
	cfg := config(url)
	cfg.MaxInFlight = 1
	s := dial(t, cfg)
	ctx := testContext(t)
	_, err := s.Invoke(ctx, "x", nil)
	require.NoError(t, err)
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	_, err = s.Invoke(short, "x", nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	close(answer)
	job, err := s.Invoke(ctx, "x", nil)
	require.NoError(t, err)
	id, err := job.Accepted(ctx)
	require.NoError(t, err)
	require.Equal(t, envelope.JobID("job_2"), id)
}
