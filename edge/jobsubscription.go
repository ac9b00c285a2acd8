package edge

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// numberPatience bounds the search for a number that was not asked for.
const numberPatience = 2 * time.Second

// jobSubscription finds out what a job.subscribe is answered with, and what is watched from then on: nil for nothing. The
// errors are those of the dialect: NOT_FOUND, PERMISSION_DENIED (open dialect JS-1, JS-2); RESOURCE_EXHAUSTED for too many;
// DATA_LOSS if from_event_seq cannot be found in the log any more.
func (s *session) jobSubscription(ctx context.Context, req attachment) (*jobSubscribed, error) {
	invocation, err := s.entitledTo(ctx, req.job)
	if err != nil {
		return nil, err
	}
	watched := s.watchesJob(req.job)
	if n := s.jobsWatched(); !watched && n >= s.srv.cfg.MaxJobsPerSession {
		return nil, envelope.Errorf(envelope.CodeResourceExhausted,
			"the session watches %d jobs, the limit is %d", n, s.srv.cfg.MaxJobsPerSession)
	}
	story := jobStory{invocation: invocation}
	if err := s.srv.log.ReadJob(ctx, subjects.JobEvents(invocation.Subject), story.add); err != nil {
		return nil, err
	}
	var after uint64
	if req.ask.FromEventSeq != nil {
		after = *req.ask.FromEventSeq
	}
	numbers, err := s.numbersOf(ctx, &story, after)
	if err != nil {
		return nil, err
	}
	own := invocation.Subject.Session == string(s.id)
	watch, replayed := story.watch(req.ask.History && !watched, own, numbers)
	entry := entryOf(invocation)
	answer := &envelope.JobSubscribed{
		JobID: req.job, CurrentStatus: story.status.State(), Agent: entry.Agent, TraceID: entry.TraceID,
		ParentJobID: envelope.JobID(invocation.Parent), SubscribedFrom: numbers.last, Replayed: replayed,
	}
	if s.traits.TellsAll {
		answer.Agent, answer.Code, answer.Lease = invocation.Subject.Tool, story.status.Code(), entry.Lease
		answer.Budget = story.budget(entry.Lease)
	}
	subscribed := &jobSubscribed{answer: answer, watch: watch}
	return subscribed, s.tellMore(ctx, subscribed, invocation, story.status.State().Terminal())
}

// jobSubscribed is what comes of a job.subscribe: the answer, with the credentials of a grant if there is one, and the mark that
// begins the watch, nil for none.
type jobSubscribed struct {
	answer *envelope.JobSubscribed
	grant  string
	watch  *view.Watch
}

// tellMore adds what clients of a dialect that tells all expect: how a job has ended of which nothing else is shown, and the
// credentials of one that runs, for its principal.
func (s *session) tellMore(ctx context.Context, subscribed *jobSubscribed, invocation *record.Record, ended bool) (err error) {
	switch {
	case !s.traits.TellsAll:
	case !ended && invocation.Principal == s.principal && s.provisions(subscribed.answer.Lease):
		subscribed.grant = invocation.Grant
	case ended && subscribed.watch == nil:
		if subscribed.watch, err = s.srv.idempotency.watchOfEnd(ctx, invocation.Subject); subscribed.watch != nil {
			subscribed.watch.Subscribed = true
		}
	}
	return err
}

// entitledTo returns the invocation of a job that the session may watch: one of its principal, wherever it was submitted
// and whether or not that session is still there, or one that the deployment's policy lets it watch. Whoever knows the id of
// a job learns from the two refusals whether it exists, as the dialect wants it (JS-1, JS-2); ids cannot be guessed. Each
// attempt is written to the log of the edge.
func (s *session) entitledTo(ctx context.Context, job envelope.JobID) (*record.Record, error) {
	invocation, err := s.srv.log.FindInvocation(ctx, "", job)
	if envelope.CodeOf(err) == envelope.CodeNotFound {
		invocation, err = s.findShown(ctx, job)
	}
	audit := s.logger.With("job", job)
	switch {
	case envelope.CodeOf(err) == envelope.CodeNotFound:
		audit.Info("job.subscribe", "allowed", false, "reason", "no such job")
		return nil, envelope.Errorf(envelope.CodeNotFound, "no such job")
	case err != nil:
		audit.Info("job.subscribe", "allowed", false, "reason", "the job cannot be looked up", "error", err)
		return nil, err
	}
	audit = audit.With("owner", invocation.Principal)
	if invocation.Principal == s.principal {
		audit.Info("job.subscribe", "allowed", true, "reason", "same principal")
		return invocation, nil
	}
	if policy := s.srv.cfg.WatchPolicy; policy != nil {
		may, err := policy.MayWatch(ctx, s.principal, WatchedJob{
			ID: job, Principal: invocation.Principal, Session: envelope.SessionID(invocation.Subject.Session),
			Tool: invocation.Subject.Tool,
		})
		if err != nil {
			audit.Info("job.subscribe", "allowed", false, "reason", "the policy failed", "error", err)
			return nil, envelope.Errorf(envelope.CodeUnavailable, "it cannot be decided now who may watch the job")
		}
		if may {
			audit.Info("job.subscribe", "allowed", true, "reason", "policy")
			return invocation, nil
		}
	}
	audit.Info("job.subscribe", "allowed", false, "reason", "another principal")
	return nil, envelope.Errorf(envelope.CodePermissionDenied, "not your job")
}

// WatchPolicy decides who may watch the jobs of others (open dialect JS-2). It is not asked about jobs of one's own principal,
// which one may always watch.
type WatchPolicy interface {
	// MayWatch reports whether a principal may watch a job of another one. It may be called from many goroutines, and should
	// return when ctx ends. An error refuses with UNAVAILABLE.
	MayWatch(ctx context.Context, observer string, job WatchedJob) (bool, error)
}

// WatchedJob is what a WatchPolicy knows of a job. It comes from the runtime's own records.
type WatchedJob struct {
	ID        envelope.JobID
	Principal string // that submitted it
	Session   envelope.SessionID
	Tool      string // name@version
}

// jobStory is what the log holds of a job, at one moment.
type jobStory struct {
	invocation *record.Record
	status     view.Status
	pos        uint64                     // of the last record
	run        view.Run                   // that is listened to after it
	left       map[string]envelope.Amount // of the budget, by currency, as far as the job has said
	// shown is where the last envelope stands that an observer is shown.
	shown cut
}

// add takes the job's next record.
func (j *jobStory) add(rec *record.Record) bool {
	j.pos = rec.Seq
	if j.status.State().Terminal() {
		return true // whatever comes is not heard
	}
	j.status.Apply(rec)
	if j.run.Hear(rec) {
		i := 0
		for typ, line := range rec.Lines() {
			i++
			if view.Forwardable(typ, line) {
				j.shown = cut{pos: rec.Seq, skip: i}
			}
		}
		j.spend(rec)
	}
	return true
}

// spend notes what a job says is left of its budget.
func (j *jobStory) spend(rec *record.Record) {
	if !slices.Contains(rec.Types, envelope.TypeMetric) {
		return
	}
	for typ, line := range rec.Lines() {
		var body struct {
			Payload struct {
				Name  string          `json:"name"`
				Value json.RawMessage `json:"value"`
				Unit  string          `json:"unit"`
			} `json:"payload"`
		}
		if typ != envelope.TypeMetric || json.Unmarshal(line, &body) != nil || body.Payload.Name != envelope.MetricBudgetRemaining {
			continue
		}
		if a, err := envelope.ParseAmount(body.Payload.Unit + ":" + string(body.Payload.Value)); err == nil {
			if j.left == nil {
				j.left = make(map[string]envelope.Amount)
			}
			j.left[a.Currency] = a
		}
	}
}

// budget is what is left of the budget of a lease, nil without one.
func (j *jobStory) budget(lease *envelope.Lease) []envelope.Amount {
	if lease == nil {
		return nil
	}
	left := slices.Clone(lease.Budget)
	for i, a := range left {
		if said, has := j.left[a.Currency]; has {
			left[i] = said
		}
	}
	return left
}

// jobNumbers is where a job stands in the numbers of the session that submitted it.
type jobNumbers struct {
	last     uint64 // event_seq of its last envelope, 0 if that is not known
	after    uint64 // the number asked for, 0 for none
	accepted bool   // the acceptance is numbered above after
	cut      *cut   // the first event above after; nil: there is none yet
	passed   bool   // without a cut: whatever the job says next is numbered above after
}

// numbersOf finds out a job's numbers at the moment of a story. If none was asked for, it is no failure that they are not
// found soon: 0 is told then.
func (s *session) numbersOf(ctx context.Context, story *jobStory, after uint64) (jobNumbers, error) {
	if after == 0 {
		numbers := jobNumbers{accepted: true, cut: &cut{}}
		numbers.last = s.srv.numberAt(story)
		if numbers.last > 0 {
			return numbers, nil
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, numberPatience)
		defer cancel()
		n, err := s.fullNumbers(ctx, story, 0)
		if err != nil {
			s.logger.Debug("the numbers of a job are not told", "job", story.invocation.Subject.Job, "error", err)
			return numbers, nil
		}
		numbers.last = n.last
		return numbers, nil
	}
	n, err := s.fullNumbers(ctx, story, after)
	if err != nil {
		return jobNumbers{}, err
	}
	return jobNumbers{last: n.last, after: after, accepted: n.first > after, cut: n.cut, passed: n.passed()}, nil
}

// fullNumbers folds the submitter's session up to the moment of a story.
func (s *session) fullNumbers(ctx context.Context, story *jobStory, after uint64) (*numbering, error) {
	n, err := s.srv.newNumbering(ctx, story.invocation, after)
	if err == nil {
		err = n.upTo(ctx, max(story.pos, story.invocation.Seq))
	}
	return n, err
}

// numberAt returns the event_seq of a job's last envelope if the session that submitted it is held here and has been shown
// all of the story, or else 0.
func (srv *Server) numberAt(story *jobStory) (last uint64) {
	sub := story.invocation.Subject
	for _, s := range srv.hub.sessionsOf(sub.Session) {
		s.mu.Lock()
		place := view.Place{Shard: sub.Shard, Feed: sub.Feed}
		if s.state != ended && s.view.Place() == place && s.view.Pos() >= max(story.pos, story.invocation.Seq) {
			last, _, _ = s.view.Job(envelope.JobID(sub.Job))
		}
		s.mu.Unlock()
		if last > 0 {
			break
		}
	}
	return last
}

// watch returns what is watched after a job.subscribe, nil for nothing, and whether something of it has been said already
// (open dialect JS-6). A session's own job is shown to it without that: only its past is shown again.
func (j *jobStory) watch(history, own bool, numbers jobNumbers) (watch *view.Watch, replayed bool) {
	watch = &view.Watch{
		Subject: subjects.JobEvents(j.invocation.Subject).String(), Pos: j.pos, Run: j.run, Subscribed: true,
	}
	ended := j.status.State().Terminal()
	if numbers.cut == nil && !numbers.passed { // JS-7: what comes may still be numbered too low
		if own || ended {
			return nil, false
		}
		watch.After = numbers.after
		return watch, false
	}
	if !history {
		if own || ended {
			return nil, false
		}
		return watch, false
	}
	if own {
		watch.Until = max(j.pos, 1) // with nothing said yet, that it is accepted is all
		watch.Pos = watch.Until
	}
	if numbers.accepted {
		for _, line := range j.invocation.Lines() {
			watch.Accepted = line
			break
		}
	}
	if c := numbers.cut; c != nil && j.pos > c.pos {
		watch.Pos, watch.Run, watch.Skip = c.pos, c.run, c.skip
		replayed = j.shown.pos > c.pos+1 || j.shown.pos == c.pos+1 && j.shown.skip > c.skip
	}
	replayed = replayed || numbers.accepted
	if !replayed && (own || ended) {
		return nil, false
	}
	return watch, replayed
}
