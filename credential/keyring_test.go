package credential_test

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/credential"
)

// keyLine is a line of a key file, of a key of one byte.
func keyLine(b byte) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32)) + "\n"
}

func keyring(t *testing.T, lines ...string) (*credential.Keyring, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600))
	return credential.LoadKeyring(path)
}

func TestWhatIsSealedOpensInItsPlaceOnly(t *testing.T) {
	ring, err := keyring(t, "# a remark\n\n", keyLine(1))
	require.NoError(t, err)
	sealed := ring.Seal([]byte("sk-secret"), "grant-1")
	require.NotContains(t, string(sealed), "sk-secret")
	require.NotEqual(t, sealed, ring.Seal([]byte("sk-secret"), "grant-1"), "a nonce is used once")
	opened, err := ring.Open(sealed, "grant-1")
	require.NoError(t, err)
	require.Equal(t, "sk-secret", string(opened))
	_, err = ring.Open(sealed, "grant-2")
	require.ErrorContains(t, err, "belongs elsewhere")
	for i := range sealed {
		_, err := ring.Open(sealed[:i], "grant-1")
		require.Error(t, err, "cut at %d", i)
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		_, err = ring.Open(changed, "grant-1")
		require.Error(t, err, "changed at %d", i)
	}
}

// TestKeysCanBeReplaced: the first seals, all open.
func TestKeysCanBeReplaced(t *testing.T) {
	before, err := keyring(t, keyLine(1))
	require.NoError(t, err)
	both, err := keyring(t, keyLine(2), keyLine(1))
	require.NoError(t, err)
	after, err := keyring(t, keyLine(2))
	require.NoError(t, err)
	old, fresh := before.Seal([]byte("a"), ""), both.Seal([]byte("b"), "")
	_, err = both.Open(old, "")
	require.NoError(t, err)
	_, err = after.Open(fresh, "")
	require.NoError(t, err)
	_, err = after.Open(old, "")
	require.ErrorContains(t, err, "not in the file")
	_, err = before.Open(fresh, "")
	require.Error(t, err)
}

func TestBadKeyFiles(t *testing.T) {
	for name, lines := range map[string]string{
		"empty": "", "remarks only": "# x\n", "short": "c2VjcmV0\n", "not base64": "sk-secret!\n",
		"twice": keyLine(1) + keyLine(1), "large": strings.Repeat(keyLine(1), 2000),
	} {
		_, err := keyring(t, lines)
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "sk-secret")
		require.NotContains(t, err.Error(), "c2VjcmV0")
	}
	_, err := credential.LoadKeyring(filepath.Join(t.TempDir(), "none"))
	require.Error(t, err)
}

func TestAKeyFileIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "seal.key")
	require.NoError(t, credential.CreateKeyFile(path))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	first, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, credential.CreateKeyFile(path))
	second, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, first, second)
	_, err = credential.LoadKeyring(path)
	require.NoError(t, err)
}

func TestTokenFiles(t *testing.T) {
	for content, want := range map[string]string{"abc\n": "abc", " abc": "abc", "": "", "a b": "", "a\nb\n": ""} {
		path := filepath.Join(t.TempDir(), "token")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		got, err := credential.LoadToken(path)
		require.Equal(t, want, got)
		require.Equal(t, want == "", err != nil)
	}
}
