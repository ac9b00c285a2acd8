package edgecmd

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/arcp-nats/arcp/internal/cli"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// refused calls the program with arguments that it must refuse before it starts anything.
func refused(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	require.Equal(t, cli.ExitUsage, Main(args, &stdout, &stderr), "%v", args)
	require.Empty(t, stdout.String())
	return stderr.String()
}

func TestConfigurationErrorsComeBeforeAnythingStarts(t *testing.T) {
	tokens := filepath.Join(t.TempDir(), "tokens")
	require.NoError(t, os.WriteFile(tokens, []byte("only-one-word-that-is-secret\n"), 0o600))
	for _, c := range []struct {
		says string
		args []string
	}{
		{"--nats is required", nil},
		{"nobody could connect", []string{"--nats", "nats://127.0.0.1:1"}},
		{"leave out --nats", []string{"--dev", "--nats", "nats://127.0.0.1:1"}},
		{"not loopback", []string{"--dev", "--listen", "0.0.0.0:7777"}},
		{"not loopback", []string{"--nats", "nats://127.0.0.1:1", "--anonymous", "--listen", ":7777"}},
		{"--listen", []string{"--dev", "--listen", "nowhere"}},
		{"--shards 0", []string{"--dev", "--shards", "0"}},
		{"--replicas", []string{"--dev", "--replicas", "3"}},
		{"--replicas 6", []string{"--nats", "nats://127.0.0.1:1", "--anonymous", "--replicas", "6"}},
		{"--max-envelope-bytes", []string{"--dev", "--max-envelope-bytes", "10"}},
		{"--max-sessions-per-principal 0", []string{"--dev", "--max-sessions-per-principal", "0"}},
		{"--max-jobs-per-principal 0", []string{"--dev", "--max-jobs-per-principal", "0"}},
		{"--rate -1", []string{"--dev", "--rate=-1"}},
		{"--retention", []string{"--dev", "--retention", "0s"}},
		{"--session-lease", []string{"--dev", "--session-lease", "-1s"}},
		{"--session-lease", []string{"--dev", "--session-lease", "soon"}},
		{"--codes", []string{"--dev", "--codes", "3.0"}},
		{"--name", []string{"--dev", "--name", "a b"}},
		{"--max-artifact-bytes 5000000: must be from 1 to 4669440", []string{"--dev", "--max-artifact-bytes", "5000000"}},
		{"--artifact-memory", []string{"--dev", "--artifact-memory", "1000000"}},
		{"--artifact-retention 1h0m0s", []string{"--dev", "--artifact-max-retention", "30m"}},
		{"--artifact-max-bytes", []string{"--dev", "--artifact-max-bytes=-1"}},
		{"audience", []string{"--dev", "--jwt-secret-file", tokens}},
		{"no-such-file", []string{"--dev", "--token-file", "no-such-file"}},
		{tokens, []string{"--dev", "--token-file", tokens}},
		{"credentials come from one of them", []string{"--dev", "--credential-endpoint", "http://gw.test", "--credential-key-file", "k"}},
		{"--credential-token-file has no effect", []string{"--dev", "--credential-token-file", tokens}},
		{"--credential-audience has no effect", []string{"--dev", "--credential-audience", "https://api.test"}},
		{"--credential-audience is required", []string{"--dev", "--credential-key-file", tokens}},
		{"--credential-ttl 0s", []string{"--dev", "--credential-ttl", "0s"}},
		{"--seal-key-file has no effect", []string{"--dev", "--seal-key-file", tokens}},
		{"--seal-key-file is required", []string{"--nats", "nats://127.0.0.1:1", "--anonymous", "--credential-endpoint", "http://gw.test"}},
		{"--credential-endpoint", []string{"--dev", "--credential-endpoint", "ftp://gw.test"}},
		{"--credential-token-file", []string{"--dev", "--credential-endpoint", "http://gw.test", "--credential-token-file", "no-such-file"}},
		{"--credential-key-file", []string{"--dev", "--credential-key-file", tokens, "--credential-audience", "https://api.test"}},
		{"--seal-key-file", []string{"--dev", "--credential-endpoint", "http://gw.test", "--seal-key-file", tokens}},
		{"--nonsense", []string{"--dev", "--nonsense"}},
	} {
		said := refused(t, c.args...)
		require.Contains(t, said, c.says, "%v", c.args)
		require.NotContains(t, said, "that-is-secret")
	}
}

func TestFlagsAreEnvironmentVariables(t *testing.T) {
	t.Setenv("ARCP_DEV", "true")
	t.Setenv("ARCP_LISTEN", "0.0.0.0:0")
	require.Contains(t, refused(t), "not loopback")
}

func TestHelpReadsLikeDocumentation(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.Equal(t, cli.ExitOK, Main([]string{"--help"}, &stdout, &stderr))
	for _, want := range []string{"--dev", "Who may connect", "Sessions", "Limits", "$ARCP_TOKEN_FILE", "SIGTERM drains"} {
		require.Contains(t, stdout.String(), want)
	}
}

func TestNames(t *testing.T) {
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7777}
	require.Equal(t, "edge-1", (&Flags{Dev: true}).name(addr))
	require.Equal(t, "mine", (&Flags{Dev: true, Name: "mine"}).name(addr))
	require.Regexp(t, `^edge-.+-7777$`, (&Flags{}).name(addr))
}

func TestEdgesAreSpreadOverShards(t *testing.T) {
	shards := map[int]bool{}
	for _, name := range []string{"edge-1", "edge-2", "edge-3", "edge-4", "edge-5", "edge-6", "edge-7", "edge-8"} {
		f := &Flags{Shards: 2}
		shard := f.edge(name).Shard
		require.Equal(t, shard, f.edge(name).Shard, "the same name, the same shard")
		shards[shard] = true
	}
	require.Len(t, shards, 2)
}
