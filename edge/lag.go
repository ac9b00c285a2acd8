package edge

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/arcp-nats/arcp/envelope"
)

// lagStatus is what a client is told that does not acknowledge what it gets: advice, nothing waits for it.
type lagStatus struct {
	Phase   string         `json:"phase"`
	Message string         `json:"message"`
	Details map[string]any `json:"details"`
}

// tellLag tells a client of a dialect that wants it so that it acknowledges too little, once until it has caught up by half. It
// is a status of the newest open job, in the log, as it has a number. It needs the lock.
func (s *session) tellLag() {
	lag := s.traits.TellLag
	if lag == 0 || s.slow || s.replaying || s.sent-min(s.sent, s.acked) < lag {
		return
	}
	jobs := s.view.OpenJobs()
	if len(jobs) == 0 {
		return
	}
	s.slow = true
	data, err := json.Marshal(&lagStatus{
		Phase:   "back_pressure",
		Message: fmt.Sprintf("%d events are not acknowledged", s.sent-s.acked),
		Details: map[string]any{"threshold": lag, "current_seq": s.sent, "last_ack": s.acked},
	})
	if err != nil {
		return
	}
	e := s.answer(nil, envelope.TypeEventEmit, &envelope.EventEmit{Name: "status", Data: data})
	e.JobID = slices.Max(jobs) // ids rise with time
	s.conn.wg.Go(func() {
		s.route.RLock()
		defer s.route.RUnlock()
		s.reply(e)
	})
}
