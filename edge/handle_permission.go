package edge

import (
	"context"
	"time"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	leases "github.com/arcp-nats/arcp/lease"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// handlePermission puts a client's answer to a request for a permission, or what prolongs a grant, on the input lane of the
// job, where its worker hears it, now or when it takes the job (open dialect LE-5). Any session of the principal may answer.
// It is not answered, unless it is refused: what comes of it is among the job's events.
func handlePermission(c *conn, s *session, msg *envelope.Envelope) {
	said, err := readPermission(msg)
	if err != nil {
		c.receiveBad(s, err)
		return
	}
	if said.seconds > leases.MaxSeconds {
		s.nack(msg, envelope.CodeInvalidArgument, "payload."+said.member+": the limit is 2592000 seconds")
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, storeTimeout)
	defer cancel()
	invocation, request, err := s.permissionMeant(ctx, msg, said)
	switch code := envelope.CodeOf(err); {
	case err == nil:
		e := *msg
		e.CorrelationID = request
		s.pass(invocation, &e)
	case code == envelope.CodeUnavailable || code == envelope.CodeInternal || ctx.Err() != nil:
		s.notStored(msg.ID, err)
	default:
		s.nack(msg, code, errorText(err))
	}
}

// permissionSaid is what a message about a permission says.
type permissionSaid struct {
	permission, resource, operation string
	lease                           envelope.LeaseID // of a refresh
	seconds                         uint64
	member                          string // that the seconds stand in
}

func readPermission(msg *envelope.Envelope) (permissionSaid, error) {
	switch msg.Type {
	case envelope.TypePermissionGrant:
		p, err := envelope.DecodePayload[envelope.PermissionGrant](msg)
		if err != nil {
			return permissionSaid{}, err
		}
		return permissionSaid{permission: p.Permission, resource: p.Resource, operation: p.Operation, seconds: p.LeaseSeconds, member: "lease_seconds"}, nil
	case envelope.TypePermissionDeny:
		p, err := envelope.DecodePayload[envelope.PermissionDeny](msg)
		if err != nil {
			return permissionSaid{}, err
		}
		return permissionSaid{permission: p.Permission}, nil
	default:
		p, err := envelope.DecodePayload[envelope.LeaseRefresh](msg)
		if err != nil {
			return permissionSaid{}, err
		}
		return permissionSaid{lease: p.LeaseID, seconds: p.AdditionalSeconds, member: "additional_seconds"}, nil
	}
}

// permissionMeant returns the invocation of the job that a message about a permission is meant for, and the request that it
// answers, "" for a refresh.
func (s *session) permissionMeant(ctx context.Context, msg *envelope.Envelope, said permissionSaid) (*record.Record, envelope.MessageID, error) {
	asked := msg.CorrelationID
	if said.lease != "" {
		asked = leases.RequestOf(said.lease)
	}
	job := msg.JobID
	if job == "" && asked != "" {
		var err error
		if job, err = s.jobThatSaid(ctx, asked); err != nil {
			return nil, "", err
		}
	}
	if job == "" {
		return nil, "", envelope.Errorf(envelope.CodeFailedPrecondition, "correlation_id and job_id: one of them is needed to know what is answered")
	}
	invocation, _, refusal, err := s.runningJob(ctx, string(job))
	switch {
	case err != nil:
		return nil, "", err
	case refusal != "":
		return nil, "", envelope.Errorf(interruptCodes[refusal], "%s", refusal)
	}
	book, err := s.readPermits(ctx, invocation)
	if err != nil {
		return nil, "", err
	}
	if said.lease != "" {
		return invocation, "", refreshable(book, said.lease)
	}
	request, err := book.Open(msg.CorrelationID, said.permission, said.resource, said.operation)
	return invocation, request.ID, err
}

// refreshable reports that a lease is in force.
func refreshable(book *leases.Book, id envelope.LeaseID) error {
	answer, granted := book.Lease(id)
	switch {
	case !granted:
		return envelope.Errorf(envelope.CodeNotFound, "payload.lease_id: no such lease")
	case !answer.Ends.After(time.Now()):
		return envelope.Errorf(envelope.CodeFailedPrecondition, "payload.lease_id: the lease has expired")
	}
	return nil
}

// jobThatSaid returns the job of the principal that has said a message. NOT_FOUND: there is none.
func (s *session) jobThatSaid(ctx context.Context, id envelope.MessageID) (envelope.JobID, error) {
	select {
	case s.srv.searches <- struct{}{}:
		defer func() { <-s.srv.searches }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	ends, err := s.srv.logEnds(ctx)
	if err != nil {
		return "", err
	}
	found, _, err := s.srv.findMessage(ctx, []string{s.subject.PrincipalToken()}, id, ends)
	if err != nil {
		return "", err
	}
	if found == nil || found.Subject.Lane != subjects.Event || found.Subject.Job == "" {
		return "", envelope.Errorf(envelope.CodeNotFound, "correlation_id: no job of this principal has made the request")
	}
	return envelope.JobID(found.Subject.Job), nil
}

// readPermits folds what a job has asked for and what was answered.
func (s *session) readPermits(ctx context.Context, invocation *record.Record) (*leases.Book, error) {
	book := new(leases.Book)
	var run view.Run
	err := s.srv.log.ReadJob(ctx, subjects.JobEvents(invocation.Subject), func(rec *record.Record) bool {
		if !run.Hear(rec) {
			return true
		}
		for typ, line := range rec.Lines() {
			if typ != envelope.TypePermissionRequest && typ != envelope.TypeJobStarted {
				continue
			}
			if e, err := envelope.DecodeStored(line); err == nil {
				book.Event(e)
			}
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	return book, s.srv.log.ReadJob(ctx, subjects.JobInput(invocation.Subject), func(rec *record.Record) bool {
		var said []*envelope.Envelope
		for _, line := range rec.Lines() {
			if e, err := envelope.DecodeStored(line); err == nil {
				said = append(said, e)
			}
		}
		book.Input(rec.Seq, rec.Time, said...)
		return true
	})
}
