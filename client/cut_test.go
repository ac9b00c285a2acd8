package client_test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/cutproxy"
)

// logEdge is an edge in small: one session, whose countable envelopes are in a log that outlives connections.
type logEdge struct {
	t  *testing.T
	mu sync.Mutex

	changed  *sync.Cond
	log      [][]byte
	byKey    map[string]envelope.JobID
	token    string // the newest
	previous string // still good until the client has shown that it holds token
	holder   *peer  // the connection that token was handed out on
	minted   int
	started  int // jobs
	closed   bool
}

func (e *logEdge) mint() string {
	e.minted++
	return fmt.Sprintf("t%d", e.minted)
}

// run serves one connection.
func (e *logEdge) run(p *peer) {
	first, err := p.read()
	if err != nil {
		return
	}
	from := uint64(0)
	e.mu.Lock()
	switch first.Type {
	case envelope.TypeSessionOpen:
		// A cut in the handshake loses the session; the client opens another one, before anything was logged.
		e.token, e.previous = e.mint(), ""
		e.write(p, first, envelope.TypeSessionAccepted, envelope.SessionAccepted{SessionID: sessionID, ResumeToken: e.token})
	case envelope.TypeSessionResume:
		asked, err := envelope.DecodePayload[envelope.SessionResume](first)
		if err != nil || (asked.ResumeToken != e.token && asked.ResumeToken != e.previous) {
			e.write(p, first, envelope.TypeSessionRejected,
				envelope.SessionRejected{Code: envelope.CodeResumeWindowExpired, Message: "no"})
			e.mu.Unlock()
			p.end()
			return
		}
		from = asked.LastEventSeq
		e.token, e.previous = e.mint(), asked.ResumeToken
		e.write(p, first, envelope.TypeSessionResumed, envelope.SessionResumed{
			SessionID: sessionID, ResumeToken: e.token, ReplayedFrom: from, Replayed: true,
		})
	}
	e.holder = p
	e.mu.Unlock()
	gone := false
	var writer sync.WaitGroup
	writer.Go(func() { e.show(p, from, &gone) })
	for e.hear(p) {
	}
	e.mu.Lock()
	gone = true
	e.changed.Broadcast()
	e.mu.Unlock()
	writer.Wait()
}

// write answers before the log is shown. A connection that is gone is noticed by the reader.
func (e *logEdge) write(p *peer, to *envelope.Envelope, t envelope.Type, payload any) {
	_ = p.ws.WriteMessage(websocket.TextMessage, frame(e.t, 0, to, "", t, payload))
}

// show writes the log from a number on, until the connection is gone or the session closed.
func (e *logEdge) show(p *peer, from uint64, gone *bool) {
	for {
		e.mu.Lock()
		for uint64(len(e.log)) <= from && !*gone && !e.closed {
			e.changed.Wait()
		}
		if *gone {
			e.mu.Unlock()
			return
		}
		if uint64(len(e.log)) <= from {
			e.mu.Unlock()
			_ = p.ws.WriteControl(websocket.CloseMessage,
				websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
			return
		}
		raw := e.log[from]
		e.mu.Unlock()
		if p.ws.WriteMessage(websocket.TextMessage, raw) != nil {
			_ = p.ws.Close()
			return
		}
		from++
	}
}

// hear handles one message.
func (e *logEdge) hear(p *peer) bool {
	m, err := p.read()
	if err != nil {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.holder == p { // what an older connection still held shows nothing
		e.previous = ""
	}
	switch m.Type {
	case envelope.TypeToolInvoke:
		id, again := e.byKey[m.IdempotencyKey]
		if !again {
			e.started++
			id = envelope.JobID(fmt.Sprintf("job_%d", e.started))
			e.byKey[m.IdempotencyKey] = id
		}
		e.append(m, id, envelope.TypeJobAccepted, envelope.JobAccepted{JobID: id})
		if !again {
			for i := range 5 {
				e.append(m, id, envelope.TypeJobProgress, envelope.JobProgress{Current: float64(i)})
			}
			e.append(m, id, envelope.TypeJobCompleted, envelope.JobCompleted{Value: []byte(`"` + id + `"`)})
		}
	case envelope.TypeCancel:
		e.append(m, "", envelope.TypeCancelRefused, envelope.CancelRefused{TargetID: "fence", Reason: "malformed job id"})
	case envelope.TypeSessionClose:
		e.closed = true
		e.changed.Broadcast()
	}
	return true
}

func (e *logEdge) append(to *envelope.Envelope, job envelope.JobID, t envelope.Type, payload any) {
	e.log = append(e.log, frame(e.t, uint64(len(e.log)+1), to, job, t, payload))
	e.changed.Broadcast()
}

// Whatever byte a connection is lost at, in either direction, every job with a key runs once and is seen once, in
// order, without a gap.
func TestCutsAnywhere(t *testing.T) {
	for _, reset := range []bool{false, true} {
		t.Run(fmt.Sprintf("reset=%v", reset), func(t *testing.T) {
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			cutAnywhere(t, rand.New(rand.NewPCG(seed, 0)), reset)
		})
	}
}

func cutAnywhere(t *testing.T, random *rand.Rand, reset bool) {
	ctx := testContext(t)
	const jobs, cuts = 60, 40
	edge := &logEdge{t: t, byKey: make(map[string]envelope.JobID)}
	edge.changed = sync.NewCond(&edge.mu)
	direct, err := url.Parse(serve(t, edge.run))
	require.NoError(t, err)
	proxy, err := cutproxy.Start(direct.Host, func(n int) cutproxy.Cut {
		if n == 1 || n > cuts { // the session must open, and end
			return cutproxy.Cut{Reset: reset}
		}
		return cutproxy.Cut{Up: 300 + random.Int64N(4000), Down: 1 + random.Int64N(6000), Reset: reset}
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, proxy.Close()) })

	s := dial(t, config("ws://"+proxy.Addr()))
	proxy.CutAll()
	var running sync.WaitGroup
	for i := range jobs {
		job, err := s.Invoke(ctx, "x", i, client.WithIdempotencyKey(fmt.Sprintf("key-%d", i)))
		require.NoError(t, err)
		running.Go(func() {
			steps := 0.0
			for e, err := range job.Events(ctx) {
				if err != nil {
					t.Errorf("job %d: %v", i, err)
					return
				}
				if e.Type == envelope.TypeJobProgress {
					p, err := envelope.DecodePayload[envelope.JobProgress](e)
					if err != nil || p.Current != steps {
						t.Errorf("job %d: progress %v where %v was due", i, p, steps)
					}
					steps++
				}
			}
			result, err := job.Wait(ctx)
			if err != nil || steps != 5 || string(result.Value) != `"`+string(job.ID())+`"` {
				t.Errorf("job %d: %v steps, %s, %v", i, steps, result.Value, err)
			}
		})
	}
	running.Wait()
	require.NoError(t, s.Close(ctx))
	stats := s.Stats()
	require.Zero(t, stats.Gaps)
	require.Zero(t, stats.Repeats, "the edge replays from the number given to it")
	require.Equal(t, stats.LastEventSeq, stats.Events)
	edge.mu.Lock()
	defer edge.mu.Unlock()
	require.Equal(t, jobs, edge.started, "each job ran once")
	require.Len(t, edge.log, int(stats.Events))
	t.Logf("%d events, %d cuts, %d resumes", stats.Events, proxy.Cuts(), stats.Resumes)
	require.Positive(t, stats.Resumes)
}
