package envelope_test

import (
	"bytes"
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/arcp-nats/arcp/envelope"
)

func jobEvent(t require.TestingT, typ envelope.Type, payload any) *envelope.Envelope {
	e, err := envelope.New(typ, payload)
	require.NoError(t, err)
	return e
}

// TestRS6AnythingIsReassembled: whatever bytes are cut however come out the same, and a later attempt begins anew.
func TestRS6AnythingIsReassembled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.SliceOf(rapid.Byte()), 1, 8).Draw(t, "parts")
		lost := rapid.IntRange(0, len(parts)).Draw(t, "chunks of an attempt that was lost")
		var a envelope.ResultAssembler
		var want, got []byte
		take := func(e *envelope.Envelope) {
			piece, err := a.Take(e)
			require.NoError(t, err)
			if piece.Restart {
				got = nil
			}
			got = append(got, piece.Data...)
		}
		send := func(id string, n int) {
			take(jobEvent(t, envelope.TypeJobStarted, &envelope.JobStarted{}))
			for i, part := range parts[:n] {
				take(jobEvent(t, envelope.TypeLog, &envelope.Log{Level: envelope.LogInfo}))
				take(jobEvent(t, envelope.TypeJobResultChunk, &envelope.JobResultChunk{
					ResultID: id, ChunkSeq: uint64(i), Data: base64.StdEncoding.EncodeToString(part),
					Encoding: envelope.EncodingBase64, More: i < len(parts)-1,
				}))
			}
		}
		send("lost", lost)
		send("kept", len(parts))
		for _, part := range parts {
			want = append(want, part...)
		}
		size := uint64(len(want))
		take(jobEvent(t, envelope.TypeJobCompleted, &envelope.JobCompleted{ResultID: "kept", ResultSize: &size}))
		require.Equal(t, string(want), string(got))
	})
}

// TestRS6WhatDoesNotFitIsRefused also covers what the original lets pass.
func TestRS6WhatDoesNotFitIsRefused(t *testing.T) {
	chunk := func(id string, seq uint64, encoding envelope.ChunkEncoding, data string, more bool) *envelope.Envelope {
		return jobEvent(t, envelope.TypeJobResultChunk, &envelope.JobResultChunk{
			ResultID: id, ChunkSeq: seq, Data: data, Encoding: encoding, More: more,
		})
	}
	completed := func(id string, size uint64) *envelope.Envelope {
		return jobEvent(t, envelope.TypeJobCompleted, &envelope.JobCompleted{ResultID: id, ResultSize: &size})
	}
	first := chunk("r", 0, envelope.EncodingUTF8, "ab", true)
	for name, events := range map[string][]*envelope.Envelope{
		"not from 0":          {chunk("r", 1, envelope.EncodingUTF8, "", true)},
		"a gap":               {first, chunk("r", 2, envelope.EncodingUTF8, "", true)},
		"a repeat":            {first, first},
		"another id":          {first, chunk("s", 1, envelope.EncodingUTF8, "", true)},
		"another encoding":    {first, chunk("r", 1, envelope.EncodingBase64, "", true)},
		"after the last":      {chunk("r", 0, envelope.EncodingUTF8, "", false), chunk("r", 1, envelope.EncodingUTF8, "", false)},
		"no base64":           {chunk("r", 0, envelope.EncodingBase64, "?", true)},
		"no last":             {first, completed("r", 2)},
		"another result":      {first, completed("s", 2)},
		"another size":        {chunk("r", 0, envelope.EncodingUTF8, "ab", false), completed("r", 3)},
		"a size, and nothing": {completed("r", 3)},
		"no size, no chunk":   {jobEvent(t, envelope.TypeJobCompleted, &envelope.JobCompleted{ResultID: "r"})},
	} {
		t.Run(name, func(t *testing.T) {
			var a envelope.ResultAssembler
			for _, e := range events[:len(events)-1] {
				_, err := a.Take(e)
				require.NoError(t, err)
			}
			_, err := a.Take(events[len(events)-1])
			require.Equal(t, envelope.CodeDataLoss, envelope.CodeOf(err), "%v", err)
		})
	}
}

// FuzzResultAssembler: whatever comes, what is put together came in order, under one id and in one encoding.
func FuzzResultAssembler(f *testing.F) {
	f.Add([]byte(`{"result_id":"r","chunk_seq":0,"data":"a","encoding":"utf8","more":true}
{"result_id":"r","chunk_seq":1,"data":"b","encoding":"utf8","more":false}
{"result_id":"r"}`))
	f.Add([]byte(`{"result_id":"r","chunk_seq":0,"data":"YQ==","encoding":"base64","more":true}
{"attempt":2}
{"result_id":"s","chunk_seq":0,"data":"Yg==","encoding":"base64","more":false}
{"result_id":"s","result_size":1}`))
	f.Fuzz(func(t *testing.T, lines []byte) {
		var a envelope.ResultAssembler
		var seen *envelope.JobResultChunk // the chunk before
		size := 0
		for line := range bytes.Lines(lines) {
			e := &envelope.Envelope{Type: envelope.TypeJobCompleted, Payload: bytes.TrimSpace(line)}
			switch {
			case bytes.Contains(line, []byte("chunk_seq")):
				e.Type = envelope.TypeJobResultChunk
			case bytes.Contains(line, []byte("attempt")):
				e.Type = envelope.TypeJobStarted
			}
			piece, err := a.Take(e)
			if err != nil {
				require.Empty(t, piece)
				continue
			}
			size += len(piece.Data)
			switch e.Type {
			case envelope.TypeJobStarted:
				require.Equal(t, seen != nil, piece.Restart)
				seen, size = nil, 0
			case envelope.TypeJobResultChunk:
				c, err := envelope.DecodePayload[envelope.JobResultChunk](e)
				require.NoError(t, err)
				if seen == nil {
					require.Zero(t, c.ChunkSeq)
				} else {
					require.True(t, seen.More)
					require.Equal(t, seen.ChunkSeq+1, c.ChunkSeq)
					require.Equal(t, [2]string{seen.ResultID, string(seen.Encoding)}, [2]string{c.ResultID, string(c.Encoding)})
				}
				seen = c
			case envelope.TypeJobCompleted:
				done, err := envelope.DecodePayload[envelope.JobCompleted](e)
				require.NoError(t, err)
				if done.ResultID != "" && seen != nil {
					require.Equal(t, seen.ResultID, done.ResultID)
					require.False(t, seen.More)
				}
				if done.ResultID != "" && done.ResultSize != nil {
					require.EqualValues(t, *done.ResultSize, size)
				}
			}
		}
	})
}
