package worker

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"sync"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// maxStreams bounds the streams that a job has open.
const maxStreams = 64

// streamPiece is how many bytes Write puts into a chunk.
const streamPiece = 48 << 10

var (
	// ErrStreamCancelled is the error of a stream that the client has cancelled.
	ErrStreamCancelled = errors.New("worker: the client has cancelled the stream")
	// ErrStreamEnded is the error of a stream that was closed.
	ErrStreamEnded = errors.New("worker: the stream has ended")
)

// Stream is a stream of a job to its client, and to whoever watches (open
// dialect 3.6). Its methods are safe for concurrent use; what they say arrives
// in the order in which they are called. Like all that a handler says they wait
// while the job's outbox is full, because the log is slow or away, until ctx
// ends. What is open when the handler returns is ended for it: closed if the
// job is completed, and else with stream.error.
type Stream struct {
	job       *Job
	kind      envelope.StreamKind
	speaker   speaker
	cancelled chan struct{} // closed when the client wants no more

	mu   sync.Mutex // held while something is said, so that chunks come in order
	rule envelope.StreamRule
}

// StreamOption changes how a stream is opened.
type StreamOption func(*envelope.StreamOpen)

// WithContentType says what the data of the stream is, as a media type.
func WithContentType(mediaType string) StreamOption {
	return func(o *envelope.StreamOpen) { o.ContentType = mediaType }
}

// openStreams are the streams of an attempt that have not ended.
type openStreams struct {
	mu   sync.Mutex
	open map[envelope.StreamID]*Stream
}

// OpenStream opens a stream. A job has at most 64 open: RESOURCE_EXHAUSTED.
// Another attempt opens its own; clients take what an earlier one had open as
// ended when that begins.
func (j *Job) OpenStream(ctx context.Context, kind envelope.StreamKind, options ...StreamOption) (*Stream, error) {
	open := envelope.StreamOpen{Kind: kind}
	for _, option := range options {
		option(&open)
	}
	s := &Stream{job: j, kind: kind, speaker: j.speaker, cancelled: make(chan struct{})}
	s.speaker.stream = envelope.NewStreamID()
	if err := j.streams.add(s); err != nil {
		return nil, err
	}
	if err := s.say(ctx, envelope.TypeStreamOpen, &open); err != nil {
		j.streams.remove(s)
		return nil, err
	}
	switch kind {
	case envelope.StreamThought, envelope.StreamLog, envelope.StreamMetric: // shown chunk by chunk to clients that know no streams
		s.speaker.extensions = withExtension(s.speaker.extensions, envelope.StreamKindExtension, string(kind))
	}
	return s, nil
}

// ID is the stream's id.
func (s *Stream) ID() envelope.StreamID { return s.speaker.stream }

// Cancelled returns a channel that is closed when the client has cancelled the
// stream. After that it says nothing more but that.
func (s *Stream) Cancelled() <-chan struct{} { return s.cancelled }

// Send sends a chunk: a string in a stream of text, []byte in a binary one,
// which goes out as base64 with its hash, and in the others any value that
// encodes as a JSON object. What is not of the stream's kind is refused with
// INVALID_ARGUMENT and not sent.
func (s *Stream) Send(ctx context.Context, data any) error {
	return s.SendChunk(ctx, data, envelope.StreamChunk{})
}

// Think sends a thought: what somebody in a role, such as assistant, thinks.
// redacted says that the text is not all of it.
func (s *Stream) Think(ctx context.Context, role, text string, redacted bool) error {
	return s.SendChunk(ctx, text, envelope.StreamChunk{Role: role, Redacted: redacted})
}

// SendChunk is Send with the other members of a chunk; its sequence, data and
// hash are set.
func (s *Stream) SendChunk(ctx context.Context, data any, chunk envelope.StreamChunk) error {
	chunk.SHA256 = ""
	if raw, binary := data.([]byte); binary && s.kind == envelope.StreamBinary {
		sum := sha256.Sum256(raw)
		chunk.SHA256, data = hex.EncodeToString(sum[:]), base64.StdEncoding.EncodeToString(raw)
	}
	encoded, err := encodeValue(data)
	if err != nil {
		return &envelope.Error{Code: envelope.CodeInvalidArgument, Message: "stream.chunk: data cannot be written as JSON", Err: err}
	}
	chunk.Data = encoded
	return s.say(ctx, envelope.TypeStreamChunk, &chunk)
}

// Writer returns an io.Writer that sends what is written to it in chunks of at
// most 48 KiB. In a stream of text each write must be whole UTF-8.
func (s *Stream) Writer(ctx context.Context) *StreamWriter { return &StreamWriter{s, ctx} }

// StreamWriter writes to a stream of text or of kind binary.
type StreamWriter struct {
	stream *Stream
	ctx    context.Context
}

// Write sends p.
func (w *StreamWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		size := min(len(p), streamPiece)
		var piece any = p[:size]
		if w.stream.kind != envelope.StreamBinary {
			size = wholeRunes(p[:size])
			piece = string(p[:size])
		}
		if err := w.stream.Send(w.ctx, piece); err != nil {
			return n, err
		}
		n, p = n+size, p[size:]
	}
	return n, nil
}

// Close ends the stream. Closing one that has ended does nothing.
func (s *Stream) Close(ctx context.Context) error {
	err := s.say(ctx, envelope.TypeStreamClose, nil)
	if errors.Is(err, ErrStreamEnded) {
		return nil
	}
	return err
}

// Fail ends the stream with an error: its code and text go to the client.
func (s *Stream) Fail(ctx context.Context, failure error) error {
	return s.say(ctx, envelope.TypeStreamError, s.job.streamError(failure))
}

// say says a message of the stream, in its turn.
func (s *Stream) say(ctx context.Context, typ envelope.Type, payload any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.cancelled:
		if !s.rule.Ended {
			typ, payload = envelope.TypeStreamError, s.cancelError()
			defer func() { s.rule.Ended = true }()
			if err := s.job.sayAs(ctx, &s.speaker, typ, payload); err != nil {
				return err
			}
			s.job.streams.remove(s)
		}
		return ErrStreamCancelled
	default:
	}
	if s.rule.Ended {
		return ErrStreamEnded
	}
	switch p := payload.(type) {
	case *envelope.StreamChunk:
		p.Sequence = s.rule.Next
	case nil:
		payload = s.closing()
	}
	e, err := envelope.New(typ, payload)
	if err != nil {
		return &envelope.Error{Code: envelope.CodeInvalidArgument, Message: string(typ) + " cannot be written as JSON", Err: err}
	}
	rule, err := s.rule.Take(e)
	if err != nil {
		return err
	}
	if err := s.job.sayAs(ctx, &s.speaker, typ, payload); err != nil {
		return err
	}
	if s.rule = rule; rule.Ended {
		s.job.streams.remove(s)
	}
	return nil
}

// closing is the end of a stream that went well.
func (s *Stream) closing() *envelope.StreamClose {
	end := new(envelope.StreamClose)
	if s.rule.Next > 0 {
		final := s.rule.Next - 1
		end.FinalSequence = &final
	}
	return end
}

func (s *Stream) cancelError() *envelope.StreamError {
	return &envelope.StreamError{Code: envelope.CodeCancelled, Message: "cancelled by the client"}
}

// streamError is what a stream is ended with for a failure.
func (j *Job) streamError(failure error) *envelope.StreamError {
	if failure == nil {
		failure = errors.New("the stream failed")
	}
	e := toolError(failure)
	return &envelope.StreamError{Code: j.inv.rec.Codes.Code(e.Code), Message: clip(e.Message)}
}

// add takes a stream in.
func (o *openStreams) add(s *Stream) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.open) >= maxStreams {
		return envelope.Errorf(envelope.CodeResourceExhausted, "the job has %d streams open, the limit", maxStreams)
	}
	if o.open == nil {
		o.open = make(map[envelope.StreamID]*Stream)
	}
	o.open[s.ID()] = s
	return nil
}

func (o *openStreams) remove(s *Stream) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.open, s.ID())
}

// offer takes a record of the job's input lane: the client may cancel a stream.
func (o *openStreams) offer(r *record.Record) {
	id, cancels := cancelledStream(r)
	if !cancels {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if s := o.open[id]; s != nil {
		select {
		case <-s.cancelled:
		default:
			close(s.cancelled)
		}
	}
}

// cancelledStream returns the stream that a record of the input lane cancels.
func cancelledStream(r *record.Record) (id envelope.StreamID, cancels bool) {
	for t, body := range r.Lines() {
		if t != envelope.TypeCancel {
			continue
		}
		env, err := envelope.DecodeStored(body)
		if err != nil {
			continue
		}
		cancel, err := envelope.DecodePayload[envelope.Cancel](env)
		if err == nil && cancel.Target == envelope.TargetStream {
			return envelope.StreamID(cancel.TargetID), true
		}
	}
	return "", false
}

// lookUp reads in the log which streams were cancelled, for what may have been
// missed.
func (o *openStreams) lookUp(ctx context.Context, bus Bus, inv invocation) {
	o.mu.Lock()
	none := len(o.open) == 0
	o.mu.Unlock()
	if none {
		return
	}
	_ = retry(ctx, func() error {
		return bus.ReadJob(ctx, subjects.JobInput(inv.rec.Subject), func(r *record.Record) bool {
			o.offer(r)
			return true
		})
	})
}

// endStreams returns what ends the streams that are open at an end of the job,
// in the order in which they were opened.
func (j *Job) endStreams(e ending) (last []line) {
	for _, s := range j.streams.all() {
		s.mu.Lock()
		var typ envelope.Type
		var payload any
		select {
		case <-s.cancelled:
			typ, payload = envelope.TypeStreamError, s.cancelError()
		default:
			typ, payload = j.streamEnd(s, e)
		}
		if !s.rule.Ended {
			if l, err := s.speaker.line(typ, payload); err == nil {
				last = append(last, l)
			}
		}
		s.rule.Ended = true
		s.mu.Unlock()
	}
	return last
}

// streamEnd is how a stream ends with its job.
func (j *Job) streamEnd(s *Stream, e ending) (envelope.Type, any) {
	switch {
	case e.completed != nil:
		return envelope.TypeStreamClose, s.closing()
	case e.cancelled != nil:
		return envelope.TypeStreamError, &envelope.StreamError{Code: envelope.CodeCancelled, Message: clip(*e.cancelled)}
	default:
		return envelope.TypeStreamError, j.streamError(e.failed)
	}
}

// all returns the open streams in the order of their ids, which rise.
func (o *openStreams) all() (list []*Stream) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.open {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *Stream) int { return cmp.Compare(a.ID(), b.ID()) })
	return list
}
