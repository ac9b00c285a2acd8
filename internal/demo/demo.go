// Package demo shows in a few seconds what the runtime is for: a session survives the death of the edge that holds it,
// and sees every event of a running job once and in order.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/wordcount"
)

// tool is the name under which the workers offer the program of package wordcount.
const tool = "wordcount"

// duration is about how long the counting is made to take, so that there is a middle to kill an edge in.
const duration = 4 * time.Second

// Options say what to show and how.
type Options struct {
	// Folder whose Go files are counted.
	Folder string
	// Dialect is what the client speaks; the open one by default.
	Dialect client.Dialect
	// JSON prints the envelopes as received and a summary, and nothing else.
	JSON bool
	// Terminal allows a progress bar.
	Terminal bool
	// Stdout gets the output; Stderr, if not nil, what the processes log.
	Stdout, Stderr io.Writer
	// Self is the file of this program. It is run again as edge, worker, NATS server and tool.
	Self string
}

// Summary is the last line of the JSON output.
type Summary struct {
	Events  uint64 `json:"events"`
	Gaps    uint64 `json:"gaps"`
	Repeats uint64 `json:"repeats"`
	Resumed uint64 `json:"resumed"`
	// Result is that of the tool.
	Result wordcount.Total `json:"result"`
}

// Run shows it. It fails unless the job was completed and its events were numbered without a gap or a repeat. All
// processes and files are gone when it returns, also when ctx ends it early.
func Run(ctx context.Context, o Options) (err error) {
	folder, err := filepath.Abs(o.Folder)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	files, err := wordcount.Files(folder)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("demo: there is no Go file below %s", folder)
	}
	show := newShow(o, len(files))
	defer show.close()
	show.say("starting a NATS server, two edges and two workers, each a process of its own")
	s, err := startStack(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	for _, c := range s.all {
		show.say("%-8s pid %d", c.Name(), c.PID())
	}

	session, err := client.Dial(ctx, client.Config{
		URLs:       s.urls(),
		Token:      s.token,
		Dialect:    o.Dialect,
		ClientKind: "arcp-demo",
		OnEnvelope: show.envelope,
		OnState:    func(st client.State) { show.state(s, st) },
	})
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer session.Detach()
	result, err := count(ctx, session, s, show, folder, len(files))
	if err != nil {
		return err
	}
	stats := session.Stats()
	closing, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := session.Close(closing); err != nil {
		return fmt.Errorf("demo: close: %w", err)
	}
	return conclude(show, stats, result)
}

// count runs the tool and kills the edge that holds the session when a third of the files is done.
func count(ctx context.Context, session *client.Session, s *stack, show *show, folder string, files int) (
	wordcount.Total, error,
) {
	var total wordcount.Total
	job, err := session.Invoke(ctx, tool, wordcount.Input{Folder: folder, PaceMS: pace(files)},
		client.WithIdempotencyKey(string(envelope.NewMessageID())))
	if err != nil {
		return total, fmt.Errorf("demo: %w", err)
	}
	killed := false
	for e, err := range job.Events(ctx) {
		if err != nil {
			return total, fmt.Errorf("demo: %w", err)
		}
		progress := show.event(e)
		if progress != nil && !killed && progress.Current*3 >= float64(files) {
			killed = true
			show.say("kill -9 %s, pid %d, which holds the session", s.edges[0].Name(), s.edges[0].PID())
			s.edges[0].Kill()
		}
	}
	result, err := job.Wait(ctx)
	if err != nil {
		return total, fmt.Errorf("demo: the job did not complete: %w", err)
	}
	if err := unmarshal(result.Value, &total); err != nil {
		return total, fmt.Errorf("demo: result: %w", err)
	}
	return total, nil
}

// conclude prints the outcome and judges it.
func conclude(show *show, stats client.Stats, result wordcount.Total) error {
	summary := Summary{
		Events: stats.Events, Gaps: stats.Gaps, Repeats: stats.Repeats, Resumed: stats.Resumes, Result: result,
	}
	if err := show.summary(summary); err != nil {
		return err
	}
	if stats.Gaps+stats.Repeats > 0 || stats.Events != stats.LastEventSeq {
		return fmt.Errorf("demo: %d events up to number %d, %d gaps, %d repeats",
			stats.Events, stats.LastEventSeq, stats.Gaps, stats.Repeats)
	}
	if stats.Resumes == 0 {
		return errors.New("demo: the job ended before the session had to be resumed")
	}
	return nil
}

// pace returns the rest after each file, in milliseconds.
func pace(files int) int {
	return int(min(max(duration/time.Duration(files), 2*time.Millisecond), time.Second).Milliseconds())
}
