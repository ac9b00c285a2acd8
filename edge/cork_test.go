package edge

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// countingConn counts the writes that reach it.
type countingConn struct {
	net.Conn
	writes int
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.writes++
	return len(p), nil
}

func (c *countingConn) SetWriteDeadline(time.Time) error { return nil }

func TestCorkGathersWrites(t *testing.T) {
	under := &countingConn{}
	c := &corkConn{Conn: under}
	c.cork()
	for range 100 {
		_, err := c.Write([]byte("frame"))
		require.NoError(t, err)
	}
	require.Zero(t, under.writes)
	require.NoError(t, c.uncork())
	require.Equal(t, 1, under.writes)
	_, err := c.Write([]byte("frame"))
	require.NoError(t, err)
	require.Equal(t, 2, under.writes)
	c.cork()
	_, err = c.Write(make([]byte, corkLimit))
	require.NoError(t, err)
	require.Equal(t, 3, under.writes, "what is gathered is bounded")
}

// TestCorkDeadlineIsOneOfProgress: a peer that takes a byte now and then may take as long as it likes, one that takes
// nothing may not.
func TestCorkDeadlineIsOneOfProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, own := net.Pipe()
		c := &corkConn{Conn: own}
		c.setWriteTimeout(30 * time.Second)
		done := make(chan error, 1)
		go func() {
			_, err := c.Write(make([]byte, 20))
			done <- err
		}()
		for range 20 {
			<-time.After(29 * time.Second) // fake time
			_, err := io.ReadFull(peer, make([]byte, 1))
			require.NoError(t, err)
		}
		require.NoError(t, <-done)

		go func() {
			_, err := c.Write(make([]byte, 20))
			done <- err
		}()
		err := <-done
		require.True(t, errors.Is(err, os.ErrDeadlineExceeded), "%v", err)
		_ = peer.Close()
	})
}
