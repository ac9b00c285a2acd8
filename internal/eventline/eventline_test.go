package eventline

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/arcp-nats/arcp/envelope"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func event(t *testing.T, typ envelope.Type, payload any) *envelope.Envelope {
	t.Helper()
	e, err := envelope.New(typ, payload)
	require.NoError(t, err)
	e.JobID = "job_01K8Q2W0A00000000000J00001"
	e.Timestamp = envelope.Time{Time: time.Date(2026, 7, 1, 9, 0, 0, 4e6, time.Local)}
	return e
}

func TestFormat(t *testing.T) {
	total := 4.0
	for want, e := range map[string]*envelope.Envelope{
		"job.accepted  job_01K8Q2W0A00000000000J00001": event(t, envelope.TypeJobAccepted, envelope.JobAccepted{JobID: "job_1"}),
		"job.started  go":             event(t, envelope.TypeJobStarted, envelope.JobStarted{Description: "go", Attempt: 1}),
		"job.started  go (attempt 2)": event(t, envelope.TypeJobStarted, envelope.JobStarted{Description: "go", Attempt: 2}),
		"job.progress  1/4 files  a.go": event(t, envelope.TypeJobProgress,
			envelope.JobProgress{Current: 1, Total: &total, Units: "files", Message: "a.go"}),
		"job.progress  0.5":          event(t, envelope.TypeJobProgress, envelope.JobProgress{Current: 0.5}),
		"log  warn: two lines":       event(t, envelope.TypeLog, envelope.Log{Level: envelope.LogWarn, Message: "two\nlines"}),
		"metric  cost.llm 0.3 USD":   event(t, envelope.TypeMetric, envelope.Metric{Name: "cost.llm", Value: 0.3, Unit: "USD"}),
		"job.failed  ABORTED: m":     event(t, envelope.TypeJobFailed, envelope.JobFailed{Code: envelope.CodeAborted, Message: "m"}),
		"job.cancelled  why":         event(t, envelope.TypeJobCancelled, envelope.JobCancelled{Reason: "why"}),
		"job.cancelled":              event(t, envelope.TypeJobCancelled, envelope.JobCancelled{}),
		`job.completed  {"value":1}`: event(t, envelope.TypeJobCompleted, envelope.JobCompleted{Value: []byte("1")}),
	} {
		require.Equal(t, "09:00:00.004  J00001  "+want, Format(e))
	}
}

// A terminal gets no control characters, and a line stays a line of bounded length.
func TestFormatIsSafeForATerminal(t *testing.T) {
	line := Format(event(t, envelope.TypeLog, envelope.Log{Level: envelope.LogInfo, Message: "\x1b[2J" + strings.Repeat("é", 500)}))
	require.NotContains(t, line, "\x1b")
	require.LessOrEqual(t, len([]rune(line)), maxText+40)
	require.True(t, strings.HasSuffix(line, "…"))
}

// What cannot be read is shown as it is.
func TestMalformedPayload(t *testing.T) {
	for _, typ := range []envelope.Type{
		envelope.TypeJobStarted, envelope.TypeJobProgress, envelope.TypeLog, envelope.TypeMetric,
		envelope.TypeJobFailed, envelope.TypeJobCancelled,
	} {
		e := event(t, typ, nil)
		e.Payload = []byte(`{"code":7,"message":7,"reason":7,"description":7,"name":7}`)
		require.Equal(t, string(e.Payload), Text(e))
	}
}

func TestFormatTold(t *testing.T) {
	e := event(t, envelope.TypeLog, envelope.Log{Level: envelope.LogInfo, Message: "m"})
	e.ID, e.SessionID = "msg_\x1b[2J", "sess_01K8Q2W0A00000000000S00001"
	require.Equal(t, "msg_ [2J  S00001  09:00:00.004  J00001  log  info: m", FormatTold(e))
}
