package client

import (
	"encoding/json"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/hello"
)

// in implements [wire]. A message that cannot be read still has its number.
func (w *helloWire) in(text []byte) (*envelope.Envelope, bool) {
	f, err := hello.Decode(text)
	if err != nil {
		return nil, true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.hear(f)
	if e == nil {
		if f.EventSeq == 0 {
			return nil, false
		}
		if e, err = envelope.NewWithID("", envelope.TypeEventEmit, &envelope.EventEmit{Name: string(f.Type), Data: f.Payload}); err != nil {
			return nil, true
		}
	}
	e.ID, e.SessionID, e.EventSeq = envelope.MessageID(f.ID), envelope.SessionID(f.SessionID), f.EventSeq
	if e.TraceID = f.TraceID; e.JobID == "" && strings.HasPrefix(f.JobID, "job_") {
		e.JobID = envelope.JobID(f.JobID)
	}
	if e.CorrelationID == "" && e.JobID != "" {
		e.CorrelationID = w.invokes[e.JobID]
	}
	return e, true
}

// made is an envelope that gets its message's id later; nil if it cannot be made.
func made(typ envelope.Type, payload any) *envelope.Envelope {
	e, err := envelope.NewWithID("", typ, payload)
	if err != nil {
		return nil
	}
	return e
}

// answering is made for the answer to a request.
func answering(id string, typ envelope.Type, payload any) *envelope.Envelope {
	e := made(typ, payload)
	if e != nil {
		e.CorrelationID = envelope.MessageID(id)
	}
	return e
}

// hear returns the envelope that a message stands for, nil for none. It needs the lock.
func (w *helloWire) hear(f *hello.Frame) *envelope.Envelope {
	switch f.Type {
	case hello.TypeWelcome:
		return w.welcome(f)
	case hello.TypeError:
		return w.problem(f)
	case hello.TypePing:
		if p, err := hello.DecodePayload[hello.Ping](f); err == nil {
			return made(envelope.TypeSessionPing, &envelope.SessionPing{Nonce: p.Nonce, SentAt: p.SentAt})
		}
	case hello.TypePong:
		return w.pong(f)
	case hello.TypeClosed:
		if p, err := hello.DecodePayload[hello.Reason](f); err == nil {
			return made(envelope.TypeSessionClosed, &envelope.SessionClosed{Reason: p.Reason})
		}
	case hello.TypeJobs:
		return w.jobs(f)
	case hello.TypeAccepted:
		return w.accepted(f)
	case hello.TypeCancelled:
		for id, job := range w.cancels {
			if job == f.JobID {
				delete(w.cancels, id)
				return answering(id, envelope.TypeCancelAccepted, &envelope.CancelAccepted{TargetID: job})
			}
		}
	case hello.TypeSubscribed:
		return w.subscribed(f)
	case hello.TypeEvent:
		return w.event(f)
	case hello.TypeResult:
		return w.result(f)
	case hello.TypeJobError:
		return w.failed(f)
	}
	return nil
}

func (w *helloWire) welcome(f *hello.Frame) *envelope.Envelope {
	p, err := hello.DecodePayload[hello.Welcome](f)
	if err != nil {
		return nil
	}
	w.greeted, w.session = true, f.SessionID
	if w.resumes != nil {
		return made(envelope.TypeSessionResumed, &envelope.SessionResumed{
			SessionID: envelope.SessionID(f.SessionID), ResumeToken: p.ResumeToken, ReplayedFrom: w.resumes.LastEventSeq, Replayed: true,
		})
	}
	agents := new(envelope.Agents)
	for _, a := range p.Capabilities.Agents {
		agents.Rich = append(agents.Rich, envelope.Agent{Name: a.Name, Versions: a.Versions, Default: a.Default})
	}
	return made(envelope.TypeSessionAccepted, &envelope.SessionAccepted{
		SessionID: envelope.SessionID(f.SessionID), ResumeToken: p.ResumeToken, Capabilities: envelope.Capabilities{Agents: agents},
		Runtime: envelope.Runtime{Kind: p.Runtime.Name, Version: p.Runtime.Version, Fingerprint: p.Runtime.Fingerprint},
	})
}

// codeOf is the code of the open dialect that a problem had, or has.
func codeOf(p *hello.Problem) envelope.Code {
	var details struct {
		OpenCode envelope.Code `json:"open_code"`
	}
	_ = json.Unmarshal(p.Details, &details) // none has none
	if details.OpenCode != "" {
		return details.OpenCode
	}
	if p.Code == hello.CodeInternalError {
		return envelope.CodeInternal
	}
	return envelope.Code(p.Code)
}

// problem is a refusal: of the session, of a request, or its end.
func (w *helloWire) problem(f *hello.Frame) *envelope.Envelope {
	p, err := hello.DecodePayload[hello.Error](f)
	if err != nil {
		return nil
	}
	code := codeOf(&p.Problem)
	job, cancels := w.cancels[p.RequestID]
	switch {
	case !w.greeted:
		return made(envelope.TypeSessionRejected, &envelope.SessionRejected{Code: code, Message: p.Message})
	case p.RequestID == "":
		return made(envelope.TypeSessionEvicted, &envelope.SessionEvicted{Code: code, Reason: p.Message})
	case cancels:
		delete(w.cancels, p.RequestID)
		return answering(p.RequestID, envelope.TypeCancelRefused, &envelope.CancelRefused{TargetID: job, Reason: p.Message})
	}
	return answering(p.RequestID, envelope.TypeNack, &envelope.Nack{Code: code, Message: p.Message, Details: p.Details})
}

// pong: the nonce says which request it answers, and of which type that was.
func (w *helloWire) pong(f *hello.Frame) *envelope.Envelope {
	p, err := hello.DecodePayload[hello.Pong](f)
	if err != nil {
		return nil
	}
	id, rest, _ := strings.Cut(p.PingNonce, nonceMark)
	typ, nonce, _ := strings.Cut(rest, nonceMark)
	if envelope.Type(typ) == envelope.TypePing {
		return answering(id, envelope.TypePong, &envelope.Pong{Nonce: nonce})
	}
	return answering(id, envelope.TypeSessionPong, &envelope.SessionPong{PingNonce: nonce, ReceivedAt: envelope.Now()})
}

func (w *helloWire) jobs(f *hello.Frame) *envelope.Envelope {
	p, err := hello.DecodePayload[hello.Jobs](f)
	if err != nil {
		return nil
	}
	page := &envelope.SessionJobs{RequestID: p.RequestID, NextCursor: p.NextCursor, Jobs: []envelope.JobListEntry{}}
	for _, job := range p.Jobs {
		entry := envelope.JobListEntry{
			JobID: envelope.JobID(job.JobID), Agent: job.Agent, Status: job.Status.State(), CreatedAt: job.CreatedAt,
			TraceID: job.TraceID, LastEventSeq: job.LastEventSeq,
		}
		if job.ParentJobID != nil {
			entry.ParentJobID = envelope.JobID(*job.ParentJobID)
		}
		page.Jobs = append(page.Jobs, entry)
	}
	return answering(p.RequestID, envelope.TypeSessionJobs, page)
}

func (w *helloWire) accepted(f *hello.Frame) *envelope.Envelope {
	p, err := hello.DecodePayload[hello.Accepted](f)
	if err != nil {
		return nil
	}
	a := &envelope.JobAccepted{
		JobID: envelope.JobID(p.JobID), Lease: p.Lease.Canonical(p.LeaseConstraints), Agent: p.Agent, ParentJobID: envelope.JobID(p.ParentJobID),
	}
	for _, c := range p.Credentials {
		a.Credentials = append(a.Credentials, envelope.Credential{
			ID: c.ID, Scheme: envelope.CredentialScheme(c.Scheme), Value: c.Value, Endpoint: c.Endpoint, Profile: c.Profile,
		})
	}
	id := p.RequestID
	if p.ParentJobID == "" && len(w.submits) > 0 { // they come in order
		id, w.submits = w.submits[0], w.submits[1:]
	}
	if id == "" {
		return made(envelope.TypeJobAccepted, a)
	}
	w.invokes[a.JobID] = envelope.MessageID(id)
	return answering(id, envelope.TypeJobAccepted, a)
}

func (w *helloWire) subscribed(f *hello.Frame) *envelope.Envelope {
	p, err := hello.DecodePayload[hello.Subscribed](f)
	if err != nil {
		return nil
	}
	s := &envelope.JobSubscribed{
		JobID: envelope.JobID(p.JobID), CurrentStatus: p.CurrentStatus.State(), Agent: p.Agent, TraceID: p.TraceID,
		SubscribedFrom: p.SubscribedFrom, Replayed: p.Replayed, Lease: p.Lease.Canonical(p.LeaseConstraints),
	}
	if p.ParentJobID != nil {
		s.ParentJobID = envelope.JobID(*p.ParentJobID)
	}
	return answering(p.RequestID, envelope.TypeJobSubscribed, s)
}

// event: what the open dialect has no type for is an event.emit of the kind's name.
func (w *helloWire) event(f *hello.Frame) *envelope.Envelope {
	p, err := hello.DecodePayload[hello.Event](f)
	if err != nil {
		return nil
	}
	e := w.ofKind(f, p)
	if e == nil {
		e = made(envelope.TypeEventEmit, &envelope.EventEmit{Name: string(p.Kind), Data: p.Body})
	}
	if e != nil {
		e.Timestamp = p.TS
	}
	return e
}

func (w *helloWire) ofKind(f *hello.Frame, p *hello.Event) *envelope.Envelope {
	switch p.Kind {
	case hello.KindLog:
		if b, err := body[hello.LogBody](p); err == nil {
			return made(envelope.TypeLog, &envelope.Log{Level: b.Level, Message: b.Message, Attributes: b.Attributes})
		}
	case hello.KindMetric:
		if b, err := body[hello.MetricBody](p); err == nil {
			m := &envelope.Metric{Name: b.Name, Value: b.Value, Unit: b.Unit}
			if len(b.Dims) > 0 {
				m.Dims, _ = json.Marshal(b.Dims) // texts by text
			}
			return made(envelope.TypeMetric, m)
		}
	case hello.KindProgress:
		if b, err := body[hello.ProgressBody](p); err == nil {
			progress := &envelope.JobProgress{Current: float64(b.Current), Units: b.Units, Message: b.Message}
			if b.Total != nil {
				progress.Total = new(float64(*b.Total))
			}
			return made(envelope.TypeJobProgress, progress)
		}
	case hello.KindResultChunk:
		if b, err := body[hello.ChunkBody](p); err == nil {
			return made(envelope.TypeJobResultChunk, &envelope.JobResultChunk{
				ResultID: b.ResultID, ChunkSeq: b.ChunkSeq, Data: b.Data, Encoding: b.Encoding, More: b.More,
			})
		}
	case hello.KindStatus:
		return w.status(f, p)
	case hello.KindEmit:
		if b, err := body[envelope.EventEmit](p); err == nil && b.Name != "" {
			return made(envelope.TypeEventEmit, b)
		}
	}
	return nil
}

// status: that a job runs is said at the beginning of each attempt, the first one and later ones with their number.
func (w *helloWire) status(f *hello.Frame, p *hello.Event) *envelope.Envelope {
	b, err := body[hello.StatusBody](p)
	if err != nil || b.Phase != hello.PhaseRunning {
		return nil
	}
	started := &envelope.JobStarted{Description: b.Message, Attempt: 1}
	if len(b.Details) > 0 {
		var details struct {
			Attempt uint64 `json:"attempt"`
		}
		if json.Unmarshal(b.Details, &details) != nil || details.Attempt == 0 {
			return nil
		}
		started.Attempt = details.Attempt
	} else if w.states[envelope.JobID(f.JobID)] {
		return nil // a tool's own word
	}
	w.states[envelope.JobID(f.JobID)] = true
	return made(envelope.TypeJobStarted, started)
}

func body[T any](p *hello.Event) (*T, error) {
	into := new(T)
	if err := jsonv2.Unmarshal(p.Body, into); err != nil {
		return nil, err
	}
	return into, nil
}

func (w *helloWire) result(f *hello.Frame) *envelope.Envelope {
	p, err := hello.DecodePayload[hello.Result](f)
	if err != nil {
		return nil
	}
	return w.over(f, envelope.TypeJobCompleted, &envelope.JobCompleted{
		Value: p.Result, ResultID: p.ResultID, ResultSize: p.ResultSize, Summary: p.Summary,
	})
}

// failed: one with the id of an unknown job refuses the oldest submit.
func (w *helloWire) failed(f *hello.Frame) *envelope.Envelope {
	p, err := hello.DecodePayload[hello.JobError](f)
	if err != nil {
		return nil
	}
	if p.FinalStatus == hello.StatusCancelled {
		return w.over(f, envelope.TypeJobCancelled, &envelope.JobCancelled{Reason: p.Message})
	}
	payload := &envelope.JobFailed{Code: codeOf(&p.Problem), Retryable: &p.Retryable, Message: p.Message, Details: p.Details}
	if _, known := w.invokes[envelope.JobID(f.JobID)]; !known && len(w.submits) > 0 {
		id := w.submits[0]
		w.submits = w.submits[1:]
		return answering(id, envelope.TypeJobFailed, payload)
	}
	return w.over(f, envelope.TypeJobFailed, payload)
}

// over is the end of a job.
func (w *helloWire) over(f *hello.Frame, typ envelope.Type, payload any) *envelope.Envelope {
	e := made(typ, payload)
	job := envelope.JobID(f.JobID)
	if e != nil {
		e.CorrelationID = w.invokes[job]
	}
	delete(w.invokes, job)
	delete(w.states, job)
	return e
}
