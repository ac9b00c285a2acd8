// Package eventline writes events of jobs for people, one a line.
package eventline

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/arcp-nats/arcp/envelope"
)

// maxText bounds the text of an event, in characters.
const maxText = 100

// Format returns time, job, type and a short text. The time is local; the job is named by the end of its id, enough to
// tell jobs apart.
func Format(e *envelope.Envelope) string {
	line := e.Timestamp.Local().Format("15:04:05.000") + "  " + shortID(string(e.JobID)) + "  " + string(e.Type)
	if text := short(Text(e)); text != "" {
		line += "  " + text
	}
	return line
}

// Text returns what an event says, in words.
func Text(e *envelope.Envelope) string {
	switch e.Type {
	case envelope.TypeJobAccepted:
		return string(e.JobID)
	case envelope.TypeJobStarted:
		p, err := envelope.DecodePayload[envelope.JobStarted](e)
		if err != nil {
			break
		}
		if p.Attempt > 1 {
			return p.Description + " (attempt " + strconv.FormatUint(p.Attempt, 10) + ")"
		}
		return p.Description
	case envelope.TypeJobProgress:
		p, err := envelope.DecodePayload[envelope.JobProgress](e)
		if err != nil {
			break
		}
		return progress(p)
	case envelope.TypeLog:
		p, err := envelope.DecodePayload[envelope.Log](e)
		if err != nil {
			break
		}
		return string(p.Level) + ": " + p.Message
	case envelope.TypeMetric:
		p, err := envelope.DecodePayload[envelope.Metric](e)
		if err != nil {
			break
		}
		return fmt.Sprintf("%s %v %s", p.Name, p.Value, p.Unit)
	case envelope.TypeJobResultChunk:
		p, err := envelope.DecodePayload[envelope.JobResultChunk](e)
		if err != nil {
			break
		}
		last := ""
		if !p.More {
			last = ", the last one"
		}
		return fmt.Sprintf("chunk %d, %d characters in %s%s", p.ChunkSeq, len(p.Data), p.Encoding, last)
	case envelope.TypePermissionRequest:
		p, err := envelope.DecodePayload[envelope.PermissionRequest](e)
		if err != nil {
			break
		}
		text := p.Permission + ": " + p.Operation + " " + p.Resource
		if p.Reason != "" {
			text += " (" + p.Reason + ")"
		}
		return text
	case envelope.TypeToolError:
		p, err := envelope.DecodePayload[envelope.ToolError](e)
		if err != nil {
			break
		}
		return string(p.Code) + ": " + p.Message
	case envelope.TypeToolResult:
		p, err := envelope.DecodePayload[envelope.ToolResult](e)
		if err != nil {
			break
		}
		if p.ResultRef != nil {
			return p.ResultRef.URI
		}
		return string(p.Value)
	case envelope.TypeJobFailed:
		p, err := envelope.DecodePayload[envelope.JobFailed](e)
		if err != nil {
			break
		}
		return string(p.Code) + ": " + p.Message
	case envelope.TypeJobCancelled:
		p, err := envelope.DecodePayload[envelope.JobCancelled](e)
		if err != nil {
			break
		}
		return p.Reason
	}
	return string(e.Payload)
}

func progress(p *envelope.JobProgress) string {
	text := strconv.FormatFloat(p.Current, 'f', -1, 64)
	if p.Total != nil {
		text += "/" + strconv.FormatFloat(*p.Total, 'f', -1, 64)
	}
	if p.Units != "" {
		text += " " + p.Units
	}
	if p.Message != "" {
		text += "  " + p.Message
	}
	return text
}

func shortID(id string) string {
	const tail = 6
	if len(id) <= tail {
		return id
	}
	return id[len(id)-tail:]
}

// short keeps a text on one line, and a terminal from being told anything.
func short(text string) string {
	text = strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, text)
	if utf8.RuneCountInString(text) <= maxText {
		return text
	}
	runes := []rune(text)
	return string(runes[:maxText-1]) + "…"
}
