package chaos

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Kind is a kind of fault.
type Kind string

// The kinds of faults. All of them heal after the fault's duration.
const (
	KillEdge    Kind = "kill-edge"    // SIGKILL, started again later
	KillWorker  Kind = "kill-worker"  //
	KillNATS    Kind = "kill-nats"    //
	PauseEdge   Kind = "pause-edge"   // SIGSTOP, SIGCONT later: a zombie
	PauseWorker Kind = "pause-worker" //
	PauseNATS   Kind = "pause-nats"   //
	DrainEdge   Kind = "drain-edge"   // SIGTERM, started again after the end
	DrainWorker Kind = "drain-worker" //
	CutClients  Kind = "cut-clients"  // connections to an edge are cut, new ones at a random byte
	SlowClients Kind = "slow-clients" // connections to an edge are slow
	CutNATS     Kind = "cut-nats"     // the same between a process and NATS
	SlowNATS    Kind = "slow-nats"    //
	FillLog     Kind = "fill-log"     // the log refuses everything
)

// Fault is one fault of a schedule.
type Fault struct {
	// After is the time from the beginning of the fault before, or of the run.
	After time.Duration
	Kind  Kind
	// Target is the index among the cluster's nodes of the kind; edges come before workers in CutNATS and SlowNATS.
	Target int
	// Lasts is how long the fault lasts; a process that was ended is started again after that time.
	Lasts time.Duration
	// Seed decides what is random within the fault.
	Seed uint64
}

// String shows the fault on a line of its own.
func (f Fault) String() string {
	return fmt.Sprintf("+%v %s %d for %v", f.After, f.Kind, f.Target+1, f.Lasts)
}

// Shape is what a schedule is made for.
type Shape struct {
	Edges, Workers, NATS int
	// Duration is the time in which faults begin.
	Duration time.Duration
	// MinGap and MaxGap bound the time between the beginnings of two faults.
	MinGap, MaxGap time.Duration
}

// faultKind says how often a kind of fault comes, and for how long.
type faultKind struct {
	kind     Kind
	weight   int
	min, max time.Duration
	targets  func(Shape) int
}

func edges(s Shape) int     { return s.Edges }
func workers(s Shape) int   { return s.Workers }
func servers(s Shape) int   { return s.NATS }
func processes(s Shape) int { return s.Edges + s.Workers }
func one(Shape) int         { return 1 }

// faultKinds has pauses that are longer than the acknowledgement time of the cluster's workers, so that a paused worker
// comes back to a job that another one has.
var faultKinds = []faultKind{
	{KillEdge, 5, 100 * time.Millisecond, 1500 * time.Millisecond, edges},
	{KillWorker, 5, 100 * time.Millisecond, 1500 * time.Millisecond, workers},
	{KillNATS, 2, 100 * time.Millisecond, 1500 * time.Millisecond, servers},
	{PauseEdge, 3, 500 * time.Millisecond, 6 * time.Second, edges},
	{PauseWorker, 4, time.Second, 6 * time.Second, workers},
	{PauseNATS, 1, 200 * time.Millisecond, 3 * time.Second, servers},
	{DrainEdge, 2, 50 * time.Millisecond, time.Second, edges},
	{DrainWorker, 2, 50 * time.Millisecond, time.Second, workers},
	{CutClients, 4, 200 * time.Millisecond, 2 * time.Second, edges},
	{SlowClients, 2, 500 * time.Millisecond, 3 * time.Second, edges},
	{CutNATS, 3, 200 * time.Millisecond, 2 * time.Second, processes},
	{SlowNATS, 2, 500 * time.Millisecond, 3 * time.Second, processes},
	{FillLog, 2, 500 * time.Millisecond, 4 * time.Second, one},
}

// Schedule returns the faults that a seed stands for. The same seed and shape give the same faults. Every kind comes
// once, in an order of the seed's, before any comes again at random.
func Schedule(seed uint64, shape Shape) []Fault {
	random := rand.New(rand.NewPCG(seed, 0))
	var faults []Fault
	var round []faultKind
	for at := time.Duration(0); ; {
		gap := between(random, shape.MinGap, shape.MaxGap)
		if at += gap; at >= shape.Duration {
			return faults
		}
		if len(faults) < len(faultKinds) {
			if len(round) == 0 {
				round = append(round, faultKinds...)
				random.Shuffle(len(round), func(i, j int) { round[i], round[j] = round[j], round[i] })
			}
		} else {
			round = []faultKind{weighted(random)}
		}
		k := round[0]
		round = round[1:]
		faults = append(faults, Fault{
			After: gap, Kind: k.kind, Target: random.IntN(k.targets(shape)),
			Lasts: between(random, k.min, k.max), Seed: random.Uint64(),
		})
	}
}

// weighted draws a kind.
func weighted(random *rand.Rand) faultKind {
	total := 0
	for _, k := range faultKinds {
		total += k.weight
	}
	n := random.IntN(total)
	for _, k := range faultKinds {
		if n -= k.weight; n < 0 {
			return k
		}
	}
	return faultKinds[0]
}

// between draws a time, in whole milliseconds.
func between(random *rand.Rand, low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	return (low + time.Duration(random.Int64N(int64(high-low)))).Round(time.Millisecond)
}
