package worker

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/arcp-nats/arcp/envelope"
)

// resultPiece is how many bytes of a result a ResultWriter puts into a chunk at
// most; a multiple of 3, so that base64 has no padding within.
const resultPiece = 48 << 10

// pieceFor is how many bytes of a result fit an envelope of limit bytes, as text
// that JSON has to quote, of which a byte may become six. It leaves 2 KiB for
// the envelope around them, and is never less than a character.
func pieceFor(limit int) int {
	const around, quoted = 2 << 10, 6
	return min(resultPiece, max((limit-around)/quoted/3*3, 6))
}

// ErrResultClosed is the error of writing to a result that was closed.
var ErrResultClosed = errors.New("worker: the result is closed")

// resultStream is the streamed result of an attempt.
type resultStream struct {
	mu     sync.Mutex // held while a chunk is said, so that they come in order
	rule   chunkRule
	writer *ResultWriter
}

// ResultChunk sends a piece of a streamed result as it is (open dialect RS-1).
// One that breaks the order, the bounds or its encoding (RS-4) is not sent, and
// the error says what is wrong with it. A job has one streamed result: at its
// end the last chunk must have been sent, and the handler must return the
// sentinel that names the result (RS-2, RS-5), or the job fails with
// FAILED_PRECONDITION. [Job.Result] does all that by itself.
func (j *Job) ResultChunk(ctx context.Context, chunk envelope.JobResultChunk) error {
	j.result.mu.Lock()
	defer j.result.mu.Unlock()
	rule, err := j.result.rule.take(&chunk)
	if err != nil {
		return err
	}
	if err := j.say(ctx, envelope.TypeJobResultChunk, &chunk); err != nil {
		return err
	}
	j.result.rule = rule
	return nil
}

// ResultOption changes how a result is streamed.
type ResultOption func(*ResultWriter)

// AsText sends the result as text, so that a client can show each piece as it
// comes. What is written must be UTF-8; a character may be written in parts.
func AsText() ResultOption { return func(w *ResultWriter) { w.text = true } }

// WithSummary says in a few words what the result is.
func WithSummary(summary string) ResultOption { return func(w *ResultWriter) { w.summary = summary } }

// Result returns a writer for a result that is too large for one envelope, or
// comes bit by bit. It cuts what is written into chunks and sends each as soon
// as it is full; Flush sends what there is. A handler that has written its
// result this way returns nil as its value: the job is completed with the
// stream, which is ended if Close was not called. A later attempt begins a
// result of its own, and clients drop what they have of the earlier one.
//
// Without [AsText], a result that fits one chunk and is UTF-8 goes out as text,
// and any other one as base64. Writes wait while the job's outbox is full,
// until ctx ends; they fail with INTERNAL beyond 256 MiB as sent. There is one
// result: a second call returns the same writer.
func (j *Job) Result(ctx context.Context, options ...ResultOption) *ResultWriter {
	j.result.mu.Lock()
	defer j.result.mu.Unlock()
	if j.result.writer == nil {
		w := &ResultWriter{job: j, ctx: ctx, id: envelope.NewResultID(), piece: pieceFor(j.speaker.maxBytes)}
		for _, option := range options {
			option(w)
		}
		j.result.writer = w
	}
	return j.result.writer
}

// ResultWriter is a streamed result that is being written. It is an
// io.WriteCloser. Its methods are safe for concurrent use.
type ResultWriter struct {
	job     *Job
	ctx     context.Context
	id      string
	text    bool
	summary string
	piece   int // bytes of a chunk at most

	mu      sync.Mutex
	pending []byte // not sent yet, less than a piece
	seq     uint64
	size    uint64
	closed  bool
	err     error // of the first chunk that could not be sent
}

// ID is the result_id that the chunks and job.completed carry.
func (w *ResultWriter) ID() string { return w.id }

// Write takes all of p, or fails.
func (w *ResultWriter) Write(p []byte) (n int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return 0, ErrResultClosed
	}
	for w.err == nil && len(w.pending)+len(p)-n > w.piece {
		take := w.piece - len(w.pending)
		w.pending = append(w.pending, p[n:n+take]...)
		n += take
		w.send(w.whole(), true)
	}
	if w.err != nil {
		return n, w.err
	}
	w.pending = append(w.pending, p[n:]...)
	return len(p), nil
}

// Flush sends what was written, but for the beginning of a character.
func (w *ResultWriter) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := w.whole(); n > 0 && w.err == nil && !w.closed {
		w.send(n, true)
	}
	return w.err
}

// Close sends the last chunk. Later calls return what the first one did.
func (w *ResultWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed && w.err == nil {
		if w.seq == 0 && utf8.Valid(w.pending) {
			w.text = true // one chunk, and nothing can follow that is none
		}
		w.send(len(w.pending), false)
	}
	w.closed = true
	return w.err
}

// whole is how much of what is pending can be sent: with text, not a part of a
// character.
func (w *ResultWriter) whole() int {
	if !w.text {
		return len(w.pending)
	}
	return wholeRunes(w.pending)
}

// wholeRunes is how much of a text there is before a character of which only
// the beginning is there.
func wholeRunes(p []byte) int {
	n := len(p)
	for back := 1; back < utf8.UTFMax && back <= n; back++ {
		if utf8.RuneStart(p[n-back]) {
			if !utf8.FullRune(p[n-back:]) {
				return n - back
			}
			break
		}
	}
	return n
}

// send says the first n of the pending bytes. It needs the lock.
func (w *ResultWriter) send(n int, more bool) {
	chunk := envelope.JobResultChunk{ResultID: w.id, ChunkSeq: w.seq, More: more}
	piece := w.pending[:n]
	switch {
	case !w.text:
		chunk.Encoding, chunk.Data = envelope.EncodingBase64, base64.StdEncoding.EncodeToString(piece)
	case !utf8.Valid(piece):
		w.err = envelope.Errorf(envelope.CodeInvalidArgument, "the result was to be text, and is not UTF-8 at byte %d or after it", w.size)
		return
	default:
		chunk.Encoding, chunk.Data = envelope.EncodingUTF8, string(piece)
	}
	if w.err = w.job.ResultChunk(w.ctx, chunk); w.err != nil {
		return
	}
	w.seq++
	w.size += uint64(n)
	w.pending = slices.Delete(w.pending, 0, n)
}

// concludeResult makes an end of the attempt agree with the result that it has
// streamed. returned tells whether the handler returned a value.
func (j *Job) concludeResult(e ending, returned bool) ending {
	if e.completed == nil {
		return e
	}
	j.result.mu.Lock()
	w := j.result.writer
	j.result.mu.Unlock()
	if w != nil && !returned {
		if err := w.Close(); err != nil {
			return concludeError(err)
		}
		size := w.size
		e.completed = &envelope.JobCompleted{ResultID: w.id, ResultSize: &size, Summary: w.summary}
	}
	j.result.mu.Lock()
	rule := j.result.rule
	j.result.mu.Unlock()
	if err := rule.complete(e.completed); err != nil {
		return concludeError(err)
	}
	return e
}
