package dialect

import (
	"encoding/json"
	"errors"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/hello"
)

// Decode implements [Codec].
func (c *helloCodec) Decode(text []byte, lim envelope.Limits, _ func(string) bool) (*envelope.Envelope, error) {
	c.requests.decoding()
	f, err := hello.Decode(text)
	if err != nil {
		return nil, badFrame(f, envelope.CodeInvalidRequest, err.Error())
	}
	if len(text) > lim.MaxBytes {
		return nil, badFrame(f, envelope.CodeInvalidRequest, "the message is too large")
	}
	decode, known := helloDecoders[f.Type]
	if !known {
		return nil, unknownFrame(f)
	}
	said, err := decode(c, f)
	if err != nil {
		return nil, badFrame(f, envelope.CodeOf(err), errorMessage(err))
	}
	e, err := envelope.NewWithID(messageID(f.ID), said.typ, said.payload)
	if err != nil {
		return nil, badFrame(f, envelope.CodeInvalidRequest, "payload: cannot be read")
	}
	e.TraceID, e.IdempotencyKey = traceOf(f.TraceID), said.key
	return e, nil
}

// command is what a frame asks for.
type command struct {
	typ     envelope.Type
	payload any
	key     string // of a tool.invoke
}

// badFrame says what is wrong with a frame, as far as it could be read.
func badFrame(f *hello.Frame, code envelope.Code, reason string) error {
	bad := &envelope.DecodeError{Code: code, Reason: reason, Type: string(f.Type)}
	if f.ID != "" {
		bad.ID = messageID(f.ID)
	}
	if f.Type == hello.TypeSubmit {
		bad.Type = string(envelope.TypeToolInvoke)
	}
	return bad
}

func errorMessage(err error) string {
	var coded *envelope.Error
	if errors.As(err, &coded) {
		return coded.Message
	}
	return err.Error()
}

// unknownFrame is rule 109: what a vendor calls optional is dropped, anything else is refused.
func unknownFrame(f *hello.Frame) error {
	var extensions struct {
		Optional bool `json:"optional"`
	}
	vendor := strings.HasPrefix(string(f.Type), "x-vendor.")
	if vendor && len(f.Extensions) > 0 {
		_ = json.Unmarshal(f.Extensions, &extensions) // else it does not call itself optional
	}
	return &envelope.DecodeError{
		Code: envelope.CodeInvalidRequest, Reason: "type: " + clipName(string(f.Type)) + " is none that a client of this dialect sends",
		ID: messageID(f.ID), Type: string(f.Type), Silent: vendor && extensions.Optional,
	}
}

func clipName(s string) string { return s[:min(len(s), 64)] }

var (
	uuid        = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	traceParent = regexp.MustCompile(`^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$`)
)

// traceOf is rule 103: a trace id, also of a whole traceparent; "" for anything else.
func traceOf(text string) string {
	switch {
	case text == "", hello.IsTraceID(text):
		return text
	}
	if m := traceParent.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

// helloDecoders are the types that a client sends.
var helloDecoders = map[hello.Type]func(*helloCodec, *hello.Frame) (command, error){
	hello.TypeHello: (*helloCodec).hello,
	hello.TypeClose: func(c *helloCodec, f *hello.Frame) (command, error) { return c.leave(f, LeaveForGood) },
	hello.TypeBye:   func(c *helloCodec, f *hello.Frame) (command, error) { return c.leave(f, LeaveResumable) },
	hello.TypePing:  (*helloCodec).ping, hello.TypePong: (*helloCodec).pong, hello.TypeAck: (*helloCodec).ack,
	hello.TypeListJobs: (*helloCodec).listJobs, hello.TypeSubmit: (*helloCodec).submit, hello.TypeCancel: (*helloCodec).cancel,
	hello.TypeSubscribe: (*helloCodec).subscribe, hello.TypeUnsubscribe: (*helloCodec).unsubscribe,
}

func refuse(format string, args ...any) error {
	return envelope.Errorf(envelope.CodeInvalidRequest, format, args...)
}

func readHello[T any](f *hello.Frame) (*T, error) {
	payload, err := hello.DecodePayload[T](f)
	if err != nil {
		return nil, refuse("%s", err)
	}
	return payload, nil
}

// hello is rules 13 to 28. What the client offers is remembered for the welcome.
func (c *helloCodec) hello(f *hello.Frame) (command, error) {
	p, err := readHello[hello.Hello](f)
	if err != nil {
		return command{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.features, c.resume, c.uuids = p.Capabilities.Features, nil, uuid.MatchString(f.ID)
	if r := p.Resume; r != nil {
		c.resume = &Resumption{Session: envelope.SessionID(r.SessionID), Token: r.ResumeToken, LastSeq: r.LastEventSeq}
	}
	open := &envelope.SessionOpen{
		Auth:   envelope.Auth{Scheme: envelope.Scheme(p.Auth.Scheme), Token: p.Auth.Token},
		Client: envelope.Client{Kind: p.Client.Name, Version: p.Client.Version, Fingerprint: p.Client.Fingerprint, Principal: p.Client.Principal},
		Capabilities: envelope.Capabilities{
			ModelUse: offered(p, hello.FeatureModelUse), ProvisionedCredentials: offered(p, hello.FeatureCredentials),
			Subscriptions: offered(p, hello.FeatureSubscribe), Streaming: offered(p, hello.FeatureResultChunk),
		},
	}
	switch {
	case open.Auth.Scheme != envelope.SchemeBearer && open.Auth.Scheme != "":
		return command{}, envelope.Errorf(envelope.CodeUnauthenticated, "auth.scheme: only bearer is spoken")
	case open.Auth.Token == "": // rule 20
		yes := true
		open.Auth.Scheme, open.Capabilities.Anonymous = envelope.SchemeNone, &yes
	default:
		open.Auth.Scheme = envelope.SchemeBearer
	}
	return command{typ: envelope.TypeSessionOpen, payload: open}, nil
}

func offered(p *hello.Hello, f hello.Feature) *bool {
	offers := slices.Contains(p.Capabilities.Features, f)
	return &offers
}

func (c *helloCodec) leave(f *hello.Frame, how Leaving) (command, error) {
	p, err := readHello[hello.Reason](f)
	if err != nil {
		return command{}, err
	}
	c.mu.Lock()
	c.leaving = how
	c.mu.Unlock()
	return command{typ: envelope.TypeSessionClose, payload: &envelope.SessionClose{Reason: p.Reason}}, nil
}

func (*helloCodec) ping(f *hello.Frame) (command, error) {
	p, err := readHello[hello.Ping](f)
	if err != nil {
		return command{}, err
	}
	return command{typ: envelope.TypeSessionPing, payload: &envelope.SessionPing{Nonce: p.Nonce, SentAt: p.SentAt}}, nil
}

// pong: what the client says of the time is not read (rule 9).
func (*helloCodec) pong(f *hello.Frame) (command, error) {
	p, err := readHello[hello.Pong](f)
	if err != nil {
		return command{}, err
	}
	return command{typ: envelope.TypeSessionPong, payload: &envelope.SessionPong{PingNonce: p.PingNonce, ReceivedAt: envelope.Now()}}, nil
}

func (c *helloCodec) needs(feature hello.Feature) error {
	if c.offers(feature) {
		return nil
	}
	return refuse("the feature %s was not negotiated", feature)
}

func (c *helloCodec) ack(f *hello.Frame) (command, error) {
	if err := c.needs(hello.FeatureAck); err != nil {
		return command{}, err
	}
	p, err := readHello[hello.Ack](f)
	if err != nil {
		return command{}, err
	}
	return command{typ: envelope.TypeSessionAck, payload: &envelope.SessionAck{LastProcessedSeq: p.LastProcessedSeq}}, nil
}

// listed are the states of the open dialect that a status stands for. Who has timed out has failed: which of these it is, the
// answer says.
var listed = map[hello.Status][]string{
	hello.StatusPending: {string(envelope.JobStateAccepted), string(envelope.JobStateQueued)},
	hello.StatusRunning: {string(envelope.JobStateRunning), string(envelope.JobStateBlocked), string(envelope.JobStatePaused)},
	hello.StatusSuccess: {string(envelope.JobStateCompleted)}, hello.StatusCancelled: {string(envelope.JobStateCancelled)},
	hello.StatusError: {string(envelope.JobStateFailed)}, hello.StatusTimedOut: {string(envelope.JobStateFailed)},
}

// listJobs is rules 48 to 53: jobs that have ended are listed if they are asked for.
func (c *helloCodec) listJobs(f *hello.Frame) (command, error) {
	if err := c.needs(hello.FeatureListJobs); err != nil {
		return command{}, err
	}
	p, err := readHello[hello.ListJobs](f)
	if err != nil {
		return command{}, err
	}
	if p.Filter == nil {
		p.Filter = new(hello.ListFilter)
	}
	wanted := p.Filter.Status
	if len(wanted) == 0 {
		wanted = []hello.Status{hello.StatusPending, hello.StatusRunning}
	}
	list := &envelope.SessionListJobs{Filter: &envelope.JobListFilter{Agent: p.Filter.Agent, CreatedBefore: p.Filter.CreatedBefore}}
	for _, status := range wanted {
		states, known := listed[status]
		if !known {
			return command{}, refuse("payload.filter.status: no status %s", clipName(string(status)))
		}
		list.Filter.Status = append(list.Filter.Status, states...)
	}
	if after := p.Filter.CreatedAfter; after != nil { // inclusive here
		at := envelope.At(after.Add(-time.Nanosecond))
		list.Filter.CreatedAfter = &at
	}
	if before := p.Filter.CreatedBefore; before != nil {
		at := envelope.At(before.Add(time.Nanosecond))
		list.Filter.CreatedBefore = &at
	}
	if p.Filter.Agent != "" {
		if _, err := envelope.ParseAgentRef(p.Filter.Agent); err != nil {
			return command{}, refuse("payload.filter.agent: %s", err)
		}
	}
	if p.Limit > 0 {
		list.Limit = &p.Limit
	}
	if p.Cursor != nil {
		list.Cursor = *p.Cursor
	}
	c.requests.note(messageID(f.ID), asked{typ: f.Type, statuses: wanted})
	return command{typ: envelope.TypeSessionListJobs, payload: list}, nil
}

func (c *helloCodec) submit(f *hello.Frame) (command, error) {
	c.requests.note(messageID(f.ID), asked{typ: f.Type})
	p, err := readHello[hello.Submit](f)
	if err != nil {
		return command{}, err
	}
	if p.Agent == "" {
		return command{}, refuse("payload.agent: missing")
	}
	lease, err := p.Canonical()
	if err != nil {
		return command{}, refuse("%s", err)
	}
	s := &envelope.ToolInvoke{Tool: p.Agent, Arguments: p.Input, LeaseRequest: lease}
	if len(p.Input) == 0 {
		s.Arguments = json.RawMessage("null")
	}
	if p.MaxRuntimeSec > 0 {
		s.MaxRuntimeSec = uint64(min(p.MaxRuntimeSec, math.MaxInt32))
	}
	return command{typ: envelope.TypeToolInvoke, payload: s, key: p.IdempotencyKey}, nil
}

// jobNamed is the job of a request: the envelope names it, the payload, or both.
func jobNamed(f *hello.Frame, inPayload string) (envelope.JobID, error) {
	name := inPayload
	if name == "" {
		name = f.JobID
	}
	job, err := envelope.ParseJobID(name)
	if err != nil {
		return "", envelope.Errorf(envelope.CodeJobNotFound, "job_id: no such job")
	}
	return job, nil
}

func (c *helloCodec) cancel(f *hello.Frame) (command, error) {
	var named struct {
		JobID  string `json:"job_id"`
		Reason string `json:"reason"`
	}
	if len(f.Payload) > 0 && json.Unmarshal(f.Payload, &named) != nil {
		return command{}, refuse("payload: has the wrong type")
	}
	c.requests.note(messageID(f.ID), asked{typ: f.Type, job: envelope.JobID(f.JobID)})
	job, err := jobNamed(&hello.Frame{JobID: named.JobID}, f.JobID)
	if err != nil {
		return command{}, err
	}
	c.requests.note(messageID(f.ID), asked{typ: f.Type, job: job})
	return command{typ: envelope.TypeCancel, payload: &envelope.Cancel{Target: envelope.TargetJob, TargetID: string(job), Reason: named.Reason}}, nil
}

// subscribe is rules 70 to 79. Without history, from_event_seq has no effect (rule 73).
func (c *helloCodec) subscribe(f *hello.Frame) (command, error) {
	c.requests.note(messageID(f.ID), asked{typ: f.Type})
	if err := c.needs(hello.FeatureSubscribe); err != nil {
		return command{}, err
	}
	p, err := readHello[hello.Subscribe](f)
	if err != nil {
		return command{}, err
	}
	job, err := jobNamed(f, p.JobID)
	if err != nil {
		return command{}, err
	}
	s := &envelope.JobSubscribe{JobID: job, History: p.History}
	if p.History && p.FromEventSeq > 0 {
		s.FromEventSeq = &p.FromEventSeq
	}
	return command{typ: envelope.TypeJobSubscribe, payload: s}, nil
}

func (c *helloCodec) unsubscribe(f *hello.Frame) (command, error) {
	if err := c.needs(hello.FeatureSubscribe); err != nil {
		return command{}, err
	}
	p, err := readHello[hello.Unsubscribe](f)
	if err != nil {
		return command{}, err
	}
	job, err := jobNamed(f, p.JobID)
	if err != nil {
		return command{}, err
	}
	return command{typ: envelope.TypeJobUnsubscribe, payload: &envelope.JobUnsubscribe{JobID: job}}, nil
}
