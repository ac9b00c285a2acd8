package client

import (
	"context"
	"fmt"
	"time"

	"github.com/arcp-nats/arcp/envelope"
)

// Grant answers a permission.request, which is among the events of a job, for a time, in whole seconds. Any session of the
// principal can; what comes of it, lease.granted, is among the job's events too. The edge does not answer otherwise: what
// it refuses comes back as a nack, which Config.OnEnvelope sees.
func (s *Session) Grant(ctx context.Context, request *envelope.Envelope, lease time.Duration) error {
	p, err := envelope.DecodePayload[envelope.PermissionRequest](request)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	return s.answerPermission(ctx, request, envelope.TypePermissionGrant, &envelope.PermissionGrant{
		Permission: p.Permission, Resource: p.Resource, Operation: p.Operation, LeaseSeconds: uint64(max(0, lease/time.Second)),
	})
}

// Deny answers a permission.request with no. The tool is told the reason.
func (s *Session) Deny(ctx context.Context, request *envelope.Envelope, reason string) error {
	p, err := envelope.DecodePayload[envelope.PermissionRequest](request)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	return s.answerPermission(ctx, request, envelope.TypePermissionDeny, &envelope.PermissionDeny{Permission: p.Permission, Reason: reason})
}

// Prolong asks for more time for a lease that a job was granted, in whole seconds. lease.extended is the answer.
func (s *Session) Prolong(ctx context.Context, job envelope.JobID, lease envelope.LeaseID, by time.Duration) error {
	e, err := envelope.New(envelope.TypeLeaseRefresh, &envelope.LeaseRefresh{LeaseID: lease, AdditionalSeconds: uint64(max(0, by/time.Second))})
	if err != nil {
		return err
	}
	e.JobID = job
	return s.Tell(ctx, e)
}

func (s *Session) answerPermission(ctx context.Context, request *envelope.Envelope, typ envelope.Type, payload any) error {
	e, err := envelope.New(typ, payload)
	if err != nil {
		return err
	}
	e.JobID, e.CorrelationID = request.JobID, request.ID
	return s.Tell(ctx, e)
}
