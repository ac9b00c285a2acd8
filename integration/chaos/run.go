package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// Options say what to run.
type Options struct {
	// File is the program arcp.
	File string
	// Dir is where processes keep their data and logs, and where the notes of a run that failed stay. It must exist.
	Dir string
	// Seed decides the schedule of faults, and what the clients draw.
	Seed uint64
	Size Size
	// Clients is the number of sessions. They belong to three principals; every other one speaks the hello dialect.
	Clients int
	// Duration is the time in which faults begin; MinGap and MaxGap are the time between two.
	Duration, MinGap, MaxGap time.Duration
	// Patience bounds the time in which everything must come to rest after the last fault has healed.
	Patience time.Duration
	// Say gets a line for every fault and step.
	Say func(line string)
}

// slack bounds how long a process may not hear of a cancel: the longest pause, after it the time until its connection
// is known to be lost and replaced, and the wait of a job that is handed from one worker to the next.
const slack = 15 * time.Second

// principals are the clients' ones, each with a token.
var principals = []string{"alice", "bob", "carol"}

func tokenOf(principal string) string { return "token-of-" + principal + "-0123456789" }

// Run runs a cluster, clients and faults, and returns what it found. An error is one of the harness: nothing was judged.
func Run(ctx context.Context, o Options) (*Report, error) {
	began := time.Now()
	size := o.Size
	faults := Schedule(o.Seed, Shape{
		Edges: size.Edges, Workers: size.Workers, NATS: size.NATS,
		Duration: o.Duration, MinGap: o.MinGap, MaxGap: o.MaxGap,
	})
	var tokens strings.Builder
	for _, p := range principals {
		fmt.Fprintf(&tokens, "%s %s\n", tokenOf(p), p)
	}
	mint := startIssuer(o.Seed)
	defer mint.close()
	cluster, err := StartCluster(ctx, o.File, o.Dir, tokens.String(), mint.server.URL, size)
	if err != nil {
		return nil, err
	}
	defer cluster.Close()
	o.Say(fmt.Sprintf("%d edges, %d workers and %d NATS servers run after %v", size.Edges, size.Workers, size.NATS, since(began)))

	r := &run{Options: o, cluster: cluster, issuer: mint, faults: faults}
	r.clients = r.newClients()
	if err := r.trouble(ctx); err != nil {
		return nil, err
	}
	evidence := r.evidence()
	if evidence.Log, err = r.readLog(ctx); err != nil {
		return nil, err
	}
	for name, err := range cluster.Stop() {
		evidence.BadStops = append(evidence.BadStops, fmt.Sprintf("%s at the end: %v", name, err))
	}
	report := newReport(o.Seed, faults, evidence)
	report.Violations = append(report.Violations, r.wrong...)
	report.Took = time.Since(began)
	return report, report.save(o.Dir)
}

// run is the state of Run.
type run struct {
	Options
	cluster *Cluster
	issuer  *issuer
	faults  []Fault
	clients []*client

	mu       sync.Mutex
	badStops []string
	wrong    []Violation
	broken   error
}

func (r *run) newClients() []*client {
	work := newShared()
	var clients []*client
	for i := range r.Clients {
		name := "client-" + strconv.Itoa(i+1)
		principal := principals[i%len(principals)]
		random := rand.New(rand.NewPCG(r.Seed, uint64(i)+1))
		c := &client{
			notes: &Session{Client: name, Principal: principal, Secret: "secret-of-" + principal},
			token: tokenOf(principal), urls: r.cluster.URLs(), work: newWork(work), random: random,
			at: random.IntN(r.Size.Edges), patience: 2 * silence, wire: openWire{},
		}
		if i%2 == 1 {
			c.notes.Dialect, c.wire, c.work.chores = dialectHello, newHelloWire(i%4 == 1), []chore{newWatching()}
		}
		clients = append(clients, c)
	}
	return clients
}

// trouble lets the clients work and the faults come, and returns when everything has healed and come to rest.
func (r *run) trouble(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var working sync.WaitGroup
	defer working.Wait()
	defer cancel()
	for _, c := range r.clients {
		working.Go(func() { c.run(ctx) })
	}
	var healing sync.WaitGroup
	for i, f := range r.faults {
		wait(ctx, f.After)
		r.Say(fmt.Sprintf("fault %d of %d: %s", i+1, len(r.faults), f))
		healing.Go(func() { r.apply(ctx, f) })
	}
	healing.Wait()
	if err := errors.Join(r.broken, ctx.Err()); err != nil {
		return err
	}
	if err := r.cluster.Heal(ctx); err != nil {
		return err
	}
	r.Say("all faults have healed")
	return r.settle(ctx, cancel, &working)
}

func (r *run) apply(ctx context.Context, f Fault) {
	badStop, err := r.cluster.Apply(ctx, f)
	r.mu.Lock()
	defer r.mu.Unlock()
	if badStop != nil {
		r.badStops = append(r.badStops, fmt.Sprintf("%s: %v", f, badStop))
	}
	if err != nil {
		r.broken = errors.Join(r.broken, fmt.Errorf("%s: %w", f, err))
	}
}

// settle waits until the clients have nothing to wait for, and each was shown all that the log has for it. Then each has
// everything shown once more, by an edge of its own choice.
func (r *run) settle(ctx context.Context, stop func(), working *sync.WaitGroup) error {
	for _, c := range r.clients {
		c.settling.Store(true)
	}
	began := time.Now()
	var log []*record.Record
	for {
		wait(ctx, 250*time.Millisecond)
		unsettled := r.unsettled()
		if unsettled == nil {
			var err error
			if log, err = r.readLog(ctx); err != nil {
				return err
			}
			if unsettled = r.unshown(log); unsettled == nil {
				break
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if time.Since(began) > r.Patience {
			for _, what := range unsettled {
				r.wrong = append(r.wrong, Violation{Rule: "liveness", Detail: fmt.Sprintf("after %v of rest: %s", r.Patience, what)})
			}
			stop()
			working.Wait()
			return nil // the judge says what is missing
		}
	}
	r.Say(fmt.Sprintf("everything came to rest after %v", since(began)))
	stop()
	working.Wait()
	// ctx has ended with stop; every step of a replay has a bound of its own. One at a time: what is judged is what is
	// shown, and not how many resumes from the first number an edge can take at once.
	for i, c := range r.clients {
		if err := c.replay(context.WithoutCancel(ctx), (c.at+1+i)%r.Size.Edges, c.seq); err != nil {
			r.wrong = append(r.wrong, Violation{Rule: "RE-6", Client: c.notes.Client, Detail: err.Error()})
		}
	}
	r.Say("every session was shown once more")
	return nil
}

// unsettled says what clients wait for.
func (r *run) unsettled() (what []string) {
	for _, c := range r.clients {
		switch failure := c.failure.Load(); {
		case failure != nil:
			what = append(what, c.notes.Client+" lost its session: "+*failure)
		case !c.settled.Load():
			what = append(what, c.notes.Client+" waits for jobs or answers")
		}
	}
	if left := r.issuer.outstanding(); left != "" {
		what = append(what, "credentials are not revoked: "+left)
	}
	return what
}

// unshown says who was not shown all that the log has.
func (r *run) unshown(log []*record.Record) (what []string) {
	sorted := newIndex(log)
	for _, c := range r.clients {
		c.mu.Lock()
		id := c.notes.ID
		c.mu.Unlock()
		last := uint64(0)
		v := sorted.fold(id, c.notes.Dialect, func(f view.Frame) bool {
			last = max(last, f.Seq)
			return true
		})
		if v != nil && v.WatchCount() > 0 {
			what = append(what, fmt.Sprintf("%s was not shown the end of %d jobs that it watches", c.notes.Client, v.WatchCount()))
		}
		if v != nil && sorted.untold(v) {
			what = append(what, c.notes.Client+" was not told all that it subscribes to")
		}
		if seen := c.seen.Load(); seen != last {
			what = append(what, fmt.Sprintf("%s was shown %d envelopes of %d", c.notes.Client, seen, last))
		}
	}
	return what
}

// evidence collects the notes. The clients must have stopped.
func (r *run) evidence() *Evidence {
	e := &Evidence{BadStops: r.badStops, Issued: r.issuer.issued(), MaxAttempts: maxAttempts, Slack: slack}
	for _, c := range r.clients {
		e.Sessions = append(e.Sessions, c.notes)
	}
	return e
}

// readLog returns all invocations and events of the log, and what clients said to jobs and to subscribers, in order. It
// writes a mark, and reads up to there.
func (r *run) readLog(ctx context.Context) (log []*record.Record, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startPatience)
	defer cancel()
	end, err := r.mark(ctx)
	if err != nil {
		return nil, fmt.Errorf("chaos: reading the log: %w", err)
	}
	var tokens []string
	for _, p := range principals {
		tokens = append(tokens, subjects.PrincipalToken(p))
	}
	err = r.cluster.admin.ReadPrincipals(ctx, 0, tokens, 1, end, func(rec *record.Record) bool {
		log = append(log, rec)
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("chaos: reading the log: %w", err)
	}
	return log, nil
}

// markSession is the session, and the principal, of the harness's own marks.
const markSession = "chaos"

func (r *run) mark(ctx context.Context) (pos uint64, err error) {
	e, err := envelope.New("_chaos.mark", struct{}{})
	if err != nil {
		return 0, err
	}
	rec, err := record.New(subjects.Subject{Lane: subjects.Event, Feed: edgeName(0), Principal: markSession, Session: markSession}, e)
	if err != nil {
		return 0, err
	}
	err = persist(ctx, startPatience, func() error {
		pos, err = r.cluster.admin.PublishWait(ctx, rec)
		return err
	})
	return pos, err
}

func since(t time.Time) time.Duration { return time.Since(t).Round(time.Millisecond) }

// logFolder is where the notes of a run stay.
func logFolder(dir string) string { return filepath.Join(dir, "notes") }

func writeFile(dir, name string, data []byte) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("chaos: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		return fmt.Errorf("chaos: %w", err)
	}
	return nil
}
