package dialect_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/edge/dialect"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/hello"
)

// talk is a connection of the hello dialect, told what the log says.
type talk struct {
	t     *testing.T
	codec dialect.Codec
}

func (k *talk) submit(id string) {
	k.t.Helper()
	_, err := k.codec.Decode(fmt.Appendf(nil, `{"arcp":"1.1","id":%q,"type":"job.submit","session_id":"sess_1","payload":{"agent":"a"}}`, id),
		envelope.DefaultLimits(), nil)
	require.NoError(k.t, err)
}

// of names the frames that are said, by type and what they answer or are about.
func (k *talk) of(texts ...[]byte) string {
	k.t.Helper()
	var names []string
	for _, text := range texts {
		require.NoError(k.t, hello.Check(text), "%s", text)
		var f struct {
			Type    string
			JobID   string `json:"job_id"`
			Payload struct {
				RequestID string `json:"request_id"`
			}
		}
		require.NoError(k.t, json.Unmarshal(text, &f))
		if f.Payload.RequestID == "" {
			f.Payload.RequestID = f.JobID
		}
		names = append(names, f.Type+" "+f.Payload.RequestID)
	}
	return strings.Join(names, ", ")
}

// accepted is what comes of a job.accepted in the log; parent is that of a child.
func (k *talk) accepted(request, job, parent string) string {
	k.t.Helper()
	payload, err := json.Marshal(&envelope.JobAccepted{JobID: envelope.JobID(job), Agent: "a", ParentJobID: envelope.JobID(parent)})
	require.NoError(k.t, err)
	return k.logged(&envelope.Envelope{Type: envelope.TypeJobAccepted, JobID: envelope.JobID(job), CorrelationID: envelope.MessageID(request), Payload: payload})
}

func (k *talk) logged(e *envelope.Envelope) string {
	k.t.Helper()
	e.ID, e.Timestamp, e.SessionID = envelope.NewMessageID(), envelope.Now(), "sess_1"
	line := stored(k.t, e)
	f := dialect.Frame{Type: e.Type, Line: line, Count: dialect.Hello.Count(e.Type, line, false)}
	if f.Count > 0 {
		f.Seq = 1
	}
	var texts [][]byte
	for _, text := range k.codec.Render(nil, f, 0) {
		texts = append(texts, text.Data)
	}
	return k.of(texts...)
}

// refused is what comes of a nack that is said out of band.
func (k *talk) refused(request string) string {
	k.t.Helper()
	e, err := envelope.New(envelope.TypeNack, &envelope.Nack{Code: envelope.CodeUnavailable, Message: "m"})
	require.NoError(k.t, err)
	e.CorrelationID, e.SessionID = envelope.MessageID(request), "sess_1"
	texts, err := k.codec.Answer(e)
	require.NoError(k.t, err)
	all := k.of(texts...)
	return strings.ReplaceAll(all, "job.error job_", "job.error ")
}

// TestHelloSubmitsAreAnsweredInTheirOrder: what refuses a submit out of band waits for the answers to those before it (rule 64).
func TestHelloSubmitsAreAnsweredInTheirOrder(t *testing.T) {
	k := &talk{t: t, codec: opened(t)}
	for _, id := range []string{"msg_1", "msg_2", "msg_3", "msg_4"} {
		k.submit(id)
	}
	require.Empty(t, k.refused("msg_3"))
	require.Empty(t, k.refused("msg_2"))
	said := k.accepted("msg_1", "job_1", "")
	require.Regexp(t, `^job.accepted msg_1, job.error \S+, session.error msg_2, job.error \S+, session.error msg_3$`, said)
	require.Regexp(t, `^job.error \S+, session.error msg_4$`, k.refused("msg_4"))
}

// TestHelloCancelsAreAnsweredOnce: the end of a job acknowledges each cancel that waits; what was refused because of that end is not
// said as well, and never so that it ends anything else (annex A, 12).
func TestHelloCancelsAreAnsweredOnce(t *testing.T) {
	k := &talk{t: t, codec: opened(t)}
	for _, id := range []string{"msg_1", "msg_2"} {
		_, err := k.codec.Decode(fmt.Appendf(nil, `{"arcp":"1.1","id":%q,"type":"job.cancel","session_id":"sess_1","job_id":"job_1","payload":{}}`, id), envelope.DefaultLimits(), nil)
		require.NoError(t, err)
	}
	refused := func() string {
		return k.logged(&envelope.Envelope{Type: envelope.TypeCancelRefused, CorrelationID: "msg_2", Payload: json.RawMessage(`{"target_id":"job_1","reason":"job is no longer in-flight"}`)})
	}
	require.Equal(t, "job.cancelled job_1, job.error job_1", k.logged(&envelope.Envelope{Type: envelope.TypeJobCancelled, JobID: "job_1", Payload: json.RawMessage(`{}`)}))
	require.Empty(t, refused())
}

// TestHelloRepeatsLeaveNothingToWaitFor: a message that has come before asks for nothing, whether the first one was answered or not.
func TestHelloRepeatsLeaveNothingToWaitFor(t *testing.T) {
	k := &talk{t: t, codec: opened(t)}
	k.submit("msg_1")
	k.submit("msg_1")
	k.codec.Repeated()
	require.Equal(t, "job.accepted msg_1", k.accepted("msg_1", "job_1", ""))
	k.submit("msg_1")
	k.codec.Repeated()
	k.submit("msg_2")
	require.Regexp(t, `^job.error \S+, session.error msg_2$`, k.refused("msg_2"))
}

// TestHelloChildrenAreToldOfWhenNoSubmitWaits: a client that waits for an answer would take the acceptance of a child for it (rule
// 102; annex A, 20).
func TestHelloChildrenAreToldOfWhenNoSubmitWaits(t *testing.T) {
	k := &talk{t: t, codec: opened(t)}
	require.Equal(t, "job.accepted job_2", k.accepted("msg_0", "job_2", "job_1"))
	k.submit("msg_1")
	require.Empty(t, k.accepted("msg_0", "job_3", "job_1"))
	require.Empty(t, k.accepted("msg_0", "job_4", "job_1"))
	require.Equal(t, "job.result job_3", k.logged(&envelope.Envelope{Type: envelope.TypeJobCompleted, JobID: "job_3", Payload: json.RawMessage(`{}`)}))
	require.Equal(t, "job.accepted msg_1, job.accepted job_4", k.accepted("msg_1", "job_5", ""))
}
