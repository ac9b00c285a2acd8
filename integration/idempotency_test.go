package integration_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/wstest"
)

// TestID5ManyRetriesHealACrashOnce: an edge died after it remembered a key and before it stored the job, and clients
// of several edges try again at once. One of them starts the job, under the id that the key stands for, and all are
// told of it; later retries find it at once.
func TestID5ManyRetriesHealACrashOnce(t *testing.T) {
	c := newCluster(t)
	c.worker("worker-1", nil)
	const patience = 300 * time.Millisecond
	var edges []*testEdge
	for n := range 2 {
		e := c.edge(fmt.Sprintf("edge-%d", n), func(cfg *edge.Config) { cfg.SubmitPatience = patience })
		e.knows(t, "echo")
		edges = append(edges, e)
	}
	p := wstest.Dial(t, edges[0].url)
	p.Open(aliceToken)
	p.Invoke("echo", "x", "idempotency_key", "k")
	job := p.Until("job.completed")[0].Str("job_id")
	lost := c.forgetJob(job, time.Now())

	peers := make([]*wstest.Peer, 6)
	var wg sync.WaitGroup
	for i := range peers {
		peers[i] = wstest.Dial(t, edges[i%2].url)
		peers[i].Open(aliceToken)
	}
	for _, p := range peers {
		wg.Go(func() {
			p.Invoke("echo", "x", "idempotency_key", "k")
			accepted := p.Expect("job.accepted")
			require.Equal(t, lost, accepted["job_id"])
		})
	}
	wg.Wait()
	require.Equal(t, 2, c.count("job.accepted,tool.invoke"), "the first job, and the one that was lost")

	// The key stands for where the job is now.
	late := wstest.Dial(t, edges[0].url)
	late.Open(aliceToken)
	begin := time.Now()
	for range 20 {
		late.Invoke("echo", "x", "idempotency_key", "k")
		require.Equal(t, lost, last(late.Until("job.accepted"))["job_id"])
	}
	require.Less(t, time.Since(begin), 20*patience, "nobody waits for an edge that has died, again and again")
	require.Equal(t, 2, c.count("job.accepted,tool.invoke"))
}

// forgetJob makes the one key that is remembered stand for a job that never got into the log, as if its edge had died
// after it wrote the key at a time. It returns that job's id.
func (c *cluster) forgetJob(job string, at time.Time) (lost string) {
	c.t.Helper()
	kv, err := c.jetStream().KeyValue(c.t.Context(), "arcp_idempotency")
	require.NoError(c.t, err)
	keys, err := kv.Keys(c.t.Context())
	require.NoError(c.t, err)
	require.Len(c.t, keys, 1)
	entry, err := kv.Get(c.t.Context(), keys[0])
	require.NoError(c.t, err)
	lost = string(envelope.NewJobID())
	var known map[string]any
	require.NoError(c.t, json.Unmarshal(bytes.ReplaceAll(entry.Value(), []byte(job), []byte(lost)), &known))
	known["at"] = at
	data, err := json.Marshal(known)
	require.NoError(c.t, err)
	_, err = kv.Put(c.t.Context(), keys[0], data)
	require.NoError(c.t, err)
	return lost
}

// TestID3SixtyFourRetriesGetOneAcceptance: eight sessions on three edges send one request under one key, eight times
// each, at once.
func TestID3SixtyFourRetriesGetOneAcceptance(t *testing.T) {
	c := newCluster(t)
	c.worker("worker-1", nil)
	var edges []*testEdge
	for n := range 3 {
		e := c.edge(fmt.Sprintf("edge-%d", n), nil)
		e.knows(t, "echo")
		edges = append(edges, e)
	}
	const sessions, each = 8, 8
	var mu sync.Mutex
	acceptances, completed := make(map[string]int), 0
	peers := make([]*wstest.Peer, sessions)
	for i := range peers {
		peers[i] = wstest.Dial(t, edges[i%3].url)
		peers[i].Open(aliceToken)
	}
	var wg sync.WaitGroup
	for _, p := range peers {
		wg.Go(func() {
			sent := make(map[string]bool)
			for range each {
				sent[p.Invoke("echo", map[string]any{"a": 1}, "idempotency_key", "k", "trace_id", "t-1")] = true
			}
			accepted, seq := 0, 0
			for accepted < each {
				m := p.Next()
				seq++
				require.Equal(t, seq, m.Seq())
				if m.Type() != "job.accepted" {
					require.Contains(t, []string{"job.started", "job.completed"}, m.Type(), "%v", m)
					continue
				}
				accepted++
				require.True(t, sent[m.Str("correlation_id")], "each message is answered once")
				delete(sent, m.Str("correlation_id"))
				mu.Lock()
				acceptances[identity(t, m)]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	require.Len(t, acceptances, 1, "identical: %v", acceptances)
	for _, n := range acceptances {
		require.Equal(t, sessions*each, n)
	}
	require.Equal(t, 1, c.count("job.accepted,tool.invoke"))
	require.Eventually(t, func() bool {
		completed = c.count("job.started,job.completed") + c.count("job.completed")
		return completed > 0
	}, wstest.Wait, 10*time.Millisecond)
	require.Equal(t, 1, completed)
}

// identity is what all acceptances of one key share: everything but what names the answer and the session it is for.
func identity(t *testing.T, m wstest.Message) string {
	t.Helper()
	rest := make(map[string]any)
	for member, value := range m {
		switch member {
		case "id", "timestamp", "session_id", "event_seq", "correlation_id", "idempotency_key":
		default:
			rest[member] = value
		}
	}
	data, err := json.Marshal(rest)
	require.NoError(t, err)
	return string(data)
}

// TestID3RetriesWhileAnEdgeIsKilled: of three edges that are given one request under one key, by eight sessions eight
// times each, one is killed in the middle. Those who lost it resume elsewhere and try again. One job runs, and every
// answer is the same.
func TestID3RetriesWhileAnEdgeIsKilled(t *testing.T) {
	c := startProcesses(t)
	steady := []string{c.edge("edge-1").ready["edge"], c.edge("edge-2").ready["edge"]}
	c.worker("worker-1")
	for round := range min(rounds(), 6) {
		rng := random(t, round)
		victim := c.edge("edge-0")
		edges := append([]string{victim.ready["edge"]}, steady...)
		for _, url := range edges {
			untilServed(t, url, "echo")
		}
		before := countTypes(t, c.nats, "tool.invoke")
		const sessions, each = 8, 8
		var mu sync.Mutex
		acceptances := make(map[string]int)
		readers := make([]*reader, sessions)
		for i := range readers {
			readers[i] = openReader(t, edges[i%3])
		}
		timer := time.AfterFunc(time.Duration(rng.IntN(30))*time.Millisecond, victim.kill)
		var wg sync.WaitGroup
		for i, r := range readers {
			wg.Go(func() {
				invoke := func() bool {
					frame := `{"arcp":"1.1","id":"` + string(envelope.NewMessageID()) + `","timestamp":"2026-01-01T00:00:00Z",` +
						`"type":"tool.invoke","idempotency_key":"round-` + fmt.Sprint(round) + `","payload":{"tool":"echo","arguments":1}}`
					return r.peer.TryWrite(websocket.MessageText, []byte(frame)) == nil
				}
				ask := func(n int) {
					for range n {
						if !invoke() {
							return
						}
					}
				}
				ask(each)
				for got := 0; got < each; {
					m, err := r.peer.TryNext()
					if err != nil {
						require.Zero(t, i%3, "only the killed edge's sessions break")
						r.resume(steady[i%2])
						ask(each - got)
						continue
					}
					r.take(m)
					if m.Type() == "job.accepted" {
						got++
						mu.Lock()
						acceptances[identity(t, m)]++
						mu.Unlock()
					}
				}
			})
		}
		wg.Wait()
		timer.Stop()
		victim.kill()
		require.Len(t, acceptances, 1, "identical: %v", acceptances)
		require.Equal(t, before+1, countTypes(t, c.nats, "tool.invoke"), "one job")
		for _, r := range readers {
			r.peer.Drop()
		}
	}
}
