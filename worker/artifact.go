package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"time"

	"github.com/arcp-nats/arcp/artifact"
	"github.com/arcp-nats/arcp/envelope"
)

// ResultRef is what a handler returns whose result is an artifact. The job
// completes with result_ref instead of a value:
//
//	w, err := job.Artifact(ctx, "text/csv")
//	...
//	if err := w.Close(); err != nil {
//		return nil, err
//	}
//	return worker.ResultRef(w.Ref()), nil
type ResultRef envelope.ArtifactRef

// ArtifactWriter writes an artifact. See [Job.Artifact]. It is not safe for
// concurrent use.
type ArtifactWriter struct {
	job    *Job
	ctx    context.Context
	upload artifact.Upload
	ref    envelope.ArtifactRef
	closed bool
	err    error // of Close
}

// Artifact begins an artifact of the job's principal. What is written goes to
// the store piece by piece, and is never in memory as a whole. Close makes it
// an artifact and tells the client of it with artifact.ref; what is not closed
// is nobody's, and goes when it would have expired. It is kept for
// Config.ArtifactRetention from now on, and must be written within that time.
//
// ctx bounds all the writing. While the store is away, writing waits; when it
// is full, it fails with RESOURCE_EXHAUSTED. A media type of more than 255
// bytes, or with control characters, is refused with INVALID_ARGUMENT.
//
// An attempt that is given up leaves its artifacts to expire, and the next one
// makes its own.
func (j *Job) Artifact(ctx context.Context, mediaType string) (*ArtifactWriter, error) {
	store, err := j.store(ctx)
	if err != nil {
		return nil, err
	}
	if err := artifact.CheckMediaType(mediaType); err != nil {
		return nil, err
	}
	upload, err := store.Create(ctx, artifact.Info{
		ID: envelope.NewArtifactID(), Principal: j.Principal(), MediaType: mediaType,
		ExpiresAt: artifact.Until(time.Now(), j.keepArtifacts),
	})
	if err != nil {
		return nil, err
	}
	return &ArtifactWriter{job: j, ctx: ctx, upload: upload}, nil
}

// Write implements [io.Writer].
func (w *ArtifactWriter) Write(p []byte) (int, error) {
	if w.closed {
		return 0, errArtifactClosed
	}
	return w.upload.Write(p)
}

var errArtifactClosed = errors.New("worker: the artifact is closed")

// Close ends the artifact, and tells the client of it. It is stored before the
// client can hear of it. A second call returns what the first one did.
func (w *ArtifactWriter) Close() error {
	if w.closed {
		return w.err
	}
	w.closed = true
	info, err := w.upload.Commit()
	if err == nil {
		w.ref = info.Ref()
		err = w.job.say(w.ctx, envelope.TypeArtifactRef, &envelope.ArtifactRefMessage{Artifact: w.ref})
	}
	w.err = err
	return err
}

// Abort gives the artifact up, and what was written of it. After Close it does
// nothing, so that it can be deferred.
func (w *ArtifactWriter) Abort() {
	if !w.closed {
		w.closed, w.err = true, errArtifactClosed
		w.upload.Abort()
	}
}

// Ref is what clients know the artifact by: its id, size, hash and end. It is
// empty before Close has succeeded.
func (w *ArtifactWriter) Ref() envelope.ArtifactRef { return w.ref }

// ArtifactReader reads an artifact. See [Job.Open]. It is not safe for
// concurrent use.
type ArtifactReader struct {
	object artifact.Object
	sum    hash.Hash // of what was read, nil once it was not read in order
	read   int64
}

// Open finds an artifact of the job's principal, by its id or its URI, such as
// a client passes in the arguments. It is read from the store, a piece at a
// time. NOT_FOUND: there is none, or it is another principal's, or its time is
// over; INVALID_ARGUMENT: the reference is none.
func (j *Job) Open(ctx context.Context, ref string) (*ArtifactReader, error) {
	store, err := j.store(ctx)
	if err != nil {
		return nil, err
	}
	id, err := artifact.ParseRef(ref)
	if err != nil {
		return nil, err
	}
	object, err := store.Open(ctx, j.Principal(), id)
	if err != nil {
		return nil, err
	}
	return &ArtifactReader{object: object, sum: sha256.New()}, nil
}

// Ref is what clients know the artifact by.
func (r *ArtifactReader) Ref() envelope.ArtifactRef { return r.object.Info().Ref() }

// Read implements [io.Reader]. At the end of an artifact that was read from its
// start, in order, the hash is compared: DATA_LOSS, if it is another one.
func (r *ArtifactReader) Read(p []byte) (int, error) {
	n, err := r.object.Read(p)
	if r.sum != nil {
		r.sum.Write(p[:n])
		r.read += int64(n)
		if errors.Is(err, io.EOF) && hex.EncodeToString(r.sum.Sum(nil)) != r.object.Info().SHA256 {
			return n, envelope.Errorf(envelope.CodeDataLoss, "the artifact is not what was stored")
		}
	}
	return n, err
}

// Seek implements [io.Seeker].
func (r *ArtifactReader) Seek(offset int64, whence int) (int64, error) {
	at, err := r.object.Seek(offset, whence)
	if err == nil && at != r.read {
		r.sum = nil
	}
	return at, err
}

// store is where the artifacts of the worker's bus are.
func (j *Job) store(ctx context.Context) (artifact.Store, error) {
	if err := contextCause(ctx); err != nil {
		return nil, err
	}
	store := j.bus.Artifacts()
	if store == nil {
		return nil, envelope.Errorf(envelope.CodeUnimplemented, "this worker has no store of artifacts")
	}
	return store, nil
}
