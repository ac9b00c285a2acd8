package integration_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/wstest"
	"github.com/arcp-nats/arcp/worker"
)

// TestCheckpointsAreShownToWhoNegotiatedThem: numbered like any event and the same on another edge; to others they do not
// exist, and take no number.
func TestCheckpointsAreShownToWhoNegotiatedThem(t *testing.T) {
	c, e := newStack(t)
	second := c.edge("edge-2", nil)
	e.knows(t, "attempt")
	arguments := obj{"to": 4, "every_ms": 0, "checkpoint_every": 2}

	p := wstest.Dial(t, e.url)
	p.Send("session.open", withExtensions(envelope.CheckpointExtension))
	accepted := p.Expect("session.accepted")
	require.Equal(t, []any{envelope.CheckpointExtension}, accepted.Payload()["capabilities"].(obj)["extensions"])
	invoke := p.Invoke("attempt", arguments)
	all := p.Until("job.completed")
	ids := map[string]bool{}
	for i, m := range all {
		require.Equal(t, i+1, m.Seq())
		if m.Type() == "job.checkpoint" {
			require.Equal(t, invoke, m["correlation_id"])
			require.Contains(t, m.Payload(), "data")
			ids[m.Payload()["checkpoint_id"].(string)] = true
		}
	}
	require.NotEmpty(t, ids)
	p.Drop()
	p = wstest.Dial(t, second.url)
	p.Resume(token(accepted), 0)
	require.Equal(t, all, p.Until("job.completed"))

	// RE-10: what came after a checkpoint comes again.
	at := 0
	for all[at].Type() != "job.checkpoint" {
		at++
	}
	p.Send("resume", obj{"checkpoint_id": all[at].Payload()["checkpoint_id"]})
	require.Equal(t, all[at+1:], p.Until("job.completed"))
	require.Equal(t, complete, p.Expect("event.emit").Payload()["name"])

	// Subscribers are told of them if they have negotiated them.
	sub := subscribe(t, p, obj{"types": []string{"job.checkpoint", "job.completed"}}, "")
	q := wstest.Dial(t, e.url)
	q.Open(aliceToken)
	plain := subscribe(t, q, obj{"types": []string{"job.checkpoint"}}, "")
	q.Invoke("attempt", arguments)
	bare := q.Until("job.completed")
	for range ids {
		require.Equal(t, "job.checkpoint", event(t, p, sub).Type())
	}
	require.Equal(t, "job.completed", event(t, p, sub).Type())
	q.Send("unsubscribe", obj{"subscription_id": plain})
	q.Quiet()
	require.NotContains(t, types(bare), "job.checkpoint")
	require.Len(t, bare, len(all)-len(ids))
	require.Equal(t, len(bare)+1, last(bare).Seq(), "the subscription's answer, and no checkpoint")
}

// TestCheckpointsOfAWatchedJob: the session that shows the job of another one, by a retry with its key, has asked for
// checkpoints; the job's own has not.
func TestCheckpointsOfAWatchedJob(t *testing.T) {
	c := newCluster(t)
	saves := func(ctx context.Context, job *worker.Job) (any, error) {
		prompts, err := job.Interrupts(ctx)
		if err != nil {
			return nil, err
		}
		select {
		case <-prompts:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		return nil, job.Checkpoint(ctx, "all")
	}
	c.worker("worker-1", func(w *worker.Worker) { require.NoError(t, w.Handle("saves", "1", saves, worker.Options{})) })
	first, second := c.edge("edge-1", nil), c.edge("edge-2", nil)
	first.knows(t, "saves")
	second.knows(t, "saves")
	plain, asking := wstest.Dial(t, first.url), wstest.Dial(t, second.url)
	plain.Open(aliceToken)
	plain.Invoke("saves", nil, "idempotency_key", "k")
	job := last(plain.Until("job.started")).Str("job_id")
	asking.Send("session.open", withExtensions(envelope.CheckpointExtension))
	asking.Expect("session.accepted")
	asking.Invoke("saves", nil, "idempotency_key", "k")
	require.Equal(t, job, last(asking.Until("job.accepted"))["job_id"])
	plain.Send("interrupt", interrupt(job, "save"))
	require.Equal(t, 3, plain.Expect("job.completed").Seq())
	kinds := types(asking.Until("job.completed"))
	require.Equal(t, []string{"job.checkpoint", "job.completed"}, kinds[len(kinds)-2:])
}

// TestTheNameOfCheckpointsHasNoMessages: a client that says something in it is refused.
func TestTheNameOfCheckpointsHasNoMessages(t *testing.T) {
	_, e := newStack(t)
	e.knows(t, "sleep")
	p := wstest.Dial(t, e.url)
	p.Send("session.open", withExtensions(envelope.CheckpointExtension))
	p.Expect("session.accepted")
	p.Invoke("sleep", obj{"ms": 600_000})
	job := last(p.Until("job.started")).Str("job_id")
	for typ, code := range map[string]string{envelope.CheckpointExtension: "UNIMPLEMENTED", "job.checkpoint": "INVALID_ARGUMENT"} {
		id := p.Send(typ, obj{"checkpoint_id": "c", "data": 1}, "job_id", job)
		m := p.Expect("nack")
		require.Equal(t, id, m["correlation_id"])
		require.Equal(t, code, m.Payload()["code"], typ)
	}
}
