package envelope

import "encoding/base64"

// ResultAssembler puts a streamed result together from the events of a job, in
// their order (open dialect RS-6). The zero value is ready. It keeps none of
// the data. It is not safe for concurrent use.
//
// A later attempt at a job sends its result anew: when its job.started comes,
// what the earlier one has sent is worth nothing.
type ResultAssembler struct {
	begun, ended bool
	id           string
	encoding     ChunkEncoding
	next         uint64
	size         uint64
}

// Piece is what an event adds to a result.
type Piece struct {
	// Restart: what came before is worth nothing, for another attempt at the
	// job begins.
	Restart bool
	Data    []byte
}

// Take takes the next event of the job. Events that have nothing to do with
// the result give an empty piece. DATA_LOSS: the chunks do not fit together, or
// the job was completed with a result that they are not; the message says how.
func (a *ResultAssembler) Take(e *Envelope) (Piece, error) {
	switch e.Type {
	case TypeJobStarted:
		restart := a.begun
		*a = ResultAssembler{}
		return Piece{Restart: restart}, nil
	case TypeJobResultChunk:
		chunk, err := DecodePayload[JobResultChunk](e)
		if err != nil {
			return Piece{}, err
		}
		data, err := a.chunk(chunk)
		return Piece{Data: data}, err
	case TypeJobCompleted:
		done, err := DecodePayload[JobCompleted](e)
		if err != nil {
			return Piece{}, err
		}
		return Piece{}, a.complete(done)
	}
	return Piece{}, nil
}

func (a *ResultAssembler) chunk(c *JobResultChunk) (data []byte, err error) {
	switch {
	case a.ended:
		return nil, Errorf(CodeDataLoss, "streamed result: a chunk came after the last one")
	case a.begun && c.ResultID != a.id:
		return nil, Errorf(CodeDataLoss, "streamed result: a chunk of %q came among those of %q", c.ResultID, a.id)
	case c.ChunkSeq != a.next:
		return nil, Errorf(CodeDataLoss, "streamed result: chunk %d came where %d was due", c.ChunkSeq, a.next)
	case a.begun && c.Encoding != a.encoding:
		return nil, Errorf(CodeDataLoss, "streamed result: a chunk in %s came among those in %s", c.Encoding, a.encoding)
	}
	data = []byte(c.Data)
	if c.Encoding == EncodingBase64 {
		if data, err = base64.StdEncoding.DecodeString(c.Data); err != nil {
			return nil, Errorf(CodeDataLoss, "streamed result: chunk %d is not base64", c.ChunkSeq)
		}
	}
	a.begun, a.ended = true, !c.More
	a.id, a.encoding = c.ResultID, c.Encoding
	a.next++
	a.size += uint64(len(data))
	return data, nil
}

func (a *ResultAssembler) complete(done *JobCompleted) error {
	switch {
	case done.ResultID == "":
		return nil
	case a.begun && done.ResultID != a.id:
		return Errorf(CodeDataLoss, "streamed result: the job was completed with %q, and %q came", done.ResultID, a.id)
	case a.begun && !a.ended:
		return Errorf(CodeDataLoss, "streamed result: the last chunk did not come")
	case !a.begun && done.ResultSize == nil:
		return Errorf(CodeDataLoss, "streamed result: no chunk of %q came", done.ResultID)
	case done.ResultSize != nil && *done.ResultSize != a.size:
		return Errorf(CodeDataLoss, "streamed result: %d bytes came of %d", a.size, *done.ResultSize)
	}
	return nil
}
