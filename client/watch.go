package client

import (
	"context"
	"fmt"

	"github.com/arcp-nats/arcp/envelope"
)

// WatchOptions say what of a job is shown.
type WatchOptions struct {
	// History shows what the job has said already, from its acceptance on, before what comes.
	History bool
	// From leaves out what has an event_seq up to it in the session that submitted the job; 0 for nothing.
	From uint64
}

// Watch shows a job of the session's principal, wherever it was submitted, until it ends (open dialect 4.20). The job's
// events, result and error are those of the Job that is returned, as with Invoke; without History the events begin with
// what comes next. status is where the job stands. A job that has ended and whose history was not asked for says nothing
// more: then Wait fails with ErrAlreadyEnded, and so does the end of the events. The errors are an [*envelope.Error]:
// NOT_FOUND; PERMISSION_DENIED for a job of somebody else; RESOURCE_EXHAUSTED; DATA_LOSS if From is not known any more.
//
// A job that the session watches already, or has submitted, is shown to each of the Jobs from where it stands.
func (s *Session) Watch(ctx context.Context, id envelope.JobID, o WatchOptions) (job *Job, status envelope.JobState, err error) {
	payload := envelope.JobSubscribe{JobID: id, History: o.History}
	if o.From > 0 {
		payload.FromEventSeq = &o.From
	}
	r, err := s.newRequest(envelope.TypeJobSubscribe, payload)
	if err != nil {
		return nil, "", err
	}
	r.again = true // a job that is watched twice is shown once
	r.watch = &Job{id: id, events: newEventQueue(), accepted: make(chan struct{}), ended: make(chan struct{})}
	close(r.watch.accepted)
	reply, err := s.roundTrip(ctx, r)
	switch {
	case err != nil:
		return nil, "", err
	case reply.Type == envelope.TypeNack:
		return nil, "", nackError(reply)
	case reply.Type != envelope.TypeJobSubscribed:
		return nil, "", fmt.Errorf("client: job.subscribe was answered with %s", reply.Type)
	}
	said, err := envelope.DecodePayload[envelope.JobSubscribed](reply)
	if err != nil {
		return nil, "", err
	}
	return r.watch, said.CurrentStatus, nil
}

// Unwatch ends what Watch began. The edge does not answer (open dialect JS-9): Unwatch returns when the message is on its
// way. The Job's events end with ErrUnwatched.
func (s *Session) Unwatch(ctx context.Context, job *Job) error {
	id := job.ID()
	s.mu.Lock()
	left := s.jobs[id][:0:0]
	for _, j := range s.jobs[id] {
		if j != job {
			left = append(left, j)
		}
	}
	if s.jobs[id] = left; len(left) == 0 {
		delete(s.jobs, id)
	}
	s.mu.Unlock()
	job.end(Result{}, ErrUnwatched)
	if len(left) > 0 {
		return nil // somebody else is shown the job
	}
	e, err := envelope.New(envelope.TypeJobUnsubscribe, &envelope.JobUnsubscribe{JobID: id})
	if err != nil {
		return err
	}
	return s.Tell(ctx, e)
}

// beginWatch puts a job into the session's, at the place of the answer among what comes.
func (s *Session) beginWatch(job *Job, answer *envelope.Envelope) {
	said, err := envelope.DecodePayload[envelope.JobSubscribed](answer)
	if err != nil {
		return // the request fails with it
	}
	if said.CurrentStatus.Terminal() && !said.Replayed {
		job.end(Result{}, ErrAlreadyEnded)
		return
	}
	s.mu.Lock()
	s.jobs[job.id] = append(s.jobs[job.id], job)
	s.mu.Unlock()
}
