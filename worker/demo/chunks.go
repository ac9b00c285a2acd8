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

// pieces returns the data of the chunks, and the bytes of the result. There is
// one at least.
func (a *chunkArguments) pieces() (data []string, size uint64) {
	parts := a.Parts
	if parts == nil {
		part := strings.Repeat("0123456789abcdef", int(a.Bytes)/16+1)[:a.Bytes]
		parts = slices.Repeat([]string{part}, int(a.Count))
	}
	if len(parts) == 0 {
		parts = []string{""}
	}
	for _, part := range parts {
		size += uint64(len(part))
		if a.Encoding == envelope.EncodingBase64 {
			part = base64.StdEncoding.EncodeToString([]byte(part))
		}
		data = append(data, part)
	}
	return data, size
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
	data, size := args.pieces()
	id := envelope.NewResultID()
	broken := breaks[args.Break]
	chunk := envelope.JobResultChunk{ResultID: id, Encoding: args.Encoding, More: true}
	if args.Break == "first_not_0" || args.Break == "empty_id" {
		data = nil
	}
	for i, piece := range data {
		chunk.ChunkSeq, chunk.Data = uint64(i), piece
		if i == len(data)-1 {
			chunk.More = args.Break == "no_last" || broken != nil && args.Break != "after_last"
		}
		if err := job.ResultChunk(ctx, chunk); err != nil {
			return nil, err
		}
	}
	if broken != nil {
		chunk.ChunkSeq, chunk.Data, chunk.More = uint64(len(data)), "", false
		broken(&chunk)
		if err := job.ResultChunk(ctx, chunk); err != nil {
			return nil, err
		}
	}
	return map[string]any{"$arcp_streamed_result": map[string]any{"result_id": id, "result_size": size}}, nil
}
