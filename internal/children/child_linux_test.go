package children

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// TestMain lets the test binary play the child.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "__child" {
		play(os.Args[2])
		return
	}
	goleak.VerifyTestMain(m)
}

func play(part string) {
	switch part {
	case "good":
		fmt.Printf("noise\nready child=%d secret=%q\n", os.Getpid(), os.Getenv("ARCP_TOKEN"))
		_, _ = fmt.Scanln()
		select {}
	case "stubborn":
		// A shell that ignores SIGTERM, with a child of its own in the same group.
		_ = syscall.Exec("/bin/sh", []string{"sh", "-c", "trap '' TERM; sleep 1000 & echo ready sleeper=$!; wait"}, os.Environ())
	case "failing":
		fmt.Fprintln(os.Stderr, "no such luck")
		os.Exit(3)
	case "parent":
		c, err := Start(context.Background(), Spec{Name: "grandchild", File: os.Args[0], Args: []string{"__child", "good"}})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Printf("ready grandchild=%d\n", c.PID())
		select {}
	}
}

func start(t *testing.T, part string) (*Child, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return Start(ctx, Spec{Name: part, File: os.Args[0], Args: []string{"__child", part}})
}

func TestReadyLineAndStop(t *testing.T) {
	t.Setenv("ARCP_TOKEN", "not for children")
	c, err := start(t, "good")
	require.NoError(t, err)
	require.Equal(t, strconv.Itoa(c.PID()), c.Ready("child"))
	require.Equal(t, `""`, c.Ready("secret"))
	require.ErrorContains(t, c.Stop(t.Context()), "good: signal: terminated")
	require.False(t, alive(c.PID()))
	c.Kill() // once more does no harm
}

func TestStopKillsTheWholeGroupOfTheStubborn(t *testing.T) {
	c, err := start(t, "stubborn")
	require.NoError(t, err)
	sleeper, err := strconv.Atoi(c.Ready("sleeper"))
	require.NoError(t, err)
	late, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("too late"))
	require.ErrorContains(t, c.Stop(late), "too late")
	require.Eventually(t, func() bool { return !alive(sleeper) }, 10*time.Second, time.Millisecond)
}

func TestFailureBeforeReady(t *testing.T) {
	_, err := start(t, "failing")
	require.ErrorContains(t, err, "exit status 3")
	require.ErrorContains(t, err, "no such luck")
	_, err = Start(t.Context(), Spec{Name: "none", File: "/no/such/file"})
	require.ErrorContains(t, err, "none: ")
}

func TestNotReadyInTime(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Start(ctx, Spec{Name: "late", File: "/bin/sh", Args: []string{"-c", "sleep 1000"}})
	require.ErrorContains(t, err, "late was not ready in time")
}

// A parent that is killed takes its children along.
func TestChildrenDieWithTheirParent(t *testing.T) {
	c, err := start(t, "parent")
	require.NoError(t, err)
	grandchild, err := strconv.Atoi(c.Ready("grandchild"))
	require.NoError(t, err)
	require.NotEqual(t, c.PID(), grandchild)
	require.True(t, alive(grandchild))
	require.NoError(t, syscall.Kill(c.PID(), syscall.SIGKILL))
	<-c.Gone()
	require.Eventually(t, func() bool { return !alive(grandchild) }, 10*time.Second, time.Millisecond)
}

func TestPauseAndContinue(t *testing.T) {
	c, err := start(t, "good")
	require.NoError(t, err)
	defer c.Kill()
	c.Pause()
	require.Eventually(t, func() bool { return state(c.PID()) == "T" }, 10*time.Second, time.Millisecond)
	c.Continue()
	require.Eventually(t, func() bool { return state(c.PID()) != "T" }, 10*time.Second, time.Millisecond)
}

// alive says whether a process runs; one that waits for its parent to notice its death does not.
func alive(pid int) bool {
	s := state(pid)
	return s != "" && s != "Z"
}

// state is the letter that the kernel has for what a process does, "" if there is no such process.
func state(pid int) string {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, after, _ := strings.Cut(string(status), ") ")
	letter, _, _ := strings.Cut(after, " ")
	return letter
}
