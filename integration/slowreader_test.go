package integration_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/internal/wstest"
)

// slowConn reads so many bytes a tick while slow is set.
type slowConn struct {
	net.Conn
	slow  *atomic.Bool
	tick  *time.Ticker
	bytes int
}

func (c *slowConn) Read(p []byte) (int, error) {
	if c.slow.Load() {
		<-c.tick.C
		p = p[:min(len(p), c.bytes)]
	}
	return c.Conn.Read(p)
}

// TestI7AReaderOfAKilobyteASecond: a job says 100,000 things to a client that reads 1 KiB a second, for a while. The
// edge keeps none of it in memory, and another session's jobs go on. Then the client reads as fast as it can, and
// misses nothing.
func TestI7AReaderOfAKilobyteASecond(t *testing.T) {
	const lines = 100_000 // about 33 MiB on the wire
	const room = 24 << 20 // for the edge: mostly what is not collected yet
	c := startProcesses(t)
	e := c.edge("edge-1", "--log-level", "warn")
	c.worker("worker-1")
	url := e.ready["edge"]
	untilServed(t, url, "log")

	other, err := client.Dial(t.Context(), client.Config{URLs: []string{url}, Token: bobToken})
	require.NoError(t, err)
	alone := echoes(t, other, 500)
	idle, before := e.resident(), countTypes(t, c.nats, "job.completed")

	tick, crawl := time.NewTicker(time.Second), new(atomic.Bool)
	defer tick.Stop()
	slow := &reader{t: t, peer: wstest.DialOver(t, url, func(conn net.Conn) net.Conn {
		_ = conn.(*net.TCPConn).SetReadBuffer(256 << 10) // of 33 MiB the kernel is not to hold much
		return &slowConn{Conn: conn, slow: crawl, tick: tick, bytes: 1024}
	})}
	slow.token = token(slow.peer.Open(aliceToken))
	crawl.Store(true)
	slow.peer.Invoke("log", map[string]any{"lines": lines})

	beside := echoes(t, other, 500)
	require.Eventually(t, func() bool {
		return countTypes(t, c.nats, "job.completed") == before+500+1
	}, wstest.Wait, 200*time.Millisecond, "the job ends, although nobody reads what it says")
	slow.readTo(10)
	behind := e.resident()

	// It goes on fast, and the edge reads the log for it.
	crawl.Store(false)
	most := behind
	begin := time.Now()
	for slow.ended == "" {
		require.True(t, slow.next(), "the connection ended after %d", slow.seq)
		if slow.seq%1000 == 0 {
			most = max(most, e.resident())
		}
	}
	took := time.Since(begin)
	require.Equal(t, "job.completed", slow.ended)
	require.GreaterOrEqual(t, slow.seq, lines+3)
	require.NoError(t, other.Close(t.Context()))

	t.Logf("edge: %d KiB idle, %d KiB with all of it unread, at most %d KiB then; echo alone %v, beside %v; the rest was read in %s",
		idle>>10, behind>>10, most>>10, alone, beside, took)
	require.Less(t, behind-idle, room, "resident memory while the client crawls")
	require.Less(t, most-idle, room, "resident memory while it reads on")
	require.Less(t, beside.p50, 20*alone.p50+50*time.Millisecond)
}

// TestHB3APeerThatStillReadsIsNotSilent: a client that says nothing and is busy with what it was sent cannot answer a
// question that waits behind that.
func TestHB3APeerThatStillReadsIsNotSilent(t *testing.T) {
	c := newCluster(t)
	c.worker("worker-1", nil)
	const idle = 800 * time.Millisecond
	e := c.edge("edge-1", func(cfg *edge.Config) { cfg.IdlePing = idle })
	e.knows(t, "log")
	tick, crawl := time.NewTicker(20*time.Millisecond), new(atomic.Bool)
	defer tick.Stop()
	p := wstest.DialOver(t, e.url, func(conn net.Conn) net.Conn {
		_ = conn.(*net.TCPConn).SetReadBuffer(16 << 10)
		return &slowConn{Conn: conn, slow: crawl, tick: tick, bytes: 4 << 10}
	})
	p.Open(aliceToken)
	crawl.Store(true)
	p.Invoke("log", map[string]any{"lines": 3000})
	begin, seq := time.Now(), 0
	for seq < 3003 {
		if m := p.Next(); m.Seq() > 0 {
			seq++
			require.Equal(t, seq, m.Seq())
		}
	}
	require.Greater(t, time.Since(begin), 3*idle, "it was silent for long enough")
	crawl.Store(false)
	p.Send("ping", map[string]any{})
	p.Until("pong") // on this connection
}

// latencies are of jobs of echo, one after the other.
type latencies struct{ p50, p99 time.Duration }

func (l latencies) String() string { return fmt.Sprintf("p50 %s p99 %s", l.p50, l.p99) }

func echoes(t *testing.T, s *client.Session, n int) latencies {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wstest.Wait)
	defer cancel()
	took := make([]time.Duration, n)
	for i := range took {
		begin := time.Now()
		job, err := s.Invoke(ctx, "echo", i)
		require.NoError(t, err)
		_, err = job.Wait(ctx)
		require.NoError(t, err)
		took[i] = time.Since(begin)
	}
	slices.Sort(took)
	return latencies{p50: took[n/2], p99: took[n*99/100]}
}

// resident is the memory that the process has in use, in bytes.
func (p *process) resident() int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	require.NoError(p.t, err)
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	number, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	kib, err := strconv.Atoi(number)
	require.NoError(p.t, err)
	return kib << 10
}
