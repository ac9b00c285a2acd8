package integration_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/internal/wstest"
)

// The size of the herd. docs/performance.md says how a large one fared on one machine.
var (
	massSessions = flag.Int("mass-sessions", 300, "sessions of TestMassResume")
	massEvery    = flag.Duration("mass-every", time.Second, "time between two events of each session of TestMassResume")
	massSeen     = flag.Int("mass-seen", 2, "steps that each job of TestMassResume has made when its edge dies")
)

// TestMassResume kills an edge with many sessions, each with a running job. All clients resume at once on the other
// edges. Each sees every envelope of its session once and in order (I2), and none is refused.
func TestMassResume(t *testing.T) {
	c := startProcesses(t)
	limit := []string{"--max-sessions-per-principal", strconv.Itoa(2 * *massSessions)}
	victim := c.edge("edge-1", limit...)
	others := []*process{c.edge("edge-2", limit...), c.edge("edge-3", limit...)}
	for i := range 2 {
		c.worker(fmt.Sprint("worker-", i+1), "--concurrency", strconv.Itoa(*massSessions))
	}
	untilServed(t, victim.ready["edge"], "echo")

	herd := &herd{seen: make(chan struct{}, *massSessions), open: make(chan struct{}, 2*runtime.NumCPU())}
	var clients sync.WaitGroup
	defer func() { // so that they see it end, also where the test fails before
		herd.over.Store(true)
		victim.kill()
		for _, edge := range others {
			edge.kill()
		}
		clients.Wait()
	}()
	errs := make(chan error, *massSessions)
	for i := range *massSessions {
		clients.Go(func() { errs <- herd.live(t, victim.ready["edge"], others[i%len(others)].ready["edge"]) })
	}
	for range *massSessions {
		select {
		case <-herd.seen:
		case err := <-errs:
			require.NoError(t, err)
		}
	}
	killed := time.Now()
	herd.killed.Store(killed.UnixNano())
	victim.kill()
	for range *massSessions {
		require.NoError(t, <-errs)
	}
	resumed, heard := herd.times(killed)
	at := func(d []time.Duration, p int) time.Duration {
		return d[(len(d)-1)*p/100].Round(time.Millisecond)
	}
	t.Logf("%d sessions: session.resumed p50 %s, p99 %s, last %s; the next event of a running job p50 %s, p99 %s, last %s; refused %d times",
		*massSessions, at(resumed, 50), at(resumed, 99), at(resumed, 100), at(heard, 50), at(heard, 99), at(heard, 100), herd.refused.Load())
	require.Zero(t, herd.refused.Load(), "a herd is not turned away")
	require.Less(t, at(heard, 100), wstest.Wait)
}

// herd is many clients.
type herd struct {
	open    chan struct{} // a slot each session that is being opened
	seen    chan struct{} // a token from each client that hears its job
	killed  atomic.Int64  // when the edge was killed, in unix nanoseconds; 0 before
	over    atomic.Bool
	refused atomic.Int64

	mu             sync.Mutex
	resumed, heard []time.Time
}

// times returns how long after a moment the clients were resumed, and heard something new, in ascending order.
func (h *herd) times(since time.Time) (resumed, heard []time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	after := func(times []time.Time) []time.Duration {
		d := make([]time.Duration, len(times))
		for i, at := range times {
			d[i] = at.Sub(since)
		}
		slices.Sort(d)
		return d
	}
	return after(h.resumed), after(h.heard)
}

// herdMessage is what these clients read of an envelope.
type herdMessage struct {
	Type      string    `json:"type"`
	Seq       int       `json:"event_seq"`
	Timestamp time.Time `json:"timestamp"`
	Payload   struct {
		Token string `json:"resume_token"`
	} `json:"payload"`
}

func herdNext(p *wstest.Peer) (m herdMessage, err error) {
	frame, err := p.TryFrame()
	if err == nil {
		err = json.Unmarshal(frame, &m)
	}
	return m, err
}

// live opens a session with a job on one edge, hears it until that edge dies, resumes on the other one, and hears the
// job go on.
func (h *herd) live(t *testing.T, first, second string) error {
	p, token, err := h.begin(t, first)
	if err != nil {
		return fmt.Errorf("opening: %w", err)
	}
	seq := 0
	for {
		m, err := herdNext(p)
		if err != nil {
			if h.killed.Load() == 0 {
				return fmt.Errorf("before the edge was killed: %w", err)
			}
			break
		}
		if m.Seq == 0 {
			continue // a question for a sign of life
		}
		if seq++; m.Seq != seq {
			return fmt.Errorf("number %d in place of %d", m.Seq, seq)
		}
		if seq == 2+*massSeen {
			h.seen <- struct{}{}
		}
	}
	p.Drop()
	killed := time.Unix(0, h.killed.Load())
	if p, err = h.resume(t, second, token, seq); err != nil {
		return fmt.Errorf("resuming: %w", err)
	}
	defer p.Drop()
	h.mu.Lock()
	h.resumed = append(h.resumed, time.Now())
	h.mu.Unlock()
	for {
		m, err := herdNext(p)
		if err != nil {
			return fmt.Errorf("after the resume: %w", err)
		}
		if m.Seq == 0 {
			continue
		}
		if seq++; m.Seq != seq {
			return fmt.Errorf("number %d in place of %d after the resume", m.Seq, seq)
		}
		if m.Timestamp.After(killed) {
			break
		}
	}
	h.mu.Lock()
	h.heard = append(h.heard, time.Now())
	h.mu.Unlock()
	return nil
}

func (h *herd) begin(t *testing.T, url string) (*wstest.Peer, string, error) {
	h.open <- struct{}{}
	defer func() { <-h.open }()
	p, err := wstest.TryDial(t, url)
	if err != nil {
		return nil, "", err
	}
	if _, err := p.TrySend("session.open", wstest.OpenPayload(aliceToken)); err != nil {
		return nil, "", err
	}
	m, err := herdNext(p)
	if err != nil {
		return nil, "", err
	}
	if m.Type != "session.accepted" {
		return nil, "", fmt.Errorf("%s in place of session.accepted", m.Type)
	}
	job := map[string]any{"tool": "count", "arguments": map[string]any{"to": 1_000_000, "every_ms": massEvery.Milliseconds()}}
	_, err = p.TrySend("tool.invoke", job)
	return p, m.Payload.Token, err
}

func (h *herd) resume(t *testing.T, url, token string, seq int) (*wstest.Peer, error) {
	for !h.over.Load() {
		p, err := wstest.TryDial(t, url)
		if err != nil {
			h.refused.Add(1)
			continue
		}
		if _, err = p.TrySend("session.resume", map[string]any{"resume_token": token, "last_event_seq": seq}); err == nil {
			var m herdMessage
			if m, err = herdNext(p); err == nil && m.Type == "session.resumed" {
				return p, nil
			}
		}
		h.refused.Add(1)
		p.Drop()
	}
	return nil, errors.New("the test is over")
}
