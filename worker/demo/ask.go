package demo

import (
	"context"
	"errors"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/worker"
)

// ask asks for a permission, and returns whether it was granted. With hold_ms it
// uses the grant for that long, or until it has ended.
func ask(ctx context.Context, job *worker.Job) (any, error) {
	var args struct {
		Permission string `json:"permission"`
		Resource   string `json:"resource"`
		Operation  string `json:"operation"`
		HoldMS     int64  `json:"hold_ms"`
	}
	if err := job.Bind(&args); err != nil {
		return nil, err
	}
	if err := inRange("hold_ms", args.HoldMS, 0, maxMS); err != nil {
		return nil, err
	}
	grant, err := job.RequestPermission(ctx, worker.Permission{Permission: args.Permission, Resource: args.Resource, Operation: args.Operation})
	var coded *envelope.Error
	switch {
	case errors.As(err, &coded) && coded.Code == envelope.CodePermissionDenied:
		return map[string]any{"granted": false, "reason": coded.Message}, nil
	case err != nil:
		return nil, err
	}
	if err := pauseUnless(ctx, args.HoldMS, grant.Done()); err != nil {
		return nil, err
	}
	return map[string]any{"granted": true}, nil
}
