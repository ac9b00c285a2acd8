package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/envelope"
)

// jobsPage is how many jobs are asked for at a time.
const jobsPage = 500

type jobsCommand struct {
	Status []string `help:"Only jobs that stand so: queued, running, blocked, completed, failed, cancelled. Repeatable." enum:"queued,running,blocked,paused,completed,failed,cancelled" placeholder:"STATE"`
	Agent  string   `help:"Only jobs of this tool, as it was written when they were invoked." placeholder:"TOOL"`
	Since  string   `help:"Only jobs that were created after this: a time, 2026-07-01T09:00:00Z, or how long ago, 90m." placeholder:"TIME"`
	Until  string   `help:"Only jobs that were created before this." placeholder:"TIME"`
	Limit  uint32   `help:"Most jobs to list, the oldest first; 0 for all." default:"0"`
}

// Run lists the jobs, page by page.
func (c *jobsCommand) Run(p *program, std streams, signals interrupt) error {
	filter, err := c.filter(time.Now())
	if err != nil {
		return err
	}
	session, err := p.dial(signals.work, std)
	if err != nil {
		return err
	}
	defer session.Detach()
	out := std.out
	if p.JSON {
		out = io.Discard // the envelopes are printed as they come
	}
	if err := c.list(signals.work, session, filter, out); err != nil {
		return err
	}
	closing, cancel := context.WithTimeout(signals.cleanup, closeTimeout)
	defer cancel()
	return session.Close(closing)
}

// filter is what the flags ask for.
func (c *jobsCommand) filter(now time.Time) (*envelope.JobListFilter, error) {
	f := &envelope.JobListFilter{Status: c.Status, Agent: c.Agent}
	for _, bound := range []struct {
		flag, text string
		to         **envelope.Time
	}{{"--since", c.Since, &f.CreatedAfter}, {"--until", c.Until, &f.CreatedBefore}} {
		if bound.text == "" {
			continue
		}
		if ago, err := time.ParseDuration(bound.text); err == nil {
			at := envelope.At(now.Add(-ago))
			*bound.to = &at
			continue
		}
		at, err := envelope.ParseTime(bound.text)
		if err != nil {
			return nil, usageError{fmt.Errorf("%s %q: neither a time like 2026-07-01T09:00:00Z nor a duration like 90m", bound.flag, bound.text)}
		}
		*bound.to = &at
	}
	return f, nil
}

func (c *jobsCommand) list(ctx context.Context, session *client.Session, filter *envelope.JobListFilter, out io.Writer) error {
	const row = "%-30s  %-9s  %-19s  %s\n"
	left := int64(c.Limit)
	if left == 0 {
		left = 1 << 62
	}
	if _, err := fmt.Fprintf(out, row, "JOB", "STATUS", "CREATED", "AGENT"); err != nil {
		return err
	}
	for cursor := ""; ; {
		page := uint32(min(left, jobsPage))
		e, err := envelope.New(envelope.TypeSessionListJobs, &envelope.SessionListJobs{Filter: filter, Limit: &page, Cursor: cursor})
		if err != nil {
			return err
		}
		reply, err := session.Request(ctx, e, true)
		if err != nil {
			return err
		}
		answer, err := envelope.DecodePayload[envelope.SessionJobs](reply)
		if err != nil {
			return err
		}
		for _, job := range answer.Jobs {
			created := job.CreatedAt.Local().Format(time.DateTime)
			if _, err := fmt.Fprintf(out, row, job.JobID, job.Status, created, job.Agent); err != nil {
				return err
			}
		}
		left -= int64(len(answer.Jobs))
		if answer.NextCursor == nil || left <= 0 {
			return nil
		}
		cursor = *answer.NextCursor
	}
}
