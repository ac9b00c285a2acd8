package edge

import (
	"bytes"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestOutboxControlPassesEvents(t *testing.T) {
	o := newOutbox(100, 100, func() {})
	o.pushEvent(frame{text: []byte("event")})
	require.NoError(t, o.pushControl([]byte("pong")))
	frames, ok := o.take()
	require.True(t, ok)
	require.Equal(t, []frame{{text: []byte("pong")}, {text: []byte("event")}}, frames)
}

func TestOutboxBounds(t *testing.T) {
	o := newOutbox(100, 100, func() {})
	require.False(t, o.pushEvent(frame{text: make([]byte, 99)}))
	require.True(t, o.pushEvent(frame{text: make([]byte, 1)}))
	require.False(t, o.roomy())

	require.NoError(t, o.pushControl(make([]byte, 1000)), "one answer always has room")
	require.ErrorIs(t, o.pushControl([]byte("x")), errOutboxFull)
}

func TestOutboxSaysWhenThereIsRoomAgain(t *testing.T) {
	drained := make(chan struct{}, 1)
	o := newOutbox(100, 100, func() { drained <- struct{}{} })
	o.pushEvent(frame{text: make([]byte, 200)})
	_, _ = o.take()
	require.False(t, o.roomy(), "what is being written still counts")
	go func() { _, _ = o.take() }()
	<-drained
	require.True(t, o.roomy())
	o.close()
}

func TestOutboxClose(t *testing.T) {
	o := newOutbox(100, 100, func() {})
	o.pushEvent(frame{text: []byte("last")})
	o.close()
	o.close()
	require.True(t, o.pushEvent(frame{text: []byte("late")}))
	require.ErrorIs(t, o.pushControl([]byte("late")), errOutboxClosed)
	frames, ok := o.take()
	require.True(t, ok)
	require.Equal(t, []frame{{text: []byte("last")}}, frames)
	_, ok = o.take()
	require.False(t, ok)
}

// TestOutboxLosesNothing: frames of each kind come out in the order in which they went in, each once, whatever the
// writer's and the producers' timing.
func TestOutboxLosesNothing(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		count := rapid.IntRange(1, 200).Draw(r, "frames")
		o := newOutbox(64, 1<<20, func() {})
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := range count {
				o.pushEvent(frame{text: []byte{'e', byte(i)}})
			}
		})
		wg.Go(func() {
			for i := range count {
				_ = o.pushControl([]byte{'c', byte(i)})
			}
		})
		go func() { wg.Wait(); o.close() }()
		got := map[byte][]byte{}
		for {
			frames, ok := o.take()
			if !ok {
				break
			}
			for _, f := range frames {
				got[f.text[0]] = append(got[f.text[0]], f.text[1])
			}
		}
		var want bytes.Buffer
		for i := range count {
			want.WriteByte(byte(i))
		}
		require.Equal(t, want.Bytes(), got['e'])
		require.Equal(t, want.Bytes(), got['c'])
	})
}

// TestControlTakenWaitsForRoom: a large answer waits until the writer has taken the one before, or there is none left.
func TestControlTakenWaitsForRoom(t *testing.T) {
	o := newOutbox(100, 100, func() {})
	never := make(chan struct{})
	require.True(t, o.controlTaken(never), "nothing waits")
	require.NoError(t, o.pushControl([]byte("page 1")))
	taken := make(chan bool)
	go func() { taken <- o.controlTaken(never) }()
	o.pushEvent(frame{text: []byte("event")})
	select {
	case <-taken:
		require.Fail(t, "it is still there")
	default:
	}
	_, ok := o.take()
	require.True(t, ok)
	require.True(t, <-taken)

	require.NoError(t, o.pushControl([]byte("page 2")))
	done := make(chan struct{})
	close(done)
	require.False(t, o.controlTaken(done))
	o.close()
	require.False(t, o.controlTaken(never))
}
