package view

import (
	"encoding/json"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
)

// Status folds what stands on a job's event subject, in log order, into where the job stands, by the rule by which a view
// shows events: an attempt that was given up on is not heard, and nothing is after the first terminal event. The zero
// value is a job that was accepted and of which nothing was said yet.
type Status struct {
	run   Run
	state envelope.JobState
	code  envelope.Code
}

// states is where a job stands after an event of a type. A type that is not here changes nothing but this: a job of
// which its worker speaks has begun.
var states = map[envelope.Type]envelope.JobState{
	envelope.TypeJobStarted:        envelope.JobStateRunning,
	envelope.TypeJobProgress:       envelope.JobStateRunning,
	envelope.TypeJobResultChunk:    envelope.JobStateRunning,
	envelope.TypeLeaseGranted:      envelope.JobStateRunning,
	envelope.TypePermissionRequest: envelope.JobStateBlocked,
	envelope.TypeJobCompleted:      envelope.JobStateCompleted,
	envelope.TypeJobFailed:         envelope.JobStateFailed,
	envelope.TypeJobCancelled:      envelope.JobStateCancelled,
}

// State is where the job stands.
func (s *Status) State() envelope.JobState {
	if s.state == "" {
		return envelope.JobStateQueued
	}
	return s.state
}

// Code is why the job has failed, "" if it has not.
func (s *Status) Code() envelope.Code { return s.code }

// Apply folds one record of the job's event subject.
func (s *Status) Apply(rec *record.Record) {
	if s.state.Terminal() || !s.run.Hear(rec) {
		return
	}
	if rec.Attempt > 0 && s.state == "" {
		s.state = envelope.JobStateRunning
	}
	for typ, line := range rec.Lines() {
		if typ == envelope.TypeJobHeartbeat {
			s.state = heartbeat(line, s.state)
		} else if state, says := states[typ]; says {
			s.state = state
		}
		if typ == envelope.TypeJobFailed {
			s.code = failure(line)
		}
		if s.state.Terminal() {
			return
		}
	}
}

// failure returns the code of a job.failed.
func failure(line []byte) envelope.Code {
	var body struct {
		Payload struct {
			Code envelope.Code `json:"code"`
		} `json:"payload"`
	}
	if json.Unmarshal(line, &body) != nil || body.Payload.Code == "" {
		return envelope.CodeUnknown
	}
	return body.Payload.Code
}

// heartbeat returns the state that a heartbeat tells; it cannot end a job.
func heartbeat(line []byte, otherwise envelope.JobState) envelope.JobState {
	var body struct {
		Payload envelope.JobHeartbeat `json:"payload"`
	}
	switch err := json.Unmarshal(line, &body); body.Payload.State {
	case envelope.JobStateRunning, envelope.JobStateBlocked, envelope.JobStatePaused:
		if err == nil {
			return body.Payload.State
		}
	}
	return otherwise
}
