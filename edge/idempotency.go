package edge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// idempotency keeps, for a principal and a key, what the key brought (open dialect ID-1 to ID-6). The bucket's
// Create decides between two edges that are given the same key at once: one job is started (the original starts
// two, ID-5).
type idempotency struct {
	bucket   Bucket
	log      Log
	patience time.Duration // Config.SubmitPatience
}

// keyRecord is what the bucket holds. It is written before the invocation is, so a crash between the two leaves a
// record without a job; a retry that finds it stores the invocation after all, under the same job id.
type keyRecord struct {
	Fingerprint string          `json:"fingerprint"`
	Job         envelope.JobID  `json:"job"`
	Subject     string          `json:"subject"`  // of the invocation
	Accepted    json.RawMessage `json:"accepted"` // the payload of job.accepted
	At          time.Time       `json:"at"`       // when the edge wrote this, by its own clock
}

// idempotencyKey is the bucket's key for a client's key, of any length and content.
func idempotencyKey(principal, key string) string {
	return subjects.Key(digest(principal), digest(key))
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// knows reports whether a key stands for something. If that cannot be found out now, it does not.
func (i *idempotency) knows(ctx context.Context, principal, key string) bool {
	_, _, err := i.bucket.Get(ctx, idempotencyKey(principal, key))
	return err == nil
}

// resolve returns what to answer instead of starting a job, or nothing if inv is to be submitted.
func (i *idempotency) resolve(ctx context.Context, s *session, inv *invocation) ([]*envelope.Envelope, error) {
	key := idempotencyKey(s.principal, inv.msg.IdempotencyKey)
	for {
		envelopes, err := i.attempt(ctx, s, inv, key)
		switch envelope.CodeOf(err) {
		case envelope.CodeAlreadyExists, envelope.CodeAborted: // another session was first: see what it wrote
			if ctx.Err() == nil {
				continue
			}
		}
		return envelopes, err
	}
}

// attempt is resolve, unless another session writes the key at this moment: then it fails with ALREADY_EXISTS or
// ABORTED.
func (i *idempotency) attempt(ctx context.Context, s *session, inv *invocation, key string) ([]*envelope.Envelope, error) {
	data, revision, err := i.bucket.Get(ctx, key)
	if err == nil {
		return i.repeat(ctx, s, inv, key, data, revision)
	}
	if envelope.CodeOf(err) != envelope.CodeNotFound {
		return nil, err
	}
	if refusal := s.check(inv); refusal != nil {
		return refusal, nil // ID-5: a refusal leaves the key free
	}
	if refusal, err := s.provide(ctx, inv); refusal != nil || err != nil {
		return refusal, err
	}
	if data, err = inv.keyRecord(); err != nil {
		return nil, err
	}
	_, err = i.bucket.Create(ctx, key, data)
	return nil, err
}

// keyRecord is what the bucket is to hold when the invocation has been checked.
func (inv *invocation) keyRecord() ([]byte, error) {
	fingerprint, err := inv.fingerprint()
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(keyRecord{
		Fingerprint: fingerprint, Job: inv.job, Subject: inv.subject().String(), Accepted: inv.acceptance().Payload,
		At: time.Now(),
	})
	if err != nil {
		return nil, fmt.Errorf("idempotency record: %w", err)
	}
	return data, nil
}

// repeat answers a key that is known: the same request gets the same acceptance (ID-3), another one a refusal (ID-4).
func (i *idempotency) repeat(ctx context.Context, s *session, inv *invocation, key string, data []byte, revision uint64) ([]*envelope.Envelope, error) {
	var known keyRecord
	if err := json.Unmarshal(data, &known); err != nil {
		return nil, fmt.Errorf("idempotency record: %w", err)
	}
	if !i.same(s, inv, &known) {
		s.srv.metrics.jobs["refused"].Inc()
		return inv.conflict(), nil
	}
	invocation, err := i.stored(ctx, s.principal, &known)
	if err != nil {
		return nil, err
	}
	if invocation != nil {
		return i.again(ctx, s, inv, &known, invocation)
	}
	// The edge that wrote the record died before it stored the invocation, or could not store it. No client has seen the
	// acceptance, so the job starts now, where this client is waiting: the record says so first, or another retry, which waits for
	// the same, would be stored as well, or be taken for a copy of this one and never be answered.
	inv.job, inv.accepted = known.Job, nil
	if refusal, err := s.provide(ctx, inv); refusal != nil || err != nil {
		return refusal, err
	}
	if data, err = inv.keyRecord(); err != nil {
		return nil, err
	}
	_, err = i.bucket.Update(ctx, key, data, revision)
	return nil, err
}

// again is the answer to a retry of a job that exists: its acceptance. In another session than the job's, its client is
// waiting for the job too: the session watches the job from here on. All of it is in one record.
func (i *idempotency) again(ctx context.Context, s *session, inv *invocation, known *keyRecord, invocation *record.Record) ([]*envelope.Envelope, error) {
	answer := inv.replay(known)
	if s.traits.TellsAll {
		if err := tellFirst(answer[0], invocation); err != nil {
			return nil, err
		}
	}
	if s.provisions(inv.lease) { // open dialect CP-4: also of a job that another session has started
		inv.shows = invocation.Grant
	}
	sub := invocation.Subject
	if sub.Session == string(s.id) {
		s.srv.metrics.jobs["repeated"].Inc()
		if !s.traits.TellsAll {
			return answer, nil
		}
		return i.endAgain(ctx, s, sub, answer)
	}
	if watched := s.watchCount(); watched >= s.srv.cfg.MaxJobsPerSession {
		s.srv.metrics.jobs["refused"].Inc()
		return inv.fail(envelope.Errorf(envelope.CodeResourceExhausted,
			"the session watches %d jobs, the limit is %d", watched, s.srv.cfg.MaxJobsPerSession)), nil
	}
	watch, end, err := i.watchFromHere(ctx, sub)
	if err != nil {
		return nil, err
	}
	if end != nil && s.traits.TellsAll { // also to who was told before
		watch.Until, watch.Skip = end.Seq, linesBeforeEnd(end)
	}
	begin, err := envelope.New(view.TypeWatched, watch)
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	begin.SessionID = s.id
	s.srv.metrics.jobs["repeated"].Inc()
	return append(answer, begin), nil
}

// endAgain is the answer to a retry in the job's own session, whose client waits for the job anew: if it has ended, its end is
// shown once more.
func (i *idempotency) endAgain(ctx context.Context, s *session, sub subjects.Subject, answer []*envelope.Envelope) ([]*envelope.Envelope, error) {
	watch, err := i.watchOfEnd(ctx, sub)
	if err != nil || watch == nil {
		return answer, err
	}
	begin, err := envelope.New(view.TypeWatched, watch)
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	begin.SessionID = s.id
	return append(answer, begin), nil
}

// watchOfEnd is a watch that shows how a job has ended, nil if it has not.
func (i *idempotency) watchOfEnd(ctx context.Context, sub subjects.Subject) (*view.Watch, error) {
	watch, end, err := i.watchFromHere(ctx, sub)
	if err != nil || end == nil {
		return nil, err
	}
	watch.Until, watch.Skip = end.Seq, linesBeforeEnd(end)
	return watch, nil
}

// watchFromHere is a watch that shows what the job says from now on. Of a job that has ended it shows the record that
// ended it, which is end: without that, the client would wait for ever.
func (i *idempotency) watchFromHere(ctx context.Context, sub subjects.Subject) (watch *view.Watch, end *record.Record, err error) {
	events := subjects.JobEvents(sub)
	watch = &view.Watch{Subject: events.String()}
	err = i.log.ReadJob(ctx, events, func(rec *record.Record) bool {
		if run := watch.Run; run.Hear(rec) {
			if ends(rec) {
				end = rec
				return false
			}
			watch.Run = run
		}
		watch.Pos = rec.Seq
		return true
	})
	return watch, end, err
}

// linesBeforeEnd is how many lines of the record that ends a job stand before the end.
func linesBeforeEnd(end *record.Record) int {
	return max(0, slices.IndexFunc(end.Types, terminal))
}

// stored returns the invocation that the key stands for, or nil if it is not in the log. It may be on its way from
// another edge at this moment, so it is looked for until that edge would have given up.
func (i *idempotency) stored(ctx context.Context, principal string, known *keyRecord) (*record.Record, error) {
	sub, err := subjects.Parse(known.Subject)
	if err != nil {
		return nil, fmt.Errorf("idempotency record: %w", err)
	}
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 5*time.Millisecond, time.Second
	for now := time.Now(); ; {
		invocation, err := i.log.LastOf(ctx, sub)
		if envelope.CodeOf(err) == envelope.CodeNotFound {
			// Or where it stood before the key was taken over.
			invocation, err = i.log.FindInvocation(ctx, principal, known.Job)
		}
		switch {
		case err == nil:
			return invocation, nil
		case envelope.CodeOf(err) != envelope.CodeNotFound:
			return nil, err
		case time.Since(now) >= i.grace(known.At, now):
			return nil, nil
		}
		select {
		case <-time.After(wait.NextBackOff()):
		case <-ctx.Done():
			return nil, envelope.Errorf(envelope.CodeUnavailable, "the connection ended")
		}
	}
}

// grace is how long an invocation whose key was written at a time may still be on its way. The reader of the connection
// waits that long, so a key that is old already costs no wait: else a client that comes back with some of them would not
// be answered, not even its pings. Clocks may differ; that is never more than the whole patience.
func (i *idempotency) grace(at, now time.Time) time.Duration {
	return min(max(i.patience-now.Sub(at), 0), i.patience)
}

// same reports whether the invocation asks for what the key stands for: tool, arguments and effective lease.
func (i *idempotency) same(s *session, inv *invocation, known *keyRecord) bool {
	if inv.parse() != nil {
		return false // whether its lease has ended since is no question: what was accepted stays so
	}
	tool, queue, err := s.srv.tools.Resolve(inv.ref)
	if err != nil { // nobody offers it any more
		sub, err := subjects.Parse(known.Subject)
		if err != nil {
			return false
		}
		if tool, err = envelope.ParseAgentRef(sub.Tool); err != nil || tool.Name != inv.ref.Name || inv.ref.Version != "" && tool != inv.ref {
			return false
		}
		queue = sub.Queue
	}
	inv.tool, inv.queue = tool, queue
	fingerprint, err := inv.fingerprint()
	return err == nil && fingerprint == known.Fingerprint
}

// fingerprint is a digest of what makes two requests the same: the resolved tool, the arguments and the effective
// lease, in canonical JSON (RFC 8785), and of a scheduled job when.
func (inv *invocation) fingerprint() (string, error) {
	what := inv.tool.String()
	if inv.when != "" {
		what += " " + inv.when // no tool's name has a space
	}
	if inv.payload.MaxRuntimeSec > 0 {
		what += " within " + strconv.FormatUint(inv.payload.MaxRuntimeSec, 10)
	}
	return envelope.Fingerprint(what, inv.payload.Arguments, inv.lease)
}

// replay is ID-3: the stored acceptance with the retry's id as correlation, the retrying session's id and the key.
func (inv *invocation) replay(known *keyRecord) []*envelope.Envelope {
	inv.job = known.Job
	e := inv.about(envelope.TypeJobAccepted, known.Accepted)
	e.IdempotencyKey = inv.msg.IdempotencyKey
	return []*envelope.Envelope{e}
}

// tellFirst makes a repeated acceptance say all that the first one said, or would have in a dialect that says it: the tool as it was
// resolved, the trace, and the time.
func tellFirst(answer *envelope.Envelope, invocation *record.Record) error {
	accepted, err := envelope.DecodePayload[envelope.JobAccepted](answer)
	if err != nil {
		return fmt.Errorf("idempotency record: %w", err)
	}
	if accepted.Agent == "" {
		accepted.Agent = invocation.Subject.Tool
		if answer.Payload, err = json.Marshal(accepted); err != nil {
			return fmt.Errorf("idempotency record: %w", err)
		}
	}
	for typ, line := range invocation.Lines() {
		if typ != envelope.TypeJobAccepted {
			continue
		}
		first, err := envelope.DecodeStored(line)
		if err != nil {
			return fmt.Errorf("invocation: %w", err)
		}
		answer.TraceID, answer.Timestamp = first.TraceID, first.Timestamp
	}
	return nil
}

// conflict is ID-4: not retryable, and about no job.
func (inv *invocation) conflict() []*envelope.Envelope {
	e := inv.failure(envelope.Errorf(envelope.CodeDuplicateKey, "idempotency_key: the key belongs to another request"))
	e.JobID = ""
	e.IdempotencyKey = inv.msg.IdempotencyKey
	return []*envelope.Envelope{e}
}
