package lease_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/lease"
)

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func message(t *testing.T, id, correlation string, typ envelope.Type, payload any) *envelope.Envelope {
	e, err := envelope.New(typ, payload)
	require.NoError(t, err)
	e.ID, e.CorrelationID = envelope.MessageID(id), envelope.MessageID(correlation)
	return e
}

func request(t *testing.T, id, permission, resource string) *envelope.Envelope {
	return message(t, id, "", envelope.TypePermissionRequest, &envelope.PermissionRequest{Permission: permission, Resource: resource, Operation: "read"})
}

func grant(t *testing.T, correlation string, seconds uint64) *envelope.Envelope {
	return message(t, "msg_g", correlation, envelope.TypePermissionGrant, &envelope.PermissionGrant{LeaseSeconds: seconds})
}

func TestLE5WhichRequestIsMeant(t *testing.T) {
	var b lease.Book
	b.Event(request(t, "msg_1", "fs", "/a"))
	b.Event(request(t, "msg_2", "fs", "/b"))
	b.Event(request(t, "msg_3", "net", "x"))
	for _, c := range []struct {
		id, permission, resource string
		want                     envelope.MessageID
		code                     envelope.Code
	}{
		{"msg_1", "fs", "/a", "msg_1", ""},
		{"msg_1", "fs", "", "msg_1", ""},
		{"msg_1", "fs", "/b", "", envelope.CodeInvalidArgument},
		{"msg_1", "net", "", "", envelope.CodeInvalidArgument},
		{"msg_9", "fs", "", "", envelope.CodeNotFound},
		{"", "fs", "/b", "msg_2", ""},
		{"", "net", "", "msg_3", ""},
		{"", "fs", "", "", envelope.CodeFailedPrecondition},
		{"", "db", "", "", envelope.CodeFailedPrecondition},
	} {
		r, err := b.Open(envelope.MessageID(c.id), c.permission, c.resource, "")
		require.Equal(t, c.want, r.ID)
		if c.code == "" {
			require.NoError(t, err)
		} else {
			require.Equal(t, c.code, envelope.CodeOf(err), "%+v", c)
		}
	}
	b.Input(1, noon, grant(t, "msg_1", 5))
	_, err := b.Open("msg_1", "fs", "/a", "")
	require.Equal(t, envelope.CodeFailedPrecondition, envelope.CodeOf(err), "it was answered")
	r, err := b.Open("", "fs", "", "")
	require.NoError(t, err)
	require.EqualValues(t, "msg_2", r.ID, "the only one that is left")
}

// TestLE5TheFirstAnswerCounts: whichever attempt's asking it answers; and a record counts once.
func TestLE5TheFirstAnswerCounts(t *testing.T) {
	var b lease.Book
	b.Event(request(t, "msg_1", "fs", "/a"))
	b.Event(message(t, "msg_s", "", envelope.TypeJobStarted, &envelope.JobStarted{}))
	b.Event(request(t, "msg_2", "fs", "/a")) // asked anew
	b.Event(request(t, "msg_3", "fs", "/a")) // and once more
	_, err := b.Open("", "fs", "/a", "read")
	require.Equal(t, envelope.CodeFailedPrecondition, envelope.CodeOf(err), "two are meant")
	b.Input(1, noon, grant(t, "msg_9", 5), grant(t, "msg_1", 10))
	b.Input(2, noon, message(t, "msg_d", "msg_2", envelope.TypePermissionDeny, &envelope.PermissionDeny{Reason: "late"}))
	answer, ok := b.Answer("msg_2")
	require.True(t, ok)
	require.True(t, answer.Granted)
	require.EqualValues(t, "lease_1", answer.Request.Lease())
	_, ok = b.Answer("msg_3")
	require.False(t, ok)
	_, ok = b.Answer("msg_9")
	require.False(t, ok)

	refresh := func(seconds uint64) *envelope.Envelope {
		return message(t, "msg_r", "", envelope.TypeLeaseRefresh, &envelope.LeaseRefresh{LeaseID: "lease_1", AdditionalSeconds: seconds})
	}
	b.Input(3, noon.Add(9*time.Second), refresh(10))
	b.Input(3, noon.Add(9*time.Second), refresh(10)) // read again
	answer, _ = b.Lease("lease_1")
	require.Equal(t, noon.Add(20*time.Second), answer.Ends)
	b.Input(4, noon.Add(20*time.Second), refresh(10)) // it has ended
	require.Equal(t, noon.Add(20*time.Second), answer.Ends)
	b.Input(5, noon.Add(5*time.Second), refresh(1<<63))
	require.Equal(t, noon.Add(20*time.Second+lease.MaxSeconds*time.Second), answer.Ends)

	b.NewAttempt()
	found, ok := b.Found("fs", "/a", "read")
	require.True(t, ok)
	require.Same(t, answer, found)
	_, ok = b.Found("fs", "/a", "read")
	require.False(t, ok, "the second was not answered")
	_, ok = b.Lease("lease_7")
	require.False(t, ok)
}
