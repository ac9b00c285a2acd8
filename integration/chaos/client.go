package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// client is a client with one session. It connects to any edge, goes on elsewhere when the connection is lost, and notes
// all that it sends and receives. Its goroutine is that of run.
type client struct {
	notes  *Session
	token  string // of the principal
	urls   []string
	wire   wire
	work   *work
	random *rand.Rand

	patience time.Duration // with the answer to a handshake
	resume   string        // the newest resume token
	seq      uint64        // the last number seen
	at       int           // the edge used last
	next     int           // of message ids
	silent   time.Time
	socket   *socket
	link     *Link

	settling atomic.Bool   // no new work, only what must be finished
	settled  atomic.Bool   // nothing is left to wait for
	seen     atomic.Uint64 // seq, for others
	failure  atomic.Pointer[string]

	mu sync.Mutex // guards notes, for others
}

// run keeps the session connected and works until ctx ends. The session can be resumed afterwards.
func (c *client) run(ctx context.Context) {
	for ctx.Err() == nil && c.failure.Load() == nil {
		if err := c.connect(ctx); err != nil {
			c.at = c.random.IntN(len(c.urls))
			wait(ctx, between(c.random, 20*time.Millisecond, 150*time.Millisecond))
			continue
		}
		c.serve(ctx)
		c.socket.close()
		c.at = c.random.IntN(len(c.urls))
	}
}

// connect opens the session on an edge, or resumes it.
func (c *client) connect(ctx context.Context) error {
	s, err := dial(ctx, c.urls[c.at])
	if err != nil {
		return err
	}
	c.socket, c.silent = s, time.Now()
	if err = c.handshake(ctx); err != nil {
		s.close()
	}
	return err
}

// handshake sends the first message and reads its answer.
func (c *client) handshake(ctx context.Context) error {
	link := &Link{Edge: edgeName(c.at), From: c.seq}
	m, want := c.wire.greet(c)
	if m.ID == "" {
		m.ID = c.newID()
	}
	if err := c.write(ctx, link, &m); err != nil {
		return err
	}
	data, ok := c.socket.next(ctx, c.patience)
	if !ok {
		return fmt.Errorf("chaos: no answer to %s", m.Type)
	}
	link.Frames = append(link.Frames, data)
	f := c.wire.hear(data)
	p := f.read()
	switch {
	case f.Type == want:
		c.resume, c.link = p.ResumeToken, link
		c.mu.Lock()
		c.notes.ID = p.SessionID
		c.notes.Links = append(c.notes.Links, link)
		c.mu.Unlock()
		return nil
	case f.Type == "session.rejected" && p.Code != "UNAVAILABLE" && p.Code != "RESOURCE_EXHAUSTED":
		// Nobody may forget a session, or take it for another's. The judge finds the frame.
		c.mu.Lock()
		c.notes.Links = append(c.notes.Links, link)
		c.mu.Unlock()
		c.failure.CompareAndSwap(nil, new(string(data)))
	}
	return fmt.Errorf("chaos: %s was answered by %s %s", m.Type, f.Type, p.Code)
}

// write says a message on a connection.
func (c *client) write(ctx context.Context, link *Link, m *message) error {
	text, err := c.wire.write(m)
	if err != nil {
		return err
	}
	if c.notes.Dialect != "" {
		c.mu.Lock()
		link.Sent = append(link.Sent, Sent{After: len(link.Frames), Text: text})
		c.mu.Unlock()
	}
	return c.socket.send(ctx, text)
}

// serve reads and works until the connection is lost.
func (c *client) serve(ctx context.Context) {
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	act := time.NewTimer(0)
	defer act.Stop()
	for {
		select {
		case data, ok := <-c.socket.frames:
			if !ok {
				return
			}
			c.silent = time.Now()
			c.take(data)
		case <-ping.C:
			if time.Since(c.silent) > silence || c.sendOne(ctx, Request{Type: "session.ping"}, map[string]any{
				"nonce": "n", "sent_at": time.Now().UTC().Format(time.RFC3339Nano),
			}) != nil {
				return
			}
			if c.sendOne(ctx, Request{Type: "session.ack"}, map[string]any{"last_processed_seq": c.seq}) != nil {
				return
			}
		case <-act.C:
			if !c.act(ctx) {
				return
			}
			act.Reset(between(c.random, 20*time.Millisecond, 200*time.Millisecond))
		case <-ctx.Done():
			return
		}
	}
}

// take notes a frame and learns from it.
func (c *client) take(data []byte) {
	c.mu.Lock()
	c.link.Frames = append(c.link.Frames, data)
	c.mu.Unlock()
	f := c.wire.hear(data)
	if f.Type == "" {
		return // for the judge
	}
	if f.EventSeq > 0 {
		if f.EventSeq <= c.seq {
			return // for the judge
		}
		c.seq = f.EventSeq
		c.seen.Store(c.seq)
	}
	c.learn(f)
}

// send notes a request, and sends it. Pings and acknowledgements are not worth a note.
func (c *client) send(ctx context.Context, r Request, body any) (id string, err error) {
	r.At = time.Now()
	if r.ID == "" {
		r.ID = c.newID()
	}
	if r.Type != "session.ping" && r.Type != "session.ack" {
		c.mu.Lock()
		c.notes.Requests = append(c.notes.Requests, r)
		c.mu.Unlock()
		c.asked(&r)
	}
	m := message{ID: r.ID, Type: r.Type, Correlation: r.Answers, Key: r.Key, Stream: r.Stream, Payload: body}
	if r.Answers == "" && isAnswer(r.Type) || r.Stream != "" {
		m.JobID = r.Job
	}
	return r.ID, c.write(ctx, c.link, &m)
}

// sendOne is send for a request whose id is of no interest.
func (c *client) sendOne(ctx context.Context, r Request, body any) error {
	_, err := c.send(ctx, r, body)
	return err
}

func (c *client) newID() string {
	c.next++
	return c.idPrefix() + strconv.Itoa(c.next)
}

// idPrefix begins the ids of the client's messages, and of no other's.
func (c *client) idPrefix() string { return "msg_" + c.notes.Client + "-" }

// replay resumes the session on an edge once more, has it shown from the first number up to the last one, and notes
// that too. It must not run beside run.
func (c *client) replay(ctx context.Context, edge int, last uint64) error {
	c.at, c.seq, c.patience = edge, 0, startPatience
	if err := persist(ctx, startPatience, func() error { return c.connect(ctx) }); err != nil {
		return err
	}
	defer c.socket.close()
	for c.seq < last {
		data, ok := c.socket.next(ctx, startPatience)
		if !ok {
			return fmt.Errorf("chaos: %s was shown numbers up to %d of %d", c.notes.Client, c.seq, last)
		}
		c.take(data)
	}
	return nil
}
