package integration_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/cutproxy"
)

func dialHelloClient(t *testing.T, urls ...string) *client.Session {
	t.Helper()
	read := make([]string, len(urls))
	for i, url := range urls {
		read[i] = linted(t, url)
	}
	s, err := client.Dial(t.Context(), client.Config{
		URLs: read, Token: aliceToken, Dialect: client.DialectHello,
		Reconnect: client.Reconnect{MinDelay: time.Millisecond, MaxDelay: 50 * time.Millisecond},
	})
	require.NoError(t, err)
	t.Cleanup(func() { s.Detach() })
	return s
}

// TestHelloClient: what the client can do in this dialect it does as in the other one.
func TestHelloClient(t *testing.T) {
	c, first, second := newHelloStack(t)
	c.worker("worker-2", only(t, "kinds", everyKind))
	first.knows(t, "kinds")
	ctx := t.Context()
	s := dialHelloClient(t, first.url)
	job, err := s.Invoke(ctx, "echo", obj{"a": 1})
	require.NoError(t, err)
	result, err := job.Wait(ctx)
	require.NoError(t, err)
	require.JSONEq(t, `{"a":1}`, string(result.Value))

	_, err = s.Ping(ctx)
	require.NoError(t, err)
	_, err = s.SessionPing(ctx)
	require.NoError(t, err)

	job, err = s.Invoke(ctx, "nobody", nil)
	require.NoError(t, err)
	_, err = job.Wait(ctx)
	require.Equal(t, envelope.CodeAgentNotAvailable, envelope.CodeOf(err))

	job, err = s.Invoke(ctx, "sleep", obj{"ms": 60_000})
	require.NoError(t, err)
	id, err := job.Accepted(ctx)
	require.NoError(t, err)
	ask, err := envelope.New(envelope.TypeSessionListJobs, &envelope.SessionListJobs{Filter: &envelope.JobListFilter{Agent: "sleep"}})
	require.NoError(t, err)
	answer, err := s.Request(ctx, ask, true)
	require.NoError(t, err)
	page, err := envelope.DecodePayload[envelope.SessionJobs](answer)
	require.NoError(t, err)
	require.Len(t, page.Jobs, 1)
	watcher := dialHelloClient(t, second.url)
	watched, _, err := watcher.Watch(ctx, id, client.WatchOptions{History: true})
	require.NoError(t, err)
	var refused *client.RefusedError
	require.ErrorAs(t, watcher.Cancel(ctx, id, "not mine", 0), &refused)
	require.NoError(t, s.Cancel(ctx, id, "enough", 0))
	for _, j := range []*client.Job{job, watched} {
		_, err = j.Wait(ctx)
		require.Equal(t, envelope.CodeCancelled, envelope.CodeOf(err))
	}

	job, err = s.Invoke(ctx, "kinds", nil, client.WithLease(&envelope.Lease{Budget: []envelope.Amount{{Currency: "USD", Value: envelope.DecimalFromMillionths(1_000_000)}}}))
	require.NoError(t, err)
	result, err = job.Wait(ctx)
	require.NoError(t, err)
	require.Equal(t, "a report", result.Summary)

	_, err = s.OpenStream(ctx, id, envelope.StreamOpen{Kind: envelope.StreamText})
	require.Equal(t, envelope.CodeUnimplemented, envelope.CodeOf(err))
	require.NoError(t, s.Close(ctx))
}

// TestHelloClientSurvivesCutConnections: jobs with keys, each answered once, over two edges whose connections are cut at any
// byte in either direction.
func TestHelloClientSurvivesCutConnections(t *testing.T) {
	_, first, second := newHelloStack(t)
	random := rand.New(rand.NewPCG(5, 5))
	var mu sync.Mutex
	var urls []string
	var proxies []*cutproxy.Proxy
	for _, e := range []*testEdge{first, second} {
		u, err := url.Parse(e.url)
		require.NoError(t, err)
		proxy, err := cutproxy.Start(u.Host, func(int) cutproxy.Cut {
			mu.Lock()
			defer mu.Unlock()
			return cutproxy.Cut{Up: 10_000 + random.Int64N(40_000), Down: 10_000 + random.Int64N(40_000), Reset: random.IntN(2) == 0}
		})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, proxy.Close()) })
		u.Host = proxy.Addr()
		urls, proxies = append(urls, u.String()), append(proxies, proxy)
	}
	s := dialHelloClient(t, urls...)
	var wg sync.WaitGroup
	const jobs = 300
	failures := make(chan error, jobs)
	turns := make(chan struct{}, 16)
	for n := range jobs {
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			job, err := s.Invoke(t.Context(), "count", obj{"to": 5}, client.WithIdempotencyKey(fmt.Sprint("key-", n)))
			var result client.Result
			if err == nil {
				result, err = job.Wait(t.Context())
			}
			var counted struct {
				Counted int `json:"counted"`
			}
			if err == nil {
				err = json.Unmarshal(result.Value, &counted)
			}
			if err != nil {
				failures <- fmt.Errorf("job %d: %w", n, err)
			}
		})
	}
	wg.Wait()
	close(failures)
	for err := range failures {
		require.NoError(t, err)
	}
	require.Greater(t, proxies[0].Cuts()+proxies[1].Cuts(), 3)
	stats := s.Stats()
	require.Zero(t, stats.Gaps)
	require.Zero(t, stats.Repeats)
}
