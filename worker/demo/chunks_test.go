package demo

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
)

func TestChunksBreaksTheRuleItIsAskedTo(t *testing.T) {
	for rule, code := range map[string]envelope.Code{
		"empty_id":    envelope.CodeInvalidRequest,
		"first_not_0": envelope.CodeFailedPrecondition,
		"other_id":    envelope.CodeFailedPrecondition,
		"skip":        envelope.CodeOutOfRange,
		"after_last":  envelope.CodeFailedPrecondition,
		"too_long":    envelope.CodeInternal,
		"nonsense":    envelope.CodeInvalidArgument,
	} {
		for _, arguments := range []string{`{"parts":["a","b"],"break":"` + rule + `"}`, `{"count":1,"bytes":3,"encoding":"base64","break":"` + rule + `"}`} {
			require.Equal(t, code, envelope.CodeOf(run(t, t.Context(), chunks, arguments).Err), rule)
		}
	}
	for _, arguments := range []string{`{"count":-1}`, `{"bytes":-1}`, `{"bytes":3000000}`} {
		require.Equal(t, envelope.CodeInvalidArgument, envelope.CodeOf(run(t, t.Context(), chunks, arguments).Err), arguments)
	}
}
