package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
)

// assembled is the streamed result among some events.
func assembled(t require.TestingT, events []said) []byte {
	var a envelope.ResultAssembler
	var all []byte
	for _, e := range events {
		piece, err := a.Take(e.env)
		require.NoError(t, err)
		all = append(all, piece.Data...)
	}
	return all
}

// chunksOf returns the chunks among some events.
func chunksOf(t *testing.T, events []said) (found []*envelope.JobResultChunk) {
	for _, e := range events {
		if e.env.Type == envelope.TypeJobResultChunk {
			found = append(found, payload[envelope.JobResultChunk](t, e))
		}
	}
	return found
}

func TestRS4ChecksAtTheSource(t *testing.T) {
	good := envelope.JobResultChunk{ResultID: "r", Data: "a", Encoding: envelope.EncodingUTF8, More: true}
	with := func(change func(*envelope.JobResultChunk)) envelope.JobResultChunk {
		c := good
		change(&c)
		return c
	}
	last := with(func(c *envelope.JobResultChunk) { c.More = false })
	for name, c := range map[string]struct {
		before []envelope.JobResultChunk
		bad    envelope.JobResultChunk
		code   envelope.Code
	}{
		"empty id":       {nil, with(func(c *envelope.JobResultChunk) { c.ResultID = "" }), envelope.CodeInvalidRequest},
		"too long":       {nil, with(func(c *envelope.JobResultChunk) { c.Data = strings.Repeat("a", 1<<20+1) }), envelope.CodeInternal},
		"first is not 0": {nil, with(func(c *envelope.JobResultChunk) { c.ChunkSeq = 1 }), envelope.CodeFailedPrecondition},
		"after the last": {[]envelope.JobResultChunk{last}, with(func(c *envelope.JobResultChunk) { c.ChunkSeq = 1 }), envelope.CodeFailedPrecondition},
		"another id": {[]envelope.JobResultChunk{good}, with(func(c *envelope.JobResultChunk) { c.ChunkSeq, c.ResultID = 1, "s" }),
			envelope.CodeFailedPrecondition},
		"a gap":    {[]envelope.JobResultChunk{good}, with(func(c *envelope.JobResultChunk) { c.ChunkSeq = 2 }), envelope.CodeOutOfRange},
		"a repeat": {[]envelope.JobResultChunk{good}, good, envelope.CodeOutOfRange},
		// Beyond the rules: a reader could not put these together.
		"another encoding": {[]envelope.JobResultChunk{good}, with(func(c *envelope.JobResultChunk) { c.ChunkSeq, c.Encoding = 1, envelope.EncodingBase64 }),
			envelope.CodeFailedPrecondition},
		"no encoding": {nil, with(func(c *envelope.JobResultChunk) { c.Encoding = "x" }), envelope.CodeInvalidArgument},
		"no base64":   {nil, with(func(c *envelope.JobResultChunk) { c.Encoding = envelope.EncodingBase64 }), envelope.CodeInvalidArgument},
		"base64 in lines": {nil, with(func(c *envelope.JobResultChunk) { c.Encoding, c.Data = envelope.EncodingBase64, "YW\nJj" }),
			envelope.CodeInvalidArgument},
		"no UTF-8": {nil, with(func(c *envelope.JobResultChunk) { c.Data = "\xff" }), envelope.CodeInvalidArgument},
	} {
		t.Run(name, func(t *testing.T) {
			var r chunkRule
			var err error
			for _, before := range c.before {
				r, err = r.take(&before)
				require.NoError(t, err)
			}
			after, err := r.take(&c.bad)
			require.Equal(t, c.code, envelope.CodeOf(err), "%v", err)
			require.Equal(t, r, after, "it may be mended")
		})
	}
	full := chunkRule{begun: true, id: "r", encoding: envelope.EncodingUTF8, next: 1, data: maxResultData}
	_, err := full.take(new(with(func(c *envelope.JobResultChunk) { c.ChunkSeq = 1 })))
	require.Equal(t, envelope.CodeInternal, envelope.CodeOf(err))
}

// TestRS4AChunkThatIsRefusedIsNotSent: and the handler may go on with a good one.
func TestRS4AChunkThatIsRefusedIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
			chunk := envelope.JobResultChunk{ResultID: "r", ChunkSeq: 3, Data: "a", Encoding: envelope.EncodingUTF8}
			require.ErrorIs(t, job.ResultChunk(ctx, chunk), &envelope.Error{Code: envelope.CodeFailedPrecondition})
			chunk.ChunkSeq = 0
			require.NoError(t, job.ResultChunk(ctx, chunk))
			return map[string]any{"$arcp_streamed_result": map[string]any{"result_id": "r", "result_size": 1, "summary": "one"}}, nil
		})
		all := b.await(b.submit(`{}`, nil), envelope.TypeJobCompleted)
		require.Len(t, chunksOf(t, all), 1)
		done := payload[envelope.JobCompleted](t, all[len(all)-1])
		require.Nil(t, done.Value)
		require.Equal(t, "r", done.ResultID)
		require.EqualValues(t, 1, *done.ResultSize)
		require.Equal(t, "one", done.Summary)
		w.end(t)
	})
}

func TestRS5WhatIsSaidAtTheEndFitsTheChunks(t *testing.T) {
	sentinel := func(id string) any { return map[string]any{"$arcp_streamed_result": map[string]any{"result_id": id}} }
	for name, c := range map[string]struct {
		more  bool
		value any
		ends  envelope.Type
	}{
		"the result":     {false, sentinel("r"), envelope.TypeJobCompleted},
		"another result": {false, sentinel("s"), envelope.TypeJobFailed},
		"a value":        {false, 1, envelope.TypeJobFailed},
		"nothing":        {false, nil, envelope.TypeJobFailed},
		"no last chunk":  {true, sentinel("r"), envelope.TypeJobFailed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
					return c.value, job.ResultChunk(ctx, envelope.JobResultChunk{ResultID: "r", Data: "a", Encoding: envelope.EncodingUTF8, More: c.more})
				})
				all := b.await(b.submit(`{}`, nil), c.ends)
				if c.ends == envelope.TypeJobFailed {
					require.Equal(t, envelope.CodeFailedPrecondition, payload[envelope.JobFailed](t, all[len(all)-1]).Code)
				}
				w.end(t)
			})
		})
	}
}

// TestResultWriter: what a handler writes, however cut, is what a client puts together.
func TestResultWriter(t *testing.T) {
	run := func(t *testing.T, h Handler) []said {
		b := newBench(t)
		w := b.worker(Config{}, Options{}, h)
		all := b.await(b.submit(`{}`, nil), envelope.TypeJobCompleted)
		w.end(t)
		return all
	}
	t.Run("a large one", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			data := bytes.Repeat([]byte{0, 1, 2, 0xff}, 50_000)
			all := run(t, func(ctx context.Context, job *Job) (any, error) {
				out := job.Result(ctx, WithSummary("numbers"))
				require.Same(t, out, job.Result(ctx))
				_, err := io.Copy(out, bytes.NewReader(data))
				return nil, err
			})
			require.Equal(t, data, assembled(t, all))
			chunks := chunksOf(t, all)
			require.Len(t, chunks, 5)
			require.Equal(t, envelope.EncodingBase64, chunks[0].Encoding)
			done := payload[envelope.JobCompleted](t, all[len(all)-1])
			require.Equal(t, chunks[0].ResultID, done.ResultID)
			require.EqualValues(t, len(data), *done.ResultSize)
			require.Equal(t, "numbers", done.Summary)
		})
	})
	t.Run("a small text", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			all := run(t, func(ctx context.Context, job *Job) (any, error) {
				out := job.Result(ctx)
				_, err := io.WriteString(out, "grün")
				require.NoError(t, errors.Join(err, out.Close(), out.Close()))
				_, err = out.Write([]byte("x"))
				require.ErrorIs(t, err, ErrResultClosed)
				return nil, nil
			})
			require.Equal(t, "grün", string(assembled(t, all)))
			require.Equal(t, envelope.EncodingUTF8, chunksOf(t, all)[0].Encoding)
		})
	})
	t.Run("nothing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			all := run(t, func(ctx context.Context, job *Job) (any, error) { return nil, job.Result(ctx).Close() })
			require.Len(t, chunksOf(t, all), 1)
			require.Empty(t, assembled(t, all))
		})
	})
	t.Run("text as it comes", func(t *testing.T) {
		rapid.Check(t, func(r *rapid.T) {
			text := rapid.StringN(0, 200, -1).Draw(r, "text")
			size := rapid.IntRange(1, 7).Draw(r, "size of a write")
			synctest.Test(t, func(t *testing.T) {
				all := run(t, func(ctx context.Context, job *Job) (any, error) {
					out := job.Result(ctx, AsText())
					for rest := []byte(text); len(rest) > 0; rest = rest[min(size, len(rest)):] {
						if _, err := out.Write(rest[:min(size, len(rest))]); err != nil {
							return nil, err
						}
						if err := out.Flush(); err != nil {
							return nil, err
						}
					}
					return nil, nil
				})
				require.Equal(t, text, string(assembled(t, all)))
			})
		})
	})
}

func TestAResultThatWasToBeText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
			_, err := job.Result(ctx, AsText()).Write([]byte("ab\xff"))
			return nil, err
		})
		all := b.await(b.submit(`{}`, nil), envelope.TypeJobFailed)
		require.Equal(t, envelope.CodeInvalidArgument, payload[envelope.JobFailed](t, all[len(all)-1]).Code)
		require.Empty(t, chunksOf(t, all))
		w.end(t)
	})
}

// TestRS1ChunksAtAnyTime: between all that a handler says.
func TestRS1ChunksAtAnyTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		chunk := envelope.JobResultChunk{ResultID: "r", Data: "Part one. ", Encoding: envelope.EncodingUTF8, More: true}
		w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
			require.NoError(t, job.ResultChunk(ctx, chunk))
			require.NoError(t, job.Log(ctx, envelope.LogInfo, "half", nil))
			end := chunk
			end.ChunkSeq, end.Data, end.More = 1, "Part two.", false
			require.NoError(t, job.ResultChunk(ctx, end))
			require.NoError(t, job.Progress(ctx, Progress{Current: 1}))
			return json.RawMessage(`{"$arcp_streamed_result":{"result_id":"r","result_size":19,"summary":"two parts"}}`), nil
		})
		all := b.await(b.submit(`{}`, nil), envelope.TypeJobCompleted)
		require.Equal(t, []envelope.Type{
			envelope.TypeJobStarted, envelope.TypeJobResultChunk, envelope.TypeLog, envelope.TypeJobResultChunk,
			envelope.TypeJobProgress, envelope.TypeJobCompleted,
		}, types(all))
		require.Equal(t, &chunk, payload[envelope.JobResultChunk](t, all[1]))
		require.Equal(t, "Part one. Part two.", string(assembled(t, all)))
		require.Equal(t, "two parts", payload[envelope.JobCompleted](t, all[5]).Summary)
		w.end(t)
	})
}

// TestResultWriterFitsSmallEnvelopes: whatever is written, and however JSON has to quote it.
func TestResultWriterFitsSmallEnvelopes(t *testing.T) {
	for _, piece := range []string{"\x02", "\xff", "\"", "é", "x"} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			want := strings.Repeat(piece, 9_000)
			w := b.worker(Config{MaxEventBytes: 4 << 10}, Options{}, func(ctx context.Context, job *Job) (any, error) {
				var options []ResultOption
				if piece != "\xff" {
					options = append(options, AsText())
				}
				_, err := io.WriteString(job.Result(ctx, options...), want)
				return nil, err
			})
			require.Equal(t, want, string(assembled(t, b.await(b.submit(`{}`, nil), envelope.TypeJobCompleted))))
			w.end(t)
		})
	}
}

// TestResultWriterWaitsForTheLog: and no longer than its context.
func TestResultWriterWaitsForTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var away atomic.Bool
		b.log.publish = func(*record.Record) error {
			if away.Load() {
				return errAway
			}
			return nil
		}
		waited := make(chan time.Duration, 1)
		w := b.worker(Config{}, Options{}, func(ctx context.Context, job *Job) (any, error) {
			away.Store(true)
			defer away.Store(false)
			began := time.Now()
			short, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			_, err := job.Result(short).Write(make([]byte, 4*outboxBytes))
			waited <- time.Since(began)
			return nil, err
		})
		failed := b.await(b.submit(`{}`, nil), envelope.TypeJobFailed)
		require.Equal(t, envelope.CodeDeadlineExceeded, payload[envelope.JobFailed](t, failed[len(failed)-1]).Code)
		require.Equal(t, time.Minute, <-waited)
		w.end(t)
	})
}
