package client

// SetAddress lets artifacts be read from another server than the session's.
func (s *Session) SetAddress(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.address = url
}
