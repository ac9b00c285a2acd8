package edge

import "github.com/arcp-nats/arcp/record"

// maxKept bounds what a resume keeps of the records that it has read, in bytes of their bodies.
const maxKept = 32 << 10

// keptRecords are the first records that follow a state of a view, in log order and without a gap, so that they can be
// shown without being read again. The rest, if they are too large, has to be read.
type keptRecords struct {
	records []*record.Record
	bytes   int
	full    bool // something was not kept
}

// add keeps the next record if there is room, and if it can be shown without others.
func (k *keptRecords) add(rec *record.Record, needsOthers bool) {
	k.full = k.full || needsOthers || k.bytes+len(rec.Body) > maxKept
	if !k.full {
		k.records = append(k.records, rec)
		k.bytes += len(rec.Body)
	}
}

// restart forgets everything: what follows is kept from a later state on.
func (k *keptRecords) restart() { *k = keptRecords{} }

// replay shows the records that the resume has kept. The session must be behind: what is left, if the socket has
// enough before, is read again.
func (s *session) replay() {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.kept
	s.kept = nil
	for _, rec := range kept {
		if s.state != behind || s.fold(rec) {
			return
		}
	}
}
