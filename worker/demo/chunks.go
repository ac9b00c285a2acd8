package demo

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/worker"
)

// Bounds of the arguments of chunks.
const (
	maxChunks     = 100_000
	maxChunkBytes = 2 << 20
)

// chunkArguments is what chunks takes: parts, or the number and size of made-up
// ones.
type chunkArguments struct {
	Parts    []string               `json:"parts"`
	Count    int64                  `json:"count"`
	Bytes    int64                  `json:"bytes"`
	Encoding envelope.ChunkEncoding `json:"encoding"`
	Break    string                 `json:"break"`
}

// breaks are the rules that chunks can break: what it does to the chunk that
// comes after the parts (open dialect RS-4, RS-5).
var breaks = map[string]func(c *envelope.JobResultChunk){
	"":            nil,
	"no_last":     nil,
	"empty_id":    func(c *envelope.JobResultChunk) { c.ResultID = "" },
	"first_not_0": func(c *envelope.JobResultChunk) { c.ChunkSeq = 1 },
	"other_id":    func(c *envelope.JobResultChunk) { c.ResultID += "x" },
	"skip":        func(c *envelope.JobResultChunk) { c.ChunkSeq++ },
	"after_last":  func(*envelope.JobResultChunk) {},
	"too_long":    func(c *envelope.JobResultChunk) { c.Data = strings.Repeat("A", 1<<20+4) },
}

func (a *chunkArguments) check() error {
	if a.Encoding == "" {
		a.Encoding = envelope.EncodingUTF8
	}
	if _, known := breaks[a.Break]; !known {
		return envelope.Errorf(envelope.CodeInvalidArgument, "arguments.break: no such rule %q", a.Break)
	}
	if err := inRange("count", a.Count, 0, maxChunks); err != nil {
		return err
	}
	return inRange("bytes", a.Bytes, 0, maxChunkBytes)
}

// parts returns the parts of the result, which may be the same one many times.
// There is one at least.
func (a *chunkArguments) parts() []string {
	parts := a.Parts
	if parts == nil {
		part := strings.Repeat("0123456789abcdef", int(a.Bytes)/16+1)[:a.Bytes]
		parts = slices.Repeat([]string{part}, int(a.Count))
	}
	if len(parts) == 0 {
		parts = []string{""}
	}
	return parts
}

// data is a part as it is sent.
func (a *chunkArguments) data(part string) string {
	if a.Encoding == envelope.EncodingBase64 {
		return base64.StdEncoding.EncodeToString([]byte(part))
	}
	return part
}

// chunks streams a result in the chunks that it is told, one by one.
func chunks(ctx context.Context, job *worker.Job) (any, error) {
	var args chunkArguments
	if err := job.Bind(&args); err != nil {
		return nil, err
	}
	if err := args.check(); err != nil {
		return nil, err
	}
	parts, size := args.parts(), uint64(0)
	id := envelope.NewResultID()
	broken := breaks[args.Break]
	chunk := envelope.JobResultChunk{ResultID: id, Encoding: args.Encoding, More: true}
	if args.Break == "first_not_0" || args.Break == "empty_id" {
		parts = nil
	}
	for i, part := range parts {
		size += uint64(len(part))
		chunk.ChunkSeq, chunk.Data = uint64(i), args.data(part)
		if i == len(parts)-1 {
			chunk.More = args.Break == "no_last" || broken != nil && args.Break != "after_last"
		}
		if err := job.ResultChunk(ctx, chunk); err != nil {
			return nil, err
		}
	}
	if broken != nil {
		chunk.ChunkSeq, chunk.Data, chunk.More = uint64(len(parts)), "", false
		broken(&chunk)
		if err := job.ResultChunk(ctx, chunk); err != nil {
			return nil, err
		}
	}
	return map[string]any{"$arcp_streamed_result": map[string]any{"result_id": id, "result_size": size}}, nil
}
