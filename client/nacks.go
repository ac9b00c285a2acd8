package client

import (
	"sync"

	"github.com/go-json-experiment/json"

	"github.com/arcp-nats/arcp/envelope"
)

// nacks is what the edge refuses of messages that have no answer.
type nacks struct {
	mu     sync.Mutex
	again  error // of the log: what was refused can be said again
	final  error // the first other one
	resent bool  // something has been said again
}

// hear takes a nack. One without a number says that the log did not take the message.
func (n *nacks) hear(e *envelope.Envelope) {
	n.mu.Lock()
	defer n.mu.Unlock()
	err := nackError(e)
	code := envelope.CodeOf(err)
	switch {
	case e.EventSeq == 0 && retryable(e):
		n.again = err
	case n.resent && (code == envelope.CodeOutOfRange || code == envelope.CodeFailedPrecondition):
		// It was said after something that the log did not take, and has been said again since.
	case n.again != nil && (code == envelope.CodeOutOfRange || code == envelope.CodeFailedPrecondition):
	case n.final == nil:
		n.final = err
	}
}

// take returns why something is to be said again, nil if nothing is, and what was refused for good.
func (n *nacks) take() (again, final error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	again, n.again = n.again, nil
	n.resent = n.resent || again != nil
	return again, n.final
}

// refused returns what was refused for good.
func (n *nacks) refused() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.final
}

func retryable(e *envelope.Envelope) bool {
	nack, err := envelope.DecodePayload[envelope.Nack](e)
	if err != nil {
		return false
	}
	var details struct {
		Retryable bool `json:"retryable"`
	}
	return json.Unmarshal(nack.Details, &details) == nil && details.Retryable
}

// hearNacks has the nacks of a message told to n, until forgetNacks.
func (s *Session) hearNacks(id envelope.MessageID, n *nacks) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mutes[id] = n
}

func (s *Session) forgetNacks(id envelope.MessageID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mutes, id)
}

// tellNacks passes a nack on to who wants to know.
func (s *Session) tellNacks(e *envelope.Envelope) {
	s.mu.Lock()
	n := s.mutes[e.CorrelationID]
	s.mu.Unlock()
	if n != nil {
		n.hear(e)
	}
}
