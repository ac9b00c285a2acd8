package edge

import (
	"context"
	"time"

	"github.com/arcp-nats/arcp/envelope"
	leases "github.com/arcp-nats/arcp/lease"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// handleInvoke checks a tool.invoke in the order of the open dialect's section 4.7 and stores either the invocation,
// which is the acceptance, or the refusal. The reader goes on while the log stores it.
func handleInvoke(c *conn, s *session, msg *envelope.Envelope) {
	payload, err := envelope.DecodePayload[envelope.ToolInvoke](msg)
	if err != nil {
		c.receiveBad(s, err)
		return
	}
	s.invoke(s.newInvocation(msg, payload))
}

// newInvocation is what a message of the client asks for.
func (s *session) newInvocation(msg *envelope.Envelope, payload *envelope.ToolInvoke) *invocation {
	longest := s.srv.cfg.MaxRuntime
	if asked := time.Duration(min(payload.MaxRuntimeSec, uint64(longest/time.Second))) * time.Second; asked > 0 {
		longest = asked
	}
	if s.traits.TellsAll && msg.TraceID == "" {
		msg.TraceID = newTraceID()
	}
	return &invocation{
		session: s.subject, origin: s.origin, codes: s.codes, sender: s.srv.cfg.Name, maxRuntime: longest,
		msg: msg, payload: payload, job: envelope.NewJobID(), now: time.Now(), tellsAll: s.traits.TellsAll,
	}
}

// invoke stores the invocation or its refusal, when its turn has come.
func (s *session) invoke(inv *invocation) {
	if s.provisions(inv.payload.EffectiveLease()) {
		s.invokeWithCredentials(inv)
		return
	}
	s.inTurn(inv.msg, false, func() {
		inv.session = s.subject
		s.invokeNow(inv)
	})
}

// invokeNow stores the invocation or its refusal, and reports whether it is on its way to the log.
func (s *session) invokeNow(inv *invocation) (submitted bool) {
	if inv.msg.IdempotencyKey != "" {
		return s.invokeOnce(inv)
	}
	refusal := s.check(inv)
	if refusal == nil {
		var err error
		if refusal, err = s.provide(s.conn.ctx, inv); err != nil {
			s.srv.metrics.jobs["not_stored"].Inc()
			s.notStored(inv.msg.ID, err)
			return false
		}
	}
	if refusal != nil {
		s.reply(refusal...)
		return false
	}
	return s.submit(inv)
}

// check takes an invocation through steps 2 to 6 of section 4.7 and returns what to refuse it with, if anything.
func (s *session) check(inv *invocation) []*envelope.Envelope {
	refusal := s.refusal(inv)
	if refusal != nil {
		s.srv.metrics.jobs["refused"].Inc()
	}
	return refusal
}

func (s *session) refusal(inv *invocation) []*envelope.Envelope {
	if refusal := inv.validate(); refusal != nil {
		return refusal
	}
	if refusal := s.gateLease(inv); refusal != nil {
		return refusal
	}
	if refusal := s.roomForJob(inv); refusal != nil {
		return refusal
	}
	tool, queue, err := s.srv.tools.Resolve(inv.ref)
	switch {
	case err == nil:
		inv.tool, inv.queue = tool, queue
		return nil
	case s.provisions(inv.lease), s.traits.RefusesFirst: // TI-3: the acceptance would have waited for credentials
		return inv.fail(err)
	default:
		return inv.failAccepted(err)
	}
}

// submit sends the invocation to the log and reports whether it is on its way.
func (s *session) submit(inv *invocation) bool {
	rec, err := inv.record()
	if err != nil {
		s.srv.metrics.jobs["not_stored"].Inc()
		s.notStored(inv.msg.ID, envelope.Errorf(envelope.CodeInternal, "invocation: %v", err))
		return false
	}
	if err := s.noteDeadline(inv); err != nil {
		s.srv.metrics.jobs["not_stored"].Inc()
		s.notStored(inv.msg.ID, err)
		return false
	}
	s.submitting(inv.job)
	s.keepCredentials(inv.grant)
	s.publish(rec, inv.msg.ID, func(seq uint64, err error) {
		outcome := "accepted"
		if err != nil {
			outcome = "not_stored"
			s.loseCredentials(inv.grant)
		}
		s.srv.metrics.jobs[outcome].Inc()
		s.submitted(inv.job, seq, err)
	})
	return true
}

// noteDeadline makes sure that a job whose lease ends will end with it, before the job is there.
func (s *session) noteDeadline(inv *invocation) error {
	cfg := &s.srv.cfg
	ctx, cancel := context.WithTimeout(s.srv.ctx, storeTimeout)
	defer cancel()
	return s.srv.deadlines.write(ctx, inv.subject(), inv.enforced, cfg.MaxQueue+cfg.MaxRuntime+cfg.MaxSchedule)
}

// invocation is a tool.invoke on its way through the checks. It is a value with rules; it does no I/O.
type invocation struct {
	session subjects.Subject
	origin  string // of the session, see originOf
	codes   envelope.Vocabulary
	sender  string
	// maxRuntime is Config.MaxRuntime, or less if the client asks for less.
	maxRuntime time.Duration
	tellsAll   bool // the acceptance names the tool as it was resolved
	msg        *envelope.Envelope
	payload    *envelope.ToolInvoke
	job        envelope.JobID
	now        time.Time
	// due and when are of a scheduled job: the moment, zero for now, and what the client said.
	due  time.Time
	when string

	ref   envelope.AgentRef
	lease *envelope.Lease // as the client spells it
	// enforced is the lease in the spellings that enforce.
	enforced *envelope.Lease
	tool     envelope.AgentRef
	queue    string
	// accepted is the envelope that the client will see, but for the credentials; made once, so that a retry repeats it.
	accepted *envelope.Envelope
	// grant is of the job's credentials, and grantErr why there are none; neither: they have not been asked for.
	grant    *issued
	grantErr error
	// shows is the grant of which an answer in place of a job shows the credentials.
	shows string
}

// validate checks what can be judged from the message alone: the reference (step 2, TI-2) and the lease (step 3,
// LE-2).
func (inv *invocation) validate() []*envelope.Envelope {
	if err := inv.parse(); err != nil {
		return inv.fail(err)
	}
	if l := inv.enforced; l != nil && l.ExpiresAt != nil && !l.ExpiresAt.After(inv.begin()) {
		return inv.fail(envelope.Errorf(envelope.CodeInvalidRequest, "payload.lease_request.expires_at is not after the moment at which the job may start"))
	}
	return nil
}

// parse reads the reference and the lease.
func (inv *invocation) parse() error {
	ref, err := envelope.ParseAgentRef(inv.payload.Tool)
	if err != nil {
		return envelope.Errorf(envelope.CodeInvalidArgument, "payload.tool: %s", errorText(err))
	}
	inv.ref = ref
	inv.lease = inv.payload.EffectiveLease() // TI-1
	if inv.enforced, err = leases.Enforced(inv.lease); err != nil {
		return envelope.Errorf(envelope.CodeInvalidArgument, "payload.lease_request: %s", errorText(err))
	}
	return nil
}

// acceptance is the job.accepted of the invocation (TI-4: it echoes the effective lease).
func (inv *invocation) acceptance() *envelope.Envelope {
	if inv.accepted == nil {
		payload := &envelope.JobAccepted{JobID: inv.job, Lease: inv.lease}
		if inv.tellsAll {
			payload.Agent = inv.tool.String()
		}
		inv.accepted = inv.about(envelope.TypeJobAccepted, payload)
	}
	return inv.accepted
}

// fail refuses the invocation without accepting it: there is no job, though the refusal carries a fresh job id
// (TI-2, TI-6).
func (inv *invocation) fail(err error) []*envelope.Envelope {
	return []*envelope.Envelope{inv.failure(err)}
}

// failAccepted refuses it after the acceptance, as the original does for an unknown tool or version; still no job
// is created, and both are stored in one record, so no crash can leave the acceptance alone.
func (inv *invocation) failAccepted(err error) []*envelope.Envelope {
	return []*envelope.Envelope{inv.acceptance(), inv.failure(err)}
}

// failWith is fail with the retryability that somebody else has judged.
func (inv *invocation) failWith(err error, retryable bool) []*envelope.Envelope {
	return []*envelope.Envelope{inv.failed(err, retryable)}
}

func (inv *invocation) failure(err error) *envelope.Envelope {
	// TI-6: false for what a retry cannot mend
	return inv.failed(err, envelope.CodeOf(err) == envelope.CodeResourceExhausted)
}

func (inv *invocation) failed(err error, retryable bool) *envelope.Envelope {
	code := inv.codes.Code(envelope.CodeOf(err))
	return inv.about(envelope.TypeJobFailed, &envelope.JobFailed{Code: code, Retryable: &retryable, Message: errorText(err)})
}

// about builds an envelope about the invocation's job.
func (inv *invocation) about(typ envelope.Type, payload any) *envelope.Envelope {
	e := answer(envelope.SessionID(inv.session.Session), inv.msg, typ, payload)
	e.JobID = inv.job
	return e
}

// subject is where the invocation is stored.
func (inv *invocation) subject() subjects.Subject {
	sub := inv.session
	sub.Lane, sub.Queue, sub.Tool, sub.Job = subjects.Invoke, inv.queue, inv.tool.String(), string(inv.job)
	return sub
}

// record is the invocation as the log holds it: the acceptance for the view, the command for the worker. The command
// carries the true session and job, the effective lease, and nothing that the client wrote into members which are
// not its to set.
func (inv *invocation) record() (*record.Record, error) {
	payload := *inv.payload
	payload.LeaseRequest, payload.CostBudget = inv.lease, nil
	command, err := envelope.New(envelope.TypeToolInvoke, &payload)
	if err != nil {
		return nil, err
	}
	command.ID, command.Timestamp = inv.msg.ID, inv.msg.Timestamp
	command.SessionID, command.JobID = envelope.SessionID(inv.session.Session), inv.job
	command.TraceID, command.SpanID, command.ParentSpanID = inv.msg.TraceID, inv.msg.SpanID, inv.msg.ParentSpanID
	command.IdempotencyKey, command.Priority = inv.msg.IdempotencyKey, inv.msg.Priority
	command.Source, command.Target, command.Extensions = inv.msg.Source, inv.msg.Target, inv.msg.Extensions
	command.CausationID = inv.msg.CausationID
	rec, err := record.New(inv.subject(), inv.acceptance(), command)
	if err != nil {
		return nil, err
	}
	rec.Sender, rec.Codes, rec.MaxRuntime, rec.NotBefore = inv.sender, inv.codes, inv.maxRuntime, inv.due
	trace := inv.msg.TraceContext()
	rec.TraceParent, rec.TraceState = trace.Parent, trace.State
	rec.Origin = inv.origin
	if inv.grant != nil {
		rec.Grant = inv.grant.id
	}
	rec.MsgID = string(inv.job) // the job is invoked once, however often the record is sent
	return rec, nil
}

// invokeOnce is step 1 of section 4.7: a key that is known brings back what it brought before. It reports whether a job is
// on its way to the log. It goes on when the connection is lost: a key without a job would make the client's retry wait.
func (s *session) invokeOnce(inv *invocation) (submitted bool) {
	ctx, cancel := context.WithTimeout(s.srv.ctx, s.srv.cfg.SubmitPatience+storeTimeout)
	defer cancel()
	envelopes, err := s.srv.idempotency.resolve(ctx, s, inv)
	switch {
	case err != nil:
		s.srv.metrics.jobs["not_stored"].Inc()
		s.notStored(inv.msg.ID, err)
	case envelopes != nil:
		s.replyGranted(inv.shows, envelopes...)
	default:
		return s.submit(inv)
	}
	return false
}
