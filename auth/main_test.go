package auth_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/arcp-nats/arcp/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// write puts content into a file of the test's own folder.
func write(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// load loads a configuration that must be fine.
func load(t testing.TB, c auth.Config) *auth.Set {
	t.Helper()
	s, err := c.Load()
	require.NoError(t, err)
	return s
}

// requireRejected demands a rejection with exactly this text.
func requireRejected(t testing.TB, err error, reason string) {
	t.Helper()
	got, ok := auth.IsRejection(err)
	require.Truef(t, ok, "want a rejection, got %v", err)
	require.Equal(t, reason, got)
}
