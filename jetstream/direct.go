package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// directGet asks for stored records without a consumer. In a cluster any replica answers, maybe one that is a moment
// behind. Without Batch it asks for one record; MultiLast asks for the last record of each subject that matches.
type directGet struct {
	Seq       uint64     `json:"seq,omitempty"`
	StartTime *time.Time `json:"start_time,omitempty"`
	Next      string     `json:"next_by_subj,omitempty"`
	Last      string     `json:"last_by_subj,omitempty"`
	MultiLast []string   `json:"multi_last,omitempty"`
	Batch     int        `json:"batch,omitempty"`
	MaxBytes  int        `json:"max_bytes,omitempty"`
}

// single tells whether the answer is one message, without an end of the batch.
func (r *directGet) single() bool { return r.Batch == 0 && r.MultiLast == nil }

// Statuses of an answer that is no record.
const (
	statusEnd       = "204" // of a batch
	statusNone      = "404"
	statusTooMany   = "413" // subjects for MultiLast: over 1024
	statusNoServer  = "503"
	headerStatus    = "Status"
	headerSeq       = "Nats-Sequence"
	headerLastSeq   = "Nats-Last-Sequence" // of the batch, before this message
	headerPending   = "Nats-Num-Pending"
	headerUpTo      = "Nats-UpTo-Sequence"
	headerSubject   = "Nats-Subject"
	headerTimeStamp = "Nats-Time-Stamp"
)

var (
	errTooManySubjects = errors.New("too many subjects")
	errAnswerLost      = errors.New("a part of the answer was lost")
)

// batch is how an answer ended.
type batch struct {
	pending uint64 // records that match and come after those that were sent
	upTo    uint64 // the last position that the answering replica has; 0 if it did not say
}

// answering is the state of an answer that is being received.
type answering struct {
	last   uint64 // position of the last record, 0 before the first
	single bool
}

// receive takes a message of an answer. It returns the message's record if it is one; over says that the answer is
// complete, as end tells.
func (a *answering) receive(m *nats.Msg) (rec *nats.Msg, over bool, end batch, err error) {
	status := m.Header.Get(headerStatus)
	switch status {
	case "":
		seq, err := strconv.ParseUint(m.Header.Get(headerSeq), 10, 64)
		if err != nil {
			return nil, true, end, fmt.Errorf("position of a record: %w", err)
		}
		if !a.single && number(m, headerLastSeq) != a.last {
			return nil, true, end, errAnswerLost
		}
		a.last = seq
		return m, a.single, end, nil
	case statusEnd:
		if number(m, headerLastSeq) != a.last {
			return nil, true, end, errAnswerLost
		}
		return nil, true, batch{pending: number(m, headerPending), upTo: number(m, headerUpTo)}, nil
	case statusNone:
		return nil, true, end, nil
	case statusTooMany:
		return nil, true, end, errTooManySubjects
	case statusNoServer:
		return nil, true, end, nats.ErrNoResponders
	}
	return nil, true, end, fmt.Errorf("the broker answered %s %s", status, m.Header.Get("Description"))
}

func number(m *nats.Msg, header string) uint64 {
	n, _ := strconv.ParseUint(m.Header.Get(header), 10, 64)
	return n
}

// get asks a stream and passes the messages of the answer to fn, in stream order. No answer at all is no error.
func (c *Client) get(ctx context.Context, stream string, req *directGet, fn func(m *nats.Msg)) (end batch, err error) {
	inbox := nats.NewInbox()
	messages, unsubscribe, err := c.subscribe(inbox)
	if err != nil {
		return end, err
	}
	defer unsubscribe()
	if err := c.ask(stream, req, inbox); err != nil {
		return end, err
	}
	a := answering{single: req.single()}
	for {
		select {
		case m := <-messages:
			rec, over, end, err := a.receive(m)
			if rec != nil {
				fn(rec)
			}
			if over || err != nil {
				return end, err
			}
		case <-ctx.Done():
			return end, ctx.Err()
		}
	}
}

// ask sends a request; the answer comes on the reply subject.
func (c *Client) ask(stream string, req *directGet, reply string) error {
	data, err := json.Marshal(req)
	if err != nil {
		return err
	}
	return c.nc.PublishRequest("$JS.API.DIRECT.GET."+stream, reply, data)
}

// parseDirect makes a record of a message that a direct get brought. A foreign message is logged and gives nil.
func (c *Client) parseDirect(m *nats.Msg) *record.Record {
	subject := m.Header.Get(headerSubject)
	stored, err := time.Parse(time.RFC3339Nano, m.Header.Get(headerTimeStamp))
	var r *record.Record
	if err == nil {
		r, err = record.Parse(subject, m.Header, m.Data)
	}
	if err != nil {
		c.log.Warn("the log holds a message that is no record", "subject", subject, "position", number(m, headerSeq), "error", err)
		return nil
	}
	r.Seq, r.Time = number(m, headerSeq), stored
	return r
}

// PositionAt returns the position of the first record of a shard that was stored at a time or after it. NOT_FOUND: there
// is none.
func (c *Client) PositionAt(ctx context.Context, shard int, at time.Time) (uint64, error) {
	op, cancel := c.bounded(ctx)
	defer cancel()
	var seq uint64
	_, err := c.get(op, subjects.StreamName(shard), &directGet{StartTime: &at, Batch: 1, MaxBytes: 1}, func(m *nats.Msg) { seq = number(m, headerSeq) })
	if err == nil && seq == 0 {
		err = envelope.Errorf(envelope.CodeNotFound, "nothing was stored after %s", at.Format(time.RFC3339Nano))
	}
	return seq, failed(ctx, "position by time", err)
}
