package worker

import (
	"context"
	"encoding/json"
	"iter"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// Extension is what a client has said to a job in an extension of the protocol
// (open dialect EX-3) that its session has negotiated.
type Extension struct {
	// ID is the client's own. A client that cannot know whether a message
	// arrived may send it again with the same one.
	ID envelope.MessageID
	// SessionID is the session that it came from: the job's, or another one of
	// the same principal.
	SessionID envelope.SessionID
	// Name is the extension, such as arcpx.acme.v1, and Payload a JSON object.
	Name    string
	Payload json.RawMessage
	// CorrelationID is what the client answers to, "" for nothing.
	CorrelationID envelope.MessageID
}

// Extend says something in an extension of the protocol: an event of that type
// (open dialect EX-1), such as arcpx.acme.v1, whose payload is any value that
// encodes as a JSON object, nil for an empty one. It is shown, and counted, in
// sessions that have negotiated the name with their edge; in others it is not.
func (j *Job) Extend(ctx context.Context, extension string, payload any) error {
	switch {
	case extension == envelope.CheckpointExtension:
		return envelope.Errorf(envelope.CodeInvalidArgument, "%s has no messages: Job.Checkpoint says job.checkpoint", extension)
	case !envelope.IsExtension(envelope.Type(extension)):
		return envelope.Errorf(envelope.CodeInvalidArgument, "%q is no name of an extension, such as arcpx.acme.v1", extension)
	}
	return j.say(ctx, envelope.Type(extension), payload)
}

// Extensions returns what clients say to the job in extensions, of any name, in
// order: from the first on, in each attempt, and then as it comes. The sequence
// ends with an error: ctx's cause, or one of the log's for good. A second loop
// goes on where the first one left off. While the log is away it waits.
func (j *Job) Extensions(ctx context.Context) iter.Seq2[Extension, error] {
	return func(yield func(Extension, error) bool) {
		for {
			e, err := j.extensions.next(ctx, j.bus, subjects.JobInput(j.inv.rec.Subject))
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// pickExtensions returns the messages of extensions in a record.
func pickExtensions(r *record.Record) (found []Extension) {
	for t, body := range r.Lines() {
		if !envelope.IsExtension(t) {
			continue
		}
		env, err := envelope.DecodeStored(body)
		if err != nil {
			continue
		}
		found = append(found, Extension{
			ID: env.ID, SessionID: env.SessionID, Name: string(t), Payload: env.Payload, CorrelationID: env.CorrelationID,
		})
	}
	return found
}
