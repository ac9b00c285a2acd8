package edge

import (
	"context"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
)

// matchSubscribers starts and ends subscribers so that there is one for each subscription of the view, and tells them when
// the view has met a mark. rec is the record that was folded last, or nil. It needs the lock.
func (s *session) matchSubscribers(rec *record.Record) {
	if len(s.subscribers) == 0 && s.view.SubscriptionCount() == 0 {
		return
	}
	if rec != nil && len(rec.Types) == 1 && rec.Types[0] == view.TypeQuoted {
		s.tellSubscribers()
		return
	}
	on := s.view.Subscriptions()
	for id, u := range s.subscribers {
		if _, still := on[id]; !still {
			u.cancel()
			delete(s.subscribers, id)
		}
	}
	for id, sub := range on {
		delete(s.subscribing, id)
		if s.subscribers[id] != nil || s.state == ended {
			continue
		}
		ctx, cancel := context.WithCancel(s.conn.ctx)
		u := newSubscriber(s, id, sub, cancel)
		s.subscribers[id] = u
		s.conn.wg.Go(func() { u.run(ctx) })
	}
}

// tellSubscribers makes the subscribers look whether they have something to tell. It needs the lock.
func (s *session) tellSubscribers() {
	for _, u := range s.subscribers {
		u.nudge()
	}
}

// endSubscribers ends all subscribers. It needs the lock.
func (s *session) endSubscribers() {
	for id, u := range s.subscribers {
		u.cancel()
		delete(s.subscribers, id)
	}
}

// reserveSubscription counts a subscription that is about to be stored, and reports whether there is room for it.
func (s *session) reserveSubscription(id envelope.SubscriptionID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.view.SubscriptionCount()+len(s.subscribing) >= s.srv.cfg.MaxSubscriptions {
		return false
	}
	s.subscribing[id] = struct{}{}
	return true
}

// releaseSubscription forgets one that could not be stored.
func (s *session) releaseSubscription(id envelope.SubscriptionID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.subscribing, id)
}

// subscribed reports whether a subscription of the session is on.
func (s *session) subscribed(id envelope.SubscriptionID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, on := s.view.Subscription(id)
	return on
}

// unsubscribed is the line of the log that ends a subscription.
func (s *session) unsubscribed(id envelope.SubscriptionID) (*envelope.Envelope, error) {
	e, err := envelope.New(view.TypeUnsubscribed, &view.Unsubscribed{ID: id})
	if err != nil {
		return nil, err
	}
	e.SessionID = s.id
	return e, nil
}
