package main

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/natstest"
	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/registry"
	"github.com/arcp-nats/arcp/subjects"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestGreet runs the example against a real log and does an edge's part: it looks the tool up, stores an invocation,
// and reads the end.
func TestGreet(t *testing.T) {
	srv := natstest.Start(t)
	log := natstest.Client(t, srv)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()

	serving, leave := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- run(serving, jetstream.Config{Name: "hello", InProcess: srv.InProcess()}) }()

	table, offered := registry.NewTable(), make(chan struct{}, 1)
	watching, stopWatching := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		_ = log.KV(jetstream.BucketTools).Watch(watching, func() {}, func(key string, value []byte, at time.Time) {
			table.Apply(key, value, at)
			if table.Knows("greet") {
				select {
				case offered <- struct{}{}:
				default:
				}
			}
		})
	}()
	select {
	case <-offered:
	case err := <-ended:
		t.Fatalf("the worker ended: %v", err)
	}

	require.Equal(t, `{"value":{"greeting":"hello, world"}}`, invoke(ctx, t, log, table))

	stopWatching()
	<-watched
	leave()
	require.NoError(t, <-ended)
}

// invoke stores an invocation of greet and returns the payload of its job.completed.
func invoke(ctx context.Context, t *testing.T, log *jetstream.Client, table *registry.Table) string {
	t.Helper()
	ref, err := envelope.ParseAgentRef("greet")
	require.NoError(t, err)
	tool, queue, err := table.Resolve(ref)
	require.NoError(t, err)
	session, job := envelope.NewSessionID(), envelope.NewJobID()
	subject := subjects.Subject{
		Lane: subjects.Invoke, Queue: queue, Tool: tool.String(), Feed: "edge-1", Principal: "alice",
		Session: string(session), Job: string(job),
	}
	accepted, err := envelope.New(envelope.TypeJobAccepted, &envelope.JobAccepted{JobID: job})
	require.NoError(t, err)
	command, err := envelope.New(envelope.TypeToolInvoke, &envelope.ToolInvoke{
		Tool: "greet", Arguments: json.RawMessage(`{"name":"world"}`),
	})
	require.NoError(t, err)
	for _, e := range []*envelope.Envelope{accepted, command} {
		e.SessionID, e.JobID = session, job
	}
	rec, err := record.New(subject, accepted, command)
	require.NoError(t, err)

	reading, stop := context.WithCancel(ctx)
	defer stop()
	payload := make(chan string, 1)
	followed := make(chan struct{})
	ready := make(chan struct{})
	go func() {
		defer close(followed)
		_ = log.Follow(reading, 0, "edge-1", 0, func(uint64) { close(ready) }, func(r *record.Record) {
			for typ, line := range r.Lines() {
				if e, err := envelope.DecodeStored(line); err == nil && typ == envelope.TypeJobCompleted {
					payload <- string(e.Payload)
				}
			}
		})
	}()
	<-ready
	_, err = log.PublishWait(ctx, rec)
	require.NoError(t, err)
	defer func() { stop(); <-followed }()
	select {
	case p := <-payload:
		return p
	case <-ctx.Done():
		t.Fatal("the job did not end")
		return ""
	}
}
