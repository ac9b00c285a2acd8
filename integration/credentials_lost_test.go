package integration_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/credential"
	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/wstest"
	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// onlyGrant is the one entry of the ledger.
func (c *cluster) onlyGrant() (entry map[string]any) {
	c.t.Helper()
	entries := c.grants()
	require.Len(c.t, entries, 1)
	require.NoError(c.t, json.Unmarshal([]byte(entries[0]), &entry))
	return entry
}

// putGrant writes an entry of the ledger.
func putGrant(t testing.TB, ledger natsjs.KeyValue, id string, entry map[string]any) {
	t.Helper()
	data, err := json.Marshal(entry)
	require.NoError(t, err)
	_, err = ledger.Put(t.Context(), subjects.Key("grant", id), data)
	require.NoError(t, err)
}

func (c *cluster) ledger() natsjs.KeyValue {
	c.t.Helper()
	ledger, err := c.jetStream().KeyValue(c.t.Context(), "arcp_credentials")
	require.NoError(c.t, err)
	return ledger
}

func (c *cluster) noGrants() {
	c.t.Helper()
	require.Eventually(c.t, func() bool { return len(c.grants()) == 0 }, wstest.Wait, 5*time.Millisecond)
}

// TestCR3EdgesThatDiedForOneJobLeaveNothing: two edges asked for the same job, under its key, and died before they wrote down
// what came. Neither entry waits for the other, and the job's own credential is good until the job has ended, and no longer.
func TestCR3EdgesThatDiedForOneJobLeaveNothing(t *testing.T) {
	c, i, e := newCredentialStack(t)
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	invokeLeased(p, "sleep", map[string]any{"ms": 60_000})
	job := p.Until("job.started")[0].Str("job_id")
	entry := c.onlyGrant()
	entry["state"], entry["at"] = "asking", time.Now().Add(-time.Hour)
	delete(entry, "ids")
	delete(entry, "sealed")
	ledger := c.ledger()
	putGrant(t, ledger, "ASKED1", entry)
	putGrant(t, ledger, "ASKED2", entry)
	require.Eventually(t, func() bool { return len(c.grants()) == 1 }, wstest.Wait, 5*time.Millisecond)
	require.Len(t, i.outstanding(), 1, "the job runs")
	p.Send("cancel", map[string]any{"target": "job", "target_id": job})
	p.Until("job.cancelled")
	i.allRevoked(t)
	c.noGrants()
}

// TestCR4AWorkerThatSpeaksAfterTheEnd: the job ended while there was no edge, and the last word on it is not its end. An edge
// that comes reads the whole story.
func TestCR4AWorkerThatSpeaksAfterTheEnd(t *testing.T) {
	c, i, e := newCredentialStack(t)
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	invokeLeased(p, "sleep", map[string]any{"ms": 60_000})
	p.Until("job.started")
	invocation, err := subjects.Parse(c.onlyGrant()["invocation"].(string))
	require.NoError(t, err)
	p.Drop()
	e.drain()
	<-e.done
	client := c.client()
	say := func(attempt int, typ envelope.Type, payload any) {
		said, err := envelope.New(typ, payload)
		require.NoError(t, err)
		said.SessionID, said.JobID = envelope.SessionID(invocation.Session), envelope.JobID(invocation.Job)
		rec, err := record.New(subjects.JobEvents(invocation), said)
		require.NoError(t, err)
		rec.Attempt, rec.Sender = attempt, "worker-1"
		_, err = client.PublishWait(t.Context(), rec)
		require.NoError(t, err)
	}
	say(0, envelope.TypeJobCancelled, &envelope.JobCancelled{Reason: "the runtime's own word"})
	say(1, envelope.TypeLog, &envelope.Log{Level: envelope.LogInfo, Message: "still here"})
	require.Len(t, i.outstanding(), 1)
	c.edge("edge-2", nil)
	i.allRevoked(t)
	c.noGrants()
}

// TestCR4AClockThatWasAheadHoldsNothingUp: an edge wrote when to try again, and died. Its clock was a day ahead.
func TestCR4AClockThatWasAheadHoldsNothingUp(t *testing.T) {
	c, i, e := newCredentialStack(t)
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	invokeLeased(p, "sleep", map[string]any{"ms": 60_000})
	p.Until("job.started")
	entry := c.onlyGrant()
	tomorrow := time.Now().Add(24 * time.Hour)
	entry["state"], entry["at"], entry["next"], entry["until"], entry["holder"] = "revoking", tomorrow, tomorrow, tomorrow, "edge-0"
	entry["ids"] = []string{"cred-left"}
	delete(entry, "sealed")
	i.with(func() { i.issued["cred-left"] = "sk-secret-left" })
	putGrant(t, c.ledger(), "AHEAD", entry)
	require.Eventually(t, func() bool { return len(i.outstanding()) == 1 }, wstest.Wait, 5*time.Millisecond)
}

// talkative is an issuer that fails with more than a client may know.
type talkative struct{ err error }

func (p talkative) Issue(context.Context, credential.Request) ([]envelope.Credential, error) {
	return nil, p.err
}

func (talkative) Revoke(context.Context, string) error { return nil }

// TestCR6AnIssuersOwnErrorIsForNobody: only what it has worded for clients, with a code, is passed on.
func TestCR6AnIssuersOwnErrorIsForNobody(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code string
	}{
		{errors.New("Post https://sk-secret@gateway.test: EOF"), "INTERNAL"},
		{context.DeadlineExceeded, "UNAVAILABLE"},
		{envelope.Errorf(envelope.CodePermissionDenied, "not for you"), "PERMISSION_DENIED"},
	} {
		t.Run(tt.code, func(t *testing.T) {
			c, _ := newCredentialCluster(t)
			made := c.credentials
			c.credentials = func(client *jetstream.Client) *edge.Credentials {
				credentials := made(client)
				credentials.Provisioner = talkative{tt.err}
				return credentials
			}
			c.worker("worker-1", nil)
			e := c.edge("edge-1", nil)
			e.knows(t, "echo")
			p := wstest.Dial(t, e.url)
			p.Open(aliceToken)
			invokeLeased(p, "echo", 1)
			failed := p.Expect("job.failed")
			require.Equal(t, tt.code, failed.Payload()["code"])
			require.NotContains(t, string(p.Raw[len(p.Raw)-1]), "sk-secret")
			require.NotContains(t, c.logs.String(), "sk-secret")
		})
	}
}
