package demo

import (
	"context"
	"io"
	"math/rand/v2"

	"github.com/arcp-nats/arcp/worker"
)

// maxArtifact bounds the size of an artifact, in bytes.
const maxArtifact = 1 << 30

// makeArtifact writes bytes that do not repeat, always the same ones.
func makeArtifact(ctx context.Context, job *worker.Job) (any, error) {
	args := struct {
		Bytes     int64  `json:"bytes"`
		MediaType string `json:"media_type"`
	}{MediaType: "application/octet-stream"}
	if err := job.Bind(&args); err != nil {
		return nil, err
	}
	if err := inRange("bytes", args.Bytes, 0, maxArtifact); err != nil {
		return nil, err
	}
	w, err := job.Artifact(ctx, args.MediaType)
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	if _, err := io.Copy(w, io.LimitReader(rand.NewChaCha8([32]byte{}), args.Bytes)); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return worker.ResultRef(w.Ref()), nil
}
