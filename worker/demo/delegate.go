package demo

import (
	"context"
	"encoding/json"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/worker"
)

// delegate starts another tool as a child job and waits for it. How the child
// ends is how this job ends.
func delegate(ctx context.Context, job *worker.Job) (any, error) {
	var args struct {
		Tool      string          `json:"tool"`
		Arguments json.RawMessage `json:"arguments"`
		Lease     *envelope.Lease `json:"lease_request"`
	}
	if err := job.Bind(&args); err != nil {
		return nil, err
	}
	child, err := job.Delegate(ctx, args.Tool, args.Arguments, args.Lease)
	if err != nil {
		return nil, err
	}
	result, err := child.Wait(ctx)
	if err != nil {
		return nil, err
	}
	return struct {
		JobID envelope.JobID  `json:"job_id"`
		Value json.RawMessage `json:"value"`
	}{child.ID(), result.Value}, nil
}
