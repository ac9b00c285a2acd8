package registry_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func announce(t require.TestingT, table *registry.Table, queue string, tools ...registry.Tool) {
	data, err := registry.QueueEntry{Queue: queue, Tools: tools}.Encode()
	require.NoError(t, err)
	table.Apply(registry.QueueKey(queue), data, time.Time{})
}

func arrive(t require.TestingT, table *registry.Table, queue, worker string) {
	data, err := registry.Presence{Queue: queue, Worker: worker}.Encode()
	require.NoError(t, err)
	table.Apply(registry.PresenceKey(queue, worker), data, time.Time{})
}

func resolve(t *testing.T, table *registry.Table, reference string) (string, string, envelope.Code) {
	t.Helper()
	ref, err := envelope.ParseAgentRef(reference)
	require.NoError(t, err)
	tool, queue, err := table.Resolve(ref)
	if err != nil {
		return "", "", envelope.CodeOf(err)
	}
	return tool.String(), queue, envelope.CodeOK
}

func TestResolve(t *testing.T) {
	table := registry.NewTable()
	announce(t, table, "old", registry.Tool{Name: "echo", Version: "1"}, registry.Tool{Name: "echo", Version: "9"})
	announce(t, table, "new", registry.Tool{Name: "echo", Version: "10"}, registry.Tool{Name: "echo", Version: "9"})

	for _, c := range []struct{ reference, tool, queue string }{
		{"echo", "echo@10", "new"}, // the greatest, by value
		{"echo@1", "echo@1", "old"},
		{"echo@9", "echo@9", "new"}, // nobody is present: the first by name
	} {
		tool, queue, _ := resolve(t, table, c.reference)
		require.Equal(t, []string{c.tool, c.queue}, []string{tool, queue}, c.reference)
		require.False(t, table.Knows(c.reference))
	}
	_, _, code := resolve(t, table, "nosuch")
	require.Equal(t, envelope.CodeAgentNotAvailable, code)
	_, _, code = resolve(t, table, "echo@2")
	require.Equal(t, envelope.CodeAgentVersionNotAvailable, code)

	// Queues with a worker are preferred, and the bare name means what can run.
	arrive(t, table, "old", "w1")
	tool, queue, _ := resolve(t, table, "echo@9")
	require.Equal(t, []string{"echo@9", "old"}, []string{tool, queue})
	tool, _, _ = resolve(t, table, "echo")
	require.Equal(t, "echo@9", tool)
	require.True(t, table.Knows("echo"))

	// A worker that goes leaves its tools known.
	table.Apply(registry.PresenceKey("old", "w1"), nil, time.Time{})
	tool, _, _ = resolve(t, table, "echo@1")
	require.Equal(t, "echo@1", tool)

	// What a worker marks is the default.
	announce(t, table, "old", registry.Tool{Name: "echo", Version: "1", Default: true})
	arrive(t, table, "old", "w1")
	arrive(t, table, "new", "w2")
	tool, queue, _ = resolve(t, table, "echo")
	require.Equal(t, []string{"echo@1", "old"}, []string{tool, queue})
	require.Equal(t, []envelope.Agent{{Name: "echo", Versions: []string{"1", "9", "10"}, Default: "1"}}, table.Agents().Rich)
}

func TestQueuesWithin(t *testing.T) {
	table := registry.NewTable()
	a, b := registry.Tool{Name: "a", Version: "1"}, registry.Tool{Name: "b", Version: "1"}
	announce(t, table, "q-a", a)
	announce(t, table, "q-ab", a, b)
	announce(t, table, "q-b", b)
	arrive(t, table, "q-unknown", "w") // present before its queue is known
	require.Equal(t, []string{"q-a"}, table.QueuesWithin([]registry.Tool{a}))
	require.Equal(t, []string{"q-a", "q-ab", "q-b"}, table.QueuesWithin([]registry.Tool{{Name: "a", Version: "1", Default: true}, b}))
	require.Empty(t, table.QueuesWithin(nil))
}

func TestApplyIgnoresWhatItCannotRead(t *testing.T) {
	table := registry.NewTable()
	for _, key := range []string{"", "queue", "queue.", "worker.", "worker.q", "other.q", "queue.%zz"} {
		table.Apply(key, []byte(`{"tools":[]}`), time.Time{})
	}
	announce(t, table, "q", registry.Tool{Name: "a", Version: "1"})
	table.Apply(registry.QueueKey("q"), []byte("not json"), time.Time{})
	require.Len(t, table.Agents().Rich, 1, "a bad value does not take away what is known")
	table.Apply(registry.QueueKey("q"), nil, time.Time{})
	require.Empty(t, table.Agents().Rich)
}

// TestOrderDoesNotMatter: edges that read the same entries in another order resolve alike, whatever the names.
func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		type entry struct{ queue, worker, tool, version string }
		entries := rapid.SliceOfNDistinct(rapid.Custom(func(r *rapid.T) entry {
			return entry{
				queue:   rapid.SampledFrom([]string{"q", "q.1", "* >", "ü"}).Draw(r, "queue"),
				worker:  rapid.SampledFrom([]string{"", "w", "w.2"}).Draw(r, "worker"),
				tool:    "echo",
				version: rapid.SampledFrom([]string{"1", "2", "10", "1.0"}).Draw(r, "version"),
			}
		}), 1, 12, func(e entry) [2]string { return [2]string{e.queue, e.worker} }).Draw(r, "entries")
		feed := func(order []entry) *registry.Table {
			table := registry.NewTable()
			for _, e := range order {
				if e.worker == "" {
					announce(r, table, e.queue, registry.Tool{Name: e.tool, Version: e.version})
				} else {
					arrive(r, table, e.queue, e.worker)
				}
			}
			return table
		}
		shuffled := rapid.Permutation(entries).Draw(r, "order")
		one, two := feed(entries), feed(shuffled)
		toolA, queueA, errA := one.Resolve(envelope.AgentRef{Name: "echo"})
		toolB, queueB, errB := two.Resolve(envelope.AgentRef{Name: "echo"})
		require.Equal(r, toolA, toolB)
		require.Equal(r, queueA, queueB)
		require.Equal(r, errA == nil, errB == nil)
		require.Equal(r, one.Agents(), two.Agents())
	})
}

func TestCompareVersionsIsAnOrder(t *testing.T) {
	require.Equal(t, []string{"1", "1.9", "1.10", "02", "2", "10", "10-rc1", "a", "b"},
		slices.SortedFunc(slices.Values([]string{"b", "10", "1.10", "02", "a", "1", "2", "1.9", "10-rc1"}), registry.CompareVersions))
	version := rapid.StringMatching(`[0-9a-c.]{0,6}`)
	rapid.Check(t, func(r *rapid.T) {
		a, b, c := version.Draw(r, "a"), version.Draw(r, "b"), version.Draw(r, "c")
		require.Equal(r, registry.CompareVersions(a, b), -registry.CompareVersions(b, a))
		require.Equal(r, a == b, registry.CompareVersions(a, b) == 0)
		if registry.CompareVersions(a, b) <= 0 && registry.CompareVersions(b, c) <= 0 {
			require.LessOrEqual(r, registry.CompareVersions(a, c), 0)
		}
	})
}
