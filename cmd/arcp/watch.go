package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/envelope"
)

type watchCommand struct {
	Job string `arg:"" help:"Id of the job, of this principal."`
	New bool   `help:"Leave out what the job has said before."`
}

// Run shows a job that was submitted elsewhere. An interrupt ends the watching, and not the job.
func (c *watchCommand) Run(p *program, std streams, signals interrupt) error {
	id, err := envelope.ParseJobID(c.Job)
	if err != nil {
		return usageError{fmt.Errorf("JOB: %w", err)}
	}
	session, err := p.dial(signals.work, std)
	if err != nil {
		return err
	}
	defer session.Detach()
	job, status, err := session.Watch(signals.work, id, client.WatchOptions{History: !c.New})
	if err != nil {
		return err
	}
	result, streamed, err := new(invokeCommand).follow(signals.work, session, job, p.JSON, std.out)
	closing, cancel := context.WithTimeout(signals.cleanup, closeTimeout)
	defer cancel()
	if closeErr := session.Close(closing); err == nil && closeErr != nil {
		err = fmt.Errorf("close: %w", closeErr)
	}
	switch {
	case errors.Is(err, client.ErrAlreadyEnded):
		if !p.JSON {
			fmt.Fprintln(std.out, status)
		}
		if status != envelope.JobStateCompleted {
			return errSilent
		}
		return nil
	case err != nil || p.JSON:
		return err
	case streamed != nil:
		_, err = std.out.Write(streamed)
		return err
	}
	return printResult(std.out, result)
}
