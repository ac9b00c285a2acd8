package registry

import (
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/arcp-nats/arcp/envelope"
)

// Table answers what the cluster offers. Feed it with Apply. It is safe for concurrent use.
type Table struct {
	mu     sync.RWMutex
	queues map[string]*queueState
}

type queueState struct {
	tools   []Tool
	workers map[string]struct{} // that are present
}

// NewTable returns an empty table.
func NewTable() *Table { return &Table{queues: make(map[string]*queueState)} }

// Apply takes an entry of the tools bucket, or its end (value nil). Entries that it cannot read it leaves out: a newer
// worker may write what an older edge does not know. The time is when the entry was written; it is not needed, as the
// bucket itself ends what is not renewed.
func (t *Table) Apply(key string, value []byte, _ time.Time) {
	queue, worker, err := splitKey(key)
	if err != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	q := t.queues[queue]
	if q == nil {
		q = &queueState{workers: make(map[string]struct{})}
		t.queues[queue] = q
	}
	switch {
	case worker == "" && value == nil:
		q.tools = nil
	case worker == "":
		var entry QueueEntry
		if json.Unmarshal(value, &entry) == nil {
			q.tools = entry.Tools
		}
	case value == nil:
		delete(q.workers, worker)
	default:
		q.workers[worker] = struct{}{}
	}
	if len(q.tools) == 0 && len(q.workers) == 0 {
		delete(t.queues, queue)
	}
}

// Resolve finds the tool that a reference means, and the queue to send its invocation to: one with workers that are
// present, if there is one; among equals the first by name, so that all edges agree. A bare name means the version
// that a worker marked as the default, else the greatest. It fails with AGENT_NOT_AVAILABLE if nobody ever offered the
// name, and with AGENT_VERSION_NOT_AVAILABLE if nobody offered that version of it.
func (t *Table) Resolve(ref envelope.AgentRef) (tool envelope.AgentRef, queue string, err error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	versions := t.versions(ref.Name)
	if len(versions) == 0 {
		return tool, "", envelope.Errorf(envelope.CodeAgentNotAvailable, "no worker has ever offered %s", ref.Name)
	}
	want := ref.Version
	if want == "" {
		want = defaultVersion(versions)
	}
	offer, ok := versions[want]
	if !ok {
		return tool, "", envelope.Errorf(envelope.CodeAgentVersionNotAvailable, "%s has no version %s", ref.Name, want)
	}
	return envelope.AgentRef{Name: ref.Name, Version: want}, offer.queue, nil
}

// Knows reports whether a reference can be resolved now to a tool with a worker present.
func (t *Table) Knows(reference string) bool {
	ref, err := envelope.ParseAgentRef(reference)
	if err != nil {
		return false
	}
	_, queue, err := t.Resolve(ref)
	if err != nil {
		return false
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	q := t.queues[queue]
	return q != nil && len(q.workers) > 0
}

// offer is where one version of a tool is served best.
type offer struct {
	queue    string
	live     bool
	fallback bool // marked as the default of its name
}

// better reports whether o is preferred to other.
func (o offer) better(other offer) bool {
	if o.live != other.live {
		return o.live
	}
	return o.queue < other.queue
}

// versions returns, for each version of a tool, the best queue. It needs the lock.
func (t *Table) versions(name string) map[string]offer {
	found := make(map[string]offer)
	for queue, q := range t.queues {
		for _, tool := range q.tools {
			if tool.Name != name {
				continue
			}
			o := offer{queue: queue, live: len(q.workers) > 0, fallback: tool.Default}
			best, known := found[tool.Version]
			if known {
				o.fallback = o.fallback || best.fallback
				if !o.better(best) {
					best.fallback = o.fallback
					o = best
				}
			}
			found[tool.Version] = o
		}
	}
	return found
}

// defaultVersion prefers what is live over what is not, what was marked over what was not, and greater over less.
func defaultVersion(versions map[string]offer) string {
	names := slices.SortedFunc(maps.Keys(versions), func(a, b string) int {
		oa, ob := versions[a], versions[b]
		switch {
		case (oa.fallback && oa.live) != (ob.fallback && ob.live):
			return truth(oa.fallback && oa.live)
		case oa.live != ob.live:
			return truth(oa.live)
		case oa.fallback != ob.fallback:
			return truth(oa.fallback)
		}
		return -CompareVersions(a, b)
	})
	return names[0]
}

// truth orders what is true first.
func truth(first bool) int {
	if first {
		return -1
	}
	return 1
}

// Agents is the inventory of all known tools, by name, versions ascending.
func (t *Table) Agents() envelope.Agents {
	t.mu.RLock()
	defer t.mu.RUnlock()
	names := make(map[string]struct{})
	for _, q := range t.queues {
		for _, tool := range q.tools {
			names[tool.Name] = struct{}{}
		}
	}
	agents := envelope.Agents{Rich: make([]envelope.Agent, 0, len(names))}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		versions := t.versions(name)
		agents.Rich = append(agents.Rich, envelope.Agent{
			Name:     name,
			Versions: slices.SortedFunc(maps.Keys(versions), CompareVersions),
			Default:  defaultVersion(versions),
		})
	}
	return agents
}

// QueuesWithin returns the known queues all of whose tools are among the given ones, sorted: those that a worker with
// these tools can serve.
func (t *Table) QueuesWithin(tools []Tool) []string {
	have := make(map[envelope.AgentRef]bool, len(tools))
	for _, tool := range tools {
		have[tool.Ref()] = true
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	var within []string
	for queue, q := range t.queues {
		missing := slices.ContainsFunc(q.tools, func(tool Tool) bool { return !have[tool.Ref()] })
		if len(q.tools) > 0 && !missing {
			within = append(within, queue)
		}
	}
	slices.Sort(within)
	return within
}
