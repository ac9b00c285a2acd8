package jetstream_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/natstest"
	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/record"
)

func TestFindInvocation(t *testing.T) {
	srv := natstest.Start(t)
	c := natstest.Connect(t, jetstream.Config{InProcess: srv.InProcess()})
	natstest.Ensure(t, c, jetstream.Topology{Shards: 3})
	subject := invokeOf("q", "f", "s", "job_1")
	subject.Shard = 2
	store(t, c, numbered(subject, 7))
	store(t, c, numbered(invokeOf("q", "f", "s", "job_2"), 8))

	for _, principal := range []string{"ann", ""} {
		r, err := c.FindInvocation(patient(t), principal, "job_1")
		require.NoError(t, err)
		require.Equal(t, subject, r.Subject)
		require.Equal(t, 7, number(t, r))
	}
	_, err := c.FindInvocation(patient(t), "bob", "job_1")
	requireCode(t, envelope.CodeNotFound, err)
	_, err = c.FindInvocation(patient(t), "ann", "job_3")
	requireCode(t, envelope.CodeNotFound, err)
	_, err = c.FindInvocation(patient(t), "ann", "*")
	requireCode(t, envelope.CodeNotFound, err)
}

// A job in a log of 50,000 others.
func BenchmarkFindInvocation(b *testing.B) {
	transports(b, func(b *testing.B, c *jetstream.Client) {
		storeMany(b, c, 50_000, func(i int) *record.Record {
			return numbered(invokeOf("q", "f", fmt.Sprint("s", i%500), fmt.Sprint("j", i)), i)
		})
		for b.Loop() {
			if _, err := c.FindInvocation(b.Context(), "ann", "j777"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
