package demo

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/internal/wordcount"
	"github.com/arcp-nats/arcp/worker/program"
)

// The demonstration as a whole is run by the scripts of the program.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestQuoteSurvivesTheWorker(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[ -~äß]{1,20}`).Draw(t, "word")
		words, err := program.Split(quote(word) + " __wordcount")
		require.NoError(t, err)
		require.Equal(t, []string{word, "__wordcount"}, words)
	})
}

func TestPace(t *testing.T) {
	require.Equal(t, 1000, pace(1))
	require.Equal(t, 40, pace(100))
	require.Equal(t, 2, pace(1_000_000))
}

func TestConclude(t *testing.T) {
	total := wordcount.Total{Files: 2}
	for want, stats := range map[string]client.Stats{
		"":                       {Events: 7, LastEventSeq: 7, Resumes: 1},
		"1 gaps":                 {Events: 7, LastEventSeq: 7, Resumes: 1, Gaps: 1},
		"2 repeats":              {Events: 7, LastEventSeq: 7, Resumes: 1, Repeats: 2},
		"up to number 8":         {Events: 7, LastEventSeq: 8, Resumes: 1},
		"before the session had": {Events: 7, LastEventSeq: 7},
	} {
		var plain, json bytes.Buffer
		err := conclude(newShow(Options{Stdout: &plain}, 2), stats, total)
		if want == "" {
			require.NoError(t, err)
			require.Contains(t, plain.String(), "7 events, numbered 1..7 without a gap or a repeat, over 2 connections\n")
		} else {
			require.ErrorContains(t, err, want)
		}
		require.Equal(t, want == "", conclude(newShow(Options{Stdout: &json, JSON: true}, 2), stats, total) == nil)
		require.Contains(t, json.String(), `{"summary":{"events":7,`)
	}
}

// On a terminal lines go above the bar.
func TestBar(t *testing.T) {
	var out bytes.Buffer
	show := newShow(Options{Stdout: &out, Terminal: true}, 2)
	show.say("hello")
	show.close()
	require.Contains(t, out.String(), "-- hello\n")
}

func TestNothingToCount(t *testing.T) {
	require.ErrorContains(t, Run(t.Context(), Options{Folder: t.TempDir()}), "there is no Go file below")
	require.ErrorContains(t, Run(t.Context(), Options{Folder: "/no/such/folder"}), "no such file")
}
