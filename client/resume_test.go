package client_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/envelope"
)

// states collects what a session says about its connections.
type states struct {
	mu  sync.Mutex
	all []string
}

func (s *states) hook(st client.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, st.Change.String()+" "+st.URL)
}

func (s *states) list() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.all...)
}

// open dialect RE-2 to RE-6: another edge goes on where the first one was lost; what comes twice is dropped.
func TestResumeOnTheNextEdge(t *testing.T) {
	ctx := testContext(t)
	invokes := make(chan *envelope.Envelope, 1)
	first := newEdge(t, func(p *peer) {
		p.open("t1")
		invoke := p.expect(envelope.TypeToolInvoke)
		p.accepted(1, invoke)
		p.progress(2, invoke, 1)
		invokes <- invoke
	})
	second := newEdge(t, func(p *peer) {
		p.resume("t1", 2, "t2")
		invoke := <-invokes
		p.progress(2, invoke, 1)
		p.progress(3, invoke, 2)
		p.progress(3, invoke, 2)
		p.completed(4, invoke, "1")
		p.closed()
	})
	var seen states
	cfg := config(first, second)
	cfg.OnState = seen.hook
	s := dial(t, cfg)
	job, err := s.Invoke(ctx, "x", nil)
	require.NoError(t, err)
	require.Equal(t, []envelope.Type{
		envelope.TypeJobAccepted, envelope.TypeJobProgress, envelope.TypeJobProgress, envelope.TypeJobCompleted,
	}, types(t, ctx, job))
	require.NoError(t, s.Close(ctx))
	require.Equal(t, client.Stats{Events: 4, LastEventSeq: 4, Repeats: 2, Resumes: 1}, s.Stats())
	require.Equal(t, []string{"connected " + first, "lost " + first, "resumed " + second}, seen.list())
}

// A reply that is lost with its connection changes nothing: the token before is still good, and the newest is tried
// first, then the one before it on the same connection.
func TestResumeTokens(t *testing.T) {
	ctx := testContext(t)
	url := newEdge(t,
		func(p *peer) { p.open("t1") },
		func(p *peer) { p.askedToResume("t1", 0) }, // the reply is lost
		func(p *peer) { p.resume("t1", 0, "t3"); p.accepted(1, nil) },
		func(p *peer) {
			p.reject(p.askedToResume("t3", 1), envelope.CodeUnavailable) // not now
			p.end()
		},
		func(p *peer) {
			p.reject(p.askedToResume("t3", 1), envelope.CodeResumeWindowExpired)
			p.resume("t1", 1, "t4")
		},
		func(p *peer) { p.resume("t4", 1, "t5"); p.closed() },
	)
	s := dial(t, config(url))
	require.Eventually(t, func() bool { return s.Stats().Resumes == 3 }, 10*time.Second, time.Millisecond)
	require.NoError(t, s.Close(ctx))
	require.Equal(t, client.Stats{Events: 1, LastEventSeq: 1, Resumes: 3}, s.Stats())
}

func TestResumeWindowExpired(t *testing.T) {
	ctx := testContext(t)
	url := newEdge(t,
		func(p *peer) {
			p.open("t1")
			p.accepted(1, p.expect(envelope.TypeToolInvoke))
		},
		func(p *peer) {
			p.reject(p.askedToResume("t1", 1), envelope.CodeResumeWindowExpired)
			p.end()
		})
	s := dial(t, config(url))
	job, err := s.Invoke(ctx, "x", nil)
	require.NoError(t, err)
	_, err = job.Wait(ctx)
	var expired *client.ResumeExpiredError
	require.ErrorAs(t, err, &expired)
	require.Equal(t, uint64(1), expired.LastEventSeq)
	require.Equal(t, sessionID, expired.Session)
	require.ErrorIs(t, err, &envelope.Error{Code: envelope.CodeResumeWindowExpired})
	<-s.Done()
	require.ErrorAs(t, s.Err(), &expired)
}

// Without a resume token there is nothing to try.
func TestNoResumeToken(t *testing.T) {
	url := newEdge(t, func(p *peer) { p.open("") }, func(p *peer) { p.end() })
	s := dial(t, config(url))
	<-s.Done()
	var expired *client.ResumeExpiredError
	require.ErrorAs(t, s.Err(), &expired)
	require.NotErrorIs(t, s.Err(), &envelope.Error{Code: envelope.CodeResumeWindowExpired})
	require.ErrorContains(t, s.Err(), "no resume token")
}

func TestResumeRefusedForGood(t *testing.T) {
	url := newEdge(t, func(p *peer) { p.open("t1") }, func(p *peer) {
		p.reject(p.askedToResume("t1", 0), envelope.CodePermissionDenied)
		p.end()
	})
	s := dial(t, config(url))
	<-s.Done()
	require.ErrorIs(t, s.Err(), &envelope.Error{Code: envelope.CodePermissionDenied})
}

func TestGapEndsTheSession(t *testing.T) {
	ctx := testContext(t)
	url := newEdge(t, func(p *peer) {
		p.open("t1")
		invoke := p.expect(envelope.TypeToolInvoke)
		p.accepted(1, invoke)
		p.completed(3, invoke, "1")
		p.end()
	})
	s := dial(t, config(url))
	job, err := s.Invoke(ctx, "x", nil)
	require.NoError(t, err)
	_, err = job.Wait(ctx)
	var gap *client.GapError
	require.ErrorAs(t, err, &gap)
	require.Equal(t, client.GapError{Want: 2, Got: 3}, *gap)
	<-s.Done()
	require.Equal(t, client.Stats{Events: 1, LastEventSeq: 1, Gaps: 1}, s.Stats())
}

// A request whose answer the replay does not bring: without a key its outcome is unknown, with a key it goes out again
// under its old id, and a cancel does too. A ping means nothing on another connection.
func TestRequestsInFlight(t *testing.T) {
	ctx := testContext(t)
	ids := make(chan envelope.MessageID, 4)
	url := newEdge(t,
		func(p *peer) {
			p.open("t1")
			for _, want := range []envelope.Type{
				envelope.TypeToolInvoke, envelope.TypeToolInvoke, envelope.TypeCancel, envelope.TypePing,
			} {
				ids <- p.expect(want).ID
			}
		},
		func(p *peer) {
			p.resume("t1", 0, "t2")
			p.fence(1)
			<-ids
			again := p.expect(envelope.TypeToolInvoke)
			if again.ID != <-ids || again.IdempotencyKey != "k" {
				p.fail("sent again: %+v", again)
			}
			cancel := p.expect(envelope.TypeCancel)
			if cancel.ID != <-ids {
				p.fail("sent again: %+v", cancel)
			}
			p.accepted(2, again)
			p.completed(3, again, "1")
			p.say(4, cancel, "", envelope.TypeCancelAccepted, envelope.CancelAccepted{})
			p.closed()
		})
	s := dial(t, config(url))
	plain, err := s.Invoke(ctx, "x", nil)
	require.NoError(t, err)
	keyed, err := s.Invoke(ctx, "x", nil, client.WithIdempotencyKey("k"))
	require.NoError(t, err)
	var calls sync.WaitGroup
	calls.Go(func() {
		if err := s.Cancel(ctx, "job_2", "", 0); err != nil {
			t.Error(err)
		}
	})
	require.Eventually(t, func() bool { return len(ids) == 3 }, 10*time.Second, time.Millisecond)
	calls.Go(func() {
		if _, err := s.Ping(ctx); !errors.Is(err, client.ErrConnectionLost) {
			t.Error(err)
		}
	})
	_, err = plain.Wait(ctx)
	require.ErrorIs(t, err, client.ErrOutcomeUnknown)
	_, err = plain.Accepted(ctx)
	require.ErrorIs(t, err, client.ErrOutcomeUnknown)
	_, err = keyed.Wait(ctx)
	require.NoError(t, err)
	calls.Wait()
	require.NoError(t, s.Close(ctx))
}

// What the replay brings decides, with or without a key.
func TestReplayBringsTheAcceptance(t *testing.T) {
	ctx := testContext(t)
	invokes := make(chan *envelope.Envelope, 1)
	url := newEdge(t,
		func(p *peer) {
			p.open("t1")
			invokes <- p.expect(envelope.TypeToolInvoke)
		},
		func(p *peer) {
			p.resume("t1", 0, "t2")
			invoke := <-invokes
			p.accepted(1, invoke)
			p.progress(2, invoke, 1)
			p.fence(3)
			p.completed(4, invoke, "1")
			p.closed()
		})
	s := dial(t, config(url))
	job, err := s.Invoke(ctx, "x", nil)
	require.NoError(t, err)
	require.Len(t, types(t, ctx, job), 3)
	_, err = job.Wait(ctx)
	require.NoError(t, err)
	require.NoError(t, s.Close(ctx))
}

// What loses the connection every time is not sent for ever.
func TestResendsAreBounded(t *testing.T) {
	ctx := testContext(t)
	var mu sync.Mutex
	sent, last := 0, uint64(0)
	url := serve(t, func(p *peer) {
		e := p.next()
		if e.Type == envelope.TypeSessionOpen {
			p.say(0, e, "", envelope.TypeSessionAccepted, envelope.SessionAccepted{SessionID: sessionID, ResumeToken: "t"})
		} else {
			p.grant(e, 0, "t")
			mu.Lock()
			last++
			seq := last
			mu.Unlock()
			p.fence(seq)
		}
		if e, err := p.read(); err == nil && e.Type == envelope.TypeToolInvoke {
			mu.Lock()
			sent++
			mu.Unlock()
		}
	})
	s := dial(t, config(url))
	job, err := s.Invoke(ctx, "x", nil, client.WithIdempotencyKey("k"))
	require.NoError(t, err)
	_, err = job.Wait(ctx)
	require.ErrorIs(t, err, client.ErrOutcomeUnknown)
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, 64, sent)
}

// A second use of a key within the session ends as the first one did, although nothing but an acceptance comes
// (open dialect ID-3).
func TestRetryOfAnEndedJob(t *testing.T) {
	ctx := testContext(t)
	url := newEdge(t, func(p *peer) {
		p.open("t1")
		invoke := p.expect(envelope.TypeToolInvoke)
		p.accepted(1, invoke)
		p.completed(2, invoke, `"once"`)
		p.accepted(3, p.expect(envelope.TypeToolInvoke))
		p.closed()
	})
	s := dial(t, config(url))
	for range 2 {
		job, err := s.Invoke(ctx, "x", nil, client.WithIdempotencyKey("k"))
		require.NoError(t, err)
		result, err := job.Wait(ctx)
		require.NoError(t, err)
		require.Equal(t, `"once"`, string(result.Value))
		require.Equal(t, []envelope.Type{envelope.TypeJobAccepted, envelope.TypeJobCompleted}, types(t, ctx, job))
	}
	require.NoError(t, s.Close(ctx))
}

// A connection that is lost after session.close went out may have been lost before it came in.
func TestCloseIsSaidAgain(t *testing.T) {
	t.Run("resumed", func(t *testing.T) {
		url := newEdge(t,
			func(p *peer) { p.open("t1"); p.expect(envelope.TypeSessionClose) },
			func(p *peer) { p.resume("t1", 0, "t2"); p.fence(1); p.closed() })
		s := dial(t, config(url))
		require.NoError(t, s.Close(testContext(t)))
		require.ErrorIs(t, s.Err(), client.ErrClosed)
	})
	t.Run("gone", func(t *testing.T) {
		url := newEdge(t,
			func(p *peer) { p.open("t1"); p.expect(envelope.TypeSessionClose) },
			func(p *peer) {
				p.reject(p.askedToResume("t1", 0), envelope.CodeResumeWindowExpired)
				p.end()
			})
		s := dial(t, config(url))
		require.NoError(t, s.Close(testContext(t)))
		require.ErrorIs(t, s.Err(), client.ErrClosed)
	})
}

func TestReconnectLimits(t *testing.T) {
	t.Run("disabled", func(t *testing.T) {
		url := newEdge(t, func(p *peer) {
			p.open("t1")
			p.expect(envelope.TypeToolInvoke)
		})
		cfg := config(url)
		cfg.Reconnect.Disabled = true
		s := dial(t, cfg)
		job, err := s.Invoke(testContext(t), "x", nil)
		require.NoError(t, err)
		_, err = job.Wait(testContext(t))
		require.ErrorIs(t, err, client.ErrOutcomeUnknown)
		require.ErrorIs(t, err, client.ErrConnectionLost)
	})
	t.Run("time is up", func(t *testing.T) {
		url := newEdge(t, func(p *peer) { p.open("t1") })
		cfg := config(url)
		cfg.Reconnect.MaxWait = 30 * time.Millisecond
		s := dial(t, cfg)
		<-s.Done()
		var late *client.ReconnectError
		require.ErrorAs(t, s.Err(), &late)
		require.NotNil(t, late.Err)
	})
	t.Run("detached meanwhile", func(t *testing.T) {
		url := newEdge(t, func(p *peer) { p.open("t1") })
		lost := make(chan struct{})
		cfg := config(url)
		cfg.Reconnect.MinDelay, cfg.Reconnect.MaxDelay = time.Hour, time.Hour
		cfg.Reconnect.MaxWait = 100 * time.Hour
		cfg.OnState = func(s client.State) {
			if s.Change == client.Lost {
				close(lost)
			}
		}
		s := dial(t, cfg)
		<-lost
		s.Detach()
		require.ErrorIs(t, s.Err(), client.ErrDetached)
	})
}

// A peer that says nothing, not even to the WebSocket layer, is as good as gone.
func TestSilenceLosesTheConnection(t *testing.T) {
	ctx := testContext(t)
	silent := make(chan struct{})
	url := newEdge(t,
		func(p *peer) { p.open("t1"); <-silent },
		func(p *peer) { p.resume("t1", 0, "t2"); p.closed() })
	cfg := config(url)
	cfg.KeepAlive = 20 * time.Millisecond
	s := dial(t, cfg)
	require.Eventually(t, func() bool { return s.Stats().Resumes == 1 }, 10*time.Second, time.Millisecond)
	close(silent)
	require.NoError(t, s.Close(ctx))
}

// Answers of the WebSocket layer are signs of life.
func TestKeepAlive(t *testing.T) {
	ctx := testContext(t)
	pinged := make(chan struct{}, 100)
	url := newEdge(t, func(p *peer) {
		answer := p.ws.PingHandler()
		p.ws.SetPingHandler(func(s string) error {
			pinged <- struct{}{}
			return answer(s)
		})
		p.open("t1")
		p.expect(envelope.TypeSessionClose)
		p.sayGoodbye(websocket.CloseNormalClosure)
	})
	cfg := config(url)
	cfg.KeepAlive = 20 * time.Millisecond
	s := dial(t, cfg)
	for range 5 {
		<-pinged
	}
	require.NoError(t, s.Close(ctx))
	require.Zero(t, s.Stats().Resumes)
}
