package chaos

import (
	"encoding/json"
	"fmt"
	"time"
)

// wire is the dialect that a client speaks. The harness thinks in the open one: what is to be said is told in its words, and what
// is heard is translated into them.
type wire interface {
	// greet returns what opens the session, or resumes it if there is a token, and the type of the answer.
	greet(c *client) (m message, want string)
	// write returns a message's text.
	write(m *message) ([]byte, error)
	// hear reads a frame. What cannot be read has no type.
	hear(data []byte) *frame
	// vague tells whether what is not said again after a resume may be lost: acceptances.
	vague() bool
}

// openWire is the open dialect.
type openWire struct{}

func (openWire) greet(c *client) (m message, want string) {
	if c.resume != "" {
		return message{Type: "session.resume", Payload: map[string]any{"resume_token": c.resume, "last_event_seq": c.seq}}, "session.resumed"
	}
	return message{Type: "session.open", Payload: map[string]any{
		"auth":   map[string]any{"scheme": "bearer", "token": c.token},
		"client": map[string]any{"kind": "chaos", "version": "1"},
	}}, "session.accepted"
}

func (openWire) write(m *message) ([]byte, error) {
	m.Version, m.Timestamp = "1.1", time.Now().UTC().Format(time.RFC3339Nano)
	data, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("chaos: %w", err)
	}
	return data, nil
}

func (openWire) hear(data []byte) *frame { return decode(data) }

func (openWire) vague() bool { return false }
