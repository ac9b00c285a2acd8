package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/arcp-nats/arcp/envelope"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPageIsUpToDate(t *testing.T) {
	page, err := os.ReadFile("../../../docs/protocol-support.md")
	require.NoError(t, err)
	require.Equal(t, string(render()), string(page), "run go generate at the root of the module")
}

func TestPageHasEveryType(t *testing.T) {
	lines := strings.Split(string(render()), "\n")
	for _, row := range envelope.Catalogue() {
		found := 0
		for _, line := range lines {
			if strings.HasPrefix(line, "| `"+string(row.Type)+"` |") {
				found++
			}
		}
		require.Equal(t, 1, found, row.Type)
	}
}

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "page.md")
	require.NoError(t, write(path))
	page, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, render(), page)
	require.Error(t, write(filepath.Join(path, "below-a-file")))
}
