package record

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/subjects"
)

func TestDeadlinesAreReadAsTheyWereWritten(t *testing.T) {
	d := Deadline{
		Invocation: subjects.Subject{
			Lane: subjects.Invoke, Queue: "q", Tool: "echo@1", Feed: "edge-1", Principal: "alice", Session: "sess_1", Job: "job_1",
		},
		At: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
	}
	data, err := d.Encode()
	require.NoError(t, err)
	again, err := ParseDeadline(data)
	require.NoError(t, err)
	require.Equal(t, d.Invocation.String(), again.Invocation.String())
	require.Equal(t, d.At, again.At)
	require.Equal(t, "job_1", again.Key())
}

func FuzzParseDeadline(f *testing.F) {
	f.Add([]byte(`{"invocation":"arcp.0.tool.invoke.q.echo@1.edge-1.alice.sess_1.job_1","at":"2026-01-02T03:04:05Z"}`))
	f.Add([]byte(`{"invocation":"arcp.0.event.edge-1.alice.sess_1.job_1","at":"2026-01-02T03:04:05Z"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := ParseDeadline(data)
		if err != nil {
			return
		}
		require.NotEmpty(t, d.Invocation.Job)
		again, err := d.Encode()
		if err != nil {
			return // a year that JSON cannot say
		}
		same, err := ParseDeadline(again)
		require.NoError(t, err)
		require.Equal(t, d.Invocation.String(), same.Invocation.String())
		require.True(t, d.At.Equal(same.At))
	})
}
