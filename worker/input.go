package worker

import (
	"context"
	"iter"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// StreamMessage is something that a client says to a job in a stream of its own.
// One of Open, Chunk, Close and Err is set; Close and Err end the stream.
type StreamMessage struct {
	// ID is the stream. Two sessions may choose the same one, so it goes with
	// the session: that of the job, or another one of the same principal.
	ID        envelope.StreamID
	SessionID envelope.SessionID
	// Kind is what the stream was opened as.
	Kind  envelope.StreamKind
	Open  *envelope.StreamOpen
	Chunk *envelope.StreamChunk
	Close *envelope.StreamClose
	// Err is the client's own error, or a DATA_LOSS if what it says is no
	// stream: a chunk is missing, or is not of the stream's kind.
	Err *envelope.Error
}

// Bytes is the data of a chunk, decoded.
func (m *StreamMessage) Bytes() ([]byte, error) {
	if m.Chunk == nil {
		return nil, nil
	}
	return m.Chunk.Bytes(m.Kind)
}

// Input returns what clients stream to the job, in order: from the first message
// on, in each attempt, and then as it comes. Each chunk comes once, also if the
// client has sent it again. While the log is away it waits. The sequence ends
// with an error: ctx's cause, or one of the log's for good. A second loop goes
// on where the first one left off. There must be one at a time.
func (j *Job) Input(ctx context.Context) iter.Seq2[StreamMessage, error] {
	return func(yield func(StreamMessage, error) bool) {
		if j.inputs == nil {
			j.inputs = make(map[inputKey]envelope.StreamRule)
		}
		for {
			e, err := j.input.next(ctx, j.bus, subjects.JobInput(j.inv.rec.Subject))
			if err != nil {
				yield(StreamMessage{}, err)
				return
			}
			if m, said := j.inputMessage(e); said && !yield(m, nil) {
				return
			}
		}
	}
}

// inputKey names a stream of a client.
type inputKey struct {
	session envelope.SessionID
	stream  envelope.StreamID
}

// inputMessage is what a client's message says, if it says something new.
func (j *Job) inputMessage(e *envelope.Envelope) (StreamMessage, bool) {
	key := inputKey{e.SessionID, e.StreamID}
	rule := j.inputs[key]
	m := StreamMessage{ID: e.StreamID, SessionID: e.SessionID}
	if rule.Ended && e.Type == envelope.TypeStreamOpen && e.ID != rule.Opening {
		rule = envelope.StreamRule{} // another stream, under a name that was used before
	}
	if rule.Ended || rule.Repeats(e) {
		return m, false // said again, or after the end
	}
	var err error
	switch e.Type {
	case envelope.TypeStreamOpen:
		m.Open, err = envelope.DecodePayload[envelope.StreamOpen](e)
	case envelope.TypeStreamChunk:
		m.Chunk, err = envelope.DecodePayload[envelope.StreamChunk](e)
	case envelope.TypeStreamClose:
		m.Close, err = envelope.DecodePayload[envelope.StreamClose](e)
	default:
		failure, decodeErr := envelope.DecodePayload[envelope.StreamError](e)
		if err = decodeErr; err == nil {
			m.Err = &envelope.Error{Code: failure.Code, Message: failure.Message}
		}
	}
	if err == nil {
		rule, err = rule.Take(e)
	}
	if err != nil {
		m.Open, m.Chunk, m.Close = nil, nil, nil
		m.Err = &envelope.Error{Code: envelope.CodeDataLoss, Message: "what the client streams is broken: " + err.Error(), Err: err}
		rule.Begun, rule.Ended = true, true
	}
	m.Kind = rule.Kind
	j.inputs[key] = rule
	return m, true
}

// pickStreams returns the messages of streams in a record.
func pickStreams(r *record.Record) (found []*envelope.Envelope) {
	for t, body := range r.Lines() {
		switch t {
		case envelope.TypeStreamOpen, envelope.TypeStreamChunk, envelope.TypeStreamClose, envelope.TypeStreamError:
			if env, err := envelope.DecodeStored(body); err == nil {
				found = append(found, env)
			}
		}
	}
	return found
}
