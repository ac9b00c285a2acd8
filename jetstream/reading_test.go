package jetstream_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/internal/natstest"
	"github.com/arcp-nats/arcp/jetstream"
)

// A reading that goes on after an interruption asks where the log ends. That answer may be lost with the connection too;
// the reading tries again then, and does not wait as long as its caller would, which may be a job with a day to run.
func TestAnAnswerThatNeverComesDoesNotEndAReading(t *testing.T) {
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true}) // without JetStream
	require.NoError(t, err)
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	require.True(t, srv.ReadyForConnections(patience))
	silent, err := nats.Connect(srv.ClientURL())
	require.NoError(t, err)
	t.Cleanup(silent.Close)
	asked := make(chan *nats.Msg, 1)
	_, err = silent.ChanSubscribe("$JS.API.STREAM.INFO.*", asked)
	require.NoError(t, err)
	require.NoError(t, silent.Flush())

	c := natstest.Connect(t, jetstream.Config{URLs: []string{srv.ClientURL()}, AckTimeout: 50 * time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	checked := make(chan error, 1)
	go func() { checked <- c.CheckPosition(ctx, "S", 7) }()
	receive(t, patient(t), asked)
	require.ErrorIs(t, receive(t, patient(t), checked), context.DeadlineExceeded)
}
