package demo

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/worker"
)

// maxCharges bounds the charges of a job.
const maxCharges = 10_000

// charge spends amounts of the job's budget, one by one, and returns what is
// left.
func charge(ctx context.Context, job *worker.Job) (any, error) {
	var args struct {
		Charges []struct {
			Name     string      `json:"name"`
			Amount   json.Number `json:"amount"`
			Currency string      `json:"currency"`
		} `json:"charges"`
		EveryMS int64 `json:"every_ms"`
	}
	if err := json.Unmarshal(job.Arguments(), &args); err != nil {
		return nil, envelope.Errorf(envelope.CodeInvalidArgument, "arguments: %w", err)
	}
	if err := inRange("charges", int64(len(args.Charges)), 0, maxCharges); err != nil {
		return nil, err
	}
	if err := inRange("every_ms", args.EveryMS, 0, maxMS); err != nil {
		return nil, err
	}
	for i, c := range args.Charges {
		value, err := envelope.ParseDecimal(c.Amount.String())
		if err != nil {
			return nil, envelope.Errorf(envelope.CodeInvalidArgument, "arguments.charges.%d.amount: %w", i, err)
		}
		if i > 0 {
			if err := pause(ctx, args.EveryMS); err != nil {
				return nil, err
			}
		}
		if err := job.Charge(ctx, c.Name, envelope.Amount{Currency: c.Currency, Value: value}); err != nil {
			return nil, fmt.Errorf("charge %d: %w", i, err)
		}
	}
	left, err := job.Budget(ctx)
	if err != nil {
		return nil, err
	}
	remaining := make(map[string]json.RawMessage, len(left))
	for _, a := range left {
		remaining[a.Currency] = json.RawMessage(a.Value.String())
	}
	return map[string]any{"remaining": remaining}, nil
}

// model uses a model, as far as the job's lease allows it.
func model(_ context.Context, job *worker.Job) (any, error) {
	var args struct {
		Model string `json:"model"`
	}
	if err := job.Bind(&args); err != nil {
		return nil, err
	}
	if err := job.EnforceModel(args.Model); err != nil {
		return nil, err
	}
	return map[string]string{"model": args.Model}, nil
}
