package edge

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/arcp-nats/arcp/envelope"
)

// awaitLeader waits until the leader of a shard's log has stored everything up to a position. A feed may be read from a
// replica that is ahead of the leader: what has been stored counts once most replicas have it, and each of them shows it
// when it gets to it. So what the leader does not have may have been offered here already, and even been shown.
func awaitLeader(ctx context.Context, log Log, shard int, pos uint64) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 5*time.Millisecond, 200*time.Millisecond
	for {
		_, last, err := log.Bounds(ctx, shard)
		if err != nil || last >= pos {
			return err
		}
		select {
		case <-time.After(wait.NextBackOff()):
		case <-ctx.Done():
			return envelope.Errorf(envelope.CodeUnavailable, "the leader of the log is behind")
		}
	}
}

// offered returns a position of a shard that nothing which was offered here stands after.
func (h *hub) offered(shard int) (pos uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, f := range h.feeds {
		if key.Shard == shard {
			pos = max(pos, f.begun.Load(), f.pos.Load())
		}
	}
	return pos
}
