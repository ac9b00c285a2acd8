package client

import (
	"encoding/json"
	"slices"
	"sync"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/hello"
)

// helloSpeaks are the types that there are messages for.
var helloSpeaks = map[envelope.Type]bool{
	envelope.TypeSessionOpen: true, envelope.TypeSessionResume: true, envelope.TypeSessionClose: true, envelope.TypeSessionPing: true,
	envelope.TypeSessionPong: true, envelope.TypeSessionAck: true, envelope.TypeSessionListJobs: true, envelope.TypePing: true,
	envelope.TypeToolInvoke: true, envelope.TypeCancel: true, envelope.TypeJobSubscribe: true, envelope.TypeJobUnsubscribe: true,
}

// helloWire speaks the hello dialect.
type helloWire struct {
	token func() string // the credential, afresh

	mu      sync.Mutex
	client  hello.Client
	session string
	resumes *envelope.SessionResume // the last one that was said; nil: the session is opened
	greeted bool                    // the edge has welcomed the client on this connection
	submits []string                // ids of submits that are not answered, oldest first
	cancels map[string]string       // jobs that are to be cancelled, by the id of the request
	invokes map[envelope.JobID]envelope.MessageID
	states  map[envelope.JobID]bool // jobs that have begun
}

func newHelloWire(s *Session) *helloWire {
	return &helloWire{
		token: func() string {
			token, err := s.token(s.ctx)
			if err != nil {
				s.log.Warn("no credential to resume with", "error", err)
			}
			return token
		},
		cancels: make(map[string]string),
		invokes: make(map[envelope.JobID]envelope.MessageID), states: make(map[envelope.JobID]bool),
	}
}

// out implements [wire].
func (w *helloWire) out(frame []byte) ([]byte, error) {
	e, err := envelope.DecodeStored(frame)
	if err != nil {
		return nil, err
	}
	typ, job, payload, err := w.say(e)
	if err != nil || typ == "" {
		return nil, err
	}
	f, err := hello.New(typ, payload)
	if err != nil {
		return nil, err
	}
	f.ID, f.JobID = string(e.ID), job
	if hello.IsTraceID(e.TraceID) {
		f.TraceID = e.TraceID
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if typ != hello.TypeHello {
		f.SessionID = w.session
	}
	return f.Encode()
}

func read[T any](e *envelope.Envelope) (*T, error) { return envelope.DecodePayload[T](e) }

// say is the message for an envelope; "" for none.
func (w *helloWire) say(e *envelope.Envelope) (typ hello.Type, job string, payload any, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e.Type {
	case envelope.TypeSessionOpen:
		var p *envelope.SessionOpen
		if p, err = read[envelope.SessionOpen](e); err != nil {
			return "", "", nil, err
		}
		w.client = hello.Client{Name: p.Client.Kind, Version: p.Client.Version}
		w.greeted, w.resumes = false, nil
		return hello.TypeHello, "", w.hello(p.Auth.Token, nil), nil
	case envelope.TypeSessionResume:
		if w.resumes, err = read[envelope.SessionResume](e); err != nil {
			return "", "", nil, err
		}
		w.greeted, w.submits = false, nil
		clear(w.cancels)
		return hello.TypeHello, "", w.hello(w.token(), &hello.Resume{
			SessionID: w.session, ResumeToken: w.resumes.ResumeToken, LastEventSeq: w.resumes.LastEventSeq,
		}), nil
	case envelope.TypeSessionClose:
		return hello.TypeClose, "", e.Payload, nil
	case envelope.TypeSessionPong, envelope.TypeSessionAck:
		return hello.Type(e.Type), "", e.Payload, nil
	case envelope.TypeSessionPing, envelope.TypePing: // the nonce says which request the answer is of
		return hello.TypePing, "", &hello.Ping{Nonce: string(e.ID) + nonceOf(e), SentAt: envelope.Now()}, nil
	}
	return w.ask(e)
}

// nonceOf is the nonce of a ping that has one, behind a mark.
func nonceOf(e *envelope.Envelope) string {
	var p struct {
		Nonce string `json:"nonce"`
	}
	_ = json.Unmarshal(e.Payload, &p) // none is none
	return nonceMark + string(e.Type) + nonceMark + p.Nonce
}

const nonceMark = "|"

// hello is what is said first. It needs the lock.
func (w *helloWire) hello(token string, resume *hello.Resume) *hello.Hello {
	return &hello.Hello{
		Client: w.client, Auth: hello.Auth{Scheme: "bearer", Token: token}, Resume: resume,
		Capabilities: hello.Capabilities{Encodings: []string{"json"}, Features: hello.Features()},
	}
}

// ask is the message for a request. It needs the lock.
func (w *helloWire) ask(e *envelope.Envelope) (typ hello.Type, job string, payload any, err error) {
	switch e.Type {
	case envelope.TypeToolInvoke:
		p, err := read[envelope.ToolInvoke](e)
		if err != nil {
			return "", "", nil, err
		}
		w.submits = append(w.submits, string(e.ID))
		s := &hello.Submit{Agent: p.Tool, Input: p.Arguments, IdempotencyKey: e.IdempotencyKey, MaxRuntimeSec: int64(min(p.MaxRuntimeSec, 1<<31))}
		if lease := p.EffectiveLease(); lease != nil {
			patterns, constraints := hello.LeaseOf(lease)
			if s.LeaseRequest, err = json.Marshal(patterns); err != nil {
				return "", "", nil, err
			}
			s.LeaseConstraints = constraints
		}
		return hello.TypeSubmit, "", s, nil
	case envelope.TypeCancel:
		p, err := read[envelope.Cancel](e)
		if err != nil {
			return "", "", nil, err
		}
		w.cancels[string(e.ID)] = p.TargetID
		return hello.TypeCancel, p.TargetID, &hello.Reason{Reason: p.Reason}, nil
	case envelope.TypeSessionListJobs:
		p, err := read[envelope.SessionListJobs](e)
		if err != nil {
			return "", "", nil, err
		}
		return hello.TypeListJobs, "", listOf(p), nil
	case envelope.TypeJobSubscribe, envelope.TypeJobUnsubscribe:
		return hello.Type(e.Type), "", e.Payload, nil
	}
	return "", "", nil, nil
}

// listOf is a session.list_jobs. The states of the open dialect are finer.
func listOf(p *envelope.SessionListJobs) *hello.ListJobs {
	l := &hello.ListJobs{Filter: new(hello.ListFilter)}
	if p.Limit != nil {
		l.Limit = *p.Limit
	}
	if p.Cursor != "" {
		l.Cursor = &p.Cursor
	}
	all := []hello.Status{hello.StatusPending, hello.StatusRunning, hello.StatusSuccess, hello.StatusError, hello.StatusCancelled, hello.StatusTimedOut}
	if p.Filter == nil {
		l.Filter.Status = all
		return l
	}
	l.Filter.Agent, l.Filter.CreatedAfter, l.Filter.CreatedBefore = p.Filter.Agent, p.Filter.CreatedAfter, p.Filter.CreatedBefore
	for _, state := range p.Filter.Status {
		status := []hello.Status{hello.StatusOf(envelope.JobState(state), "")}
		if envelope.JobState(state) == envelope.JobStateFailed {
			status = append(status, hello.StatusTimedOut)
		}
		l.Filter.Status = append(l.Filter.Status, status...)
	}
	if len(l.Filter.Status) == 0 {
		l.Filter.Status = all
	}
	slices.Sort(l.Filter.Status)
	l.Filter.Status = slices.Compact(l.Filter.Status)
	return l
}
