package jetstream

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"hash"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/arcp-nats/arcp/artifact"
	"github.com/arcp-nats/arcp/envelope"
)

// maxIndex bounds the positions that an object's description holds of its chunks.
const maxIndex = 1024

// upload writes an object, a chunk at a time; of the content it holds no more than that.
type upload struct {
	o    *Objects
	ctx  context.Context
	info artifact.Info
	key  string // of the chunks
	size int    // of a chunk
	sum  hash.Hash

	chunk  []byte // begun
	chunks int    // stored
	last   uint64 // position of the last one
	index  []uint64
	step   int   // chunks from one position in index to the next
	err    error // why nothing more can be written
	done   bool  // committed or aborted
}

// Create implements artifact.Store.
func (o *Objects) Create(ctx context.Context, info artifact.Info) (artifact.Upload, error) {
	if _, err := artifact.ParseID(string(info.ID)); err != nil {
		return nil, err
	}
	if err := artifact.CheckMediaType(info.MediaType); err != nil {
		return nil, err
	}
	info.Size = 0
	return &upload{o: o, ctx: ctx, info: info, key: rand.Text(), size: chunkBytesMax, sum: sha256.New(), step: 1}, nil
}

// Write implements io.Writer. While the broker cannot be reached it tries again until the context ends.
func (u *upload) Write(p []byte) (n int, err error) {
	for len(p) > 0 && u.err == nil {
		if u.chunk == nil {
			u.chunk = make([]byte, 0, u.size)
		}
		took := min(len(p), u.size-len(u.chunk))
		u.chunk = append(u.chunk, p[:took]...)
		n, p = n+took, p[took:]
		if len(u.chunk) == u.size {
			u.store()
		}
	}
	return n, u.err
}

// store sends the chunk that has been begun.
func (u *upload) store() {
	if len(u.chunk) == 0 || u.err != nil {
		return
	}
	seq, err := u.publish(chunkSubject(u.o.bucket, u.key), u.last, u.chunk)
	if err != nil {
		u.err = err
		return
	}
	u.sum.Write(u.chunk)
	u.info.Size += int64(len(u.chunk))
	u.note(seq)
	u.chunk = u.chunk[:0]
}

// note keeps the position of a chunk, or of each second, fourth, ... of them once there are too many.
func (u *upload) note(seq uint64) {
	if u.chunks%u.step == 0 {
		u.index = append(u.index, seq)
	}
	u.chunks, u.last = u.chunks+1, seq
	if len(u.index) > maxIndex {
		for i := range (len(u.index) + 1) / 2 {
			u.index[i] = u.index[2*i]
		}
		u.index = u.index[:(len(u.index)+1)/2]
		u.step *= 2
	}
}

// publish stores a message behind the one at position after of its subject, and returns its position. That condition
// makes it safe to send again: if an earlier try was stored, the next one is refused.
func (u *upload) publish(subject string, after uint64, data []byte) (uint64, error) {
	for try := 0; ; try++ {
		if u.info.Expired(time.Now()) {
			return 0, errExpired(u.info)
		}
		op, cancel := u.o.c.bounded(u.ctx)
		ack, err := u.o.c.js.PublishMsg(op, &nats.Msg{Subject: subject, Data: data},
			natsjs.WithExpectLastSequencePerSubject(after), natsjs.WithMsgTTL(messageTTL(u.info.ExpiresAt)))
		if apiCode(err) == envelope.CodeAborted && try > 0 {
			m, lookErr := u.o.c.lastStored(op, objectStream(u.o.bucket), subject)
			if lookErr == nil && m.Sequence > after {
				cancel()
				return m.Sequence, nil
			}
		}
		cancel()
		if err == nil {
			return ack.Sequence, nil
		}
		if err = failed(u.ctx, "storing an artifact", err); u.ctx.Err() != nil || !retryable(err) {
			return 0, err
		}
		u.o.c.log.Debug("a part of an artifact is not stored yet", "try", try, "error", err)
		if err := u.o.c.pause(u.ctx, try); err != nil {
			return 0, failed(u.ctx, "storing an artifact", err)
		}
	}
}

// Commit implements artifact.Upload.
func (u *upload) Commit() (artifact.Info, error) {
	u.store()
	if u.err == nil {
		u.err = u.describe()
	}
	if u.err != nil {
		u.Abort()
		return artifact.Info{}, u.err
	}
	u.done = true
	return u.info, nil
}

// describe stores the description, by which the object is found.
func (u *upload) describe() error {
	sum := u.sum.Sum(nil)
	u.info.SHA256 = hex.EncodeToString(sum)
	name := objectName(u.info.Principal, u.info.ID)
	data, err := json.Marshal(&natsjs.ObjectInfo{
		ObjectMeta: natsjs.ObjectMeta{
			Name: name,
			Metadata: map[string]string{
				metaID: string(u.info.ID), metaPrincipal: u.info.Principal, metaMediaType: u.info.MediaType,
				metaExpires: u.info.ExpiresAt.Format(time.RFC3339Nano), metaIndex: encodeIndex(u.step, u.index),
			},
			Opts: &natsjs.ObjectMetaOptions{ChunkSize: uint32(u.size)},
		},
		Bucket: u.o.bucket, NUID: u.key, Size: uint64(u.info.Size), Chunks: uint32(u.chunks),
		Digest: digestPrefix + base64.URLEncoding.EncodeToString(sum),
	})
	if err != nil {
		return envelope.Errorf(envelope.CodeInternal, "artifact: %w", err)
	}
	_, err = u.publish(metaSubject(u.o.bucket, name), 0, data)
	return err
}

// abortTimeout bounds what Abort asks of the broker. What it does not get done, time does.
const abortTimeout = 2 * time.Second

// Abort implements artifact.Upload.
func (u *upload) Abort() {
	if u.done {
		return
	}
	u.done = true
	if u.err == nil {
		u.err = envelope.Errorf(envelope.CodeCancelled, "artifact: given up")
	}
	if u.chunks == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), abortTimeout)
	defer cancel()
	if err := u.o.purge(ctx, chunkSubject(u.o.bucket, u.key)); err != nil {
		u.o.c.log.Debug("what was written of an artifact is left to expire", "error", err)
	}
}

// encodeIndex writes the positions of every step-th chunk as text.
func encodeIndex(step int, index []uint64) string {
	data := binary.AppendUvarint(nil, uint64(step))
	last := uint64(0)
	for _, seq := range index {
		data = binary.AppendUvarint(data, seq-last)
		last = seq
	}
	return base64.RawURLEncoding.EncodeToString(data)
}
