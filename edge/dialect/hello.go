package dialect

import (
	"bytes"
	"slices"
	"strings"
	"sync"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/hello"
)

// Hello is the form of the protocol's draft 1.1, of which package hello has the values.
var Hello Dialect = helloDialect{}

type helloDialect struct{}

// Name implements [Dialect].
func (helloDialect) Name() string { return "hello" }

// NewCodec implements [Dialect].
func (helloDialect) NewCodec(s Settings) Codec {
	return &helloCodec{settings: s, requests: newRequests()}
}

// opensHello reports whether a message opens a session of the dialect. It need not be one that can be read.
func opensHello(first []byte) bool {
	if !bytes.Contains(first, []byte(hello.TypeHello)) {
		return false
	}
	f, _ := hello.Decode(first) // what is wrong with it is said when it is handled
	return f.Type == hello.TypeHello
}

// helloCodec speaks the dialect on one connection.
type helloCodec struct {
	settings Settings
	requests *requests

	mu       sync.Mutex
	features []hello.Feature // that the client offers
	resume   *Resumption
	uuids    bool // the ids of its messages are UUIDs, as those of one library
	leaving  Leaving
	session  envelope.SessionID
}

// Dialect implements [Codec].
func (*helloCodec) Dialect() Dialect { return Hello }

// tellLag is rule 45.
const tellLag = 1000

// Traits implements [Codec].
func (c *helloCodec) Traits() Traits {
	var lag uint64
	if c.offers(hello.FeatureAck) {
		lag = tellLag
	}
	return Traits{
		TellLag: lag,
		OneTry:  true, Anonymous: true, Greets: true, NoRefresh: true, RefusesFirst: true, TellsAll: true, OwnerCancels: true,
		Heartbeats: true, AnswersInTurn: true, Negotiates: true,
		Vocabulary: envelope.Vocabulary11,
	}
}

// Resuming implements [Codec].
func (c *helloCodec) Resuming() *Resumption {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.resume
}

// Leaving implements [Codec] (rule 31).
func (c *helloCodec) Leaving() Leaving {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leaving
}

// offers reports whether the client offers a feature.
func (c *helloCodec) offers(f hello.Feature) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Contains(c.features, f)
}

// takesChildren reports whether the client can be told of a job that it has not submitted: those of one library cannot (rule 102).
func (c *helloCodec) takesChildren() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.uuids
}

// Repeated implements [Codec].
func (c *helloCodec) Repeated() { c.requests.repeated() }

// foreignID marks the ids of clients that do not look like ours.
const foreignID = "msg_~"

// messageID makes an id of the open dialect, where they begin with msg_.
func messageID(id string) envelope.MessageID {
	if strings.HasPrefix(id, "msg_") && !strings.HasPrefix(id, foreignID) && len(id) > len("msg_") {
		return envelope.MessageID(id)
	}
	return envelope.MessageID(foreignID + id)
}

// requestID is the id as its client knows it.
func requestID(id envelope.MessageID) string {
	if own, foreign := strings.CutPrefix(string(id), foreignID); foreign {
		return own
	}
	return string(id)
}
