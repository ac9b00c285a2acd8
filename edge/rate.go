package edge

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"github.com/arcp-nats/arcp/envelope"
)

const (
	// rateBurst is how many seconds' worth of messages may come at once.
	rateBurst = 2
	// brakeFactor is by how much a client may pass its rate, and be told so, before its socket is read no faster.
	brakeFactor = 10
)

// pace bounds the messages that a session sends. A nil pace bounds nothing. The connection's reader owns it.
type pace struct {
	perSecond int
	limit     *rate.Limiter
	// brake bounds what a flood costs the edge, and so the other sessions: refusals too are work.
	brake *rate.Limiter
}

func newPace(perSecond int) *pace {
	if perSecond == 0 {
		return nil
	}
	r := rate.Limit(perSecond)
	return &pace{
		perSecond: perSecond,
		limit:     rate.NewLimiter(r, rateBurst*perSecond),
		brake:     rate.NewLimiter(brakeFactor*r, perSecond),
	}
}

// take counts a message. One over the rate is to be sent again after a wait that is above 0; and then take itself lasts
// a while if the client goes on and on.
func (p *pace) take(ctx context.Context, now time.Time) (wait time.Duration) {
	if p == nil {
		return 0
	}
	r := p.limit.ReserveN(now, 1)
	if wait = r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		_ = p.brake.Wait(ctx) // it fails only when the connection ends
	}
	return wait
}

// neverRefused are the types that are counted and yet acted on over the rate: a session that sent too much must still
// be able to open its window, to show that it lives, and to close.
var neverRefused = map[envelope.Type]bool{
	envelope.TypeSessionAck: true, envelope.TypeSessionPong: true, envelope.TypeSessionClose: true,
	envelope.TypePong: true, envelope.TypeAck: true, envelope.TypeNack: true,
}

// overRate answers a message that came too soon. It is as if it had not been sent. The answer is not counted, as a flood
// must not fill the log.
func (s *session) overRate(cause envelope.MessageID, wait time.Duration) {
	ms := (wait + time.Millisecond - 1) / time.Millisecond
	details := json.RawMessage(fmt.Appendf(nil, `{"retryable":true,"retry_after_ms":%d}`, ms))
	text := fmt.Sprintf("the session sends more than %d messages a second", s.pace.perSecond)
	s.conn.send(s.newNack(cause, envelope.CodeResourceExhausted, text, details))
}
