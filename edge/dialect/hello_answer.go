package dialect

import (
	"cmp"
	"slices"
	"time"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/hello"
)

// Answer implements [Codec]. What the dialect has no word for is not said.
func (c *helloCodec) Answer(e *envelope.Envelope) ([][]byte, error) {
	var texts [][]byte
	session := string(e.SessionID)
	if session == "" {
		session = c.ofSession()
	}
	copied := *e
	for i, s := range c.answer(&copied) {
		text, err := write(&copied, &s, session, 0, i)
		if err != nil {
			return texts, err
		}
		texts = append(texts, text)
	}
	return c.requests.inLine(e.CorrelationID, texts), nil
}

// ofSession is the session that is to be opened, or was to be resumed: no message is without one (annex A, 3).
func (c *helloCodec) ofSession() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.resume != nil && c.resume.Session != "":
		return string(c.resume.Session)
	case c.session == "":
		c.session = envelope.NewSessionID()
	}
	return string(c.session)
}

func (c *helloCodec) answer(e *envelope.Envelope) []said {
	switch e.Type {
	case envelope.TypeSessionAccepted:
		return c.welcome(e)
	case envelope.TypeSessionRejected:
		if p, err := envelope.DecodePayload[envelope.SessionRejected](e); err == nil {
			return sessionError(p.Code, p.Message)
		}
	case envelope.TypeSessionEvicted:
		if p, err := envelope.DecodePayload[envelope.SessionEvicted](e); err == nil {
			return sessionError(p.Code, p.Reason)
		}
	case envelope.TypeSessionClosed:
		if p, err := envelope.DecodePayload[envelope.SessionClosed](e); err == nil {
			return []said{{typ: hello.TypeClosed, payload: &hello.Reason{Reason: p.Reason}}}
		}
	case envelope.TypeSessionPing: // WebSocket pings go out as well
		if p, err := envelope.DecodePayload[envelope.SessionPing](e); err == nil && c.offers(hello.FeatureHeartbeat) {
			return []said{{typ: hello.TypePing, payload: &hello.Ping{Nonce: p.Nonce, SentAt: p.SentAt}}}
		}
	case envelope.TypeSessionPong:
		if p, err := envelope.DecodePayload[envelope.SessionPong](e); err == nil {
			return []said{{typ: hello.TypePong, payload: &hello.Pong{PingNonce: orDash(p.PingNonce), ReceivedAt: stamp(p.ReceivedAt)}}}
		}
	case envelope.TypeSessionJobs:
		return jobs(e, c.requests.what(e.CorrelationID).statuses)
	case envelope.TypeNack:
		return c.refused(e)
	}
	return nil
}

func stamp(t envelope.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func sessionError(code envelope.Code, message string) []said {
	return []said{{typ: hello.TypeError, payload: &hello.Error{Problem: hello.ProblemOf(code, message, nil)}}}
}

// welcome is what the runtime and the client have in common (rules 15, 16, 19).
func (c *helloCodec) welcome(e *envelope.Envelope) []said {
	p, err := envelope.DecodePayload[envelope.SessionAccepted](e)
	if err != nil {
		return nil
	}
	e.SessionID = p.SessionID
	w := &hello.Welcome{
		Runtime:     hello.Runtime{Name: orDash(p.Runtime.Kind), Version: orDash(p.Runtime.Version), Fingerprint: p.Runtime.Fingerprint},
		ResumeToken: p.ResumeToken,
		SessionID:   string(p.SessionID), AcceptedAt: e.Timestamp,
		ResumeWindowSec: max(1, int64(c.settings.ResumeWindow/time.Second)),
		Capabilities:    hello.Offer{Encodings: []string{"json"}, Features: c.common(&p.Capabilities), Agents: inventory(p.Capabilities.Agents)},
	}
	if slices.Contains(w.Capabilities.Features, hello.FeatureHeartbeat) {
		w.HeartbeatIntervalSec = max(1, int64(c.settings.Heartbeat/time.Second))
	}
	return []said{{typ: hello.TypeWelcome, payload: w}}
}

// common are the features that both sides have. From here on they are those of the session.
func (c *helloCodec) common(negotiated *envelope.Capabilities) []hello.Feature {
	c.mu.Lock()
	defer c.mu.Unlock()
	common := make([]hello.Feature, 0, len(c.features))
	for _, f := range hello.Features() {
		has := slices.Contains(c.features, f)
		switch f {
		case hello.FeatureModelUse, hello.FeatureCredentials: // nothing enforces the one without the other (rule 16)
			has = has && isOn(negotiated.ProvisionedCredentials)
		}
		if has {
			common = append(common, f)
		}
	}
	c.features = common
	return common
}

func isOn(b *bool) bool { return b != nil && *b }

// inventory are the agents with their versions (annex A, 4).
func inventory(agents *envelope.Agents) []hello.Agent {
	list := make([]hello.Agent, 0)
	if agents == nil {
		return list
	}
	for _, name := range agents.Flat {
		list = append(list, hello.Agent{Name: name, Versions: []string{}})
	}
	for _, a := range agents.Rich {
		agent := hello.Agent{Name: a.Name, Versions: a.Versions, Default: a.Default}
		if agent.Versions == nil {
			agent.Versions = []string{}
		}
		list = append(list, agent)
	}
	return list
}

// jobs are a page. Of the jobs that have failed, some have timed out: the listing does not tell them apart, the filter does.
func jobs(e *envelope.Envelope, wanted []hello.Status) []said {
	p, err := envelope.DecodePayload[envelope.SessionJobs](e)
	if err != nil {
		return nil
	}
	page := &hello.Jobs{RequestID: requestID(cmp.Or(e.CorrelationID, envelope.MessageID(p.RequestID))), Jobs: make([]hello.Job, 0, len(p.Jobs)), NextCursor: p.NextCursor}
	for i := range p.Jobs {
		entry := &p.Jobs[i]
		job := hello.Job{
			JobID: string(entry.JobID), Agent: entry.Agent, Status: hello.StatusOf(entry.Status, entry.Code),
			CreatedAt: entry.CreatedAt, TraceID: traceOf(entry.TraceID), LastEventSeq: entry.LastEventSeq,
			SubmittedAt: entry.CreatedAt,
		}
		job.Lease, _ = hello.LeaseOf(entry.Lease)
		if entry.ParentJobID != "" {
			parent := string(entry.ParentJobID)
			job.ParentJobID = &parent
		}
		if wanted == nil || slices.Contains(wanted, job.Status) {
			page.Jobs = append(page.Jobs, job)
		}
	}
	return []said{{typ: hello.TypeJobs, payload: page}}
}
