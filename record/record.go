// Package record is the message of the log: one or more envelopes that become visible together, and what readers need
// to know about them without opening the body.
package record

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/subjects"
)

// Record is a message of the log: where it stands, what it says. The body is one envelope a line, canonical and without
// event_seq; whoever shows it to a client adds that. A record that was read must not be changed, it may be shared.
type Record struct {
	Subject     subjects.Subject
	Types       []envelope.Type     // one a line of Body; internal markers begin with "_"
	Attempt     int                 // above 0: said by a worker in this attempt at the job
	Sender      string              // name of the edge or worker
	Principal   string              // full name of the principal; after Parse the subject has it too
	Codes       envelope.Vocabulary // lane Invoke: the vocabulary that the submitter's edge speaks
	MaxRuntime  time.Duration       // lane Invoke: how long an attempt may run, in whole milliseconds; 0 for no bound
	NotBefore   time.Time           // lane Invoke: when the job is due, in whole milliseconds; zero for at once
	Parent      string              // lane Invoke: the job of the same session that started this one; "" for a client
	Depth       int                 // lane Invoke: how many jobs stand above this one
	Detached    bool                // lane Invoke: the job may outlive Parent
	Origin      string              // lane Invoke: where the records of the session begin, as the edges write it; "" if not said
	Grant       string              // a job.accepted in it has credentials: what the edges keep them under; "" for none
	TraceParent string              // W3C trace context
	TraceState  string              // the same, what tracing systems add to it
	MsgID       string              // the log stores a second record with the same one only once; "" for none
	Body        []byte              // NDJSON without a newline at the end

	Seq  uint64    // position in the log, from 1; set by the log when read
	Time time.Time // when it was stored; set by the log when read
}

// New makes a record of one or more envelopes. Its message id is the id of the first one.
func New(subject subjects.Subject, envelopes ...*envelope.Envelope) (*Record, error) {
	if len(envelopes) == 0 {
		return nil, errors.New("record: no envelope")
	}
	r := &Record{
		Subject:   subject,
		Types:     make([]envelope.Type, len(envelopes)),
		Principal: subject.Principal,
		MsgID:     string(envelopes[0].ID),
	}
	for i, e := range envelopes {
		if !validType(string(e.Type)) {
			return nil, fmt.Errorf("record: envelope %d: bad type %q", i+1, e.Type)
		}
		r.Types[i] = e.Type
		if i > 0 {
			r.Body = append(r.Body, '\n')
		}
		var err error
		if r.Body, err = e.Append(r.Body); err != nil {
			return nil, fmt.Errorf("record: envelope %d, %s: %w", i+1, e.Type, err)
		}
	}
	if lines := bytes.Count(r.Body, newline) + 1; lines != len(envelopes) {
		return nil, fmt.Errorf("record: %d envelopes made %d lines", len(envelopes), lines)
	}
	return r, nil
}

// Lines returns the envelopes of the record, encoded, in order. The bytes belong to the record.
func (r *Record) Lines() iter.Seq2[envelope.Type, []byte] {
	return func(yield func(envelope.Type, []byte) bool) {
		rest := r.Body
		for _, t := range r.Types {
			line, after, _ := bytes.Cut(rest, newline)
			if !yield(t, line) {
				return
			}
			rest = after
		}
	}
}

var newline = []byte{'\n'}

// validType tells whether a type can stand in the header: not empty, printable ASCII, no comma.
func validType(t string) bool {
	for i := range len(t) {
		if c := t[i]; c <= ' ' || c >= 0x7f || c == ',' {
			return false
		}
	}
	return t != ""
}
