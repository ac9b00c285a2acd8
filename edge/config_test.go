package edge

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/auth"
	"github.com/arcp-nats/arcp/credential"
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

// TestCP3CapabilitiesFollowTheProvisioner: to advertise credentials without one is an error at the start; with one both
// capabilities are advertised, whatever the configuration says.
func TestCP3CapabilitiesFollowTheProvisioner(t *testing.T) {
	yes, no := true, false
	cfg := Config{Capabilities: &envelope.Capabilities{ProvisionedCredentials: &yes}}
	require.Equal(t, envelope.CodeFailedPrecondition, envelope.CodeOf(cfg.provisions(nil)))

	said := &envelope.Capabilities{ModelUse: &no}
	cfg = Config{Capabilities: said}
	require.NoError(t, cfg.provisions(nil))
	require.ErrorContains(t, cfg.provisions(&Credentials{}), "required")
	require.ErrorContains(t, cfg.provisions(&Credentials{
		Provisioner: credential.Provisioner(new(credential.HTTP)), Keys: new(credential.Keyring), Ledger: noBucket{}, SweepEvery: -1,
	}), "SweepEvery")
	require.NoError(t, cfg.provisions(&Credentials{
		Provisioner: credential.Provisioner(new(credential.HTTP)), Keys: new(credential.Keyring), Ledger: noBucket{},
	}))
	require.True(t, isTrue(cfg.Capabilities.ModelUse))
	require.True(t, isTrue(cfg.Capabilities.ProvisionedCredentials))
	require.False(t, isTrue(said.ModelUse), "the caller's own stay as they are")
}

// noBucket is a ledger that is there.
type noBucket struct{ WatchedBucket }
