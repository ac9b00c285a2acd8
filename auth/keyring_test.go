package auth

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The ring behaves like a map from name to position. That its time tells
// nothing about a near miss holds by construction (see keyring): the walk has
// no early end, and what is compared are HMACs under a key nobody else has, so
// a common prefix of names is no common prefix of what is compared. A
// stopwatch test would only add noise to that.
func TestKeyringIsAMap(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ring, model := newKeyring(), map[string]int{}
		for _, name := range rapid.SliceOf(rapid.StringMatching(`[ab]{0,3}`)).Draw(rt, "names") {
			place, fresh := ring.add(name)
			if was, known := model[name]; known {
				require.False(rt, fresh)
				require.Equal(rt, was, place)
			} else {
				require.True(rt, fresh)
				require.Equal(rt, len(model), place)
				model[name] = place
			}
		}
		for _, name := range rapid.SliceOf(rapid.StringMatching(`[abc]{0,3}`)).Draw(rt, "asked") {
			want, known := model[name]
			if !known {
				want = -1
			}
			require.Equal(rt, want, ring.find(name))
		}
	})
}

// Nothing in memory is a plain token or a hash that a dictionary could break:
// two rings keep the same name differently.
func TestKeyringKeepsNoNames(t *testing.T) {
	a, b := newKeyring(), newKeyring()
	a.add("token")
	b.add("token")
	require.NotEqual(t, a.macs[0], b.macs[0])
	require.Equal(t, 0, a.find("token"))
	require.Equal(t, -1, a.find(""))
}

func BenchmarkBearerThousandTokens(b *testing.B) {
	ring := newKeyring()
	for i := range 1000 {
		ring.add(string(rune('a'+i%26)) + randomHex())
	}
	b.ReportAllocs()
	for b.Loop() {
		ring.find("not there")
	}
}
