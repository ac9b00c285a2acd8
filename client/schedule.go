package client

import (
	"time"

	"github.com/arcp-nats/arcp/envelope"
)

// WithStartAfter makes the job start when d has passed since the runtime received the request; it is accepted, and can be
// cancelled, at once.
func WithStartAfter(d time.Duration) InvokeOption {
	return func(i *invocation) {
		seconds := d.Seconds()
		i.when = &envelope.When{After: &seconds}
	}
}

// WithStartAt makes the job start at a time, at once if that is past; it is accepted, and can be cancelled, at once.
func WithStartAt(at time.Time) InvokeOption {
	return func(i *invocation) {
		t := envelope.At(at)
		i.when = &envelope.When{At: &t}
	}
}

// envelope is the request: tool.invoke, or job.schedule for a job that starts later.
func (i *invocation) envelope() (*envelope.Envelope, error) {
	if i.when == nil {
		return envelope.New(envelope.TypeToolInvoke, i.payload)
	}
	return envelope.New(envelope.TypeJobSchedule, envelope.JobSchedule{Job: i.payload, When: *i.when})
}
