package view

import (
	"slices"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
)

// stream keeps the list of the streams that a job has open, as the line of an event says. Another attempt has none.
func (r *Run) stream(typ envelope.Type, line []byte) {
	switch typ {
	case envelope.TypeJobStarted:
		r.Streams = nil
	case envelope.TypeStreamOpen, envelope.TypeStreamClose, envelope.TypeStreamError:
		e, err := envelope.DecodeStored(line)
		if err != nil || e.StreamID == "" {
			return
		}
		// The list is shared with checkpoints, and so never changed.
		without := slices.DeleteFunc(slices.Clone(r.Streams), func(id envelope.StreamID) bool { return id == e.StreamID })
		if typ == envelope.TypeStreamOpen {
			without = append(without, e.StreamID)
		}
		r.Streams = without
	}
}

// Note keeps the list of open streams as a record says that was heard.
func (r *Run) Note(rec *record.Record) {
	for typ, line := range rec.Lines() {
		r.stream(typ, line)
	}
}

// HasStream reports whether the attempt has a stream open.
func (r *Run) HasStream(id envelope.StreamID) bool { return slices.Contains(r.Streams, id) }

// StreamJob returns the open job of the session that has a stream open.
func (v *View) StreamJob(id envelope.StreamID) (job envelope.JobID, open bool) {
	for job, run := range v.jobs {
		if run.HasStream(id) {
			return envelope.JobID(job), true
		}
	}
	return "", false
}
