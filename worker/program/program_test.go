package program_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/workertest"
	"github.com/arcp-nats/arcp/worker/program"
)

// guardArg makes the test binary the guard of a test.
const guardArg = "__guard"

// hostArg makes the test binary a worker that runs a program until it is killed.
const hostArg = "__host"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == guardArg {
		program.RunGuard(os.Stdin)
		return
	}
	if len(os.Args) > 2 && os.Args[1] == hostArg {
		host(os.Args[2])
		return
	}
	goleak.VerifyTestMain(m)
}

// run runs a program as one job and returns what came of it.
func run(t *testing.T, ctx context.Context, command, arguments string) workertest.Outcome {
	t.Helper()
	spec, err := program.Parse("tool=" + command)
	require.NoError(t, err)
	return runSpec(t, ctx, program.Runner{Grace: 300 * time.Millisecond}, spec, arguments)
}

func runSpec(t *testing.T, ctx context.Context, r program.Runner, spec program.Spec, arguments string) workertest.Outcome {
	t.Helper()
	out, err := workertest.Run(ctx, r.Handler(spec), arguments)
	require.NoError(t, err)
	return out
}

func sh(script string) string {
	return "sh -c '" + strings.ReplaceAll(script, "'", `'"'"'`) + "'"
}

func TestArgumentsInResultOut(t *testing.T) {
	out := run(t, t.Context(), sh(`printf '{"result": %s}\n' "$(cat)"`), `{"a":[1,2]}`)
	require.NoError(t, out.Err)
	require.JSONEq(t, `{"a":[1,2]}`, out.Value)
}

func TestNoResultIsNull(t *testing.T) {
	out := run(t, t.Context(), "true", `{}`)
	require.NoError(t, out.Err)
	require.Equal(t, "null", out.Value)
}

func TestLastResultCounts(t *testing.T) {
	out := run(t, t.Context(), sh(`echo '{"result":1}'; echo '{"result":2}'`), `{}`)
	require.Equal(t, "2", out.Value)
}

func TestLinesBecomeEvents(t *testing.T) {
	out := run(t, t.Context(), sh(`
		echo plain
		echo '{"progress":{"current":1,"total":2,"units":"files"}}'
		echo '{"log":"said"}'
		echo '{"log":{"level":"error","message":"bad","attributes":{"n":1}}}'
		echo '{"log":{"level":"loud","message":"bad"}}'
		echo '{"progress":{"current":3,"total":2}}'
		echo '{"result":1,"log":"both"}'
		echo '{"other":1}'
		echo '{broken'
		echo
		printf 'no newline'`), `{}`)
	require.NoError(t, out.Err)
	require.Equal(t, []string{
		`log info plain`,
		`progress 1/2 files`,
		`log info said`,
		`log error bad {"n":1}`,
		`log warn refused: INVALID_ARGUMENT: log: no such level "loud"`,
		`log warn refused: INVALID_REQUEST: progress: current is beyond total`,
		`log info {"result":1,"log":"both"}`,
		`log info {"other":1}`,
		`log info {broken`,
		`log info `,
		`log info no newline`,
	}, out.Events)
}

// TestCallsAndCosts: what the lease allows and what it does not, and what it has cost.
func TestCallsAndCosts(t *testing.T) {
	spec, err := program.Parse("tool=" + sh(`
		echo '{"tool_call":{"tool":"search.web","args":{"q":"a"},"call_id":"c1"}}'
		echo '{"tool_result":{"call_id":"c1","result":{"hits":3}}}'
		echo '{"tool_call":{"tool":"mail","call_id":"c2"}}'
		echo '{"metric":{"name":"cost.search","value":1.5,"unit":"USD"}}'
		echo '{"metric":{"name":"cost.search","value":-1,"unit":"USD"}}'
		echo '{"tool_call":{"tool":"search.web","call_id":"c3"}}'
		echo '{"tool_result":{"call_id":"c3","error":{"code":"NOT_FOUND","message":"nothing"}}}'
		echo '{"thought":"so it is"}'
		echo '{"status":{"phase":"done","message":"m"}}'
		echo "{\"log\":$ARCP_LEASE}"`))
	require.NoError(t, err)
	var l envelope.Lease
	require.NoError(t, json.Unmarshal([]byte(`{"cost_budget":["USD:1"],"tool.call":["search.*"]}`), &l))
	out, err := workertest.RunLeased(t.Context(), program.Runner{}.Handler(spec), `{}`, &l)
	require.NoError(t, err)
	require.NoError(t, out.Err)
	require.Equal(t, []string{
		`event.emit {"name":"tool_call","data":{"args":{"q":"a"},"call_id":"c1","tool":"search.web"}}`,
		`tool.result {"value":{"hits":3}} of c1`,
		`tool.error {"code":"PERMISSION_DENIED","retryable":false,"message":"lease.tool.call: the lease does not allow \"mail\""} of c2`,
		`metric {"name":"cost.search","value":1.5,"unit":"USD"}`,
		`metric {"name":"cost.budget.remaining","value":-0.5,"unit":"USD"}`,
		`log warn refused: INVALID_ARGUMENT: metric cost.search: -1 is no cost`,
		`tool.error {"code":"BUDGET_EXHAUSTED","retryable":false,"message":"nothing is left of the budget in USD"} of c3`,
		`tool.error {"code":"NOT_FOUND","retryable":false,"message":"nothing"} of c3`,
		`stream.chunk {"sequence":0,"data":"so it is"}`,
		`event.emit {"name":"status","data":{"message":"m","phase":"done"}}`,
		`log info {"log":{"cost_budget":["USD:1"],"tool.call":["search.*"]}}`,
	}, out.Events)
}

func TestExitStatusDecides(t *testing.T) { // contract: codes by case
	out := run(t, t.Context(), sh(`echo '{"result":1}'; echo first >&2; echo last >&2; exit 7`), `{}`)
	require.Equal(t, envelope.CodeUnknown, envelope.CodeOf(out.Err))
	var e *envelope.Error
	require.ErrorAs(t, out.Err, &e)
	require.JSONEq(t, `{"exit_code":7,"stderr":"first\nlast"}`, string(e.Details))
	require.Equal(t, []string{"log warn first", "log warn last"}, out.Events)

	out = run(t, t.Context(), sh(`kill -KILL $$`), `{}`)
	require.ErrorAs(t, out.Err, &e)
	require.JSONEq(t, `{"exit_code":-1,"signal":"SIGKILL","stderr":""}`, string(e.Details))
}

func TestOnlyTheLastComplaintsAreKept(t *testing.T) {
	out := run(t, t.Context(), sh(`i=0; while [ $i -lt 100 ]; do echo "line $i" >&2; i=$((i+1)); done; exit 1`), `{}`)
	var e *envelope.Error
	require.ErrorAs(t, out.Err, &e)
	require.Contains(t, string(e.Details), "line 99")
	require.NotContains(t, string(e.Details), "line 79\\n")
	require.Len(t, out.Events, 100)
}

func TestLongLinesAreSplit(t *testing.T) {
	out := run(t, t.Context(), sh(`head -c 200000 /dev/zero | tr '\0' x; echo; echo after`), `{}`)
	require.NoError(t, out.Err)
	require.Len(t, out.Events, 5)
	total := 0
	for _, e := range out.Events[:4] {
		require.LessOrEqual(t, len(e), 64<<10+len("log info "))
		total += len(e) - len("log info ")
	}
	require.Equal(t, 200000, total)
	require.Equal(t, "log info after", out.Events[4])
}

func TestLargeResultIsOneLine(t *testing.T) {
	out := run(t, t.Context(), sh(`printf '{"result":"'; head -c 300000 /dev/zero | tr '\0' x; echo '"}'`), `{}`)
	require.NoError(t, out.Err)
	require.Len(t, out.Value, 300002)
	require.Empty(t, out.Events)
}

func TestEnvironment(t *testing.T) {
	t.Setenv("ARCP_NATS", "nats://secret@host")
	t.Setenv("OTHER", "kept")
	out := run(t, t.Context(), sh(`echo "$ARCP_JOB_ID|$ARCP_SESSION_ID|$ARCP_ATTEMPT|$ARCP_TRACE_ID|$ARCP_NATS|$OTHER"`), `{}`)
	require.Equal(t, []string{fmt.Sprintf("log info %s|%s|1|trace-1||kept", out.Job, out.Session)}, out.Events)
}

func TestProgramThatReadsNothing(t *testing.T) {
	out := run(t, t.Context(), "true", `"`+strings.Repeat("x", 500_000)+`"`)
	require.NoError(t, out.Err)
}

func TestProgramThatIsGone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tool")
	require.NoError(t, os.WriteFile(file, []byte("#!/bin/sh\n"), 0o700))
	spec, err := program.Parse("tool=" + file)
	require.NoError(t, err)
	require.NoError(t, os.Remove(file))
	out := runSpec(t, t.Context(), program.Runner{}, spec, `{}`)
	require.Equal(t, envelope.CodeUnavailable, envelope.CodeOf(out.Err))
}

// alive tells whether a process lives; a zombie does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := bytes.Cut(stat, []byte(") "))
	return len(after) > 0 && after[0] != 'Z' && after[0] != 'X'
}

func requireDead(t *testing.T, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		require.Eventually(t, func() bool { return !alive(pid) }, 10*time.Second, 5*time.Millisecond, "process %d lives", pid)
	}
}

// readPIDs waits until the file has n numbers.
func readPIDs(t *testing.T, file string, n int) (pids []int) {
	t.Helper()
	require.Eventually(t, func() bool {
		data, _ := os.ReadFile(file)
		pids = pids[:0]
		for _, word := range strings.Fields(string(data)) {
			pid, err := strconv.Atoi(word)
			if err != nil {
				return false
			}
			pids = append(pids, pid)
		}
		return len(pids) == n && bytes.HasSuffix(data, []byte("\n"))
	}, 10*time.Second, 5*time.Millisecond)
	return pids
}

func TestCancelKillsTheWholeGroup(t *testing.T) {
	for name, script := range map[string]string{
		"heeds SIGTERM":   `sleep 1000 & echo $$ $! > %s; wait`,
		"ignores SIGTERM": `trap "" TERM; (trap "" TERM; sleep 1000; sleep 1000) & echo $$ $! > %s; while :; do sleep 1000; done`,
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pids")
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			outcome := make(chan workertest.Outcome, 1)
			go func() { outcome <- run(t, ctx, sh(fmt.Sprintf(script, file)), `{}`) }()
			pids := readPIDs(t, file, 2)
			cause := fmt.Errorf("the client says so")
			cancel(cause)
			out := <-outcome
			require.ErrorIs(t, out.Err, cause)
			requireDead(t, pids...)
		})
	}
}

func TestWhatTheProgramLeavesBehindIsKilled(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pids")
	began := time.Now()
	out := run(t, t.Context(), sh(`sleep 1000 & echo $! > `+file+`; echo '{"result":"left"}'`), `{}`)
	require.NoError(t, out.Err)
	require.Equal(t, `"left"`, out.Value)
	requireDead(t, readPIDs(t, file, 1)...)
	require.Less(t, time.Since(began), 10*time.Second, "the pipe that it held was not waited for")
}

// A process that left the group can hold the pipe, but not the job.
func TestEscapedProcessDoesNotHoldTheJob(t *testing.T) {
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Log("no setsid here; the rule is tested where there is one")
		return
	}
	file := filepath.Join(t.TempDir(), "pids")
	out := run(t, t.Context(), sh(`setsid sleep 1000 & sleep 0.1; echo $! > `+file), `{}`)
	require.NoError(t, out.Err)
	for _, pid := range readPIDs(t, file, 1) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// host is the worker's process in TestGuard: it runs one program under guard.
func host(file string) {
	guard, err := program.StartGuard(os.Args[0], guardArg)
	if err != nil {
		panic(err)
	}
	spec, err := program.Parse("tool=" + sh(`trap "" TERM; (trap "" TERM; sleep 1000) & echo $$ $! > `+file+`; wait; sleep 1000`))
	if err != nil {
		panic(err)
	}
	_, _ = workertest.Run(context.Background(), program.Runner{Guard: guard}.Handler(spec), `{}`)
}

// Nothing survives a worker that is killed, grandchildren included.
func TestGuard(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pids")
	cmd := exec.Command(os.Args[0], hostArg, file)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	pids := readPIDs(t, file, 2)
	require.True(t, alive(pids[0]) && alive(pids[1]))
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	requireDead(t, pids...)
}

func TestGuardEndsWithItsWorker(t *testing.T) {
	guard, err := program.StartGuard(os.Args[0], guardArg)
	require.NoError(t, err)
	out := runSpec(t, t.Context(), program.Runner{Guard: guard}, program.Spec{Path: "/bin/true"}, `{}`)
	require.NoError(t, out.Err)
	require.NoError(t, guard.Close())
	require.NoError(t, (*program.Guard)(nil).Close())
	_, err = program.StartGuard("/does/not/exist")
	require.Error(t, err)
}
