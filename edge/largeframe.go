package edge

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"github.com/gorilla/websocket"

	"github.com/arcp-nats/arcp/envelope"
)

const (
	// largeWait is how long a large frame waits for room in memory before it is refused, unless the peer would be taken
	// for dead sooner.
	largeWait = 5 * time.Second
	// largeTime is how long the peer may take to send the rest of it once there is room.
	largeTime = time.Minute
)

// largeFrame is the room that a connection has taken for a frame over MaxEnvelopeBytes. Frames that small are paid for
// by their connection; of larger ones there can be only so many at a time on the whole edge. It belongs to the reader.
type largeFrame struct {
	free    func() // nil: nothing is taken
	refused bool   // there was no room: the rest of the frame was thrown away
}

// release gives the room back, unless somebody has taken it over.
func (l *largeFrame) release() {
	if l.free != nil {
		l.free()
		l.free = nil
	}
}

// takeLarge hands over the room of the frame that is being handled, to be freed by the caller. It is never nil.
func (c *conn) takeLarge() (free func()) {
	free = c.large.free
	c.large.free = nil
	if free == nil {
		return func() {}
	}
	return free
}

// readFrame reads the next frame. A text frame over MaxEnvelopeBytes, which only some types may have, is read to its end
// when there is room for it, else only its beginning is returned, and refused is set.
func (c *conn) readFrame() (kind int, data []byte, err error) {
	c.large.refused = false
	kind, r, err := c.ws.NextReader()
	if err != nil {
		return kind, nil, err
	}
	limit := c.srv.limits.MaxBytes
	data, err = io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err != nil || len(data) <= limit {
		return kind, data, err
	}
	if kind != websocket.TextMessage {
		_, err = io.Copy(io.Discard, r)
		return kind, nil, err
	}
	if err := c.beginLarge(); err != nil {
		if c.ctx.Err() != nil {
			return kind, nil, context.Cause(c.ctx)
		}
		c.large.refused = true
		_, err := io.Copy(io.Discard, r)
		return kind, data, err
	}
	until := time.Now().Add(largeTime)
	c.largeUntil.Store(until.UnixNano())
	c.alive()
	defer c.largeUntil.Store(0)
	whole := bytes.NewBuffer(data)
	_, err = whole.ReadFrom(r)
	if err != nil {
		c.large.release()
	}
	return kind, whole.Bytes(), err
}

// beginLarge takes the room for a large frame. The peer's other messages wait meanwhile: it is the one that sends much.
func (c *conn) beginLarge() error {
	size := int64(envelope.LargestMaxBytes(c.srv.limits))
	ctx, cancel := context.WithTimeout(c.ctx, min(largeWait, c.srv.cfg.IdlePing))
	defer cancel()
	if err := c.srv.largeFrames.Acquire(ctx, size); err != nil {
		return err
	}
	c.large.free = func() { c.srv.largeFrames.Release(size) }
	return nil
}

// refuseLarge answers a frame of which only the beginning is there.
func (c *conn) refuseLarge(beginning []byte) {
	s := c.session.Load()
	if s == nil {
		c.strike()
		return
	}
	var bad *envelope.DecodeError
	id := envelope.MessageID("")
	if _, err := c.decode(nil, beginning); errors.As(err, &bad) {
		id = bad.ID
	}
	c.send(s.newNack(id, envelope.CodeResourceExhausted, "the edge has too many large envelopes in hand", retryLater))
}

// tooLarge reports whether an envelope, decoded or not, is larger than its type may be.
func (c *conn) tooLarge(size int, msg *envelope.Envelope, err error) bool {
	if size <= c.srv.limits.MaxBytes {
		return false
	}
	typ := envelope.Type("")
	var bad *envelope.DecodeError
	switch {
	case err == nil:
		typ = msg.Type
	case errors.As(err, &bad):
		typ = envelope.Type(bad.Type)
	}
	row, _ := envelope.Lookup(typ)
	return size > row.MaxBytes
}
