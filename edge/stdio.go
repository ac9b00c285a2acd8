package edge

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gorilla/websocket"
)

// maxLine bounds a line of standard input: the largest message that any edge takes, and more.
const maxLine = 16 << 20

// ServeLines is a client of an edge for somebody who speaks newline-delimited JSON: each line of in is a message, and each
// message a line of out. It returns when the edge ends the connection, and soon after in has ended: the edge is told goodbye
// then, and what it has said is written. A last line without an end is a message too; empty lines are none.
//
// A read of in that has begun when the connection ends is left behind: it ends with the next line, or with in.
func ServeLines(ctx context.Context, p *Pipe, in io.Reader, out io.Writer) error {
	dialer := websocket.Dialer{NetDialContext: p.DialContext}
	ws, _, err := dialer.DialContext(ctx, "ws://stdio/arcp", nil)
	if err != nil {
		return fmt.Errorf("edge: %w", err)
	}
	defer func() { _ = ws.Close() }()
	defer context.AfterFunc(ctx, func() { _ = ws.Close() })()
	read := make(chan error, 1)
	go func() {
		err := sayLines(ws, in)
		_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(closeWait))
		_ = ws.SetReadDeadline(time.Now().Add(closeWait))
		read <- err
	}()
	for {
		kind, text, err := ws.ReadMessage()
		if err != nil {
			break // the connection is over, and the session is not
		}
		if kind != websocket.TextMessage {
			continue
		}
		if _, err := out.Write(append(text, '\n')); err != nil {
			return fmt.Errorf("edge: standard output: %w", err)
		}
	}
	select {
	case err = <-read:
		return err
	default:
		return nil
	}
}

// sayLines sends the lines of in.
func sayLines(ws *websocket.Conn, in io.Reader) error {
	lines := bufio.NewReaderSize(in, 64<<10)
	for {
		line, err := readLine(lines)
		if line = bytes.TrimSpace(line); len(line) > 0 {
			if ws.WriteMessage(websocket.TextMessage, line) != nil {
				return nil // the edge has ended the connection, and said why
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("edge: standard input: %w", err)
		}
	}
}

var errLineTooLong = fmt.Errorf("a line of more than %d bytes", maxLine)

func readLine(r *bufio.Reader) (line []byte, err error) {
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxLine:
			return nil, errLineTooLong
		case !errors.Is(err, bufio.ErrBufferFull):
			return line, err
		}
	}
}
