package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/internal/bench"
	"github.com/arcp-nats/arcp/internal/children"
	"github.com/arcp-nats/arcp/internal/cli"
	"github.com/arcp-nats/arcp/internal/offered"
)

// dev starts a whole runtime in one process and returns its address. The demo tools are known when it returns.
func dev(t *testing.T) (url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	tokens := filepath.Join(dir, "tokens")
	require.NoError(t, os.WriteFile(tokens, []byte("tok-a alice\n"), 0o600))
	edge, err := children.Start(ctx, children.Spec{Name: "edge", File: os.Args[0], Args: []string{
		"__edge", "--dev", "--listen", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0",
		"--data", filepath.Join(dir, "data"), "--token-file", tokens,
	}})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		require.NoError(t, edge.Stop(ctx))
	})
	url = edge.Ready("edge")
	require.NoError(t, offered.Wait(ctx, client.Config{URLs: []string{url}, Token: "tok-a"}, "echo", time.Minute))
	return url
}

// arcp runs the program in this process.
func arcp(stdin string, args ...string) (exit int, stdout, stderr string) {
	var out, errs bytes.Buffer
	exit = run(args, streams{strings.NewReader(stdin), &out, &errs})
	return exit, out.String(), errs.String()
}

// slowOutput is a buffer that waits before it takes the second line.
type slowOutput struct {
	bytes.Buffer
	lines int
	wait  func()
}

func (o *slowOutput) Write(p []byte) (int, error) {
	if o.lines++; o.lines == 2 {
		o.wait()
	}
	return o.Buffer.Write(p)
}

func lines(text string) []string { return strings.Split(strings.TrimSuffix(text, "\n"), "\n") }

func TestAgainstARuntime(t *testing.T) {
	url := dev(t)
	t.Setenv("ARCP_URL", "ws://127.0.0.1:1/arcp,"+url) // the first one is down

	t.Run("detach and cancel", func(t *testing.T) {
		t.Setenv("ARCP_TOKEN", "tok-a")
		exit, out, errs := arcp("", "invoke", "sleep", `{"ms":60000}`, "--detach")
		require.Equal(t, cli.ExitOK, exit, errs)
		job := strings.TrimSpace(out)
		exit, _, errs = arcp("", "cancel", job)
		require.Equal(t, cli.ExitOK, exit, errs)
		require.Eventually(t, func() bool { // the job ends a little later
			exit, _, errs = arcp("", "cancel", job)
			return exit == cli.ExitFailed && strings.Contains(errs, "no longer in-flight")
		}, 20*time.Second, 10*time.Millisecond)
		exit, _, errs = arcp("", "cancel", "job_01K8Q2W0A00000000000J00001")
		require.Equal(t, cli.ExitFailed, exit)
		require.Contains(t, errs, "no such in-flight job")
	})

	t.Run("later", func(t *testing.T) {
		began := time.Now()
		exit, out, errs := arcp("", "invoke", "echo", "1", "--after", "300ms")
		require.Equal(t, cli.ExitOK, exit, errs)
		require.Equal(t, "1", lines(out)[len(lines(out))-1])
		exit, _, errs = arcp("", "invoke", "echo", "1", "--at", began.Add(time.Second).Format(time.RFC3339Nano))
		require.Equal(t, cli.ExitOK, exit, errs)
		require.GreaterOrEqual(t, time.Since(began), time.Second)
		for _, wrong := range [][]string{{"--after", "-1s"}, {"--at", "soon"}, {"--after", "1s", "--at", "2026-07-01T09:00:00Z"}} {
			exit, _, _ = arcp("", append([]string{"invoke", "echo", "1"}, wrong...)...)
			require.Equal(t, cli.ExitUsage, exit, wrong)
		}
	})

	t.Run("events and result", func(t *testing.T) {
		exit, out, errs := arcp("", "invoke", "count", `{"to":3,"every_ms":1}`)
		require.Equal(t, cli.ExitOK, exit, errs)
		said := lines(out)
		require.Contains(t, said[0], "job.accepted  job_")
		require.Contains(t, said[2], "job.progress  1/3 steps")
		require.Equal(t, `{"counted":3}`, said[len(said)-1])
	})
	t.Run("arguments from standard input, a token, an idempotency key", func(t *testing.T) {
		t.Setenv("ARCP_TOKEN", "tok-a")
		exit, out, errs := arcp(" {\"a\" : [1]}\n", "invoke", "echo@1", "-", "--idempotency-key", "k")
		require.Equal(t, cli.ExitOK, exit, errs)
		require.Equal(t, `{"a":[1]}`, lines(out)[len(lines(out))-1])
	})
	t.Run("a streamed result", func(t *testing.T) {
		exit, out, errs := arcp("", "--token", "tok-a", "invoke", "chunks", `{"parts":["one\n","two\n"],"encoding":"base64"}`)
		require.Zero(t, exit, errs)
		require.Contains(t, out, "chunk 1, 8 characters in base64, the last one")
		require.True(t, strings.HasSuffix(out, "\none\ntwo\n"), out)
		exit, out, errs = arcp("", "invoke", "chunks", `{"parts":[""]}`)
		require.Zero(t, exit, errs)
		require.Contains(t, lines(out)[len(lines(out))-1], "job.completed", "nothing follows, since it is empty")
	})
	t.Run("a streamed result and a slow reader", func(t *testing.T) {
		t.Setenv("ARCP_TOKEN", "tok-a")
		const count, size = 300, 40_000 // more than a client keeps of a job that is not read
		out := &slowOutput{wait: func() {
			require.Eventually(t, func() bool {
				_, jobs, _ := arcp("", "jobs", "--status", "completed", "--agent", "chunks@1")
				return strings.Contains(jobs, "chunks@1")
			}, 30*time.Second, 10*time.Millisecond)
		}}
		var errs bytes.Buffer
		exit := run([]string{"invoke", "chunks@1", fmt.Sprintf(`{"count":%d,"bytes":%d}`, count, size)},
			streams{strings.NewReader(""), out, &errs})
		require.Zero(t, exit, errs.String())
		_, result, found := strings.Cut(out.String(), "\n0123456789abcdef0")
		require.True(t, found)
		require.Len(t, "0123456789abcdef0"+result, count*size)
	})
	t.Run("permissions", func(t *testing.T) {
		const asks = `{"permission":"fs.write","resource":"/tmp/x","operation":"write"}`
		exit, out, errs := arcp("", "--token", "tok-a", "invoke", "ask", asks, "--answer", "grant")
		require.Zero(t, exit, errs)
		require.Contains(t, out, "permission.request  fs.write: write /tmp/x")
		require.Equal(t, `{"granted":true}`, lines(out)[len(lines(out))-1])
		_, out, _ = arcp("", "--token", "tok-a", "invoke", "ask", asks, "--answer", "deny")
		require.Equal(t, `{"granted":false,"reason":"denied by --answer"}`, lines(out)[len(lines(out))-1])
	})
	t.Run("watch", func(t *testing.T) {
		exit, out, errs := arcp("", "--token", "tok-a", "invoke", "count", `{"to":3,"every_ms":200}`, "--detach")
		require.Zero(t, exit, errs)
		job := strings.TrimSpace(out)
		exit, out, errs = arcp("", "--token", "tok-a", "watch", job)
		require.Zero(t, exit, errs)
		require.Contains(t, lines(out)[0], "job.accepted")
		require.Contains(t, out, "job.progress  3/3 steps")
		require.Equal(t, `{"counted":3}`, lines(out)[len(lines(out))-1])
		exit, out, _ = arcp("", "--token", "tok-a", "watch", job, "--new")
		require.Zero(t, exit)
		require.Equal(t, "completed\n", out)
		_, out, _ = arcp("", "--token", "tok-a", "--json", "invoke", "fail", `{"code":"ABORTED","message":"as told"}`)
		var accepted struct {
			JobID string `json:"job_id"`
		}
		for _, line := range lines(out) {
			if strings.Contains(line, "job.accepted") {
				require.NoError(t, json.Unmarshal([]byte(line), &accepted))
			}
		}
		exit, out, _ = arcp("", "--token", "tok-a", "watch", accepted.JobID, "--new")
		require.Equal(t, cli.ExitFailed, exit)
		require.Equal(t, "failed\n", out)
		exit, _, errs = arcp("", "--token", "tok-a", "watch", accepted.JobID)
		require.Equal(t, cli.ExitFailed, exit)
		require.Contains(t, errs, "ABORTED")
		exit, out, _ = arcp("", "--token", "tok-a", "--json", "watch", job)
		require.Zero(t, exit)
		require.Contains(t, out, `"type":"job.subscribed"`)
		exit, _, errs = arcp("", "watch", job) // anonymous
		require.Equal(t, cli.ExitFailed, exit)
		require.Contains(t, errs, "PERMISSION_DENIED")
		exit, _, _ = arcp("", "watch", "nonsense")
		require.Equal(t, cli.ExitUsage, exit)
	})
	t.Run("put and get", func(t *testing.T) {
		dir := t.TempDir()
		file := filepath.Join(dir, "notes.txt")
		require.NoError(t, os.WriteFile(file, []byte("some notes"), 0o600))
		exit, out, errs := arcp("", "--token", "tok-a", "put", file)
		require.Zero(t, exit, errs)
		id := strings.TrimSpace(out)
		exit, out, errs = arcp("", "--token", "tok-a", "get", "arcp://artifact/"+id)
		require.Zero(t, exit, errs)
		require.Equal(t, "some notes", out)
		exit, _, errs = arcp("", "--token", "tok-a", "get", id, "-o", filepath.Join(dir, "copy"))
		require.Zero(t, exit, errs)
		content, err := os.ReadFile(filepath.Join(dir, "copy"))
		require.NoError(t, err)
		require.Equal(t, "some notes", string(content))
		exit, _, errs = arcp("", "get", id, "-o", filepath.Join(dir, "none")) // anonymous
		require.Equal(t, cli.ExitFailed, exit)
		require.Contains(t, errs, "NOT_FOUND")
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, left, 2)

		// What a job makes, larger than an envelope.
		exit, out, errs = arcp("", "--token", "tok-a", "invoke", "artifact", `{"bytes":5000000}`)
		require.Zero(t, exit, errs)
		var result struct {
			Ref struct {
				ID string `json:"artifact_id"`
			} `json:"result_ref"`
		}
		require.NoError(t, json.Unmarshal([]byte(lines(out)[len(lines(out))-1]), &result))
		exit, out, errs = arcp("", "--token", "tok-a", "get", result.Ref.ID)
		require.Zero(t, exit, errs)
		require.Len(t, out, 5_000_000)
		exit, out, _ = arcp("stdin", "--token", "tok-a", "--json", "put", "-", "--keep", "1m", "--media-type", "text/x")
		require.Zero(t, exit)
		require.Contains(t, out, `"media_type":"text/x"`)
		for _, args := range [][]string{{"get", "nonsense"}, {"put", file, "--keep", "-1s"}} {
			exit, _, _ = arcp("", args...)
			require.Equal(t, cli.ExitUsage, exit)
		}
	})
	t.Run("a bad token", func(t *testing.T) {
		exit, _, errs := arcp("", "--token", "tok-b", "invoke", "echo")
		require.Equal(t, cli.ExitFailed, exit)
		require.Contains(t, errs, "UNAUTHENTICATED")
		require.NotContains(t, errs, "tok-b")
	})
	t.Run("failure", func(t *testing.T) {
		exit, out, errs := arcp("", "invoke", "fail", `{"code":"ABORTED","message":"as told"}`)
		require.Equal(t, cli.ExitFailed, exit)
		require.Contains(t, out, "job.failed  ABORTED: as told")
		require.Equal(t, "arcp: ABORTED: as told\n", errs)
	})
	t.Run("unknown tool", func(t *testing.T) {
		exit, out, errs := arcp("", "invoke", "no-such-tool")
		require.Equal(t, cli.ExitFailed, exit)
		require.Contains(t, out, "job.accepted")
		require.Contains(t, errs, "NOT_FOUND")
	})
	t.Run("json", func(t *testing.T) {
		exit, out, errs := arcp("", "--json", "invoke", "echo", `"x"`)
		require.Equal(t, cli.ExitOK, exit, errs)
		var types []string
		for _, line := range lines(out) {
			var e struct{ Type string }
			require.NoError(t, json.Unmarshal([]byte(line), &e), line)
			types = append(types, e.Type)
		}
		require.Equal(t, []string{"session.accepted", "job.accepted", "job.started", "job.completed"}, types)
	})
	t.Run("detach", func(t *testing.T) {
		exit, out, errs := arcp("", "invoke", "sleep", `{"ms":10}`, "--detach")
		require.Equal(t, cli.ExitOK, exit, errs)
		require.Regexp(t, `^job_[0-9A-Z]{26}\n$`, out)
	})
	t.Run("jobs", func(t *testing.T) { testJobs(t) })

	t.Run("tail", func(t *testing.T) { testTail(t) })
	t.Run("bench", func(t *testing.T) {
		exit, out, errs := arcp("", "--json", "bench", "--jobs", "50", "--samples", "10", "--concurrency", "4,16", "--sessions", "2")
		require.Equal(t, cli.ExitOK, exit, errs)
		var report bench.Report
		require.NoError(t, json.Unmarshal([]byte(out), &report))
		require.Len(t, report.Levels, 2)
		require.Equal(t, 16, report.Levels[1].InFlight)
		require.Positive(t, report.Levels[1].PerSecond)
		require.Positive(t, report.Latency.Ratio)
		require.LessOrEqual(t, report.Latency.Job.P50, report.Latency.Job.P99)

		exit, out, errs = arcp("", "bench", "--jobs", "5", "--samples", "5", "--concurrency", "2")
		require.Equal(t, cli.ExitOK, exit, errs)
		require.Regexp(t, `(?m)^ +2 +5 `, out)

		exit, _, errs = arcp("", "bench", "--jobs", "5", "--samples", "5", "--tool", "fail")
		require.Equal(t, cli.ExitFailed, exit)
		require.Contains(t, errs, "bench: fail: ")
	})
}

func TestBenchOfItsOwn(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	exit, out, errs := arcp("", "bench", "--dev", "--jobs", "20", "--samples", "5", "--concurrency", "4")
	require.Equal(t, cli.ExitOK, exit, errs)
	require.Contains(t, out, "jobs/s")
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	require.Empty(t, left)
}
