package jetstream_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/natstest"
	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// ofBob makes a subject another principal's.
func ofBob(s subjects.Subject) subjects.Subject {
	s.Principal = "bob"
	return s
}

func TestI4OnlyWhatPrincipalsHaveIsRead(t *testing.T) {
	c := client(t)
	ctx := patient(t)
	ann := []string{subjects.PrincipalToken("ann")}
	numbers := func(tokens []string, from, until uint64) (all []int) {
		require.NoError(t, c.ReadPrincipals(ctx, 0, tokens, from, until, func(r *record.Record) bool {
			all = append(all, number(t, r))
			return len(all) < 4
		}))
		return all
	}
	require.Empty(t, numbers(ann, 1, 100), "nothing is stored")

	store(t, c, numbered(ofBob(eventOf("f", "s", "j")), 1))
	store(t, c, numbered(invokeOf("q", "f", "s", "j"), 2))
	store(t, c, numbered(ofBob(subjects.JobInput(eventOf("f", "s", "j"))), 3))
	store(t, c, numbered(subjects.JobInput(eventOf("g", "s", "j")), 4))
	store(t, c, numbered(eventOf("h", "s2", ""), 5))
	store(t, c, numbered(eventOf("h", "s2", ""), 6))
	store(t, c, numbered(eventOf("h", "s2", ""), 7))

	require.Equal(t, []int{2, 4, 5, 6}, numbers(ann, 1, 100), "and no more than is wanted")
	require.Equal(t, []int{4, 5}, numbers(ann, 3, 5))
	require.Empty(t, numbers(ann, 8, 100))
	require.Empty(t, numbers(ann, 1, 1))
	require.Equal(t, []int{1, 2, 3, 4}, numbers(append(ann, "bob"), 1, 100))
	require.Empty(t, numbers([]string{"eve"}, 1, 100))
}

func TestFollowPrincipals(t *testing.T) {
	c := client(t)
	ctx, cancel := context.WithCancel(patient(t))
	ready, records, ended := make(chan uint64, 1), make(chan *record.Record, 16), make(chan error, 1)
	go func() {
		ended <- c.FollowPrincipals(ctx, 0, []string{"ann"}, 0, func(pos uint64) { ready <- pos }, func(r *record.Record) { records <- r })
	}()
	require.Zero(t, receive(t, ctx, ready))
	store(t, c, numbered(ofBob(eventOf("f", "s", "j")), 1))
	for n, subject := range []subjects.Subject{invokeOf("q", "f", "s", "j"), eventOf("g", "s", "j"), subjects.JobInput(eventOf("f", "s2", ""))} {
		store(t, c, numbered(subject, n+2))
		require.Equal(t, n+2, number(t, receive(t, ctx, records)))
	}
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
}

func TestReadAt(t *testing.T) {
	c := client(t)
	for n := range 5 {
		store(t, c, numbered(eventOf("f", "s", "j"), n+1))
	}
	records, err := c.ReadAt(patient(t), 0, []uint64{4, 2, 5})
	require.NoError(t, err)
	var got []int
	for _, r := range records {
		require.Equal(t, uint64(number(t, r)), r.Seq)
		got = append(got, number(t, r))
	}
	require.Equal(t, []int{4, 2, 5}, got)
	_, err = c.ReadAt(patient(t), 0, []uint64{4, 6})
	requireCode(t, envelope.CodeNotFound, err)
	records, err = c.ReadAt(patient(t), 0, nil)
	require.NoError(t, err)
	require.Empty(t, records)
}

func TestHasSession(t *testing.T) {
	srv := natstest.Start(t)
	c := natstest.Connect(t, jetstream.Config{InProcess: srv.InProcess()})
	natstest.Ensure(t, c, jetstream.Topology{Shards: 2})
	subject := invokeOf("q", "f", "s", "job_1")
	subject.Shard = 1
	store(t, c, numbered(subject, 1))
	for _, p := range []struct {
		principal, session string
		has                bool
	}{{"ann", "s", true}, {"ann", "s2", false}, {"bob", "s", false}, {"ann", "*", false}} {
		has, err := c.HasSession(patient(t), p.principal, envelope.SessionID(p.session))
		require.NoError(t, err)
		require.Equal(t, p.has, has, "%v", p)
	}
}
