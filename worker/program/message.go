package program

import (
	"bytes"
	"context"
	"encoding/json"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/worker"
)

// message is what a line of standard output says, when it is not plain text.
// Exactly one member is set.
type message struct {
	progress *progress
	log      *logLine
	result   json.RawMessage
}

type progress struct {
	Current float64 `json:"current"`
	Total   float64 `json:"total"`
	Units   string  `json:"units"`
	Message string  `json:"message"`
}

type logLine struct {
	Level      envelope.LogLevel `json:"level"`
	Message    string            `json:"message"`
	Attributes json.RawMessage   `json:"attributes"`
}

// readMessage reads a line of standard output. It is false for text: for
// everything that is not one of the four shapes.
func readMessage(line []byte) (message, bool) {
	if !begins(line) {
		return message{}, false
	}
	var members map[string]json.RawMessage
	if jsonv2.Unmarshal(line, &members) != nil || len(members) != 1 {
		return message{}, false
	}
	var m message
	for name, value := range members {
		switch name {
		case "result":
			m.result = bytes.Clone(value)
			return m, true
		case "progress":
			m.progress = new(progress)
			return m, jsonv2.Unmarshal(value, m.progress, jsonv2.RejectUnknownMembers(true)) == nil
		case "log":
			m.log = &logLine{Level: envelope.LogInfo}
			if value[0] == '"' {
				return m, jsonv2.Unmarshal(value, &m.log.Message) == nil
			}
			return m, jsonv2.Unmarshal(value, m.log, jsonv2.RejectUnknownMembers(true)) == nil
		}
	}
	return message{}, false
}

// say passes a message on to the job; a result is for the caller to keep. What
// the job refuses, such as a progress beyond its total, becomes a warning in
// the job's log: the program has no way to hear of it.
func (m message) say(ctx context.Context, job *worker.Job) error {
	var err error
	switch {
	case m.progress != nil:
		p := m.progress
		err = job.Progress(ctx, worker.Progress{Current: p.Current, Total: p.Total, Units: p.Units, Message: p.Message})
	case m.log != nil:
		var attributes any
		if m.log.Attributes != nil {
			attributes = m.log.Attributes
		}
		err = job.Log(ctx, m.log.Level, m.log.Message, attributes)
	}
	switch envelope.CodeOf(err) {
	case envelope.CodeInvalidArgument, envelope.CodeInvalidRequest:
		return job.Log(ctx, envelope.LogWarn, "refused: "+err.Error(), nil)
	}
	return err
}
