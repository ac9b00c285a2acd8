package integration_test

import (
	"fmt"
	"math"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/internal/wstest"
	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/worker"
)

// lives are the ways in which a session and its jobs can live and end. Each is given a fresh connection to an edge that
// cancels the jobs of a closed session, and the address of one that lets them live on.
var lives = []struct {
	name string
	live func(t *testing.T, p *wstest.Peer, key, second string)
}{
	{"completed", func(t *testing.T, p *wstest.Peer, _, _ string) {
		p.Open(aliceToken)
		p.Invoke("echo", 1)
		p.Until("job.completed")
		closePolitely(t, p)
	}},
	{"failed", func(t *testing.T, p *wstest.Peer, _, _ string) {
		p.Open(aliceToken)
		for _, tool := range []string{"fail", "panic", "nosuch", "Bad"} {
			p.Invoke(tool, map[string]any{})
			p.Until("job.failed")
		}
		closePolitely(t, p)
	}},
	{"cancelled while it runs", func(t *testing.T, p *wstest.Peer, _, _ string) {
		p.Open(aliceToken)
		p.Invoke("sleep", map[string]any{"ms": 60_000})
		job := last(p.Until("job.started")).Str("job_id")
		p.Send("cancel", map[string]any{"target": "job", "target_id": job})
		p.Until("job.cancelled")
		p.Drop()
	}},
	{"cancelled while it waits", func(t *testing.T, p *wstest.Peer, _, _ string) {
		p.Open(aliceToken)
		p.Invoke("absent", 1)
		job := p.Expect("job.accepted").Str("job_id")
		p.Send("cancel", map[string]any{"target": "job", "target_id": job})
		p.Until("job.cancelled")
		p.Drop()
	}},
	{"cancelled by the close", func(t *testing.T, p *wstest.Peer, _, _ string) {
		p.Open(aliceToken)
		p.Invoke("sleep", map[string]any{"ms": 60_000})
		p.Until("job.started")
		closePolitely(t, p)
	}},
	{"keyed and retried", func(t *testing.T, p *wstest.Peer, key, second string) {
		p.Open(aliceToken)
		p.Invoke("echo", 1, "idempotency_key", key)
		p.Until("job.completed")
		retry := wstest.Dial(t, second)
		retry.Open(aliceToken)
		retry.Invoke("echo", 1, "idempotency_key", key)
		retry.Until("job.completed")
		retry.Invoke("echo", 2, "idempotency_key", key)
		retry.Expect("job.failed")
		retry.Drop()
		closePolitely(t, p)
	}},
	{"detached", func(t *testing.T, _ *wstest.Peer, _, second string) {
		p := wstest.Dial(t, second)
		p.Open(aliceToken)
		p.Invoke("count", map[string]any{"to": 10, "every_ms": 10})
		p.Until("job.started")
		closePolitely(t, p)
	}},
	{"overdue", func(t *testing.T, p *wstest.Peer, _, _ string) {
		p.Open(aliceToken)
		p.Invoke("absent", 1)
		p.Until("job.failed")
		closePolitely(t, p)
	}},
	{"cut", func(t *testing.T, p *wstest.Peer, _, _ string) {
		p.Open(aliceToken)
		p.Invoke("count", map[string]any{"to": 10, "every_ms": 10})
		p.Until("job.progress")
		p.Drop()
	}},
	{"resumed elsewhere", func(t *testing.T, p *wstest.Peer, _, second string) {
		accepted := p.Open(aliceToken)
		p.Invoke("count", map[string]any{"to": 10, "every_ms": 10})
		p.Until("job.progress")
		q := wstest.Dial(t, second)
		q.Resume(token(accepted), 0)
		q.Until("job.completed")
		require.Equal(t, 4001, p.Closed())
		closePolitely(t, q)
	}},
	{"rude", func(t *testing.T, p *wstest.Peer, _, _ string) {
		p.Open(aliceToken)
		p.Invoke("sleep", map[string]any{"ms": 100})
		p.SendRaw("not an envelope")
		p.Until("nack")
		require.NoError(t, p.TryWrite(websocket.MessageText, []byte{0xff}))
		require.Equal(t, 1007, p.Closed())
	}},
	{"subscribed", func(t *testing.T, p *wstest.Peer, key, second string) {
		p.Open(aliceToken)
		sub := subscribe(t, p, obj{"types": []string{"event.emit"}}, "")
		other := wstest.Dial(t, second)
		other.Open(aliceToken)
		other.Send("event.emit", obj{"name": key})
		for event(t, p, sub).Payload()["name"] != key {
		}
		p.Drop()
		other.Drop()
	}},
	{"watched", func(t *testing.T, p *wstest.Peer, _, second string) {
		p.Open(aliceToken)
		p.Invoke("count", obj{"to": 10, "every_ms": 10})
		job := last(p.Until("job.started")).Str("job_id")
		observer := wstest.Dial(t, second)
		observer.Open(aliceToken)
		watchJob(t, observer, job, obj{"history": true})
		observer.Until("job.completed")
		observer.Drop()
		closePolitely(t, p)
	}},
	{"stored", func(t *testing.T, p *wstest.Peer, _, _ string) {
		p.Open(aliceToken)
		p.Send("artifact.put", put(bytesOf(2000)))
		id := artifactOf(t, p.Next()).Str("artifact_id")
		require.Equal(t, "artifact.put", fetch(p, id).Type())
		p.Send("artifact.release", obj{"artifact_id": id})
		refused(t, fetch(p, id), "NOT_FOUND", "")
		closePolitely(t, p)
	}},
	{"streamed to, and asked", func(t *testing.T, p *wstest.Peer, _, _ string) {
		p.Open(aliceToken)
		p.Invoke("collect", nil)
		job := last(p.Until("job.started")).Str("job_id")
		p.Send("stream.open", obj{"kind": "text"}, "job_id", job, "stream_id", "str_1")
		p.Send("stream.close", obj{}, "job_id", job, "stream_id", "str_1")
		p.Until("job.completed")
		p.Invoke("ask", wanted)
		request := last(p.Until("permission.request"))
		p.Send("permission.grant", granting(60), "correlation_id", request.Str("id"), "job_id", request.Str("job_id"))
		p.Until("job.completed")
		p.Invoke("delegate", obj{"tool": "echo", "arguments": 1})
		p.Until("job.completed")
		p.Drop()
	}},
	{"leased", func(t *testing.T, p *wstest.Peer, _, _ string) {
		p.Open(aliceToken)
		invokeUnder(p, until(time.Hour), "echo", 1)
		require.NotEmpty(t, value(t, p.Until("job.completed")[0]))
		invokeUnder(p, until(time.Second), "absent", 1)
		require.Equal(t, "LEASE_EXPIRED", last(p.Until("job.failed")).Payload()["code"])
		closePolitely(t, p)
	}},
	{"never opened", func(t *testing.T, p *wstest.Peer, _, _ string) {
		p.Send("session.open", wstest.OpenPayload("no such token"))
		p.Expect("session.rejected")
		p.Drop()
	}},
}

func closePolitely(t *testing.T, p *wstest.Peer) {
	t.Helper()
	p.Send("session.close", map[string]any{})
	require.Equal(t, 1000, p.Closed())
}

// TestI7NothingIsLeftBehind: after a thousand sessions with jobs that end in every way, edges and worker hold no more
// goroutines and no more memory than before.
func TestI7NothingIsLeftBehind(t *testing.T) {
	server := start(t, "__nats", "-dir", t.TempDir()) // its memory is not what is measured
	c := &cluster{t: t, url: server.ready["nats"]}
	issuer := c.issueCredentials()
	issuer.server.Config.SetKeepAlivesEnabled(false) // connections that are kept are not what is measured
	gone := c.worker("worker-gone", func(w *worker.Worker) {
		require.NoError(t, w.Handle("absent", "1", deaf(nil), worker.Options{}))
	})
	soon := func(cfg *edge.Config) { cfg.MaxQueue, cfg.MaxRuntime = 2*time.Second, time.Hour }
	first := c.edge("edge-1", soon)
	second := c.edge("edge-2", func(cfg *edge.Config) {
		soon(cfg)
		cfg.OnSessionClose = edge.CloseDetach
	})
	first.knows(t, "absent")
	gone.drain()
	<-gone.done
	c.worker("worker-1", nil)
	first.knows(t, "sleep")
	second.knows(t, "sleep")

	wave := 0
	lead := func(sessions int) {
		wave++
		t.Run(fmt.Sprintf("wave %d", wave), func(t *testing.T) { // its end closes the clients
			slots := make(chan struct{}, 64)
			var wg sync.WaitGroup
			for i := range sessions {
				slots <- struct{}{}
				wg.Go(func() {
					defer func() { <-slots }()
					l := lives[i%len(lives)]
					l.live(t, wstest.Dial(t, first.url), fmt.Sprintf("key-%d-%d", wave, i), second.url)
				})
			}
			wg.Wait()
		})
	}
	idle := runtime.NumGoroutine()
	lead(10 * len(lives)) // pools and tables get their size
	_, heap := settled(t, idle, math.MaxInt-heapSlack)
	lead(1000)
	goroutines, now := settled(t, idle, heap)
	// And the store is empty again: what was put was released.
	stored, err := c.jetStream().Stream(t.Context(), "OBJ_"+jetstream.BucketArtifacts)
	require.NoError(t, err)
	info, err := stored.Info(t.Context())
	require.NoError(t, err)
	require.Zero(t, info.State.Bytes)
	issuer.allRevoked(t)
	require.Eventually(t, func() bool { return len(c.grants()) == 0 }, wstest.Wait, 50*time.Millisecond)
	c.awaitNoDeadlines(t)
	t.Logf("goroutines: %d before, %d after; heap: %d KiB before, %d KiB after", idle, goroutines, heap>>10, now>>10)
}

const (
	// goroutineSlack is for goroutines of the Go runtime and of the test.
	goroutineSlack = 5
	// heapSlack is about a kilobyte for each session, less than one that is left behind takes with its connection.
	heapSlack = 1 << 20
)

// settled waits until there are no more goroutines than before, and not much more memory in use, and returns how many
// and how much there is.
func settled(t *testing.T, goroutines, heap int) (int, int) {
	t.Helper()
	var g, h int
	require.Eventually(t, func() bool {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		g, h = runtime.NumGoroutine(), int(m.HeapAlloc)
		return g <= goroutines+goroutineSlack && h <= heap+heapSlack
	}, wstest.Wait, 200*time.Millisecond, "more is left behind than %d goroutines and %d KiB", goroutines, heap>>10)
	return g, h
}
