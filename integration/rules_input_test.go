package integration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/cutproxy"
	"github.com/arcp-nats/arcp/internal/wstest"
	"github.com/arcp-nats/arcp/worker"
)

// streaming is a client that streams to jobs whose tool says what it hears.
type streaming struct {
	t *testing.T
	p *wstest.Peer
}

func newStreaming(t *testing.T) (*subscribing, *streaming) {
	w := newSubscribing(t)
	w.cluster.worker("worker-2", only(t, "hear", hear))
	w.first.knows(t, "hear")
	return w, &streaming{t, w.speaker}
}

// hear returns what a client streams to the job, until it closes the stream str_last.
func hear(ctx context.Context, job *worker.Job) (any, error) {
	var heard []string
	for m, err := range job.Input(ctx) {
		if err != nil {
			return nil, err
		}
		switch {
		case m.Open != nil:
			heard = append(heard, fmt.Sprintf("%s open", m.ID))
		case m.Chunk != nil:
			heard = append(heard, fmt.Sprintf("%s %s", m.ID, m.Chunk.Data))
		case m.Err != nil:
			heard = append(heard, fmt.Sprintf("%s %s", m.ID, m.Err.Code))
		case m.Close != nil && m.ID == "str_last":
			return heard, nil
		case m.Close != nil:
			heard = append(heard, fmt.Sprintf("%s close", m.ID))
		}
	}
	return nil, ctx.Err()
}

// job begins a job of the tool.
func (s *streaming) job() string {
	s.t.Helper()
	s.p.Invoke("hear", nil)
	id := s.p.Expect("job.accepted").Str("job_id")
	s.p.Expect("job.started")
	return id
}

func (s *streaming) say(typ string, payload obj, members ...any) string {
	return s.p.Send(typ, payload, members...)
}

// refused says something that is refused.
func (s *streaming) refused(code, typ string, payload obj, members ...any) {
	s.t.Helper()
	id := s.say(typ, payload, members...)
	m := s.p.Expect("nack")
	require.Equal(s.t, id, m["correlation_id"])
	require.Equal(s.t, code, m.Payload()["code"], "%v", m)
}

// heard ends the job and returns what it heard.
func (s *streaming) heard(job string) any {
	s.t.Helper()
	to := []any{"job_id", job, "stream_id", "str_last"}
	s.say("stream.open", obj{"kind": "text"}, to...)
	s.say("stream.close", obj{}, to...)
	return s.p.Expect("job.completed").Payload()["value"]
}

// TestAStreamGoesOnWhereTheLogHasIt: after a resume on another edge, which has seen nothing of it.
func TestAStreamGoesOnWhereTheLogHasIt(t *testing.T) {
	w, s := newStreaming(t)
	job := s.job()
	in := func(stream string) []any { return []any{"job_id", job, "stream_id", stream} }
	opening := s.say("stream.open", obj{"kind": "text"}, in("str_1")...)
	s.say("stream.chunk", obj{"sequence": 0, "data": "a"}, in("str_1")...)
	s.say("stream.open", obj{"kind": "text"}, in("str_2")...)
	s.say("stream.close", obj{}, in("str_2")...)
	s.say("stream.open", obj{"kind": "text"}, "stream_id", "str_3")
	s.p.Quiet()
	s.p.Drop()
	s.p = wstest.Dial(t, w.second.url)
	s.p.Resume(token(w.speaking), 2)
	s.refused("FAILED_PRECONDITION", "stream.chunk", obj{"sequence": 0, "data": "x"}, in("str_never")...)
	s.refused("FAILED_PRECONDITION", "stream.chunk", obj{"sequence": 1, "data": "x"}, in("str_2")...)
	s.refused("FAILED_PRECONDITION", "stream.chunk", obj{"sequence": 1, "data": "for nobody"}, "stream_id", "str_none")
	s.refused("OUT_OF_RANGE", "stream.chunk", obj{"sequence": 2, "data": "c"}, in("str_1")...)
	s.refused("FAILED_PRECONDITION", "stream.open", obj{"kind": "text"}, in("str_1")...)
	s.p.Send("stream.open", obj{"kind": "text"}, append(in("str_1"), "id", opening)...) // said again
	s.say("stream.chunk", obj{"sequence": 0, "data": "a"}, in("str_1")...)
	s.say("stream.chunk", obj{"sequence": 1, "data": "b"}, "stream_id", "str_1") // the stream says which job
	s.say("stream.chunk", obj{"sequence": 0, "data": "x"}, "stream_id", "str_3")
	require.Equal(t, []any{"str_1 open", `str_1 "a"`, "str_2 open", "str_2 close", `str_1 "b"`, "str_last open"}, s.heard(job))
}

// TestAnEndedStreamsIdCanBeUsedAgain: it is another stream then.
func TestAnEndedStreamsIdCanBeUsedAgain(t *testing.T) {
	_, s := newStreaming(t)
	job := s.job()
	in := []any{"job_id", job, "stream_id", "str_1"}
	for _, data := range []string{"a", "b"} {
		s.say("stream.open", obj{"kind": "text"}, in...)
		s.say("stream.chunk", obj{"sequence": 0, "data": data}, in...)
		s.say("stream.close", obj{"final_sequence": 0}, in...)
	}
	require.Equal(t, []any{"str_1 open", `str_1 "a"`, "str_1 close", "str_1 open", `str_1 "b"`, "str_1 close", "str_last open"}, s.heard(job))
}

// TestStreamsToEndedJobsTakeNoPlace among those that a session may have open.
func TestStreamsToEndedJobsTakeNoPlace(t *testing.T) {
	_, s := newStreaming(t)
	first := s.job()
	for n := range 63 {
		s.say("stream.open", obj{"kind": "text"}, "job_id", first, "stream_id", fmt.Sprint("str_", n))
	}
	s.say("stream.open", obj{"kind": "text"}, "stream_id", "str_for_others")
	s.refused("RESOURCE_EXHAUSTED", "stream.open", obj{"kind": "text"}, "stream_id", "str_one_more")
	s.p.Send("cancel", obj{"target": "job", "target_id": first})
	for range 2 { // in either order
		require.Contains(t, []string{"cancel.accepted", "job.cancelled"}, s.p.Next().Type())
	}
	second := s.job()
	s.say("stream.open", obj{"kind": "text"}, "job_id", second, "stream_id", "str_1")
	require.Eventually(t, func() bool { // a look is taken once a second
		s.say("stream.open", obj{"kind": "text"}, "job_id", second, "stream_id", "str_new")
		s.p.Send("cancel", obj{"target": "job", "target_id": "job_none"}) // its answer comes after the nack
		if s.p.Next().Type() == "cancel.refused" {
			return true
		}
		s.p.Expect("cancel.refused")
		return false
	}, 20*time.Second, 50*time.Millisecond)
	require.Equal(t, []any{"str_1 open", "str_new open", "str_last open"}, s.heard(second))
}

// TestAChunkThatTheLogDidNotTakeCanBeSentAgain: the stream is where it was.
func TestAChunkThatTheLogDidNotTakeCanBeSentAgain(t *testing.T) {
	w, s := newStreaming(t)
	job := s.job()
	in := []any{"job_id", job, "stream_id", "str_1"}
	s.say("stream.open", obj{"kind": "text"}, in...)
	s.p.Quiet()
	js := w.cluster.jetStream()
	stream, err := js.Stream(t.Context(), "ARCP_LOG_0")
	require.NoError(t, err)
	config := stream.CachedInfo().Config
	room := config.MaxBytes
	config.MaxBytes = 1
	_, err = js.UpdateStream(t.Context(), config)
	require.NoError(t, err)
	again := s.refusedForNow(in)
	config.MaxBytes = room
	_, err = js.UpdateStream(t.Context(), config)
	require.NoError(t, err)
	again() // as it was (TR-2)
	s.say("stream.chunk", obj{"sequence": 1, "data": "b"}, in...)
	require.Equal(t, []any{"str_1 open", `str_1 "a"`, `str_1 "b"`, "str_last open"}, s.heard(job))
}

// refusedForNow says the first chunk of a stream, which is refused, and returns how to say it again.
func (s *streaming) refusedForNow(in []any) (again func()) {
	s.t.Helper()
	id := s.say("stream.chunk", obj{"sequence": 0, "data": "a"}, in...)
	nack := s.p.Expect("nack")
	require.Equal(s.t, id, nack["correlation_id"])
	require.Equal(s.t, obj{"retryable": true}, nack.Payload()["details"])
	return func() { s.say("stream.chunk", obj{"sequence": 0, "data": "a"}, append(in, "id", id)...) }
}

// TestAChunkWhoseJobCannotBeLookedUpCanBeSentAgain: whether the job has ended is not known for now, and the stream is not
// forgotten, neither by the session's first edge nor by the next one.
func TestAChunkWhoseJobCannotBeLookedUpCanBeSentAgain(t *testing.T) {
	c := newCluster(t)
	var away atomic.Bool
	c.lastOf = func() error {
		if away.Load() {
			return envelope.Errorf(envelope.CodeUnavailable, "away")
		}
		return nil
	}
	c.worker("worker-1", only(t, "hear", hear))
	first, second := c.edge("edge-1", nil), c.edge("edge-2", nil)
	first.knows(t, "hear")
	s := &streaming{t, wstest.Dial(t, first.url)}
	opened := s.p.Open(aliceToken)
	job := s.job()
	say := func(id string) []any {
		in := []any{"job_id", job, "stream_id", id}
		s.say("stream.open", obj{"kind": "text"}, in...)
		s.p.Quiet()
		away.Store(true)
		again := s.refusedForNow(in)
		away.Store(false)
		again()
		return in
	}
	say("str_1")
	s.p.Quiet()
	s.p.Drop()
	s.p = wstest.Dial(t, second.url)
	s.p.Resume(token(opened), 2)
	in := say("str_2")
	s.say("stream.chunk", obj{"sequence": 1, "data": "b"}, in...)
	require.Equal(t, []any{"str_1 open", `str_1 "a"`, "str_2 open", `str_2 "a"`, `str_2 "b"`, "str_last open"}, s.heard(job))
}

// TestClientStreamsSurviveCutConnections: package client says again what may be lost, on either edge, and the job takes each
// chunk once, in order.
func TestClientStreamsSurviveCutConnections(t *testing.T) {
	c := newCluster(t)
	c.worker("worker-1", nil)
	random := rand.New(rand.NewPCG(7, 7))
	var mu sync.Mutex
	var urls []string
	var proxies []*cutproxy.Proxy
	for _, name := range []string{"edge-1", "edge-2"} {
		e := c.edge(name, nil)
		e.knows(t, "collect")
		u, err := url.Parse(e.url)
		require.NoError(t, err)
		proxy, err := cutproxy.Start(u.Host, func(int) cutproxy.Cut {
			mu.Lock()
			defer mu.Unlock()
			return cutproxy.Cut{Up: 20_000 + random.Int64N(30_000)}
		})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, proxy.Close()) })
		u.Host = proxy.Addr()
		urls, proxies = append(urls, u.String()), append(proxies, proxy)
	}
	s, err := client.Dial(t.Context(), client.Config{URLs: urls, Token: aliceToken, Reconnect: client.Reconnect{MinDelay: time.Millisecond, MaxDelay: 10 * time.Millisecond}})
	require.NoError(t, err)
	defer func() { _ = s.Close(t.Context()) }()
	job, err := s.Invoke(t.Context(), "collect", nil)
	require.NoError(t, err)
	id, err := job.Accepted(t.Context())
	require.NoError(t, err)
	stream, err := s.OpenStream(t.Context(), id, envelope.StreamOpen{Kind: envelope.StreamText})
	require.NoError(t, err)
	const chunks = 1000
	for n := range chunks {
		require.NoError(t, stream.Send(t.Context(), fmt.Sprint(n)))
	}
	require.NoError(t, stream.Close(t.Context()))
	result, err := job.Wait(t.Context())
	require.NoError(t, err)
	var got struct{ Chunks []string }
	require.NoError(t, json.Unmarshal(result.Value, &got))
	require.Equal(t, texts(0, chunks-1), got.Chunks)
	require.Greater(t, proxies[0].Cuts()+proxies[1].Cuts(), 3)
}
