package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

const (
	pullExpiry    = 30 * time.Second // one pull request at the broker
	pullHeartbeat = time.Second      // while it waits; after three without, the request is put again
	drainTimeout  = 2 * time.Second  // to collect what was on its way when a fetch is given up
)

// Queue hands out the invocations of one queue of one shard. All workers of the queue share it. All methods are safe
// for concurrent use.
type Queue struct {
	c      *Client
	stream string
	cfg    natsjs.ConsumerConfig
	next   string // subject of pull requests
}

// Queue binds to the queue's durable consumer and creates it if need be. A delivery that is neither answered nor
// renewed within ackWait (the last caller's counts) is handed out again, without a limit on the number of attempts.
func (c *Client) Queue(ctx context.Context, shard int, queue string, ackWait time.Duration) (*Queue, error) {
	name := subjects.ConsumerName(queue)
	q := &Queue{
		c:      c,
		stream: subjects.StreamName(shard),
		cfg: natsjs.ConsumerConfig{
			Durable:       name,
			DeliverPolicy: natsjs.DeliverAllPolicy,
			FilterSubject: subjects.QueueFilter(shard, queue),
			AckPolicy:     natsjs.AckExplicitPolicy,
			AckWait:       ackWait,
			MaxDeliver:    -1,
			MaxAckPending: -1,
			MaxWaiting:    8192,
		},
	}
	q.next = "$JS.API.CONSUMER.MSG.NEXT." + q.stream + "." + name
	return q, q.ensure(ctx)
}

func (q *Queue) ensure(ctx context.Context) error {
	_, err := q.c.js.CreateOrUpdateConsumer(ctx, q.stream, q.cfg)
	return failed(ctx, "queue "+q.cfg.Durable, err)
}

// Fetch asks for exactly n invocations and passes those that come to fn, until n have come, or, if at least one has
// come, the request has run out of time (30 s). It waits for the first one until ctx ends, through reconnects. Nothing
// is fetched ahead: at no time does this client hold a delivery that it has not asked for. When ctx ends, deliveries
// that are on their way already are still passed to fn before Fetch returns ctx's error. fn must not block.
//
// A ctx with a deadline is the way to end a fetch after a time: the broker is told of it and ends the request itself.
// To cancel ctx withdraws the request, and in a cluster another server than this client's may hand out an invocation
// before it hears of that; nobody gets it then, and it is handed out again, as the next attempt, after ackWait.
func (q *Queue) Fetch(ctx context.Context, n int, fn func(*Delivery)) error {
	if n <= 0 {
		return nil
	}
	got := 0
	counted := func(d *Delivery) { got++; fn(d) }
	for try := 0; ; try++ {
		if err := q.c.waitConnected(ctx); err != nil {
			return failed(ctx, "fetch", err)
		}
		err := q.pull(ctx, n-got, counted)
		if got >= n || got > 0 && ctx.Err() == nil {
			return nil
		}
		if ctx.Err() != nil {
			return failed(ctx, "fetch", ctx.Err())
		}
		if err == nil || errors.Is(err, errInterrupted) {
			try = -1
			continue
		}
		q.c.log.Debug("fetch failed", "consumer", q.cfg.Durable, "error", err)
		if err := q.c.pause(ctx, try); err != nil {
			return failed(ctx, "fetch", err)
		}
		if errors.Is(err, errNoConsumer) && q.c.Connected() {
			if err := q.ensure(ctx); err != nil && !retryable(err) {
				return err
			}
		}
	}
}

// errNoConsumer says that nobody took a pull request.
var errNoConsumer = errors.New("the consumer does not answer")

// pull makes one request and returns when it is over: nil if it ended in order. It has an inbox of its own, so that
// late answers to another request are never taken for its own, and no request outlives its fetch.
func (q *Queue) pull(ctx context.Context, n int, pass func(*Delivery)) error {
	_, changed := q.c.state()
	messages := make(chan *nats.Msg, n+64) // n deliveries, and heartbeats while fn is slow
	inbox := nats.NewInbox()
	sub, err := q.c.nc.ChanSubscribe(inbox, messages)
	if err != nil {
		return err
	}
	asked := time.Now()
	if err := q.c.nc.PublishRequest(q.next, inbox, pullRequest(ctx, n)); err != nil {
		_ = sub.Unsubscribe()
		return err
	}
	fn := func(d *Delivery) { d.Asked = asked; pass(d) }
	watchdog := time.NewTimer(3 * pullHeartbeat)
	defer watchdog.Stop()
	ended := ctx.Done()
	for got := 0; ; {
		select {
		case m := <-messages:
			watchdog.Reset(3 * pullHeartbeat)
			if !isStatus(m) {
				q.deliver(m, fn)
				if got++; got < n {
					continue
				}
				return sub.Unsubscribe()
			}
			over, err := pullStatus(m)
			if !over {
				continue
			}
			_ = sub.Unsubscribe()
			return err
		case <-changed:
			err = errInterrupted
		case <-watchdog.C:
			err = errInterrupted
		case <-ended:
			if err = ctx.Err(); errors.Is(err, context.DeadlineExceeded) {
				ended = nil // the broker says so too, after all that it has handed out
				watchdog.Reset(drainTimeout)
				continue
			}
		}
		q.withdraw(sub, messages, fn)
		return err
	}
}

// pullRequest asks for n invocations, for no longer than ctx lives.
func pullRequest(ctx context.Context, n int) []byte {
	expiry, heartbeat := pullExpiry, pullHeartbeat
	if deadline, limited := ctx.Deadline(); limited {
		expiry = min(expiry, max(time.Until(deadline), time.Millisecond))
	}
	if expiry < 2*heartbeat {
		heartbeat = 0 // the broker wants room for two
	}
	return fmt.Appendf(nil, `{"batch":%d,"expires":%d,"idle_heartbeat":%d}`, n, expiry, heartbeat)
}

// withdraw ends a request early. The broker forgets it with the subscription; the round trip after that makes sure that
// everything it sent before is here.
func (q *Queue) withdraw(sub *nats.Subscription, messages <-chan *nats.Msg, fn func(*Delivery)) {
	// Unsubscribing would drop what comes before the broker knows of it. Drain drops nothing; it takes a round trip, in
	// the background, and closes the subscription then.
	closed := make(chan struct{})
	closing := sync.OnceFunc(func() { close(closed) }) // nats.go calls it twice when the connection goes in the middle
	sub.SetClosedHandler(func(string) { closing() })
	if err := sub.Drain(); err != nil {
		_ = sub.Unsubscribe()
	}
	timer := time.NewTimer(drainTimeout)
	defer timer.Stop()
	for {
		select {
		case m := <-messages:
			if !isStatus(m) {
				q.deliver(m, fn)
			}
		case <-closed:
			for {
				select {
				case m := <-messages:
					if !isStatus(m) {
						q.deliver(m, fn)
					}
				default:
					return
				}
			}
		case <-timer.C:
			_ = sub.Unsubscribe()
			return
		}
	}
}

func isStatus(m *nats.Msg) bool { return len(m.Data) == 0 && m.Header.Get("Status") != "" }

// pullStatus reads what the broker says about a request, and tells whether the request is over.
func pullStatus(m *nats.Msg) (over bool, err error) {
	switch status, text := m.Header.Get("Status"), m.Header.Get("Description"); status {
	case "100":
		return false, nil
	case "404", "408":
		return true, nil
	case "503":
		return true, errNoConsumer
	case "409":
		if strings.Contains(text, "Consumer Deleted") {
			return true, errNoConsumer
		}
		fallthrough
	default:
		return true, fmt.Errorf("the broker ended the request: %s %s", status, text)
	}
}

func (q *Queue) deliver(m *nats.Msg, fn func(*Delivery)) {
	at, err := m.Metadata()
	if err != nil {
		q.c.log.Warn("a delivery without metadata", "consumer", q.cfg.Durable, "error", err)
		return
	}
	d := &Delivery{Attempt: int(at.NumDelivered), msg: m, nc: q.c.nc}
	if d.Record = q.c.parse(m, at); d.Record == nil {
		_ = d.answer("+TERM") // nobody will ever be able to read it
		return
	}
	fn(d)
}

// Delivery is an invocation in the hands of this client. Until it is answered, InProgress must be called more often
// than the queue's ackWait. All methods are safe for concurrent use.
type Delivery struct {
	Record  *record.Record
	Attempt int // how often it has been handed out, this time included
	// Asked is when this client asked for it. The broker handed it out later, but nobody knows how much later: it may
	// have been on its way for long.
	Asked time.Time

	msg *nats.Msg
	nc  *nats.Conn
}

// Ack says that the invocation needs no further attempt. The answer is sent and not waited for: if it is lost, the
// invocation comes again.
func (d *Delivery) Ack(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return failed(ctx, "ack", err)
	}
	return failed(ctx, "ack", d.answer("+ACK"))
}

// InProgress says that the invocation is still worked on.
func (d *Delivery) InProgress() error {
	return failed(context.Background(), "in progress", d.answer("+WPI"))
}

// Nak hands the invocation back. It is handed out again, as the next attempt, after delay.
func (d *Delivery) Nak(delay time.Duration) error {
	text := "-NAK"
	if delay > 0 {
		text = fmt.Sprintf(`-NAK {"delay":%d}`, delay.Nanoseconds())
	}
	return failed(context.Background(), "nak", d.answer(text))
}

func (d *Delivery) answer(text string) error { return d.nc.Publish(d.msg.Reply, []byte(text)) }
