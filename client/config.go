package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/arcp-nats/arcp/envelope"
)

// Config says where the edges are and how a session behaves. The zero value of every field but URLs has a meaning.
type Config struct {
	// URLs are the ws:// or wss:// addresses of the edges, tried in turn. At least one.
	URLs []string

	// Dialect is the wire form to speak; DialectOpen by default.
	Dialect Dialect

	// Token is the credential of Scheme. It is never logged.
	Token string
	// TokenSource gives the credential in place of Token, afresh each time: to open the session, and to renew its lease
	// when the edge asks (open dialect HS-9). It may take its time, and is called by one goroutine at a time. Without it
	// a lease is renewed with Token, and ends with it.
	TokenSource func(ctx context.Context) (string, error)
	// Scheme is the authentication scheme: "bearer" (the default with a Token), "signed_jwt", or "none".
	Scheme string
	// Anonymous asks for an anonymous session: scheme "none", and the capability is proposed. It is implied when
	// there is neither Token nor Scheme.
	Anonymous bool
	// Challenge answers a session.challenge (open dialect HS-5), and the challenge of a session.refresh (HS-9). Nil: a
	// challenge fails Dial.
	Challenge func(challenge string) (response string, err error)

	// Capabilities are what the client proposes (open dialect CP-1).
	Capabilities envelope.Capabilities
	// ClientKind and ClientVersion name the program to the edge; the defaults are "arcp-go" and "0".
	ClientKind, ClientVersion string

	// AckEvery is how many countable envelopes may arrive before a session.ack is sent; 64 by default.
	AckEvery int
	// AckInterval is how long the first of them may wait for it; 1 s by default.
	AckInterval time.Duration

	// Reconnect says how lost connections are replaced.
	Reconnect Reconnect
	// DialTimeout bounds one attempt at one address, handshake included; 5 s by default.
	DialTimeout time.Duration
	// WriteTimeout bounds the writing of one frame; 10 s by default.
	WriteTimeout time.Duration
	// KeepAlive is the silence after which the edge is asked for a sign of life (a WebSocket ping). Two intervals
	// without any frame lose the connection. 20 s by default.
	KeepAlive time.Duration

	// MaxEnvelopeBytes bounds what the client sends; 1 MiB by default, as edges have it.
	MaxEnvelopeBytes int
	// MaxMessageBytes bounds what the client reads; 8 MiB by default.
	MaxMessageBytes int
	// MaxInFlight bounds the requests without an answer; Invoke and the others wait when there are more. 4096 by
	// default.
	MaxInFlight int

	// JobBuffer bounds the events of one job that nobody has read yet, in bytes; 4 MiB by default. A job that exceeds
	// it keeps what it has, its Events end with an [*OverflowError], and its Wait still works.
	JobBuffer int
	// SessionBuffer is the same bound over all running jobs of the session; 64 MiB by default.
	SessionBuffer int
	// Backpressure stops reading from the socket, instead of overflowing, while a job has more than JobBuffer of
	// unread events. Every job must then be read with Events, or the whole session stands still.
	Backpressure bool

	// Logger gets what happens to connections. Nil: nothing is logged.
	Logger *slog.Logger
	// OnEnvelope sees every envelope received, handshake and repeats included, in order, from one goroutine at a
	// time. raw is the frame as it came; e is nil when the client could not decode it. Neither may be changed, and
	// the hook must not wait for a method of the session.
	OnEnvelope func(raw []byte, e *envelope.Envelope)
	// OnState sees the connection come and go, in order, under the same rules.
	OnState func(State)
}

// Reconnect says how lost connections are replaced: every address once, then a pause that grows, and so on.
type Reconnect struct {
	// Disabled ends the session with the first lost connection.
	Disabled bool
	// MinDelay and MaxDelay bound the pause between rounds; 50 ms and 5 s by default. Pauses are drawn at random
	// around a value that grows by half.
	MinDelay, MaxDelay time.Duration
	// MaxWait bounds the time without a connection; 2 min by default. Then the session ends with a
	// [*ReconnectError].
	MaxWait time.Duration
}

// State is a change of the connection under a session.
type State struct {
	Change StateChange
	// URL is the edge that the change is about.
	URL string
	// Err says why a connection was lost.
	Err error
	// Replayed: the edge had envelopes to catch up with (Resumed only).
	Replayed bool
}

// StateChange is what happened to a connection.
type StateChange int

// The changes of a connection. A session begins with Connected; then Lost and Resumed alternate.
const (
	Connected StateChange = iota + 1
	Lost
	Resumed
)

// String returns "connected", "lost" or "resumed".
func (c StateChange) String() string {
	switch c {
	case Connected:
		return "connected"
	case Lost:
		return "lost"
	case Resumed:
		return "resumed"
	default:
		return fmt.Sprintf("state(%d)", int(c))
	}
}

// withDefaults checks the configuration and fills in what was left out.
func (c Config) withDefaults() (Config, error) {
	if len(c.URLs) == 0 {
		return c, errors.New("client: URLs is empty")
	}
	for _, u := range c.URLs {
		parsed, err := url.Parse(u)
		if err != nil {
			return c, fmt.Errorf("client: URLs: %w", err)
		}
		if (parsed.Scheme != "ws" && parsed.Scheme != "wss") || parsed.Host == "" {
			return c, fmt.Errorf("client: URLs: %q is no ws:// or wss:// address", parsed.Redacted())
		}
	}
	if c.Token == "" && c.TokenSource == nil && c.Scheme == "" {
		c.Anonymous = true
	}
	if c.Token != "" && c.TokenSource != nil {
		return c, errors.New("client: Token and TokenSource exclude each other")
	}
	if c.Anonymous && (c.Token != "" || c.TokenSource != nil) {
		return c, errors.New("client: Anonymous and a token exclude each other")
	}
	if c.Scheme == "" {
		c.Scheme = schemeBearer
		if c.Anonymous {
			c.Scheme = schemeNone
		}
	}
	if c.Anonymous {
		yes := true
		c.Capabilities.Anonymous = &yes
	}
	orText(&c.ClientKind, "arcp-go")
	orText(&c.ClientVersion, "0")
	for _, n := range []struct {
		name  string
		value *int
		def   int
	}{
		{"AckEvery", &c.AckEvery, 64},
		{"MaxEnvelopeBytes", &c.MaxEnvelopeBytes, 1 << 20},
		{"MaxMessageBytes", &c.MaxMessageBytes, 8 << 20},
		{"MaxInFlight", &c.MaxInFlight, 4096},
		{"JobBuffer", &c.JobBuffer, 4 << 20},
		{"SessionBuffer", &c.SessionBuffer, 64 << 20},
	} {
		if err := orDefault(n.name, n.value, n.def); err != nil {
			return c, err
		}
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"AckInterval", &c.AckInterval, time.Second},
		{"Reconnect.MinDelay", &c.Reconnect.MinDelay, 50 * time.Millisecond},
		{"Reconnect.MaxDelay", &c.Reconnect.MaxDelay, 5 * time.Second},
		{"Reconnect.MaxWait", &c.Reconnect.MaxWait, 2 * time.Minute},
		{"DialTimeout", &c.DialTimeout, 5 * time.Second},
		{"WriteTimeout", &c.WriteTimeout, 10 * time.Second},
		{"KeepAlive", &c.KeepAlive, 20 * time.Second},
	} {
		if err := orDefault(d.name, d.value, d.def); err != nil {
			return c, err
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

func orText(value *string, def string) {
	if *value == "" {
		*value = def
	}
}

func orDefault[T int | time.Duration](name string, value *T, def T) error {
	if *value < 0 {
		return fmt.Errorf("client: %s is negative", name)
	}
	if *value == 0 {
		*value = def
	}
	return nil
}

const (
	schemeBearer = "bearer"
	schemeNone   = "none"
)
