package jetstream

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
)

// publisher keeps the records that are on their way. Acknowledgements of all records come to one subscription; the last
// token of the reply subject says which record, and which sending of it, an answer is for. One goroutine reads them,
// looks after time limits and retries, and makes all the done calls.
//
// New records are sent at once while the way is open. When an answer says "later", none comes, or the connection is
// replaced, the way is closed: new records only join the list, and the oldest unanswered one is sent alone, as a probe.
// Once the probe is answered for good, all others follow in list order and the way is open again.
type publisher struct {
	c       *Client
	inbox   string // prefix of the reply subjects
	sub     *nats.Subscription
	answers chan *nats.Msg
	kick    chan struct{} // the connection came back
	quit    chan struct{} // close asks the goroutine to end
	ended   chan struct{}
	once    sync.Once

	room, roomBytes *semaphore.Weighted

	// sending is held while records are sent or the way opens or closes. It orders list and wire alike. It is taken
	// before mu.
	sending sync.Mutex
	open    bool
	connect uint64    // the connection that the way is open on
	probe   *flight   // sent alone; nil if none
	retryAt time.Time // when closed and not probing: not before this
	tries   int       // failed probes in a row

	mu      sync.Mutex
	closed  bool
	lastID  uint64
	flights map[uint64]*list.Element // by id
	order   *list.List               // of *flight, oldest first
}

// flight is a record on its way. The fields below done change under publisher.sending only.
type flight struct {
	id       uint64
	msg      *nats.Msg
	bytes    int64
	again    bool // may be sent again after an unknown outcome
	deadline time.Time
	done     func(seq uint64, err error)

	sends   uint64    // how often sent so far
	sentAt  time.Time // last time
	connect uint64    // connection of the last sending; 0: not on its way
}

const (
	tick       = 50 * time.Millisecond
	firstRetry = 20 * time.Millisecond
	lastRetry  = time.Second
)

func newPublisher(c *Client) (*publisher, error) {
	p := &publisher{
		c:         c,
		inbox:     nats.NewInbox() + ".",
		answers:   make(chan *nats.Msg, 2*c.cfg.MaxPending),
		kick:      make(chan struct{}, 1),
		quit:      make(chan struct{}),
		ended:     make(chan struct{}),
		room:      semaphore.NewWeighted(int64(c.cfg.MaxPending)),
		roomBytes: semaphore.NewWeighted(int64(c.cfg.MaxPendingBytes)),
		open:      true,
		connect:   c.connects.Load(),
		flights:   make(map[uint64]*list.Element),
		order:     list.New(),
	}
	var err error
	if p.sub, err = c.nc.ChanSubscribe(p.inbox+"*", p.answers); err != nil {
		return nil, err
	}
	c.OnState(func(connected bool) {
		if connected {
			select {
			case p.kick <- struct{}{}:
			default:
			}
		}
	})
	go p.run()
	return p, nil
}

// close ends the goroutine after it has failed what is still on its way.
func (p *publisher) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.once.Do(func() { close(p.quit) })
	<-p.ended
}

func (p *publisher) publish(ctx context.Context, r *record.Record, done func(uint64, error)) error {
	f := &flight{
		msg:   &nats.Msg{Subject: r.Subject.String(), Header: r.Header(), Data: r.Body},
		again: r.MsgID != "",
		done:  done,
	}
	size := f.msg.Size()
	if limit := p.c.nc.MaxPayload(); limit > 0 && int64(size) > limit {
		return tooLarge("publish")
	}
	f.bytes = min(int64(size), int64(p.c.cfg.MaxPendingBytes))
	if err := p.room.Acquire(ctx, 1); err != nil {
		return fmt.Errorf("publish: waiting for room: %w", err)
	}
	if err := p.roomBytes.Acquire(ctx, f.bytes); err != nil {
		p.room.Release(1)
		return fmt.Errorf("publish: waiting for room: %w", err)
	}

	p.sending.Lock()
	defer p.sending.Unlock()
	now := time.Now()
	f.deadline = now.Add(p.c.cfg.AckTimeout)
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		p.release(f)
		return unavailable("%w", errClosed)
	}
	p.lastID++
	f.id = p.lastID
	p.flights[f.id] = p.order.PushBack(f)
	p.mu.Unlock()
	if p.open && p.c.connects.Load() == p.connect {
		p.send(f, now)
	}
	return nil
}

// send puts a record on the wire. Called under sending.
func (p *publisher) send(f *flight, now time.Time) {
	f.sends++
	f.sentAt = now
	f.connect = p.connect
	f.msg.Reply = p.inbox + strconv.FormatUint(f.id, 36) + "-" + strconv.FormatUint(f.sends, 36)
	if err := p.c.nc.PublishMsg(f.msg); err != nil {
		// Nothing is buffered while the connection is away, so this one has not left. A failed write may have sent
		// it; then it counts as sent, and the connection's end decides.
		if !isWriteError(err) {
			f.connect = 0
		}
		p.shut(now)
	}
}

// isWriteError tells whether a record may have left although PublishMsg failed.
func isWriteError(err error) bool {
	for _, refused := range []error{
		nats.ErrReconnectBufExceeded, nats.ErrConnectionReconnecting, nats.ErrConnectionClosed,
		nats.ErrConnectionDraining, nats.ErrMaxPayload, nats.ErrBadSubject, nats.ErrInvalidConnection,
	} {
		if errors.Is(err, refused) {
			return false
		}
	}
	return true
}

// shut closes the way. Called under sending.
func (p *publisher) shut(now time.Time) {
	p.open, p.probe = false, nil
	p.retryAt = now.Add(backoff(p.tries, firstRetry, lastRetry))
	p.tries++
}

func (p *publisher) run() {
	defer close(p.ended)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case m := <-p.answers:
			p.answered(m)
		case <-p.kick:
			p.reconnected()
		case now := <-ticker.C:
			p.tick(now)
		case <-p.quit:
			_ = p.sub.Unsubscribe()
			p.failAll()
			return
		}
	}
}

// answer is what the broker says to a published message.
type answer struct {
	Seq   uint64           `json:"seq"`
	Error *natsjs.APIError `json:"error"`
}

func (p *publisher) answered(m *nats.Msg) {
	idText, sendText, _ := strings.Cut(strings.TrimPrefix(m.Subject, p.inbox), "-")
	id, err1 := strconv.ParseUint(idText, 36, 64)
	send, err2 := strconv.ParseUint(sendText, 36, 64)
	if err1 != nil || err2 != nil {
		return
	}
	p.mu.Lock()
	element, ok := p.flights[id]
	p.mu.Unlock()
	if !ok {
		return // answered before, to another sending
	}
	f := element.Value.(*flight)

	var a answer
	switch {
	case len(m.Data) == 0 && m.Header.Get("Status") != "":
		p.refused(f, send) // nobody listens: no such stream, or no leader now
	case json.Unmarshal(m.Data, &a) != nil:
		p.refused(f, send)
	case a.Error != nil:
		if code := codeOfAPI(a.Error); code == envelope.CodeUnavailable || code == envelope.CodeNotFound {
			p.refused(f, send)
		} else if send == p.sendsOf(f) {
			p.settle(f, 0, refusal(code, a.Error))
		}
	default:
		p.settle(f, a.Seq, nil)
	}
}

func refusal(code envelope.Code, err *natsjs.APIError) error {
	if err.ErrorCode == natsjs.JSErrCodeStreamMessageExceedsMaximum || err.ErrorCode == jsHeaderExceedsLimit {
		return tooLarge("publish")
	}
	return envelope.Errorf(code, "publish: %w", err)
}

func (p *publisher) sendsOf(f *flight) uint64 {
	p.sending.Lock()
	defer p.sending.Unlock()
	return f.sends
}

// settle reports an outcome, and opens the way if that was the probe's.
func (p *publisher) settle(f *flight, seq uint64, err error) {
	p.remove(f)
	f.done(seq, err)
	p.sending.Lock()
	defer p.sending.Unlock()
	if p.probe == f {
		p.reopen(time.Now())
	}
}

// refused takes note that a sending was not stored, but may be later.
func (p *publisher) refused(f *flight, send uint64) {
	p.sending.Lock()
	defer p.sending.Unlock()
	if send == f.sends {
		f.connect = 0
		p.shut(time.Now())
	}
}

// reopen sends everything that is not on its way on this connection, in order. Called under sending.
func (p *publisher) reopen(now time.Time) {
	p.open, p.probe, p.tries = true, nil, 0
	for _, f := range p.list() {
		if f.connect == p.connect {
			continue
		}
		if p.send(f, now); !p.open {
			return
		}
	}
}

// reconnected starts again on a new connection.
func (p *publisher) reconnected() {
	p.sending.Lock()
	connect := p.c.connects.Load()
	if connect == p.connect {
		p.sending.Unlock()
		return
	}
	// What was sent on the old connection has no answer to wait for.
	p.connect = connect
	p.open, p.probe, p.tries, p.retryAt = false, nil, 0, time.Time{}
	var lost []*flight
	for _, f := range p.list() {
		if f.connect != 0 && !f.again {
			lost = append(lost, f)
		}
	}
	p.sending.Unlock()
	for _, f := range lost {
		p.remove(f)
		f.done(0, unavailable("the connection was lost before the answer came; the outcome is unknown"))
	}
	p.sending.Lock()
	defer p.sending.Unlock()
	p.advance(time.Now())
}

// advance probes if it is time to, and opens the way if nothing waits. Called under sending.
func (p *publisher) advance(now time.Time) {
	if p.open || p.probe != nil || now.Before(p.retryAt) || !p.c.nc.IsConnected() || p.c.connects.Load() != p.connect {
		return
	}
	for _, f := range p.list() {
		if f.connect != p.connect {
			p.probe = f
			p.send(f, now)
			return
		}
	}
	p.reopen(now)
}

// tick looks after time limits and retries.
func (p *publisher) tick(now time.Time) {
	if p.c.nc.IsConnected() {
		p.reconnected() // in case the kick is late
	}
	var late []*flight
	p.sending.Lock()
	for _, f := range p.list() {
		switch {
		case now.After(f.deadline):
			late = append(late, f)
			if p.probe == f {
				p.probe = nil
			}
		case f.connect == p.connect && f.again && now.Sub(f.sentAt) > p.c.cfg.AckTimeout/4:
			// The answer is overdue. Sending it again is harmless, as the message id tells the two apart.
			f.connect = 0
			if p.open || p.probe == f {
				p.shut(now)
			}
		}
	}
	p.sending.Unlock()
	for _, f := range late {
		p.remove(f)
		f.done(0, unavailable("not confirmed within %v", p.c.cfg.AckTimeout))
	}
	p.sending.Lock()
	defer p.sending.Unlock()
	p.advance(now)
}

// failAll reports everything that is still on its way.
func (p *publisher) failAll() {
	for _, f := range p.list() {
		p.remove(f)
		f.done(0, unavailable("%w", errClosed))
	}
}

// list returns the records on their way, oldest first.
func (p *publisher) list() []*flight {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.order.Len() == 0 {
		return nil
	}
	flights := make([]*flight, 0, p.order.Len())
	for e := p.order.Front(); e != nil; e = e.Next() {
		flights = append(flights, e.Value.(*flight))
	}
	return flights
}

// remove forgets a record. Only the publisher's goroutine does, so each is removed once.
func (p *publisher) remove(f *flight) {
	p.mu.Lock()
	p.order.Remove(p.flights[f.id])
	delete(p.flights, f.id)
	p.mu.Unlock()
	p.release(f)
}

func (p *publisher) release(f *flight) {
	p.roomBytes.Release(f.bytes)
	p.room.Release(1)
}
