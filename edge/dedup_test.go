package edge

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
)

func TestTR2DedupIsBounded(t *testing.T) {
	var d dedup
	id := func(i int) envelope.MessageID { return envelope.MessageID(fmt.Sprintf("msg_%d", i)) }
	for i := range 3 * dedupSize {
		require.False(t, d.repeated(id(i)))
		require.True(t, d.repeated(id(i)))
	}
	require.Len(t, d.seen, dedupSize)
	require.True(t, d.repeated(id(2*dedupSize)), "the oldest that is remembered")
	require.False(t, d.repeated(id(2*dedupSize-1)), "first in, first out")
	d.forget(id(3*dedupSize - 1))
	require.False(t, d.repeated(id(3*dedupSize-1)), "it was refused for now")
	require.True(t, d.repeated(id(3*dedupSize-1)))
}

func TestTR2LongIDsAreRememberedShort(t *testing.T) {
	var d dedup
	long := envelope.MessageID("msg_" + strings.Repeat("x", 100_000))
	require.False(t, d.repeated(long))
	require.True(t, d.repeated(long))
	require.False(t, d.repeated(long+"y"))
	for key := range d.seen {
		require.LessOrEqual(t, len(key), dedupIDMax)
	}
}
