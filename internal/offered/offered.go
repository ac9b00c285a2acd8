// Package offered waits until an edge offers a tool. A worker announces its tools when it is ready, and edges learn of
// them a moment later.
package offered

import (
	"context"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/envelope"
)

// Wait opens sessions on the first edge of cfg until one lists tool, a name or name@version, in its capabilities. Hooks
// of cfg are not called. It gives up after limit.
func Wait(ctx context.Context, cfg client.Config, tool string, limit time.Duration) error {
	ref, err := envelope.ParseAgentRef(tool)
	if err != nil {
		return fmt.Errorf("offered: %w", err)
	}
	cfg.OnEnvelope, cfg.OnState = nil, nil
	cfg.URLs = cfg.URLs[:min(1, len(cfg.URLs))]
	_, err = backoff.Retry(ctx, func() (struct{}, error) {
		return struct{}{}, look(ctx, cfg, ref)
	}, backoff.WithBackOff(backoff.NewConstantBackOff(50*time.Millisecond)), backoff.WithMaxElapsedTime(limit))
	if err != nil {
		return fmt.Errorf("offered: %s: %w", tool, err)
	}
	return nil
}

func look(ctx context.Context, cfg client.Config, ref envelope.AgentRef) error {
	s, err := client.Dial(ctx, cfg)
	if err != nil {
		return err
	}
	offers := s.Capabilities().Agents.Offers(ref)
	if err := s.Close(ctx); err != nil {
		return err
	}
	if !offers {
		return fmt.Errorf("no edge offers it")
	}
	return nil
}
