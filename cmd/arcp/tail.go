package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/eventline"
)

type tailCommand struct {
	Types       []string `help:"Only messages of these types: job.completed, log, ... Comma separated or repeated, as the others." sep:"," placeholder:"TYPE"`
	Job         []string `help:"Only what is said of these jobs." sep:"," placeholder:"JOB"`
	Session     []string `help:"Only what these sessions of the principal are told and say." sep:"," placeholder:"SESSION"`
	Trace       []string `help:"Only what belongs to these traces." sep:"," placeholder:"TRACE"`
	Stream      []string `help:"Only what belongs to these streams." sep:"," placeholder:"STREAM"`
	MinPriority string   `help:"Only messages of this priority or a higher one: low, normal, high, critical." enum:",low,normal,high,critical" default:"" placeholder:"PRIORITY"`
	Since       string   `help:"Begin with what was said after this message." placeholder:"ID"`
	NoFollow    bool     `help:"End when all that was said so far has been shown; needs --since."`
	Limit       uint64   `help:"End after so many messages; 0 for never." default:"0"`
}

// Run shows what the principal's sessions are told and say, until it is interrupted.
func (c *tailCommand) Run(p *program, std streams, signals interrupt) error {
	filter, since, err := c.filter()
	if err != nil {
		return err
	}
	session, err := p.dial(signals.work, std, func(cfg *client.Config) { cfg.Backpressure = true })
	if err != nil {
		return err
	}
	defer session.Detach()
	out := std.out
	if p.JSON {
		out = io.Discard // the envelopes are printed as they come
	}
	subscription, err := session.Subscribe(signals.work, filter, since)
	if err != nil {
		return err
	}
	err = c.show(signals.work, subscription, out)
	if errors.Is(err, context.Canceled) && signals.work.Err() != nil {
		err = nil // that is how it ends
	}
	closing, cancel := context.WithTimeout(signals.cleanup, closeTimeout)
	defer cancel()
	if closeErr := subscription.Close(closing); err == nil && closeErr != nil {
		err = closeErr
	}
	if closeErr := session.Close(closing); err == nil && closeErr != nil {
		err = fmt.Errorf("close: %w", closeErr)
	}
	return err
}

// filter is what the flags ask for.
func (c *tailCommand) filter() (f envelope.SubscribeFilter, since envelope.MessageID, err error) {
	f = envelope.SubscribeFilter{Types: c.Types, TraceID: c.Trace, MinPriority: envelope.Priority(c.MinPriority)}
	if f.JobID, err = idsOf("--job", c.Job, envelope.ParseJobID); err != nil {
		return f, "", err
	}
	if f.SessionID, err = idsOf("--session", c.Session, envelope.ParseSessionID); err != nil {
		return f, "", err
	}
	if f.StreamID, err = idsOf("--stream", c.Stream, envelope.ParseStreamID); err != nil {
		return f, "", err
	}
	switch {
	case c.Since != "":
		if since, err = envelope.ParseMessageID(c.Since); err != nil {
			return f, "", usageError{fmt.Errorf("--since: %w", err)}
		}
	case c.NoFollow:
		return f, "", usageError{errors.New("--no-follow: there is no history without --since")}
	}
	return f, since, nil
}

func idsOf[T any](flag string, texts []string, parse func(string) (T, error)) (ids []T, err error) {
	for _, text := range texts {
		id, err := parse(text)
		if err != nil {
			return nil, usageError{fmt.Errorf("%s: %w", flag, err)}
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// show prints what comes.
func (c *tailCommand) show(ctx context.Context, subscription *client.Subscription, out io.Writer) error {
	shown := uint64(0)
	for e, err := range subscription.Events(ctx) {
		switch {
		case err != nil:
			return err
		case client.IsBackfillComplete(e):
			if c.NoFollow {
				return nil
			}
			continue
		}
		if _, err := fmt.Fprintln(out, eventline.FormatTold(e)); err != nil {
			return err
		}
		if shown++; shown == c.Limit {
			return nil
		}
	}
	return nil
}
