package cutproxy

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// speaker sends say to everyone who connects and reads to the end what it is told.
func speaker(t *testing.T, say []byte) (addr string, heard <-chan []byte) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	out := make(chan []byte, 64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write(say)
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.CloseWrite()
			}
			told, _ := io.ReadAll(conn)
			_ = conn.Close()
			select {
			case out <- told:
			default: // nobody listens
			}
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	return listener.Addr().String(), out
}

func TestForwardsAllWithoutALimit(t *testing.T) {
	addr, heard := speaker(t, []byte("hello"))
	proxy, err := Start(addr, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, proxy.Close()) }()

	conn, err := net.Dial("tcp", proxy.Addr())
	require.NoError(t, err)
	_, err = conn.Write([]byte("goodbye"))
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	got, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Equal(t, "hello", string(got))
	require.Equal(t, "goodbye", string(<-heard))
	require.NoError(t, conn.Close())
	require.Equal(t, 1, proxy.Connections())
	require.Zero(t, proxy.Cuts())
}

func TestCutsAtTheByte(t *testing.T) {
	say := bytes.Repeat([]byte("0123456789"), 1000)
	addr, _ := speaker(t, say)
	limits := make(chan Cut, 1)
	proxy, err := Start(addr, func(int) Cut { return <-limits })
	require.NoError(t, err)
	defer func() { require.NoError(t, proxy.Close()) }()

	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, len(say)-1).Draw(t, "bytes")
		limits <- Cut{Down: int64(n)}
		before := proxy.Cuts()
		conn, err := net.Dial("tcp", proxy.Addr())
		require.NoError(t, err)
		defer conn.Close()
		got, _ := io.ReadAll(conn)
		require.Equal(t, string(say[:n]), string(got))
		require.Equal(t, before+1, proxy.Cuts())
	})
}

func TestCutsWhatTheClientSays(t *testing.T) {
	addr, heard := speaker(t, nil)
	proxy, err := Start(addr, func(int) Cut { return Cut{Up: 3} })
	require.NoError(t, err)
	defer func() { require.NoError(t, proxy.Close()) }()
	conn, err := net.Dial("tcp", proxy.Addr())
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("abcdef"))
	require.NoError(t, err)
	require.Equal(t, "abc", string(<-heard))
}

func TestCutAllAndReset(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	proxy, err := Start(listener.Addr().String(), func(int) Cut { return Cut{Reset: true} })
	require.NoError(t, err)
	defer func() { require.NoError(t, proxy.Close()) }()
	conn, err := net.Dial("tcp", proxy.Addr())
	require.NoError(t, err)
	defer conn.Close()
	far, err := listener.Accept()
	require.NoError(t, err)
	defer far.Close()
	_, err = far.Write([]byte("x"))
	require.NoError(t, err)
	one := make([]byte, 1)
	_, err = io.ReadFull(conn, one)
	require.NoError(t, err)
	proxy.CutAll()
	_, err = conn.Read(one)
	require.Error(t, err)
	require.Equal(t, 1, proxy.Cuts())
}

func TestADelayHoldsUpAndLosesNothing(t *testing.T) {
	addr, _ := speaker(t, []byte("hello"))
	proxy, err := Start(addr, nil)
	require.NoError(t, err)
	const delay = 50 * time.Millisecond
	proxy.SetDelay(delay)
	began := time.Now()
	conn, err := net.Dial("tcp", proxy.Addr())
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	got, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Equal(t, "hello", string(got))
	require.GreaterOrEqual(t, time.Since(began), delay)
	require.NoError(t, conn.Close())
	require.NoError(t, proxy.Close())
}

func TestCloseDoesNotWaitForADelay(t *testing.T) {
	addr, _ := speaker(t, []byte("hello"))
	proxy, err := Start(addr, nil)
	require.NoError(t, err)
	proxy.SetDelay(time.Hour)
	conn, err := net.Dial("tcp", proxy.Addr())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.Eventually(t, func() bool { return proxy.Connections() == 1 }, 10*time.Second, time.Millisecond)
	require.NoError(t, proxy.Close())
}
