package client_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/envelope"
)

// watched answers a job.subscribe.
func (p *peer) watched(seq uint64, status envelope.JobState, replayed bool) *envelope.Envelope {
	ask := p.expect(envelope.TypeJobSubscribe)
	p.say(seq, ask, jobID, envelope.TypeJobSubscribed, envelope.JobSubscribed{JobID: jobID, CurrentStatus: status, Agent: "a", Replayed: replayed})
	return ask
}

// A job that is watched is shown like one's own, over a lost connection.
func TestWatch(t *testing.T) {
	ctx := testContext(t)
	url := newEdge(t, func(p *peer) {
		p.open("t1")
		ask, err := envelope.DecodePayload[envelope.JobSubscribe](p.watched(1, envelope.JobStateRunning, true))
		if err != nil || ask.JobID != jobID || !ask.History || *ask.FromEventSeq != 7 {
			p.fail("%+v %v", ask, err)
		}
		p.progress(2, nil, 1)
	}, func(p *peer) {
		p.resume("t1", 2, "t2")
		p.progress(3, nil, 2)
		p.completed(4, nil, `5`)
		p.watched(5, envelope.JobStateCompleted, false)
		p.watched(6, envelope.JobStateRunning, false)
		p.expect(envelope.TypeJobUnsubscribe)
		p.say(7, p.expect(envelope.TypeJobSubscribe), "", envelope.TypeNack, envelope.Nack{Code: envelope.CodeNotFound, Message: "no such job"})
		p.closed()
	})
	s := dial(t, config(url))
	job, status, err := s.Watch(ctx, jobID, client.WatchOptions{History: true, From: 7})
	require.NoError(t, err)
	require.Equal(t, envelope.JobStateRunning, status)
	var seen []envelope.Type
	for e, err := range job.Events(ctx) {
		require.NoError(t, err)
		seen = append(seen, e.Type)
	}
	require.Equal(t, []envelope.Type{envelope.TypeJobProgress, envelope.TypeJobProgress, envelope.TypeJobCompleted}, seen)
	result, err := job.Wait(ctx)
	require.NoError(t, err)
	require.Equal(t, "5", string(result.Value))

	job, status, err = s.Watch(ctx, jobID, client.WatchOptions{})
	require.NoError(t, err)
	require.Equal(t, envelope.JobStateCompleted, status)
	_, err = job.Wait(ctx)
	require.ErrorIs(t, err, client.ErrAlreadyEnded)

	job, _, err = s.Watch(ctx, jobID, client.WatchOptions{})
	require.NoError(t, err)
	require.NoError(t, s.Unwatch(ctx, job))
	_, err = job.Wait(ctx)
	require.ErrorIs(t, err, client.ErrUnwatched)
	_, _, err = s.Watch(ctx, jobID, client.WatchOptions{})
	require.Equal(t, envelope.CodeNotFound, envelope.CodeOf(err))
	require.NoError(t, s.Close(ctx))
}
