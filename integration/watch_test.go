package integration_test

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/internal/wstest"
	"github.com/arcp-nats/arcp/worker"
)

// stepwise is a handler that reports a step for each value that comes, until there are no more.
func stepwise(more <-chan int) worker.Handler {
	return func(ctx context.Context, job *worker.Job) (any, error) {
		for n := range more {
			if err := job.Log(ctx, "info", "step", map[string]any{"n": n}); err != nil {
				return nil, err
			}
		}
		return "done", nil
	}
}

// watching is two sessions of one principal on two edges: the first has submitted a job, the second repeats it.
type watching struct {
	cluster       *cluster
	first, second *testEdge
	submitter     *wstest.Peer
	watcher       *wstest.Peer
	accepted      wstest.Message // of the watching session
	job           string
	invocation    string // id of the first tool.invoke
	more          chan int
}

func newWatching(t *testing.T) *watching {
	t.Helper()
	w := &watching{cluster: newCluster(t), more: make(chan int)}
	w.cluster.worker("worker-1", func(w1 *worker.Worker) {
		require.NoError(t, w1.Handle("steps", "1", stepwise(w.more), worker.Options{Concurrency: 4}))
	})
	w.first, w.second = w.cluster.edge("edge-1", nil), w.cluster.edge("edge-2", nil)
	w.first.knows(t, "steps")
	w.second.knows(t, "steps")
	w.submitter, w.watcher = wstest.Dial(t, w.first.url), wstest.Dial(t, w.second.url)
	w.submitter.Open(aliceToken)
	w.accepted = w.watcher.Open(aliceToken)
	w.invocation = w.submitter.Invoke("steps", nil, "idempotency_key", "k")
	w.job = w.submitter.Until("job.started")[0].Str("job_id")
	return w
}

func (w *watching) step(t *testing.T, n int) {
	t.Helper()
	select {
	case w.more <- n:
	case <-t.Context().Done():
	}
}

// logged returns the numbers of the steps among messages.
func logged(messages []wstest.Message) (numbers []int) {
	for _, m := range messages {
		if attributes, ok := m.Payload()["attributes"].(map[string]any); ok && m.Type() == "log" {
			numbers = append(numbers, int(attributes["n"].(float64)))
		}
	}
	return numbers
}

// A retry from another session of the principal, on another edge, gets the acceptance and what the job says from then
// on, under its own session id and numbers and with the correlation of the first request.
func TestID3ARetryElsewhereGetsTheRestOfTheJob(t *testing.T) {
	w := newWatching(t)
	w.step(t, 1)
	w.submitter.Expect("log")
	retry := w.watcher.Invoke("steps", nil, "idempotency_key", "k")
	m := w.watcher.Expect("job.accepted")
	require.Equal(t, w.job, m["job_id"])
	require.Equal(t, retry, m["correlation_id"])
	again := w.watcher.Invoke("steps", nil, "idempotency_key", "k") // shown once all the same
	require.Equal(t, again, w.watcher.Expect("job.accepted")["correlation_id"])
	w.step(t, 2)
	w.step(t, 3)
	close(w.more)
	original := w.submitter.Until("job.completed")
	shown := w.watcher.Until("job.completed")
	require.Equal(t, []int{2, 3}, logged(shown))
	for i, m := range shown {
		require.Equal(t, i+3, m.Seq())
		require.Equal(t, w.accepted["session_id"], m["session_id"])
		require.Equal(t, w.invocation, m["correlation_id"])
		require.Equal(t, w.job, m["job_id"])
		require.Equal(t, original[i]["id"], m["id"])
		require.Equal(t, original[i]["payload"], m["payload"])
	}
	w.watcher.Quiet()
	w.submitter.Quiet()
	w.watcher.Invoke("echo", 1) // the numbers go on
	require.Equal(t, len(shown)+3, w.watcher.Expect("job.accepted").Seq())
}

// A retry that comes after the end gets the end: its client has no other way to learn of it.
func TestID3ARetryElsewhereAfterTheEnd(t *testing.T) {
	w := newWatching(t)
	w.step(t, 1)
	w.submitter.Expect("log")
	close(w.more)
	w.submitter.Until("job.completed")
	w.watcher.Invoke("steps", nil, "idempotency_key", "k")
	all := w.watcher.Until("job.completed")
	require.Equal(t, []string{"job.accepted", "job.completed"}, types(all))
	require.Equal(t, "done", last(all).Payload()["value"])
	w.watcher.Invoke("steps", nil, "idempotency_key", "k")
	w.watcher.Expect("job.accepted")
	w.watcher.Quiet() // it has seen the end
}

// The watching session is resumed on a third edge, which shows the same bytes and goes on.
func TestI3AWatchingSessionIsResumedElsewhere(t *testing.T) {
	w := newWatching(t)
	third := w.cluster.edge("edge-3", nil)
	w.watcher.Invoke("steps", nil, "idempotency_key", "k")
	w.watcher.Expect("job.accepted")
	for n := range 5 {
		w.step(t, n+1)
		w.watcher.Expect("log")
	}
	w.watcher.Drop()
	w.step(t, 6) // while it is away

	q := wstest.Dial(t, third.url)
	resumed := q.Resume(token(w.accepted), 2)
	var replay []wstest.Message
	for range 5 { // 2 to 6, of which the last was never sent
		replay = append(replay, q.Expect("log"))
	}
	require.Equal(t, []int{2, 3, 4, 5, 6}, logged(replay))
	for i, frame := range w.watcher.Raw[len(w.watcher.Raw)-4:] {
		require.True(t, bytes.Equal(frame, q.Raw[1+i]), "%s\n%s", frame, q.Raw[1+i])
	}
	w.step(t, 7)
	require.Equal(t, []int{7}, logged([]wstest.Message{q.Expect("log")}))
	q.Drop()
	r := wstest.Dial(t, w.first.url)
	r.Resume(token(resumed), 0)
	close(w.more)
	all := r.Until("job.completed")
	require.Equal(t, []int{1, 2, 3, 4, 5, 6, 7}, logged(all))
	for i, m := range all {
		require.Equal(t, i+1, m.Seq())
	}
	r.Quiet()
}

// A watching client that does not read costs no marks and loses nothing.
func TestAWatchingClientThatDoesNotReadIsServedFromTheLog(t *testing.T) {
	const n = 3000
	w := newWatching(t)
	slow := w.cluster.edge("edge-3", func(cfg *edge.Config) { cfg.AckWindow = 8 })
	p := wstest.Dial(t, slow.url)
	p.Open(aliceToken)
	p.Invoke("steps", nil, "idempotency_key", "k")
	p.Expect("job.accepted")
	for i := range n {
		w.step(t, i+1)
	}
	close(w.more)
	w.submitter.Until("job.completed")
	require.Less(t, w.cluster.count("_job.shown"), n/4)
	var all []wstest.Message
	for len(all) == 0 || last(all).Type() != "job.completed" {
		m := p.Next()
		if m.Type() == "backpressure" {
			continue
		}
		all = append(all, m)
		require.Equal(t, len(all)+1, m.Seq())
		p.Send("session.ack", map[string]any{"last_processed_seq": m.Seq()})
	}
	numbers := logged(all)
	require.Len(t, numbers, n)
	require.True(t, slices.IsSorted(numbers))
}

// Nobody watches a job of another principal, whatever key it uses.
func TestI4KeysOfAnotherPrincipalShowNothing(t *testing.T) {
	w := newWatching(t)
	bob := wstest.Dial(t, w.first.url)
	bob.Open(bobToken)
	bob.Invoke("steps", nil, "idempotency_key", "k")
	require.NotEqual(t, w.job, bob.Expect("job.accepted")["job_id"])
	bob.Expect("job.started")
	close(w.more)
	bob.Expect("job.completed")
	bob.Quiet()
}
