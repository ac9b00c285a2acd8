package jetstream

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
)

// lastStored returns the last message on a subject, which may have wildcards, as the leader of the stream has it. A direct
// get is a little cheaper, but any replica answers it, and one that is behind would deny what a client has been promised
// a moment ago. NOT_FOUND: there is none.
func (c *Client) lastStored(ctx context.Context, stream, subject string) (*nats.RawStreamMsg, error) {
	js, err := c.nc.JetStream() // the older API of nats.go, as the newer one asks the leader only of a stream without direct gets
	if err != nil {
		return nil, err
	}
	m, err := js.GetLastMsg(stream, subject, nats.Context(ctx))
	var api *nats.APIError
	switch {
	case errors.Is(err, nats.ErrMsgNotFound), errors.Is(err, nats.ErrStreamNotFound):
		return nil, envelope.Errorf(envelope.CodeNotFound, "nothing on %s in %s", subject, stream)
	case errors.As(err, &api):
		code := codeOfAPI(&natsjs.APIError{Code: api.Code, ErrorCode: natsjs.ErrorCode(api.ErrorCode), Description: api.Description})
		return nil, envelope.Errorf(code, "%w", err)
	}
	return m, err
}

// subjectAt returns the subject of the message that the leader of a stream has at a position, "" for none.
func (c *Client) subjectAt(ctx context.Context, stream string, pos uint64) (string, error) {
	op, cancel := c.bounded(ctx)
	defer cancel()
	m, err := c.storedAt(op, stream, pos)
	if err != nil || m == nil {
		return "", err
	}
	return m.Subject, nil
}

// storedAt returns the message that the leader of a stream has at a position, nil for none.
func (c *Client) storedAt(ctx context.Context, stream string, pos uint64) (*nats.RawStreamMsg, error) {
	js, err := c.nc.JetStream()
	if err != nil {
		return nil, err
	}
	m, err := js.GetMsg(stream, pos, nats.Context(ctx))
	if errors.Is(err, nats.ErrMsgNotFound) {
		return nil, nil
	}
	return m, err
}

// lastRecord is lastStored, of the log.
func (c *Client) lastRecord(ctx context.Context, stream, subject string) (*record.Record, error) {
	m, err := c.lastStored(ctx, stream, subject)
	if err != nil {
		return nil, err
	}
	return recordOf(m)
}

// recordOf makes a record of a message of the log.
func recordOf(m *nats.RawStreamMsg) (*record.Record, error) {
	r, err := record.Parse(m.Subject, m.Header, m.Data)
	if err != nil {
		return nil, envelope.Errorf(envelope.CodeDataLoss, "the log holds a message that is no record: %w", err)
	}
	r.Seq, r.Time = m.Sequence, m.Time
	return r, nil
}

// isRemoval reports whether a message of a bucket says that its key has no value: it was deleted, or its time was over.
func isRemoval(header nats.Header) bool {
	return header.Get("KV-Operation") != "" || header.Get(natsjs.MarkerReasonHeader) != ""
}
