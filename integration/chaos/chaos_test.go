package chaos

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// What a run by hand may set, after -args.
var (
	seed     = flag.Uint64("seed", 0, "seed of the one run; 0: the seeds of the test suite")
	duration = flag.Duration("duration", 8*time.Second, "time in which faults begin")
	edgeN    = flag.Int("edges", 2, "edges")
	workerN  = flag.Int("workers", 2, "workers")
	natsN    = flag.Int("nats", 1, "NATS servers, 1 or 3")
	clientN  = flag.Int("clients", 8, "sessions")
	minGap   = flag.Duration("min-gap", 500*time.Millisecond, "least time between two faults")
	maxGap   = flag.Duration("max-gap", 1500*time.Millisecond, "most time between two faults")
	notes    = flag.String("notes", "", "folder for the notes of runs; they stay there. Default: a temporary one, which stays if a run fails")
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(exit int) {
		if programDir != "" {
			_ = os.RemoveAll(programDir)
		}
		os.Exit(exit)
	}))
}

// programDir is where the program was built, "" if no test has needed it.
var programDir string

// program builds the program under test once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "arcp-chaos-program-")
	if err != nil {
		return "", err
	}
	programDir = dir
	path := filepath.Join(dir, "arcp")
	build := exec.Command("go", "build", "-o", path, "github.com/arcp-nats/arcp/cmd/arcp")
	build.Stderr = os.Stderr
	return path, build.Run()
})

// suite is the seeds of the test suite; together they have every kind of fault, see TestSuiteHasEveryFault.
var suite = []uint64{12, 7}

// TestChaos breaks a cluster of processes by the schedule of a seed and judges what clients saw.
func TestChaos(t *testing.T) {
	seeds := suite
	switch {
	case *seed != 0:
		seeds = []uint64{*seed}
	case testing.Short():
		seeds = seeds[:1]
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { runSeed(t, seed) })
	}
}

func runSeed(t *testing.T, seed uint64) {
	file, err := program()
	require.NoError(t, err)
	dir := folder(t, seed)
	report, err := Run(t.Context(), Options{
		File: file, Dir: dir, Seed: seed, Size: Size{Edges: *edgeN, Workers: *workerN, NATS: *natsN}, Clients: *clientN,
		Duration: *duration, MinGap: *minGap, MaxGap: *maxGap, Patience: 3 * time.Minute,
		Say: func(line string) { t.Log(line) },
	})
	replay := fmt.Sprintf("replay: go test ./integration/chaos -run TestChaos -timeout 60m -v -args -seed=%d -duration=%v "+
		"-edges=%d -workers=%d -nats=%d -clients=%d -min-gap=%v -max-gap=%v", seed, *duration, *edgeN, *workerN, *natsN, *clientN, *minGap, *maxGap)
	require.NoError(t, err, "notes: %s\n%s", dir, replay)
	t.Log(report)
	require.Zero(t, len(report.Violations), "notes: %s\n%s", dir, replay)
}

// folder is where a run keeps its data and notes. It goes with the test unless that failed, or somebody asked for it.
func folder(t *testing.T, seed uint64) string {
	t.Helper()
	if *notes != "" {
		dir := filepath.Join(*notes, fmt.Sprintf("seed-%d", seed))
		require.NoError(t, os.RemoveAll(dir))
		require.NoError(t, os.MkdirAll(dir, 0o750))
		return dir
	}
	dir, err := os.MkdirTemp("", fmt.Sprintf("arcp-chaos-seed-%d-", seed))
	require.NoError(t, err)
	t.Cleanup(func() {
		if !t.Failed() {
			_ = os.RemoveAll(dir)
		}
	})
	return dir
}
