package chaos

import (
	"fmt"
	"slices"
)

// forwarded are the types that job.subscribe shows (JS-4).
var forwarded = []string{
	"job.accepted", "job.started", "job.progress", "job.heartbeat", "job.completed", "job.failed", "job.cancelled", "job.result_chunk",
	"tool.result", "tool.error", "log", "metric", "stream.open", "stream.chunk", "stream.close", "stream.error", "artifact.ref",
}

// viewing is what a session was shown of a job of another one since it began to watch it.
type viewing struct {
	asked  *Request // the job.subscribe; nil: the job was asked for again, by its key
	whole  bool     // it begins where the job does
	events []string // ids of the forwarded ones
	ended  bool
}

// watchOf says what is wrong with the events of a job that a session was shown which watches it, if anything: by its key, or
// by job.subscribe (JS-3 to JS-9). told is what the job's own session was shown.
func watchOf(s *testimony, job string, events, told []*frame) string {
	var all []viewing
	for _, f := range events {
		last := len(all) - 1
		switch {
		case f.Type == "job.subscribed":
			if last < 0 || all[last].ended {
				r := s.requests[f.CorrelationID]
				whole := r != nil && r.History && r.After == 0 && (last < 0 || f.read().Replayed)
				all = append(all, viewing{asked: r, whole: whole})
			}
		case f.Type == "job.accepted" && f.IdempotencyKey != "":
			if last < 0 || all[last].ended {
				all = append(all, viewing{})
			}
		case last < 0:
			return f.Type + " went to a session that did not ask for the job"
		case all[last].ended:
			return f.Type + " was shown after the end"
		default:
			if slices.Contains(forwarded, f.Type) {
				all[last].events = append(all[last].events, f.ID)
			}
			all[last].ended = f.terminal()
		}
	}
	var whole []string
	for _, f := range told {
		if slices.Contains(forwarded, f.Type) {
			whole = append(whole, f.ID)
		}
	}
	left := s.asksTo("job.unsubscribe", job)
	for i := range all {
		if reason := all[i].wrong(whole, left); reason != "" {
			return reason
		}
	}
	if !slices.ContainsFunc(all, func(v viewing) bool { return v.ended || v.asked != nil }) {
		return "the session that asked for the job again was not shown its end"
	}
	return ""
}

// wrong says what is wrong with one viewing of what there was to see: it is a part of that without a gap, which reaches to
// the end unless the session did not want that, and to the beginning if it wanted that.
func (v *viewing) wrong(whole []string, left bool) string {
	if len(v.events) == 0 {
		if v.whole && !left {
			return "nothing was shown of what was"
		}
		return ""
	}
	from := slices.Index(whole, v.events[0])
	if from < 0 {
		return "it was shown " + v.events[0] + ", which the session of the job was not"
	}
	if len(v.events) > len(whole)-from {
		return fmt.Sprintf("%d envelopes of the job were shown, from number %d of %d on", len(v.events), from+1, len(whole))
	}
	for i, id := range v.events {
		if whole[from+i] != id {
			return fmt.Sprintf("%s was shown where %s was due", id, whole[from+i])
		}
	}
	switch {
	case !v.ended && !left:
		return "the session that watches the job was not shown its end"
	case v.whole && from > 0:
		return fmt.Sprintf("what was begins at envelope %d of %d", from+1, len(whole))
	}
	return ""
}

// asksTo tells whether a session has sent a request about a job.
func (s *testimony) asksTo(typ, job string) bool {
	return slices.ContainsFunc(s.Requests, func(r Request) bool { return r.Type == typ && r.Job == job })
}

// subscribedRight says what is wrong with the answer to a job.subscribe, if anything: it is for jobs of the principal only.
func (c *trial) subscribedRight(s *testimony, r *Request, f *frame) string {
	j := c.jobs[r.Job]
	switch {
	case j == nil:
		return "a job was subscribed to that is not in the log"
	case f.Type == "job.subscribed" && j.invocation.Principal != s.Principal:
		return "a job of " + j.invocation.Principal + " was subscribed to"
	case f.Type == "nack" && !lacksLog(f.read()) && j.invocation.Principal == s.Principal:
		return fmt.Sprintf("an own job cannot be subscribed to: %s", f.Payload)
	}
	return ""
}

// checkWatches is JS-1 and JS-2.
func (c *trial) checkWatches(s *testimony) {
	for _, f := range s.frames {
		r := s.requests[f.CorrelationID]
		if r == nil || r.Type != "job.subscribe" || f.Type != "job.subscribed" && f.Type != "nack" {
			continue
		}
		if reason := c.subscribedRight(s, r, f); reason != "" {
			c.blame(Violation{Rule: "JS", Client: s.Client, Job: r.Job, Request: r.ID, Detail: reason})
		}
	}
}
