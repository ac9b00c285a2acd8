package record

import (
	"encoding/json"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/subjects"
)

// TypeDelegated is the type of the mark among a job's events which says that the job is about to start another one. It is
// written before that one's invocation: whoever ends the job, or runs it again, knows of all children by that.
const TypeDelegated envelope.Type = "_job.delegated"

// Delegation is what everybody may know of a TypeDelegated mark.
type Delegation struct {
	Job      envelope.JobID `json:"job_id"`
	Subject  string         `json:"subject"`            // of the child's invocation
	Detached bool           `json:"detached,omitempty"` // the child lives on when its parent has ended
}

// Delegations returns the children that a record of a job's events tells of.
func (r *Record) Delegations() (all []Delegation) {
	for typ, line := range r.Lines() {
		if typ != TypeDelegated {
			continue
		}
		var mark struct {
			Payload Delegation `json:"payload"`
		}
		if json.Unmarshal(line, &mark) == nil {
			all = append(all, mark.Payload)
		}
	}
	return all
}

// TypeChildEnded is the type of the mark on a job's input lane which says that a job it started has ended, and no more:
// how it ended stands among the child's own events.
const TypeChildEnded envelope.Type = "_job.child_ended"

// childEnded is the payload of a TypeChildEnded mark.
type childEnded struct {
	Job envelope.JobID `json:"job_id"`
}

// ChildEnded is the mark that tells a job's parent of the job's end, given the job's invocation; nil if it has no parent.
// It is the same for whoever ends the job, so it is stored once.
func ChildEnded(invocation *Record) (*Record, error) {
	if invocation.Parent == "" {
		return nil, nil
	}
	to := subjects.JobInput(invocation.Subject)
	to.Job = invocation.Parent
	e, err := envelope.New(TypeChildEnded, childEnded{Job: envelope.JobID(invocation.Subject.Job)})
	if err != nil {
		return nil, err
	}
	e.SessionID, e.JobID = envelope.SessionID(to.Session), envelope.JobID(to.Job)
	r, err := New(to, e)
	if err != nil {
		return nil, err
	}
	r.Principal, r.MsgID = invocation.Principal, "ended."+invocation.Subject.Job
	return r, nil
}

// EndedChild is the child that a record says has ended, "" if it is not such a mark.
func (r *Record) EndedChild() envelope.JobID {
	if len(r.Types) != 1 || r.Types[0] != TypeChildEnded {
		return ""
	}
	var mark struct {
		Payload childEnded `json:"payload"`
	}
	if json.Unmarshal(r.Body, &mark) != nil {
		return ""
	}
	return mark.Payload.Job
}
