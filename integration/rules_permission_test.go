package integration_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/internal/wstest"
)

var wanted = obj{"permission": "fs.write", "resource": "/tmp/x", "operation": "write"}

// asking is two sessions of a principal on two edges, and a job of the first that waits for an answer.
func asking(t *testing.T, arguments obj) (w *subscribing, job, request string) {
	t.Helper()
	w = newSubscribing(t)
	w.first.knows(t, "ask")
	w.speaker.Invoke("ask", arguments)
	job = w.speaker.Expect("job.accepted").Str("job_id")
	w.speaker.Expect("job.started")
	m := w.speaker.Expect("permission.request")
	require.Equal(t, wstest.Message(wanted), m.Payload())
	return w, job, m.Str("id")
}

func granting(seconds int) obj {
	return obj{"permission": "fs.write", "resource": "/tmp/x", "operation": "write", "lease_seconds": seconds}
}

// The job is blocked, through the loss of its client's connection, until another session on another edge answers.
func TestLE5ABlockedJobIsGrantedItsPermission(t *testing.T) {
	w, job, request := asking(t, wanted)
	w.listener.Send("session.list_jobs", obj{"filter": obj{"status": []string{"blocked"}}})
	jobs := w.listener.Expect("session.jobs").Payload()["jobs"].([]any)
	require.Len(t, jobs, 1)
	require.Equal(t, job, jobs[0].(map[string]any)["job_id"])
	w.speaker.Drop()
	w.listener.Send("permission.grant", granting(60), "correlation_id", request)
	p := wstest.Dial(t, w.second.url)
	p.Resume(token(w.speaking), 3)
	granted := p.Expect("lease.granted")
	require.Regexp(t, `^lease_[0-9A-Z]{26}$`, granted.Payload()["lease_id"])
	require.Equal(t, []any{"fs.write", "/tmp/x", "write"}, []any{granted.Payload()["permission"], granted.Payload()["resource"], granted.Payload()["operation"]})
	ends, err := time.Parse(time.RFC3339Nano, granted.Payload()["expires_at"].(string))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(time.Minute), ends, 30*time.Second)
	require.Equal(t, obj{"granted": true}, p.Expect("job.completed").Payload()["value"])
	w.listener.Quiet()
}

func TestLE5ADenialReachesTheTool(t *testing.T) {
	w, job, _ := asking(t, wanted)
	w.listener.Send("permission.deny", obj{"permission": "fs.write", "reason": "not today"}, "job_id", job)
	w.speaker.Expect("job.heartbeat")
	require.Equal(t, obj{"granted": false, "reason": "not today"}, w.speaker.Expect("job.completed").Payload()["value"])
}

func TestLE5AGrantIsProlongedAndEnds(t *testing.T) {
	w, job, request := asking(t, obj{"permission": "fs.write", "resource": "/tmp/x", "operation": "write", "hold_ms": 60_000})
	w.speaker.Send("permission.grant", granting(5), "correlation_id", request, "job_id", job)
	granted := w.speaker.Expect("lease.granted").Payload()
	w.listener.Send("lease.refresh", obj{"lease_id": granted["lease_id"], "additional_seconds": 1}) // from anywhere, by its id
	extended := w.speaker.Expect("lease.extended").Payload()
	require.Equal(t, granted["lease_id"], extended["lease_id"])
	require.Greater(t, extended["expires_at"], granted["expires_at"])
	revoked := w.speaker.Expect("lease.revoked").Payload()
	require.Equal(t, granted["lease_id"], revoked["lease_id"])
	require.NotEmpty(t, revoked["reason"])
	w.speaker.Expect("job.completed")
	w.speaker.Send("lease.refresh", obj{"lease_id": granted["lease_id"], "additional_seconds": 1})
	require.Equal(t, "FAILED_PRECONDITION", w.speaker.Expect("nack").Payload()["code"])
}

// What is meant for no request that is open is refused, and other principals are.
func TestLE5AnswersThatAreRefused(t *testing.T) {
	w, job, request := asking(t, wanted)
	bob := wstest.Dial(t, w.second.url)
	bob.Open(bobToken)
	for _, c := range []struct {
		peer    *wstest.Peer
		typ     string
		payload obj
		extra   []any
		code    string
	}{
		{w.speaker, "permission.grant", granting(60), nil, "FAILED_PRECONDITION"},
		{w.speaker, "permission.grant", granting(60), []any{"correlation_id", "msg_01K8Q2W0A00000000000M00001"}, "NOT_FOUND"},
		{w.speaker, "permission.grant", granting(60), []any{"job_id", job, "correlation_id", "msg_01K8Q2W0A00000000000M00001"}, "NOT_FOUND"},
		{w.speaker, "permission.grant", granting(60), []any{"job_id", "job_none"}, "NOT_FOUND"},
		{w.speaker, "permission.grant", granting(2592001), []any{"job_id", job}, "INVALID_ARGUMENT"},
		{w.speaker, "permission.deny", obj{"permission": "fs.read", "reason": "no"}, []any{"job_id", job}, "FAILED_PRECONDITION"},
		{w.speaker, "permission.deny", obj{"permission": "fs.read", "reason": "no"}, []any{"correlation_id", request}, "INVALID_ARGUMENT"},
		{w.speaker, "permission.deny", obj{"permission": "fs.write"}, []any{"job_id", job}, "INVALID_ARGUMENT"},
		{w.speaker, "lease.refresh", obj{"lease_id": "lease_none", "additional_seconds": 1}, []any{"job_id", job}, "NOT_FOUND"},
		{bob, "permission.grant", granting(60), []any{"job_id", job}, "PERMISSION_DENIED"},
		{bob, "permission.grant", granting(60), []any{"correlation_id", request}, "NOT_FOUND"},
	} {
		id := c.peer.Send(c.typ, c.payload, c.extra...)
		m := c.peer.Expect("nack")
		require.Equal(t, id, m["correlation_id"])
		require.Equal(t, c.code, m.Payload()["code"], "%v %v", c.payload, c.extra)
	}
	w.speaker.Send("permission.grant", granting(60), "job_id", job)
	w.speaker.Expect("lease.granted")
	w.speaker.Expect("job.completed")
}

func TestLE3ARunningJobEndsWithItsLease(t *testing.T) {
	_, e := newStack(t)
	e.knows(t, "sleep")
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	ends := time.Now().Add(3 * time.Second)
	for _, spelling := range []string{"expires_at", "lease.expires_at"} {
		p.Send("tool.invoke", obj{
			"tool": "sleep", "arguments": obj{"ms": 600_000}, "lease_request": obj{spelling: ends.UTC().Format(time.RFC3339Nano)},
		})
	}
	for range 2 {
		failed := last(p.Until("job.failed"))
		require.Equal(t, "LEASE_EXPIRED", failed.Payload()["code"])
		require.Equal(t, false, failed.Payload()["retryable"])
		require.False(t, time.Now().Before(ends))
	}
}
