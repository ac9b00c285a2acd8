package client

// Stats counts what a session has received so far, over all its connections.
type Stats struct {
	// Events is the number of countable envelopes received in their place. They carried event_seq 1 to
	// LastEventSeq.
	Events, LastEventSeq uint64
	// Repeats is the number of countable envelopes that came more than once and were dropped.
	Repeats uint64
	// Gaps is the number of times that an event_seq was missing; the first ends the session.
	Gaps uint64
	// Resumes is the number of times that another connection took the session over.
	Resumes uint64
	// Undecodable is the number of frames that were no envelope this client knows.
	Undecodable uint64
	// Overflows is the number of jobs whose events were dropped because nobody read them.
	Overflows uint64
}

// Stats returns the counts so far. It works after the end of the session too.
func (s *Session) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}
