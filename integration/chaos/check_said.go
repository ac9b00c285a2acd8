package chaos

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// saidOf says what is wrong with what an attempt said besides its end, for the tools that say more than a value.
func saidOf(j *job, attempt []*frame, end payload) string {
	var a struct {
		Count, Bytes, Chunks int
		Encoding             string
	}
	if err := json.Unmarshal(j.arguments, &a); err != nil {
		return "arguments: " + err.Error()
	}
	switch j.tool {
	case "chunks":
		return chunksOf(attempt, end, a.Count, a.Bytes, a.Encoding)
	case "stream":
		return streamOf(attempt, end, a.Chunks)
	default:
		return artifactOf(attempt, end, a.Bytes)
	}
}

// collectedOf: a job has heard what its client has streamed to it, each chunk once, in order.
func collectedOf(j *job, end payload) string {
	var result struct{ Chunks []string }
	if err := json.Unmarshal(end.Value, &result); err != nil {
		return "the result: " + err.Error()
	}
	for i, got := range result.Chunks {
		if got != fmt.Sprint(i) {
			return fmt.Sprintf("chunk %q was heard where %d was due", got, i)
		}
	}
	if want := chunksFed(j.arguments); len(result.Chunks) != want {
		return fmt.Sprintf("%d chunks were heard of %d", len(result.Chunks), want)
	}
	return ""
}

// chunksOf is RS-3 and RS-6: the chunks of the last attempt, in order, are the whole result that its end names.
func chunksOf(attempt []*frame, end payload, count, bytes int, encoding string) string {
	next, size := 0, 0
	for _, f := range attempt {
		if f.Type != "job.result_chunk" {
			continue
		}
		p := f.read()
		data := []byte(p.text())
		if encoding == "base64" {
			var err error
			if data, err = base64.StdEncoding.DecodeString(string(data)); err != nil {
				return "a chunk is no base64"
			}
		}
		if p.ChunkSeq != next || p.More != (next < count-1) || p.ResultID != end.ResultID {
			return fmt.Sprintf("chunk %s where %d of %d of %s was due", f.Payload, next, count, end.ResultID)
		}
		next++
		size += len(data)
	}
	if next != count || size != count*bytes || end.ResultSize != size {
		return fmt.Sprintf("%d chunks of %d bytes came of %d of %d, and the end says %d", next, size, count, count*bytes, end.ResultSize)
	}
	return ""
}

// streamOf: the stream of the last attempt is opened, has its chunks in order, and is closed.
func streamOf(attempt []*frame, end payload, chunks int) string {
	var types []string
	next := 0
	for _, f := range attempt {
		switch f.Type {
		case "stream.open", "stream.close":
			types = append(types, f.Type)
		case "stream.chunk":
			if got := f.read().Sequence; got != next || len(types) != 1 {
				return fmt.Sprintf("chunk %d was shown where %d was due, after %v", got, next, types)
			}
			next++
		}
	}
	if next != chunks || len(types) != 2 || types[0] != "stream.open" || types[1] != "stream.close" {
		return fmt.Sprintf("a stream of %v with %d chunks of %d", types, next, chunks)
	}
	if !sameJSON(end.Value, fmt.Appendf(nil, `{"chunks":%d}`, chunks)) {
		return fmt.Sprintf("a stream of %d chunks gave %s", chunks, end.Value)
	}
	return ""
}

// artifactOf: the last attempt tells of one artifact, and has it as its result.
func artifactOf(attempt []*frame, end payload, bytes int) string {
	for _, f := range attempt {
		if f.Type != "artifact.ref" {
			continue
		}
		if got := f.read().Artifact; got != end.ResultRef || got.Size != bytes {
			return fmt.Sprintf("an artifact of %d bytes was %+v, and the result is %+v", bytes, got, end.ResultRef)
		}
		return ""
	}
	return "the artifact was not told of"
}
