package hello

import (
	"errors"
	"fmt"
	"slices"
)

// Linter reads all that passes between one client and runtimes, over all connections of one session, and finds what a client
// of one of the libraries would choke on (annex A). It is not safe for concurrent use; the zero value is ready.
type Linter struct {
	opened  bool // a frame has come on this connection
	last    uint64
	submits []string        // ids of submits that are not answered, oldest first
	refused string          // the submit that was refused by job.error, and must be by session.error next
	unknown bool            // the last frame was a job.error of a job that is not known, which may have been a refusal
	known   map[string]bool // jobs that were accepted or subscribed to here
	early   map[string]bool // jobs of which something has come before
	resumed bool            // jobs may be known from before
	asked   map[string]Type // other requests that are not answered
}

// Connected begins a connection. It resumes with the number that was seen last, or opens a new session.
func (l *Linter) Connected(resumes bool, last uint64) {
	*l = Linter{known: make(map[string]bool), early: make(map[string]bool), asked: make(map[string]Type), resumed: resumes}
	if resumes {
		l.last = last
	}
}

// Sent notes a frame of the client.
func (l *Linter) Sent(text []byte) {
	f, err := Decode(text)
	if err != nil {
		return
	}
	switch f.Type {
	case TypeSubmit:
		l.submits = append(l.submits, f.ID)
	case TypeListJobs, TypeSubscribe, TypeCancel, TypeAck:
		l.asked[f.ID] = f.Type
	}
}

// Received judges a frame of the runtime.
func (l *Linter) Received(text []byte) error {
	if err := Check(text); err != nil {
		return err
	}
	f, err := Decode(text)
	if err != nil {
		return err
	}
	if !l.opened && f.Type != TypeWelcome && f.Type != TypeError {
		return fmt.Errorf("1: %s before the welcome", f.Type)
	}
	if l.opened && f.Type == TypeWelcome {
		return errors.New("1: a second welcome")
	}
	l.opened = true
	defer func() { l.unknown = f.Type == TypeJobError && !l.known[f.JobID] }()
	if l.refused != "" && f.Type != TypeError {
		return fmt.Errorf("11: after the job.error that refuses %s comes %s", l.refused, f.Type)
	}
	if f.EventSeq > 0 {
		if f.EventSeq != l.last+1 {
			return fmt.Errorf("16: event_seq %d after %d", f.EventSeq, l.last)
		}
		l.last = f.EventSeq
	}
	return l.follow(f)
}

// follow judges a frame by what came before it.
func (l *Linter) follow(f *Frame) error {
	switch f.Type {
	case TypeAccepted:
		return l.accepted(f)
	case TypeSubscribed:
		l.known[f.JobID] = true
	case TypeError:
		return l.problem(f)
	case TypeJobError:
		if !l.known[f.JobID] && !l.early[f.JobID] && len(l.submits) > 0 && !l.resumed { // a refusal
			l.refused = l.submits[0]
			return nil
		}
		return l.ofJob(f)
	case TypeEvent, TypeResult:
		return l.ofJob(f)
	}
	return nil
}

func (l *Linter) accepted(f *Frame) error {
	p, err := DecodePayload[Accepted](f)
	if err != nil {
		return err
	}
	if l.early[f.JobID] && !l.known[f.JobID] && !l.resumed && p.ParentJobID == "" {
		return fmt.Errorf("job.accepted of %s after its events", f.JobID)
	}
	l.known[f.JobID] = true
	if p.ParentJobID != "" { // whether a submit has reached the runtime before is not seen here
		return nil
	}
	if len(l.submits) == 0 {
		return fmt.Errorf("20: job.accepted answers %s, and nothing was submitted", p.RequestID)
	}
	if p.RequestID != l.submits[0] {
		return fmt.Errorf("20: job.accepted answers %s, and %s was submitted first", p.RequestID, l.submits[0])
	}
	l.submits = l.submits[1:]
	return nil
}

func (l *Linter) problem(f *Frame) error {
	p, err := DecodePayload[Error](f)
	if err != nil {
		return err
	}
	switch {
	case l.refused != "" && (p.RequestID != l.refused || f.SessionID != ""):
		return fmt.Errorf("12: %s is refused by job.error, and then by a session.error to %q of session %q", l.refused, p.RequestID, f.SessionID)
	case l.refused != "":
		l.submits, l.refused = l.submits[1:], ""
		return nil
	}
	if at := slices.Index(l.submits, p.RequestID); at >= 0 {
		if !l.unknown || at > 0 || f.SessionID != "" {
			return fmt.Errorf("11: %s is refused by session.error alone, not in its turn, or with a session_id", p.RequestID)
		}
		l.submits = l.submits[1:]
		return nil
	}
	if l.asked[p.RequestID] == TypeCancel && f.SessionID != "" {
		return errors.New("12: a refused cancel ends all calls of some clients")
	}
	return nil
}

// ofJob: what comes of a job that the client does not know, it drops. It must not get to know it later.
func (l *Linter) ofJob(f *Frame) error {
	if !l.known[f.JobID] {
		l.early[f.JobID] = true
	}
	return nil
}
