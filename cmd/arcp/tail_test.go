package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/cli"
)

// testTail runs against the runtime that the environment names.
func testTail(t *testing.T) {
	t.Setenv("ARCP_TOKEN", "tok-a")
	exit, out, errs := arcp("", "--json", "invoke", "echo", "1")
	require.Equal(t, cli.ExitOK, exit, errs)
	var reference, job string
	for _, line := range lines(out) {
		var e struct {
			ID, Type string
			Job      string `json:"job_id"`
		}
		require.NoError(t, json.Unmarshal([]byte(line), &e))
		if e.Type == "job.accepted" {
			reference, job = e.ID, e.Job
		}
	}
	exit, _, errs = arcp("", "invoke", "log@1", `{"lines":3}`)
	require.Equal(t, cli.ExitOK, exit, errs)

	exit, out, errs = arcp("", "tail", "--since", reference, "--no-follow", "--types", "job.started,log")
	require.Equal(t, cli.ExitOK, exit, errs)
	told := lines(out)
	require.Len(t, told, 5)
	require.Regexp(t, `^msg_[0-9A-Z]{26}  [0-9A-Z]{6}  \d\d:\d\d:\d\d\.\d{3}  [0-9A-Z]{6}  job\.started  `, told[0])
	require.Contains(t, told[2], "  log  ")
	exit, again, errs := arcp("", "subscribe", "--since", strings.Fields(told[2])[0], "--no-follow", "--types", "log")
	require.Equal(t, cli.ExitOK, exit, errs)
	require.Equal(t, told[3:], lines(again))

	exit, out, errs = arcp("", "--json", "tail", "--since", reference, "--no-follow", "--job", job)
	require.Equal(t, cli.ExitOK, exit, errs)
	var types []string
	for _, line := range lines(out) {
		e, err := envelope.Decode([]byte(line), envelope.Limits{})
		require.NoError(t, err, line)
		types = append(types, string(e.Type))
	}
	require.Equal(t, []string{
		"session.accepted", "subscribe.accepted", "subscribe.event", "subscribe.event", "subscribe.event",
	}, types)

	done := make(chan string)
	go func() {
		_, out, errs := arcp("", "tail", "--types", "job.completed", "--min-priority", "normal", "--limit", "1")
		done <- out + errs
	}()
	for shown := ""; shown == ""; {
		exit, _, errs = arcp("", "invoke", "echo", "7")
		require.Equal(t, cli.ExitOK, exit, errs)
		select {
		case shown = <-done:
			require.Contains(t, shown, `job.completed  {"value":7}`)
		default: // it may have begun later
		}
	}

	exit, _, errs = arcp("", "tail", "--since", "msg_01K8Q2W0A00000000000M00001")
	require.Equal(t, cli.ExitFailed, exit)
	require.Contains(t, errs, "DATA_LOSS")
	exit, _, errs = arcp("", "tail", "--session", "sess_01K8Q2W0A00000000000S00001")
	require.Equal(t, cli.ExitFailed, exit)
	require.Contains(t, errs, "PERMISSION_DENIED")
}
