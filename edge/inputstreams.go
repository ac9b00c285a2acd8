package edge

import (
	"context"
	"time"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

const (
	// maxStreams bounds the streams that a client has open in a session.
	maxStreams = 64
	// sweepStreams is how often, at most, streams to jobs that have ended are looked for among them.
	sweepStreams = time.Second
	// maxLearned bounds the jobs of which it is remembered that the log was asked for streams to them.
	maxLearned = 1024
)

// inputStreams are the streams in which the client of a session says something, as far as the log has them. The zero value
// is ready to use.
type inputStreams struct {
	open    map[envelope.StreamID]inputStream
	learned map[envelope.JobID]bool // what the log has of streams to the job is known; "" is for subscribers
	swept   time.Time
}

// inputStream is one of them.
type inputStream struct {
	job        envelope.JobID // "" for one that is for subscribers
	invocation *record.Record // of the job; nil: not looked up yet
	rule       envelope.StreamRule
}

func (i *inputStreams) set(id envelope.StreamID, stream inputStream) {
	if stream.rule.Ended {
		delete(i.open, id)
		return
	}
	if i.open == nil {
		i.open = make(map[envelope.StreamID]inputStream)
	}
	i.open[id] = stream
}

func (i *inputStreams) forget(id envelope.StreamID) { delete(i.open, id) }

// streamOf returns the stream that a message belongs to; a new one if there is none.
func (s *session) streamOf(ctx context.Context, msg *envelope.Envelope) (inputStream, error) {
	stream, known := s.streams.open[msg.StreamID]
	if !known {
		if err := s.learnStreams(ctx, msg.JobID); err != nil {
			return stream, err
		}
		stream, known = s.streams.open[msg.StreamID]
	}
	if known && msg.Type == envelope.TypeStreamOpen && stream.job != "" && msg.JobID != stream.job {
		if err := s.entitle(ctx, &stream); isEnded(err) { // the name is free
			s.streams.forget(msg.StreamID)
			known = false
		}
	}
	switch {
	case known && msg.JobID != "" && msg.JobID != stream.job:
		return stream, envelope.Errorf(envelope.CodeInvalidArgument, "job_id: is not the job that the stream was opened to")
	case known:
		return stream, nil
	}
	if err := s.roomForStream(ctx); err != nil {
		return stream, err
	}
	return inputStream{job: msg.JobID}, nil
}

// learnStreams finds out, once for each job, which streams the client has opened to it before this edge had the session. On
// the session's first edge there are none.
func (s *session) learnStreams(ctx context.Context, job envelope.JobID) error {
	if s.epoch <= 1 || s.streams.learned[job] {
		return nil
	}
	stream := inputStream{job: job}
	lanes := []subjects.Subject{subjects.JobInput(s.subject)}
	if job != "" {
		if err := s.entitle(ctx, &stream); err != nil {
			return err
		}
		lanes[0] = subjects.JobInput(stream.invocation.Subject)
	} else if start := s.store.snapshot().Start.Place; start.Shard != s.subject.Shard || start.Feed != s.subject.Feed {
		lanes = append(lanes, subjects.JobInput(s.store.at(start)))
	}
	rules := make(map[envelope.StreamID]envelope.StreamRule)
	for _, lane := range lanes {
		if err := s.srv.log.ReadJob(ctx, lane, func(rec *record.Record) bool {
			s.foldStreams(rules, rec)
			return true
		}); err != nil {
			return err
		}
	}
	for id, rule := range rules {
		stream.rule = rule
		if _, known := s.streams.open[id]; !known {
			s.streams.set(id, stream)
		}
	}
	if s.streams.learned == nil || len(s.streams.learned) >= maxLearned {
		s.streams.learned = make(map[envelope.JobID]bool)
	}
	s.streams.learned[job] = true
	return nil
}

// foldStreams takes what a record of an input lane says in streams of this session. What is said again, or makes no sense,
// changes nothing.
func (s *session) foldStreams(rules map[envelope.StreamID]envelope.StreamRule, rec *record.Record) {
	for typ, line := range rec.Lines() {
		switch typ {
		case envelope.TypeStreamOpen, envelope.TypeStreamChunk, envelope.TypeStreamClose, envelope.TypeStreamError:
		default:
			continue
		}
		e, err := envelope.DecodeStored(line)
		if err != nil || e.SessionID != s.id {
			continue
		}
		rule := rules[e.StreamID]
		if rule.Ended {
			rule = envelope.StreamRule{}
		}
		if next, err := rule.Take(e); err == nil {
			rules[e.StreamID] = next
		}
	}
}

// isEnded reports whether entitle has found that the job of a stream has ended, or is no longer known. Other errors tell
// nothing about the job.
func isEnded(err error) bool {
	code := envelope.CodeOf(err)
	return code == interruptCodes[refusedEnded] || code == interruptCodes[refusedUnknown]
}

// roomForStream reports whether one more stream may be opened. Those to jobs that have ended are forgotten before it says no.
func (s *session) roomForStream(ctx context.Context) error {
	if len(s.streams.open) >= maxStreams && time.Since(s.streams.swept) >= sweepStreams {
		s.streams.swept = time.Now()
		for id, stream := range s.streams.open {
			if stream.job == "" {
				continue
			}
			switch err := s.entitle(ctx, &stream); {
			case isEnded(err):
				s.streams.forget(id)
			case err != nil:
				return err
			}
		}
	}
	if len(s.streams.open) >= maxStreams {
		return envelope.Errorf(envelope.CodeResourceExhausted, "stream_id: the session has %d streams open, the limit", maxStreams)
	}
	return nil
}
