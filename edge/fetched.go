package edge

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"

	"github.com/gorilla/websocket"

	"github.com/arcp-nats/arcp/artifact"
	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
)

// fetched is the payload of an artifact.put as the log holds it: the answer to a fetch, but for the content. That is put in
// as the answer is written to a socket, so that neither the log nor a queue ever holds it. If it is gone by then, as a
// client that resumes may ask for what it has released since, the same envelope with the same number is a nack: numbers are
// a function of the log alone.
type fetched struct {
	MediaType  string              `json:"media_type"`
	Data       string              `json:"data"`
	ArtifactID envelope.ArtifactID `json:"artifact_id,omitzero"`
}

// content is what belongs into a frame, and what to say if it is not there.
type content struct {
	principal string
	id        envelope.ArtifactID
	// head and tail are the frame before and after the content.
	head, tail []byte
	// nack makes the frame that takes its place.
	nack func(code envelope.Code, text string) []byte
}

// dataMember is where the content goes. Inside a JSON string a quote is escaped: the last match is the member.
const dataMember = `"data":""`

// renderFetched makes a frame of the stored answer to a fetch.
func (s *session) renderFetched(f view.Frame) frame {
	whole := frame{text: envelope.AppendSeq(nil, f.Line, f.Seq)}
	e, err := envelope.DecodeStored(f.Line)
	if err != nil {
		return whole
	}
	stored, err := envelope.DecodePayload[envelope.ArtifactFetch](e)
	if err != nil {
		return whole // it holds its content
	}
	put, err := envelope.DecodePayload[envelope.ArtifactPut](e)
	if err != nil {
		return whole
	}
	as := func(typ envelope.Type, payload any) []byte {
		said, err := envelope.New(typ, payload)
		if err != nil {
			return nil // both are our own structs
		}
		copied := *e
		copied.Type, copied.Payload = typ, said.Payload
		line, err := copied.Encode()
		if err != nil {
			return nil
		}
		return envelope.AppendSeq(nil, line, f.Seq)
	}
	text := as(envelope.TypeArtifactPut, &fetched{MediaType: put.MediaType})
	at := bytes.LastIndex(text, []byte(dataMember))
	if at < 0 {
		return whole
	}
	at += len(dataMember) - 1
	return frame{text: text, content: &content{
		principal: s.principal, id: stored.ArtifactID, head: text[:at], tail: text[at:],
		nack: func(code envelope.Code, says string) []byte {
			return as(envelope.TypeNack, &envelope.Nack{Code: s.codes.Code(code), Message: says})
		},
	}}
}

const (
	// contentStep is how much of an artifact is in memory for a socket, twice; a multiple of 3, so that the pieces of the
	// base64 fit together.
	contentStep = 96 << 10
)

// writeFetched writes a frame whose content comes from the store. Once a part of it is written there is no way back: if the
// rest cannot be had, the connection ends, and the client finds out when it has resumed.
func (c *conn) writeFetched(f frame) error {
	raw := make([]byte, contentStep)
	object, n, err := c.openContent(f.content, raw)
	if err != nil {
		if c.ctx.Err() != nil {
			return err
		}
		code := envelope.CodeOf(err)
		c.logger.Info("an artifact is not there to be shown", "code", code, "error", err)
		c.srv.metrics.artifacts[artifactRefused].Inc()
		return c.ws.WriteMessage(websocket.TextMessage, f.content.nack(code, errorText(err)))
	}
	w, err := c.ws.NextWriter(websocket.TextMessage)
	if err != nil {
		return err
	}
	if _, err := w.Write(f.content.head); err != nil {
		return err
	}
	text := make([]byte, base64.StdEncoding.EncodedLen(contentStep))
	for left := object.Info().Size; left > 0; {
		piece := text[:base64.StdEncoding.EncodedLen(n)]
		base64.StdEncoding.Encode(piece, raw[:n])
		if _, err := w.Write(piece); err != nil {
			return err
		}
		if left -= int64(n); left == 0 {
			break
		}
		if n, err = readPiece(object, raw, left); err != nil {
			c.contentLost(f.content, err)
			return err
		}
	}
	if _, err := w.Write(f.content.tail); err != nil {
		return err
	}
	c.srv.metrics.artifacts[artifactFetched].Inc()
	c.srv.metrics.content[contentOut].Add(float64(object.Info().Size))
	return w.Close()
}

// openContent finds an artifact and reads the first piece of it.
func (c *conn) openContent(want *content, raw []byte) (object artifact.Object, n int, err error) {
	object, err = c.srv.artifacts.Open(c.ctx, want.principal, want.id)
	if err != nil {
		return nil, 0, err
	}
	if n, err = readPiece(object, raw, object.Info().Size); err != nil {
		c.contentLost(want, err)
		return nil, 0, err
	}
	return object, n, nil
}

// readPiece fills raw, or as much of it as is left.
func readPiece(object io.Reader, raw []byte, left int64) (int, error) {
	n, err := io.ReadFull(object, raw[:min(int64(len(raw)), left)])
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = envelope.Errorf(envelope.CodeDataLoss, "artifact: shorter than it was")
	}
	return n, err
}

// contentLost removes an artifact of which a part is gone: else a client that resumes would come upon it again and again.
func (c *conn) contentLost(lost *content, err error) {
	if envelope.CodeOf(err) != envelope.CodeDataLoss {
		return
	}
	c.logger.Error("an artifact has lost a part, and is removed", "artifact", lost.id, "error", err)
	ctx, cancel := context.WithTimeout(c.ctx, storeTimeout)
	defer cancel()
	if err := c.srv.artifacts.Remove(ctx, lost.principal, lost.id); err != nil {
		c.logger.Warn("it could not be removed", "artifact", lost.id, "error", err)
	}
}
