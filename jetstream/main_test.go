package jetstream_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/natstest"
	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/jetstream/embedded"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait. It is never used up unless a test fails.
const patience = 30 * time.Second

func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// broker is a server that a test can stop and start again, on the same port and folder.
type broker struct {
	t    testing.TB
	dir  string
	port int
	srv  *embedded.Server
}

func newBroker(t testing.TB) *broker {
	b := &broker{t: t, dir: t.TempDir(), port: -1}
	b.start()
	t.Cleanup(func() { b.srv.Shutdown() })
	return b
}

func (b *broker) start() {
	var err error
	b.srv, err = embedded.Start(embedded.Options{Dir: b.dir, Port: b.port})
	require.NoError(b.t, err)
	b.port = b.srv.Addr().(*net.TCPAddr).Port
}

func (b *broker) restart() {
	b.srv.Shutdown()
	b.start()
}

func (b *broker) client(cfg jetstream.Config) *jetstream.Client {
	cfg.URLs = []string{b.srv.URL()}
	c := natstest.Connect(b.t, cfg)
	natstest.Ensure(b.t, c, natstest.Topology())
	return c
}

func client(t testing.TB) *jetstream.Client { return natstest.Client(t, natstest.Start(t)) }

func eventOf(feed, session, job string) subjects.Subject {
	return subjects.Subject{Lane: subjects.Event, Feed: feed, Principal: "ann", Session: session, Job: job}
}

func invokeOf(queue, feed, session, job string) subjects.Subject {
	return subjects.Subject{Lane: subjects.Invoke, Queue: queue, Tool: "echo@1", Feed: feed, Principal: "ann", Session: session, Job: job}
}

// numbered makes a record that says n.
func numbered(subject subjects.Subject, n int) *record.Record {
	return &record.Record{
		Subject: subject,
		Types:   []envelope.Type{envelope.TypeJobProgress},
		MsgID:   fmt.Sprintf("msg-%s-%s-%s-%d", subject.Feed, subject.Session, subject.Job, n),
		Body:    []byte(strconv.Itoa(n)),
	}
}

func number(t testing.TB, r *record.Record) int {
	n, err := strconv.Atoi(string(r.Body))
	require.NoError(t, err)
	return n
}

func store(t testing.TB, c *jetstream.Client, r *record.Record) uint64 {
	t.Helper()
	seq, err := c.PublishWait(patient(t), r)
	require.NoError(t, err)
	return seq
}

// storeMany publishes without waiting for each, and then for all.
func storeMany(t testing.TB, c *jetstream.Client, n int, record func(i int) *record.Record) {
	t.Helper()
	ctx := patient(t)
	errs := outcomes(n)
	for i := range n {
		require.NoError(t, c.Publish(ctx, record(i), func(_ uint64, err error) { errs <- err }))
	}
	for range n {
		select {
		case err := <-errs:
			require.NoError(t, err)
		case <-ctx.Done():
			t.Fatal("not all publishes were answered")
		}
	}
}

func outcomes(n int) chan error { return make(chan error, n) }

func requireCode(t testing.TB, code envelope.Code, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, code, envelope.CodeOf(err), "%v", err)
}

func receive[T any](t testing.TB, ctx context.Context, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-ctx.Done():
		require.FailNow(t, "nothing came in time")
	}
	panic("unreachable")
}
