package jetstream

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/arcp-nats/arcp/artifact"
	"github.com/arcp-nats/arcp/envelope"
)

const (
	// readAhead is how many chunks are asked for at a time; so much of an object is in memory while it is read.
	readAhead = 2
	// chunkPatience is how long a chunk may be missing: a replica that answers may be a moment behind.
	chunkPatience = 2 * time.Second
)

// object reads an object by direct gets.
type object struct {
	o     *Objects
	ctx   context.Context
	info  artifact.Info
	key   string // of the chunks
	size  int64  // of a chunk, but for the last
	index []uint64
	step  int

	at     int64    // offset of the next byte
	first  int64    // number of the first chunk in have
	have   [][]byte // chunks that follow each other
	behind uint64   // position of the last of them
}

func newObject(ctx context.Context, o *Objects, info artifact.Info, stored *natsjs.ObjectInfo) (*object, error) {
	step, index, err := decodeIndex(stored.Metadata[metaIndex])
	switch {
	case err != nil:
		return nil, err
	case stored.Opts == nil || stored.Opts.ChunkSize == 0 || stored.NUID == "":
		return nil, errIndex
	case stored.Size > 0 && len(index) == 0:
		return nil, errIndex
	}
	return &object{
		o: o, ctx: ctx, info: info, key: stored.NUID, size: int64(stored.Opts.ChunkSize), index: index, step: step,
	}, nil
}

var errIndex = errors.New("it has no index of its parts")

// decodeIndex reads what encodeIndex made.
func decodeIndex(text string) (step int, index []uint64, err error) {
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return 0, nil, errIndex
	}
	var numbers []uint64
	for len(data) > 0 {
		n, used := binary.Uvarint(data)
		if used <= 0 {
			return 0, nil, errIndex
		}
		numbers, data = append(numbers, n), data[used:]
	}
	if len(numbers) == 0 || numbers[0] == 0 || numbers[0] > 1<<32 {
		return 0, nil, errIndex
	}
	index = numbers[1:]
	for i := 1; i < len(index); i++ {
		index[i] += index[i-1]
	}
	return int(numbers[0]), index, nil
}

// Info implements artifact.Object.
func (r *object) Info() artifact.Info { return r.info }

// Seek implements io.Seeker.
func (r *object) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.info.Size
	}
	if offset < 0 {
		return 0, errors.New("artifact: seek before the start")
	}
	r.at = offset
	return offset, nil
}

// Read implements io.Reader.
func (r *object) Read(p []byte) (int, error) {
	if r.at >= r.info.Size {
		return 0, io.EOF
	}
	number := r.at / r.size
	if number < r.first || number >= r.first+int64(len(r.have)) {
		if err := r.load(number); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.have[number-r.first][r.at%r.size:])
	r.at += int64(n)
	return n, nil
}

// load fetches a chunk, and the next ones with it.
func (r *object) load(number int64) error {
	next, from := r.first+int64(len(r.have)), r.behind+1
	if number != next || len(r.have) == 0 {
		known := min(number/int64(r.step), int64(len(r.index)-1))
		next, from = known*int64(r.step), r.index[known]
	}
	r.have = nil
	began := time.Now()
	for try := 0; ; try++ {
		err := r.fetch(next, from, number)
		if err == nil {
			return nil
		}
		if r.ctx.Err() != nil {
			return failed(r.ctx, "reading an artifact", err)
		}
		err = r.lost(err)
		if code := envelope.CodeOf(err); code != envelope.CodeUnavailable && code != envelope.CodeDataLoss {
			return err
		}
		if time.Since(began) > chunkPatience {
			return err
		}
		if err := r.o.c.pause(r.ctx, try); err != nil {
			return failed(r.ctx, "reading an artifact", err)
		}
	}
}

// lost tells apart why a chunk is missing: the artifact was removed, or it has lost it.
func (r *object) lost(err error) error {
	if envelope.CodeOf(err) == envelope.CodeDataLoss {
		if _, _, gone := r.o.stat(r.ctx, r.info.Principal, r.info.ID); gone != nil {
			return gone
		}
	}
	return err
}

// fetch asks for the chunks from one whose number and earliest position are known up to the wanted one and some more.
func (r *object) fetch(next int64, from uint64, wanted int64) error {
	op, cancel := r.o.c.bounded(r.ctx)
	defer cancel()
	var have [][]byte
	var behind uint64
	at := next
	_, err := r.o.c.get(op, objectStream(r.o.bucket), &directGet{
		Seq: from, Next: chunkSubject(r.o.bucket, r.key), Batch: int(wanted-next) + readAhead,
	}, func(m *nats.Msg) {
		if at >= wanted {
			have, behind = append(have, m.Data), number(m, headerSeq)
		}
		at++
	})
	switch {
	case err != nil && len(have) == 0:
		return failed(r.ctx, "reading an artifact", err)
	case len(have) == 0:
		return envelope.Errorf(envelope.CodeDataLoss, "artifact: part %d is missing", wanted)
	}
	for i, chunk := range have {
		if want := min(r.size, r.info.Size-(wanted+int64(i))*r.size); int64(len(chunk)) != want {
			return wrongSize("a part", len(chunk), int(want))
		}
	}
	r.first, r.have, r.behind = wanted, have, behind
	return nil
}
