package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/arcp-nats/arcp/envelope"
)

// Subscription is a view of what the sessions of the principal are told and what they say (open dialect 4.18). It lives as
// long as the session, across lost connections. All methods may be called from several goroutines at once.
type Subscription struct {
	s      *Session
	events *eventQueue

	mu     sync.Mutex
	id     envelope.SubscriptionID
	ending bool
}

// Subscribe asks for what a filter matches, from now on. With after, the id of a message, what matches after that message
// comes first, then an event.emit that IsBackfillComplete, then what is new. It returns when the edge has accepted; an
// [*envelope.Error] says that it has not: PERMISSION_DENIED for a session of somebody else, DATA_LOSS if the log does not
// hold that message any more, RESOURCE_EXHAUSTED for too many subscriptions. When ctx ends before the answer, there may be a subscription
// that nobody hears until the session ends.
func (s *Session) Subscribe(ctx context.Context, filter envelope.SubscribeFilter, after envelope.MessageID) (*Subscription, error) {
	payload := envelope.Subscribe{Filter: filter}
	if after != "" {
		payload.Since = &envelope.SubscribeSince{AfterMessageID: after}
	}
	r, err := s.newRequest(envelope.TypeSubscribe, payload)
	if err != nil {
		return nil, err
	}
	r.subscription = &Subscription{s: s, events: newEventQueue()}
	r.again = true // a subscription too many is not heard
	reply, err := s.roundTrip(ctx, r)
	switch {
	case err != nil:
		return nil, err
	case reply.Type == envelope.TypeNack:
		return nil, nackError(reply)
	case reply.Type != envelope.TypeSubscribeAccepted:
		return nil, fmt.Errorf("client: subscribe was answered with %s", reply.Type)
	}
	return r.subscription, nil
}

// IsBackfillComplete reports whether an event of a subscription says that its history is complete (open dialect BF-2).
func IsBackfillComplete(e *envelope.Envelope) bool {
	if e.Type != envelope.TypeEventEmit || e.SessionID != "" {
		return false
	}
	event, err := envelope.DecodePayload[envelope.EventEmit](e)
	return err == nil && event.Name == envelope.EventBackfillComplete
}

// ID returns the id of the subscription.
func (sub *Subscription) ID() envelope.SubscriptionID {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	return sub.id
}

// Events returns what matches, in order, until the subscription ends. An event is handed out once: a second loop goes on
// where the first one left off. An error is the last element: the error of ctx, an [*OverflowError], an [*envelope.Error]
// if the runtime ended the subscription, or why the session ended. After Close there is none.
func (sub *Subscription) Events(ctx context.Context) iter.Seq2[*envelope.Envelope, error] {
	return func(yield func(*envelope.Envelope, error) bool) {
		for {
			e, err := sub.events.next(ctx)
			var overflow *OverflowError
			switch {
			case errors.Is(err, errNoMoreEvents):
				return
			case errors.As(err, &overflow):
				err = &OverflowError{Subscription: sub.ID(), Limit: overflow.Limit}
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Close ends the subscription. What has arrived can still be read. The edge does not answer (open dialect SB-8): Close
// returns when the message is queued.
func (sub *Subscription) Close(ctx context.Context) error {
	sub.mu.Lock()
	first := !sub.ending
	sub.ending = true
	id := sub.id
	sub.mu.Unlock()
	if !first {
		return nil
	}
	sub.s.dropSubscription(id)
	sub.events.finish(nil)
	r, err := sub.s.newRequest(envelope.TypeUnsubscribe, envelope.Unsubscribe{SubscriptionID: id})
	if err != nil {
		return err
	}
	r.mute, r.again = true, true
	return sub.s.submit(ctx, r)
}

// beginSubscription makes the events of an accepted subscription its own. It comes before the first of them.
func (s *Session) beginSubscription(sub *Subscription, accepted *envelope.Envelope) {
	p, err := envelope.DecodePayload[envelope.SubscribeAccepted](accepted)
	if err != nil {
		return // and no event will find it
	}
	sub.mu.Lock()
	sub.id = p.SubscriptionID
	sub.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subscriptions[p.SubscriptionID] = sub
}

func (s *Session) dropSubscription(id envelope.SubscriptionID) *Subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.subscriptions[id]
	delete(s.subscriptions, id)
	return sub
}

// dispatchSubscribed hands what a subscribe.event wraps to its subscription, and ends one that the runtime has ended.
func (s *Session) dispatchSubscribed(e *envelope.Envelope, size int) {
	switch e.Type {
	case envelope.TypeSubscribeEvent:
		s.mu.Lock()
		sub := s.subscriptions[e.SubscriptionID]
		s.mu.Unlock()
		if sub == nil {
			return // closed
		}
		p, err := envelope.DecodePayload[envelope.SubscribeEvent](e)
		if err != nil {
			return
		}
		inner, err := envelope.DecodeStored(p.Event)
		if err != nil {
			return
		}
		if !sub.events.push(s, inner, size) {
			s.mu.Lock()
			s.stats.Overflows++
			s.mu.Unlock()
		}
	case envelope.TypeSubscribeClosed:
		p, err := envelope.DecodePayload[envelope.SubscribeClosed](e)
		if err != nil {
			return
		}
		if sub := s.dropSubscription(p.SubscriptionID); sub != nil {
			sub.events.finish(&envelope.Error{Code: p.Code, Message: p.Reason})
		}
	}
}
