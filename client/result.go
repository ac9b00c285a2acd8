package client

import (
	"context"
	"errors"
	"io"
	"iter"

	"github.com/arcp-nats/arcp/envelope"
)

// ErrResultRestarted is the error of reading a streamed result of which a part was read when its job began anew, with
// another worker: what was read is worth nothing. A new reader of the same job reads the result of that attempt.
var ErrResultRestarted = errors.New("client: the job began anew, and what was read of its result is worth nothing")

// ResultReader reads the streamed result of a job as it comes (open dialect RS-6), from the job's events: a job has one
// reader of those, Events or this. Read returns io.EOF when the job was completed and all of the result was read, whatever
// kind of result that was; Job.Wait says which. It fails with the job's error if the job was not completed, with DATA_LOSS
// if the chunks do not fit together, and with ErrResultRestarted. It waits until ctx ends. It is not safe for concurrent
// use.
type ResultReader struct {
	job       *Job
	ctx       context.Context
	next      func() (*envelope.Envelope, error, bool)
	stop      func()
	assembler envelope.ResultAssembler
	piece     []byte
	began     bool
	err       error
}

// ResultReader returns a reader of the job's streamed result. It must be closed.
func (j *Job) ResultReader(ctx context.Context) *ResultReader {
	r := &ResultReader{job: j, ctx: ctx}
	r.next, r.stop = iter.Pull2(j.Events(ctx))
	return r
}

// Read reads what comes next.
func (r *ResultReader) Read(p []byte) (int, error) {
	for len(r.piece) == 0 && r.err == nil {
		r.advance()
	}
	if len(r.piece) == 0 {
		return 0, r.err
	}
	n := copy(p, r.piece)
	r.piece, r.began = r.piece[n:], true
	return n, nil
}

// advance takes the next event.
func (r *ResultReader) advance() {
	e, err, ok := r.next()
	switch {
	case !ok:
		if _, r.err = r.job.Wait(r.ctx); r.err == nil {
			r.err = io.EOF
		}
		return
	case err != nil:
		if _, r.err = r.job.Wait(r.ctx); r.err == nil {
			r.err = err
		}
		return
	}
	piece, err := r.assembler.Take(e)
	switch {
	case err != nil:
		r.err = err
	case piece.Restart && r.began:
		r.err = ErrResultRestarted
	default:
		r.piece = piece.Data
	}
}

// Close ends the reading. The events that were not read are still the job's.
func (r *ResultReader) Close() error {
	r.stop()
	if r.err == nil {
		r.err = io.ErrClosedPipe
	}
	r.piece = nil
	return nil
}

// ReadResult reads all of the job's streamed result into memory, at most 256 MiB (open dialect RS-4). It waits for its end,
// and begins again when the job does: what it returns is the last attempt's. It is empty for another kind of result.
// Otherwise it is a ResultReader.
func (j *Job) ReadResult(ctx context.Context) ([]byte, error) {
	for {
		r := j.ResultReader(ctx)
		whole, err := io.ReadAll(r)
		_ = r.Close()
		switch {
		case err == nil:
			return whole, nil
		case !errors.Is(err, ErrResultRestarted):
			return nil, err
		}
	}
}
