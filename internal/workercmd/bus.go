package workercmd

import (
	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/worker"
	"github.com/arcp-nats/arcp/worker/natsbus"
)

// NewBus returns the log as a worker needs it; see natsbus.New.
func NewBus(client *jetstream.Client) worker.Bus { return natsbus.New(client) }
