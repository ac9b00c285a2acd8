package client

import (
	"sync"

	"github.com/go-json-experiment/json"

	"github.com/arcp-nats/arcp/envelope"
)

// maxDisordered is how often in a row the same messages are sent again because one of them came too early. The first time
// it may follow one that the log did not take, the second time that may have been before all of it was said again.
const maxDisordered = 2

// nacks is what the edge refuses of messages that have no answer.
type nacks struct {
	mu         sync.Mutex
	again      error // the log did not take something: it can be said again
	disordered error // something came before what it follows: so can that, as what was lost is said again, too
	times      int   // in a row that only that was the matter
	final      error // the first other one
}

// hear takes a nack. One without a number says that the log did not take the message.
func (n *nacks) hear(e *envelope.Envelope) {
	n.mu.Lock()
	defer n.mu.Unlock()
	err := nackError(e)
	switch code := envelope.CodeOf(err); {
	case e.EventSeq == 0 && retryable(e):
		n.again = err
	case code == envelope.CodeOutOfRange, code == envelope.CodeFailedPrecondition:
		n.disordered = err
	case n.final == nil:
		n.final = err
	}
}

// take returns why all that is not confirmed is to be said again, nil if it is not, and what was refused for good.
func (n *nacks) take() (again, final error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	again, disordered := n.again, n.disordered
	n.again, n.disordered = nil, nil
	switch {
	case n.final != nil:
		return nil, n.final
	case again != nil || disordered == nil:
		n.times = 0
		return again, nil
	case n.times == maxDisordered:
		n.final = disordered
		return nil, n.final
	}
	n.times++
	return disordered, nil
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
