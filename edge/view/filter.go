package view

import (
	"bytes"
	"iter"
	"slices"
	"strings"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// Matches reports whether an envelope is one that a filter asks for (open dialect SB-2): each list that is not empty and
// the least priority are conditions, and all of them hold. An envelope without a member is in no list.
func Matches(f *envelope.SubscribeFilter, e *envelope.Envelope) bool {
	return wanted(f.Types, string(e.Type)) &&
		wanted(f.SessionID, e.SessionID) &&
		wanted(f.TraceID, e.TraceID) &&
		wanted(f.JobID, e.JobID) &&
		wanted(f.StreamID, e.StreamID) &&
		(f.MinPriority == "" || e.Priority.Rank() >= f.MinPriority.Rank())
}

func wanted[T ~string](list []T, value T) bool {
	return len(list) == 0 || value != "" && slices.Contains(list, value)
}

// onlyTypes reports whether a filter looks at nothing but the type.
func onlyTypes(f *envelope.SubscribeFilter) bool {
	return len(f.SessionID)+len(f.TraceID)+len(f.JobID)+len(f.StreamID) == 0 && f.MinPriority == ""
}

// spoken are the types of what clients say for others to hear.
var spoken = map[envelope.Type]bool{
	envelope.TypeEventEmit: true, envelope.TypeLog: true, envelope.TypeMetric: true, envelope.TypeTraceSpan: true,
	envelope.TypeStreamOpen: true, envelope.TypeStreamChunk: true, envelope.TypeStreamClose: true, envelope.TypeStreamError: true,
}

// published returns the envelopes of a record that subscribers may see: what the runtime says, which is the events of
// jobs and its answers, and what clients say for others. Not the handshake, not the marks of the log, not what clients ask
// for, and nothing of a job after its end. The first lines of the record are left out, as many as skip says.
//
// Checkpoints of jobs are for those who have negotiated them.
func published(rec *record.Record, skip int, checkpoints bool) iter.Seq2[envelope.Type, []byte] {
	return func(yield func(envelope.Type, []byte) bool) {
		for typ, line := range rec.Lines() {
			skip--
			if skip < 0 && public(rec.Subject.Lane, typ) && (checkpoints || typ != envelope.TypeJobCheckpoint) && !yield(typ, line) {
				return
			}
			if rec.Subject.Job != "" && terminal(typ) {
				return
			}
		}
	}
}

func public(lane subjects.Lane, typ envelope.Type) bool {
	switch lane {
	case subjects.Invoke:
		return typ == envelope.TypeJobAccepted // the other line is the client's command
	case subjects.Input:
		return spoken[typ]
	default:
		return !strings.HasPrefix(string(typ), "_") && !strings.HasPrefix(string(typ), "session.") && typ != envelope.TypeSubscribeEvent
	}
}

// matching returns those of the published envelopes of a record that the subscription asks for.
func (s *Subscription) matching(rec *record.Record) iter.Seq2[envelope.Type, []byte] {
	f, skip := &s.Filter, 0
	if rec.Seq == s.Begin.Pos && rec.Subject.Shard == s.Begin.Shard {
		skip = s.Begin.Lines
	}
	typesOnly := onlyTypes(f)
	return func(yield func(envelope.Type, []byte) bool) {
		for typ, line := range published(rec, skip, s.Checkpoints) {
			if !wanted(f.Types, string(typ)) {
				continue
			}
			if !typesOnly {
				e, err := envelope.DecodeStored(line)
				if err != nil || !Matches(f, e) {
					continue
				}
			}
			if !yield(typ, line) {
				return
			}
		}
	}
}

// withoutSecrets returns a stored envelope as others than the submitter may see it: a job.accepted without credentials
// (open dialect CR-6). It is nil if that cannot be made sure.
func withoutSecrets(typ envelope.Type, line []byte) []byte {
	if typ != envelope.TypeJobAccepted || !bytes.Contains(line, []byte("credentials")) {
		return line
	}
	e, err := envelope.DecodeStored(line)
	if err != nil {
		return nil
	}
	accepted, err := envelope.DecodePayload[envelope.JobAccepted](e)
	if err != nil {
		return nil
	}
	accepted.Credentials = nil
	bare, err := envelope.New(typ, accepted)
	if err != nil {
		return nil
	}
	e.Payload = bare.Payload
	if line, err = e.Encode(); err != nil {
		return nil
	}
	return line
}
