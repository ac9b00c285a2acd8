package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type flags struct {
	Name    string        `help:"Name of this process." default:"one"`
	AckWait time.Duration `help:"How long." default:"30s"`
	Exec    []string      `help:"Programs." sep:"none"`
}

func TestParse(t *testing.T) {
	t.Run("flags win over the environment, the environment over defaults", func(t *testing.T) {
		t.Setenv("ARCP_NAME", "from-env")
		t.Setenv("ARCP_ACK_WAIT", "5s")
		var f flags
		var out, errs bytes.Buffer
		exit, done := Parse("tool", "A tool.", &f, []string{"--name", "from-flag"}, &out, &errs)
		require.False(t, done, errs.String())
		require.Equal(t, ExitOK, exit)
		require.Equal(t, "from-flag", f.Name)
		require.Equal(t, 5*time.Second, f.AckWait)
	})
	t.Run("help goes to standard output and ends well", func(t *testing.T) {
		var f flags
		var out, errs bytes.Buffer
		exit, done := Parse("tool", "A tool that helps.", &f, []string{"--help"}, &out, &errs)
		require.True(t, done)
		require.Equal(t, ExitOK, exit)
		require.Contains(t, out.String(), "A tool that helps.")
		require.Contains(t, out.String(), "ARCP_ACK_WAIT")
		require.Empty(t, errs.String())
	})
	for _, args := range [][]string{{"--nope"}, {"--ack-wait", "soon"}, {"stray"}} {
		t.Run("mistake "+args[0], func(t *testing.T) {
			var f flags
			var out, errs bytes.Buffer
			exit, done := Parse("tool", "A tool.", &f, args, &out, &errs)
			require.True(t, done)
			require.Equal(t, ExitUsage, exit)
			require.Contains(t, errs.String(), "tool: ")
			require.Empty(t, out.String())
		})
	}
	t.Run("a target that is no pointer is refused", func(t *testing.T) {
		var out, errs bytes.Buffer
		exit, done := Parse("tool", "A tool.", flags{}, nil, &out, &errs)
		require.True(t, done)
		require.Equal(t, ExitFailed, exit)
	})
}

func TestLogger(t *testing.T) {
	var buf bytes.Buffer
	log, err := Logger(&buf, "json", "WARN")
	require.NoError(t, err)
	log.Info("unseen")
	log.Warn("seen", "n", 1)
	var line map[string]any
	require.NoError(t, json.Unmarshal(buf.Bytes(), &line))
	require.Equal(t, "seen", line["msg"])

	buf.Reset()
	log, err = Logger(&buf, "text", "")
	require.NoError(t, err)
	log.Info("hello")
	require.Contains(t, buf.String(), "msg=hello")

	_, err = Logger(&buf, "xml", "info")
	require.ErrorContains(t, err, "--log-format")
	_, err = Logger(&buf, "text", "loud")
	require.ErrorContains(t, err, "--log-level")
}

func TestReadyLeavesOutWhatDoesNotApply(t *testing.T) {
	var buf bytes.Buffer
	Ready(&buf, "worker", "worker-1", "tools", "echo@1,sleep@1", "admin", "")
	require.Equal(t, "ready worker=worker-1 tools=echo@1,sleep@1\n", buf.String())
}

func TestSignals(t *testing.T) {
	drain, stop, release := Signals(context.Background())
	defer release()

	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGTERM))
	<-drain.Done()
	var cause *SignalError
	require.ErrorAs(t, context.Cause(drain), &cause)
	require.Equal(t, syscall.SIGTERM, cause.Signal)
	require.NoError(t, stop.Err(), "the first signal only drains")

	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGINT))
	<-stop.Done()
	require.ErrorAs(t, context.Cause(stop), &cause)
	require.Equal(t, os.Interrupt, cause.Signal)
}

func TestSignalsFollowTheirParent(t *testing.T) {
	parent, cancel := context.WithCancel(context.Background())
	drain, stop, release := Signals(parent)
	cancel()
	<-drain.Done()
	<-stop.Done()
	release()
	release()
}
