package lease

import (
	"slices"
	"strings"
	"time"

	"github.com/arcp-nats/arcp/envelope"
)

// MaxSeconds bounds how long a permission can be granted for, and prolonged by, in seconds: thirty days.
const MaxSeconds = 30 * 24 * 60 * 60

// Request is a permission that a job asks for.
type Request struct {
	ID                              envelope.MessageID
	Permission, Resource, Operation string
}

// Lease is the lease that a grant of the request gives. It follows from the request, so it is the same wherever it is
// named.
func (r Request) Lease() envelope.LeaseID {
	_, rest, _ := strings.Cut(string(r.ID), "_")
	return envelope.LeaseID("lease_" + rest)
}

// RequestOf is the id of the request whose grant gives a lease.
func RequestOf(id envelope.LeaseID) envelope.MessageID {
	_, rest, _ := strings.Cut(string(id), "_")
	return envelope.MessageID("msg_" + rest)
}

// Answer is what a client has said to a request.
type Answer struct {
	Request Request
	Granted bool
	Reason  string // of a denial
	// Ends is when a grant ends, as far as it was prolonged.
	Ends time.Time
}

// asked is what a job wants when it asks for the n-th time for the same. Each attempt at the job asks anew, under an id of
// its own, unless it finds the answer: so several requests are one.
type asked struct {
	permission, resource, operation string
	n                               int
}

// Book is what a job has asked its client for, and what was answered (open dialect LE-5), folded from the log: from the
// job's events, and from what clients say to it. Each is to be given in log order. The first answer to a request counts.
// The zero value is ready. It is not safe for concurrent use.
type Book struct {
	order    []Request
	what     map[envelope.MessageID]asked
	times    map[asked]int // in this attempt; n is 0
	answers  map[asked]*Answer
	answered map[envelope.MessageID]*Answer
	heard    uint64 // position of the last record of what clients say
}

// Event takes an event of the job, of an attempt that is listened to.
func (b *Book) Event(e *envelope.Envelope) {
	switch e.Type {
	case envelope.TypeJobStarted:
		clear(b.times)
	case envelope.TypePermissionRequest:
		p, err := envelope.DecodePayload[envelope.PermissionRequest](e)
		if err == nil {
			b.Ask(Request{ID: e.ID, Permission: p.Permission, Resource: p.Resource, Operation: p.Operation})
		}
	}
}

// Ask notes a request.
func (b *Book) Ask(r Request) {
	if b.what == nil {
		b.what, b.times = make(map[envelope.MessageID]asked), make(map[asked]int)
	}
	key := asked{r.Permission, r.Resource, r.Operation, 0}
	n := b.times[key]
	b.times[key]++
	key.n = n
	b.what[r.ID] = key
	b.order = append(b.order, r)
}

// NewAttempt lets the requests that come be those of another attempt.
func (b *Book) NewAttempt() { clear(b.times) }

// Found returns the answer to what would be asked next, if an earlier attempt has had it: then it need not be asked again.
func (b *Book) Found(permission, resource, operation string) (*Answer, bool) {
	key := asked{permission, resource, operation, 0}
	n := b.times[key]
	key.n = n
	answer, ok := b.answers[key]
	if ok {
		b.times[asked{permission, resource, operation, 0}]++
	}
	return answer, ok
}

// Input takes what a client says to the job: the messages of a record at a position, that was stored at a time. A record
// that was taken before is ignored.
func (b *Book) Input(pos uint64, at time.Time, said ...*envelope.Envelope) {
	if pos <= b.heard {
		return
	}
	b.heard = pos
	for _, e := range said {
		b.take(at, e)
	}
}

func (b *Book) take(at time.Time, e *envelope.Envelope) {
	switch e.Type {
	case envelope.TypePermissionGrant:
		if p, err := envelope.DecodePayload[envelope.PermissionGrant](e); err == nil {
			b.answer(e.CorrelationID, Answer{Granted: true, Ends: at.Add(seconds(p.LeaseSeconds))})
		}
	case envelope.TypePermissionDeny:
		if p, err := envelope.DecodePayload[envelope.PermissionDeny](e); err == nil {
			b.answer(e.CorrelationID, Answer{Reason: p.Reason})
		}
	case envelope.TypeLeaseRefresh:
		p, err := envelope.DecodePayload[envelope.LeaseRefresh](e)
		if err != nil {
			return
		}
		if a := b.answered[RequestOf(p.LeaseID)]; a != nil && a.Granted && a.Ends.After(at) {
			a.Ends = a.Ends.Add(seconds(p.AdditionalSeconds))
		}
	}
}

func seconds(n uint64) time.Duration { return time.Duration(min(n, MaxSeconds)) * time.Second }

func (b *Book) answer(request envelope.MessageID, a Answer) {
	key, known := b.what[request]
	if !known || b.answers[key] != nil {
		return
	}
	at := slices.IndexFunc(b.order, func(r Request) bool { return r.ID == request })
	a.Request = b.order[at]
	if b.answers == nil {
		b.answers, b.answered = make(map[asked]*Answer), make(map[envelope.MessageID]*Answer)
	}
	b.answers[key], b.answered[request] = &a, &a
}

// Answer returns the answer to a request, whichever attempt was given it.
func (b *Book) Answer(request envelope.MessageID) (*Answer, bool) {
	answer, ok := b.answers[b.what[request]]
	return answer, ok && b.known(request)
}

func (b *Book) known(request envelope.MessageID) bool {
	_, known := b.what[request]
	return known
}

// Lease returns the grant that a lease is of.
func (b *Book) Lease(id envelope.LeaseID) (*Answer, bool) {
	a := b.answered[RequestOf(id)]
	return a, a != nil && a.Granted
}

// Open returns the request that an answer is meant for: the one that it names, or, if it names none, the only one that is
// open for the permission, and for the resource and operation unless they are "". NOT_FOUND: there is no such request.
// FAILED_PRECONDITION: it was answered before, or there is none or more than one.
func (b *Book) Open(request envelope.MessageID, permission, resource, operation string) (Request, error) {
	if request != "" {
		key, known := b.what[request]
		switch {
		case !known:
			return Request{}, envelope.Errorf(envelope.CodeNotFound, "correlation_id: the job has not made this request")
		case b.answers[key] != nil:
			return Request{}, envelope.Errorf(envelope.CodeFailedPrecondition, "correlation_id: the request was answered before")
		case key.permission != permission || resource != "" && key.resource != resource || operation != "" && key.operation != operation:
			return Request{}, envelope.Errorf(envelope.CodeInvalidArgument, "payload.permission: the request is for %s of %s, to %s", key.permission, key.resource, key.operation)
		}
		return Request{ID: request, Permission: key.permission, Resource: key.resource, Operation: key.operation}, nil
	}
	open := make(map[asked]Request)
	for _, r := range b.order {
		if key := b.what[r.ID]; b.answers[key] == nil && r.Permission == permission &&
			(resource == "" || r.Resource == resource) && (operation == "" || r.Operation == operation) {
			open[key] = r
		}
	}
	if len(open) != 1 {
		return Request{}, envelope.Errorf(envelope.CodeFailedPrecondition,
			"correlation_id: is missing, and %d open requests of the job are meant", len(open))
	}
	for _, r := range open {
		return r, nil
	}
	return Request{}, nil
}
