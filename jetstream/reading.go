package jetstream

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
)

// reading is an ordered, gap-free read of some subjects of a stream. It uses a consumer of its own, held in the
// broker's memory, which is replaced, from the position reached, whenever a message is missing, the consumer falls
// silent or the connection is replaced. Messages are pushed, under the broker's flow control, so a short read takes
// one request.
type reading struct {
	stream  string
	filters []string
	// from is the first position wanted. 0 means the last message of each subject and what follows, and that again
	// after each interruption.
	from uint64
	// started is called each time a consumer exists, with the number of messages that match already; false ends the
	// reading. May be nil.
	started func(pending uint64) (more bool)
	// fn gets each message; false ends the reading.
	fn func(m *nats.Msg, at *nats.MsgMetadata) (more bool)
}

const (
	heartbeat  = time.Second      // of a consumer that has nothing to send
	silence    = 3 * heartbeat    // after which it is replaced
	idleExpiry = 10 * time.Second // after which the broker drops a consumer that nobody listens to
)

// errInterrupted says that a reading must go on with a new consumer.
var errInterrupted = errors.New("interrupted")

// read runs a reading until a callback ends it, or an error does: that of ctx, NOT_FOUND if there is no such stream,
// DATA_LOSS if the log has lost records that were seen already.
func (c *Client) read(ctx context.Context, r reading) error {
	for try := 0; ; try++ {
		err := c.waitConnected(ctx)
		if err == nil && try > 0 && r.from > 0 {
			err = c.checkPosition(ctx, r.stream, r.from)
		}
		from := r.from
		if err == nil {
			err = c.readOnce(ctx, &r)
		}
		if err == nil || ctx.Err() != nil || errors.Is(err, errClosed) {
			return failed(ctx, "reading "+r.stream, err)
		}
		switch envelope.CodeOf(failed(ctx, "", err)) {
		case envelope.CodeNotFound:
			if try == 0 {
				return failed(ctx, "reading "+r.stream, err)
			}
		case envelope.CodeDataLoss, envelope.CodeInvalidArgument:
			return err
		}
		if r.from > from || errors.Is(err, errInterrupted) && try == 0 {
			try = 0 // it was getting somewhere
			continue
		}
		c.log.Debug("reading interrupted", "stream", r.stream, "position", r.from, "error", err)
		if err := c.pause(ctx, try); err != nil {
			return failed(ctx, "reading "+r.stream, err)
		}
	}
}

// checkPosition fails with DATA_LOSS if the stream ends before the position that comes next.
func (c *Client) checkPosition(ctx context.Context, stream string, next uint64) error {
	op, cancel := c.bounded(ctx)
	defer cancel()
	_, last, err := c.bounds(op, stream)
	if err != nil {
		return err
	}
	if last+1 < next {
		return envelope.Errorf(envelope.CodeDataLoss, "%s ends at %d, but %d was read before", stream, last, next-1)
	}
	return nil
}

// readOnce reads with one consumer. It returns nil when a callback ended the reading.
func (c *Client) readOnce(ctx context.Context, r *reading) error {
	_, changed := c.state()
	inbox := nats.NewInbox()
	messages, unsubscribe, err := c.subscribe(inbox)
	if err != nil {
		return err
	}
	defer unsubscribe()

	cfg := natsjs.ConsumerConfig{
		DeliverSubject:    inbox,
		DeliverPolicy:     natsjs.DeliverByStartSequencePolicy,
		OptStartSeq:       r.from,
		FilterSubjects:    r.filters,
		AckPolicy:         natsjs.AckNonePolicy,
		MaxDeliver:        1,
		FlowControl:       true,
		IdleHeartbeat:     heartbeat,
		InactiveThreshold: idleExpiry,
		Replicas:          1,
		MemoryStorage:     true,
	}
	if r.from == 0 {
		cfg.DeliverPolicy = natsjs.DeliverLastPerSubjectPolicy
	}
	creating, cancel := context.WithTimeout(ctx, apiTimeout)
	consumer, err := c.js.CreatePushConsumer(creating, r.stream, cfg)
	cancel()
	if err != nil {
		return err
	}
	info := consumer.CachedInfo()
	defer c.forget(r.stream, info.Name)
	if r.started != nil && !r.started(info.NumPending) {
		return nil
	}

	delivered := uint64(0)
	watchdog := time.NewTimer(silence)
	defer watchdog.Stop()
	for {
		watchdog.Reset(silence) // here, so that the time fn takes does not count
		select {
		case m := <-messages:
			if status := m.Header.Get("Status"); status != "" && len(m.Data) == 0 {
				if err := c.control(m, status, delivered); err != nil {
					return err
				}
				continue
			}
			at, err := m.Metadata()
			if err != nil {
				return err
			}
			if at.Sequence.Consumer != delivered+1 {
				return errInterrupted
			}
			delivered++
			if r.from > 0 {
				r.from = at.Sequence.Stream + 1
			}
			if !r.fn(m, at) {
				return nil
			}
		case <-changed:
			return errInterrupted
		case <-watchdog.C:
			return errInterrupted
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// subscribe returns the messages of a subject. Those that wait are bounded in bytes by the broker's flow control, so they
// are kept in the subscription's own list, which grows with need, and not in a channel, which would have to be large. The
// subscription's goroutine has ended when unsubscribe returns.
func (c *Client) subscribe(subject string) (messages <-chan *nats.Msg, unsubscribe func(), err error) {
	passed := make(chan *nats.Msg, 64)
	stop, ended := make(chan struct{}), make(chan struct{})
	sub, err := c.nc.Subscribe(subject, func(m *nats.Msg) {
		select {
		case passed <- m:
		case <-stop:
		}
	})
	if err != nil {
		return nil, nil, err
	}
	sub.SetClosedHandler(func(string) { close(ended) })
	return passed, func() {
		close(stop)
		if sub.Unsubscribe() == nil {
			<-ended
		}
	}, nil
}

// control answers the broker's flow control and checks its heartbeats. It fails if messages are missing.
func (c *Client) control(m *nats.Msg, status string, delivered uint64) error {
	if status != "100" {
		return errInterrupted
	}
	if m.Reply != "" { // everything before this message has been handled
		return c.nc.Publish(m.Reply, nil)
	}
	if last := m.Header.Get("Nats-Last-Consumer"); last != "" {
		if n, err := strconv.ParseUint(last, 10, 64); err != nil || n != delivered {
			return errInterrupted
		}
	}
	if stalled := m.Header.Get("Nats-Consumer-Stalled"); stalled != "" {
		return c.nc.Publish(stalled, nil)
	}
	return nil
}

// forget deletes a consumer without waiting for the answer. The broker would drop it later anyway.
func (c *Client) forget(stream, consumer string) {
	_ = c.nc.Publish("$JS.API.CONSUMER.DELETE."+stream+"."+consumer, nil)
}

// parse makes a record of a message of the log. A foreign message is logged and gives nil.
func (c *Client) parse(m *nats.Msg, at *nats.MsgMetadata) *record.Record {
	r, err := record.Parse(m.Subject, m.Header, m.Data)
	if err != nil {
		c.log.Warn("the log holds a message that is no record", "stream", at.Stream, "position", at.Sequence.Stream, "error", err)
		return nil
	}
	r.Seq, r.Time = at.Sequence.Stream, at.Timestamp
	return r
}
