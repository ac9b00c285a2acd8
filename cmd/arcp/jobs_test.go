package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/cli"
)

// testJobs runs against the runtime that the environment names; jobs of alice may be there already.
func testJobs(t *testing.T) {
	t.Setenv("ARCP_TOKEN", "tok-a")
	begun := time.Now().UTC().Format(time.RFC3339Nano)
	since := func(args ...string) (rows []string) {
		t.Helper()
		exit, out, errs := arcp("", append([]string{"jobs", "--since", begun}, args...)...)
		require.Equal(t, cli.ExitOK, exit, errs)
		rows = lines(out)
		require.Regexp(t, `^JOB +STATUS +CREATED +AGENT$`, rows[0])
		return rows[1:]
	}
	require.Empty(t, since())
	for range 2 {
		exit, _, errs := arcp("", "invoke", "echo")
		require.Equal(t, cli.ExitOK, exit, errs)
	}
	exit, _, _ := arcp("", "invoke", "fail@1", `{"code":"ABORTED","message":"as told"}`)
	require.Equal(t, cli.ExitFailed, exit)

	rows := since()
	require.Len(t, rows, 3)
	require.Regexp(t, `^job_[0-9A-Z]{26}  completed  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  echo$`, rows[0])
	require.Regexp(t, `  failed +\d.*  fail@1$`, rows[2])
	require.Equal(t, rows[2:], since("--status", "failed", "--status", "cancelled"))
	require.Equal(t, rows[:2], since("--agent", "echo"))
	require.Equal(t, rows[:1], since("--limit", "1"))
	require.Empty(t, since("--until", "1h"))

	exit, out, errs := arcp("", "--json", "jobs", "--since", begun, "--limit", "2")
	require.Equal(t, cli.ExitOK, exit, errs)
	var listed []envelope.JobListEntry
	for _, line := range lines(out) {
		e, err := envelope.Decode([]byte(line), envelope.Limits{})
		require.NoError(t, err, line)
		if e.Type == envelope.TypeSessionJobs {
			page, err := envelope.DecodePayload[envelope.SessionJobs](e)
			require.NoError(t, err)
			listed = append(listed, page.Jobs...)
		}
	}
	require.Len(t, listed, 2)

	t.Setenv("ARCP_TOKEN", "")
	require.Empty(t, since(), "an anonymous session has no jobs but its own")
}

func TestJobsFilter(t *testing.T) {
	now := time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC)
	f, err := (&jobsCommand{Status: []string{"queued"}, Since: "90m", Until: "2026-07-01T10:00:00+02:00"}).filter(now)
	require.NoError(t, err)
	data, err := json.Marshal(f)
	require.NoError(t, err)
	require.JSONEq(t, `{"status":["queued"],"created_after":"2026-07-01T07:30:00Z","created_before":"2026-07-01T08:00:00Z"}`, string(data))
	_, err = (&jobsCommand{Until: "yesterday"}).filter(now)
	require.ErrorContains(t, err, `--until "yesterday"`)
}
