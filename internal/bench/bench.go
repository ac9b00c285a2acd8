// Package bench measures a running edge as a client sees it: how long a job takes, and how many end in a second. Beside
// each figure stands the same one for a ping, which passes the same client, socket and edge but neither log nor worker.
// The ratio of the two says what the runtime costs, whatever machine it ran on.
package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/arcp-nats/arcp/client"
)

// Options say what to measure. All but Dial are required to be positive.
type Options struct {
	// Dial opens a session.
	Dial func(context.Context) (*client.Session, error)
	// Sessions share the jobs in flight.
	Sessions int
	// Samples is the number of jobs run one after the other for the latency.
	Samples int
	// Jobs is the number of jobs run at each level.
	Jobs int
	// Concurrency lists the levels: numbers of jobs in flight.
	Concurrency []int
	// Tool is invoked with {"n": 1}, {"n": 2}, ...
	Tool string
	// Progress, if not nil, is told what is measured next.
	Progress func(what string)
}

// Report is what was measured.
type Report struct {
	Tool     string  `json:"tool"`
	Sessions int     `json:"sessions"`
	Latency  Compare `json:"latency"` // one at a time
	Levels   []Level `json:"levels"`
}

// Compare is the latency of a job and of a ping.
type Compare struct {
	Job  Quantiles `json:"job"`
	Ping Quantiles `json:"ping"`
	// Ratio is that of the medians.
	Ratio float64 `json:"ratio"`
}

// Level is what was measured with a number of jobs in flight.
type Level struct {
	InFlight  int       `json:"in_flight"`
	Jobs      int       `json:"jobs"`
	PerSecond float64   `json:"jobs_per_second"`
	Latency   Quantiles `json:"latency"`
	// PingsPerSecond is the same with pings, and Ratio the pings in the time of a job.
	PingsPerSecond float64 `json:"pings_per_second"`
	Ratio          float64 `json:"ratio"`
}

// Quantiles are of durations, in microseconds.
type Quantiles struct {
	P50 float64 `json:"p50_us"`
	P99 float64 `json:"p99_us"`
	Max float64 `json:"max_us"`
}

// Run measures. It stops at the first job that fails.
func Run(ctx context.Context, o Options) (report Report, err error) {
	if err := o.check(); err != nil {
		return report, err
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	var sessions []*client.Session
	defer func() {
		for _, s := range sessions {
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			err = errors.Join(err, s.Close(closing))
			cancel()
		}
	}()
	for range o.Sessions {
		s, err := o.Dial(ctx)
		if err != nil {
			return report, err
		}
		sessions = append(sessions, s)
	}
	report = Report{Tool: o.Tool, Sessions: o.Sessions}
	if report.Latency, err = latency(ctx, &o, sessions[:1]); err != nil {
		return report, err
	}
	for _, n := range o.Concurrency {
		level, err := measureLevel(ctx, &o, sessions, n)
		if err != nil {
			return report, err
		}
		report.Levels = append(report.Levels, level)
	}
	return report, nil
}

func (o *Options) check() error {
	for _, n := range append([]int{o.Sessions, o.Samples, o.Jobs}, o.Concurrency...) {
		if n < 1 {
			return errors.New("bench: sessions, samples, jobs and concurrency must be at least 1")
		}
	}
	return nil
}

func latency(ctx context.Context, o *Options, sessions []*client.Session) (Compare, error) {
	o.Progress(fmt.Sprintf("latency: %d pings, then %d jobs, one at a time", o.Samples, o.Samples))
	pings, _, err := spread(ctx, sessions, 1, o.Samples, ping)
	if err != nil {
		return Compare{}, err
	}
	jobs, _, err := spread(ctx, sessions, 1, o.Samples, o.job)
	if err != nil {
		return Compare{}, err
	}
	c := Compare{Job: quantiles(jobs), Ping: quantiles(pings)}
	c.Ratio = ratio(c.Job.P50, c.Ping.P50)
	return c, nil
}

func measureLevel(ctx context.Context, o *Options, sessions []*client.Session, inFlight int) (Level, error) {
	o.Progress(fmt.Sprintf("%d in flight: %d pings, then %d jobs", inFlight, o.Jobs, o.Jobs))
	_, pinging, err := spread(ctx, sessions, inFlight, o.Jobs, ping)
	if err != nil {
		return Level{}, err
	}
	jobs, running, err := spread(ctx, sessions, inFlight, o.Jobs, o.job)
	if err != nil {
		return Level{}, err
	}
	level := Level{
		InFlight: inFlight, Jobs: o.Jobs, Latency: quantiles(jobs),
		PerSecond:      float64(o.Jobs) / running.Seconds(),
		PingsPerSecond: float64(o.Jobs) / pinging.Seconds(),
	}
	level.Ratio = ratio(level.PingsPerSecond, level.PerSecond)
	return level, nil
}

// spread calls do n times, inFlight at once, over the sessions in turn, and returns how long each and all took.
func spread(ctx context.Context, sessions []*client.Session, inFlight, n int,
	do func(context.Context, *client.Session, int) error,
) ([]time.Duration, time.Duration, error) {
	took := make([]time.Duration, n)
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(inFlight)
	start := time.Now()
	for i := range n {
		if groupCtx.Err() != nil {
			break
		}
		group.Go(func() error {
			begin := time.Now()
			err := do(groupCtx, sessions[i%len(sessions)], i+1)
			took[i] = time.Since(begin)
			return err
		})
	}
	err := group.Wait()
	if err == nil {
		err = context.Cause(ctx) // ended early without a call that failed
	}
	return took, time.Since(start), err
}

func ping(ctx context.Context, s *client.Session, _ int) error {
	_, err := s.Ping(ctx)
	if err != nil {
		return fmt.Errorf("bench: ping: %w", err)
	}
	return nil
}

func (o *Options) job(ctx context.Context, s *client.Session, n int) error {
	job, err := s.Invoke(ctx, o.Tool, map[string]int{"n": n})
	if err == nil {
		_, err = job.Wait(ctx)
	}
	if err != nil {
		return fmt.Errorf("bench: %s: %w", o.Tool, err)
	}
	return nil
}

func quantiles(took []time.Duration) Quantiles {
	sorted := slices.Sorted(slices.Values(took))
	at := func(q float64) float64 {
		return float64(sorted[int(q*float64(len(sorted)-1))].Nanoseconds()) / 1000
	}
	return Quantiles{P50: at(0.5), P99: at(0.99), Max: at(1)}
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
