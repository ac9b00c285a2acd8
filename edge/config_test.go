package edge

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/auth"
	"github.com/arcp-nats/arcp/envelope"
)

func TestExtensionsOfTheConfiguration(t *testing.T) {
	set, err := auth.Config{Anonymous: true}.Load()
	require.NoError(t, err)
	for name, says := range map[string]string{
		"arcpx.acme.v1": "", "acme": "no name of an extension", envelope.CheckpointExtension: "always offered",
	} {
		_, err := Config{Name: "edge-1", Auth: set, Extensions: []string{name}}.withDefaults()
		if says == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, says)
	}
}
