package main

import (
	"context"
	"fmt"
	"time"

	"github.com/arcp-nats/arcp/envelope"
)

type cancelCommand struct {
	Job      string        `arg:"" help:"Id of the job, of this principal."`
	Reason   string        `help:"Told to the job's tool, and to whoever watches the job." default:"cancelled with arcp cancel"`
	Deadline time.Duration `help:"How long the tool may take to end by itself." default:"5s"`
}

// Run asks for the end of a job. It ends well when the runtime has taken the request.
func (c *cancelCommand) Run(p *program, std streams, signals interrupt) error {
	job, err := envelope.ParseJobID(c.Job)
	if err != nil {
		return usageError{fmt.Errorf("JOB: %w", err)}
	}
	if c.Deadline < 0 {
		return usageError{fmt.Errorf("--deadline %s: must not be negative", c.Deadline)}
	}
	session, err := p.dial(signals.work, std)
	if err != nil {
		return err
	}
	defer session.Detach()
	if err := session.Cancel(signals.work, job, c.Reason, c.Deadline); err != nil {
		return err
	}
	closing, cancel := context.WithTimeout(signals.cleanup, closeTimeout)
	defer cancel()
	return session.Close(closing)
}
