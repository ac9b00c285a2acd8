package edge

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/subjects"
)

const (
	// maxFilterBytes bounds a filter, encoded: it stands in the session's record, once for each subscription.
	maxFilterBytes = 8 << 10
	// subscribePatience bounds the work on one subscribe, which the session's other messages wait for.
	subscribePatience = 10 * time.Second
)

// handleSubscribe begins a subscription (open dialect SB-1 to SB-6, BF-1 to BF-5). The statement that it begins stands in
// one record with the answer, and says from where on in each shard. Everything after that follows from the log: an edge
// that dies at any moment leaves either no subscription and no answer, or both.
func handleSubscribe(c *conn, s *session, msg *envelope.Envelope) {
	payload, err := envelope.DecodePayload[envelope.Subscribe](msg)
	if err != nil {
		c.receiveBad(s, err)
		return
	}
	id := envelope.NewSubscriptionID()
	if !s.reserveSubscription(id) {
		s.nack(msg, envelope.CodeResourceExhausted, fmt.Sprintf("the session has as many subscriptions as it may, the limit is %d; "+
			"unsubscribe from one, or open another session", s.srv.cfg.MaxSubscriptions))
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, subscribePatience)
	defer cancel()
	sub, err := s.subscription(ctx, payload)
	if err == nil {
		err = s.openSubscription(msg, id, sub, payload.Since != nil)
	}
	if err == nil {
		return
	}
	s.releaseSubscription(id)
	switch code := envelope.CodeOf(err); code {
	case envelope.CodePermissionDenied, envelope.CodeInvalidArgument, envelope.CodeDataLoss:
		s.nack(msg, code, errorText(err))
	default:
		s.notStored(msg.ID, err)
	}
}

// openSubscription stores the answer and the statement.
func (s *session) openSubscription(msg *envelope.Envelope, id envelope.SubscriptionID, sub *view.Subscription, history bool) error {
	accepted := s.answer(msg, envelope.TypeSubscribeAccepted, &envelope.SubscribeAccepted{SubscriptionID: id})
	accepted.SubscriptionID = id
	opened, err := envelope.New(view.TypeSubscribed, &view.Subscribed{ID: id, Subscription: *sub})
	if err != nil {
		return err
	}
	opened.SessionID = s.id
	rec, err := s.recordOf(s.subject, accepted, opened)
	if err != nil {
		return err
	}
	s.logger.Info("subscription opened", "subscription", id, "history", history, "principals", len(sub.Principals))
	s.publish(rec, msg.ID, func(_ uint64, err error) {
		if err != nil {
			s.releaseSubscription(id)
		}
	})
	return nil
}

// subscription finds out what a subscribe asks for and from where on. PERMISSION_DENIED: it names a session that is not
// the principal's. DATA_LOSS: the message that it refers to is not retained.
func (s *session) subscription(ctx context.Context, payload *envelope.Subscribe) (*view.Subscription, error) {
	filter, err := json.Marshal(payload.Filter)
	if err != nil {
		return nil, err
	}
	if len(filter) > maxFilterBytes {
		return nil, envelope.Errorf(envelope.CodeInvalidArgument, "payload.filter: %d bytes, limit %d", len(filter), maxFilterBytes)
	}
	principals, err := s.principalsOf(ctx, payload.Filter.SessionID)
	if err != nil {
		return nil, err
	}
	ends, err := s.srv.logEnds(ctx)
	if err != nil {
		return nil, err
	}
	sub := &view.Subscription{
		Filter: payload.Filter, Principals: principals, Pos: ends,
		Checkpoints: slices.Contains(s.capabilities.Extensions, envelope.CheckpointExtension),
	}
	if payload.Since == nil {
		return sub, nil
	}
	if payload.Since.AfterMessageID == "" {
		return nil, envelope.Errorf(envelope.CodeInvalidArgument, "payload.since.after_message_id: missing")
	}
	return sub, s.srv.beginAfter(ctx, sub, payload.Since.AfterMessageID)
}

// principalsOf returns the tokens of the principals whose records a filter is about: the session's own, and, if the
// configuration lets it, those of the sessions that the filter names (open dialect SB-5). Whose a session is says its
// record, or, once that has gone, the subjects of the log.
func (s *session) principalsOf(ctx context.Context, named []envelope.SessionID) ([]string, error) {
	tokens := []string{subjects.PrincipalToken(s.principal)}
	for _, id := range named {
		if id == s.id {
			continue
		}
		store, err := loadSession(ctx, s.srv.sessions, id)
		switch {
		case err == nil:
			owner := store.snapshot().Principal
			if owner == s.principal {
				continue
			}
			if may := s.srv.cfg.MaySubscribe; may != nil && may(s.principal, owner) {
				s.logger.Info("a subscription to another principal's session", "owner", owner, "named", id)
				if token := subjects.PrincipalToken(owner); !slices.Contains(tokens, token) {
					tokens = append(tokens, token)
				}
				continue
			}
		case envelope.CodeOf(err) != envelope.CodeNotFound:
			return nil, err
		default:
			has, err := s.srv.log.HasSession(ctx, s.principal, id)
			if err != nil {
				return nil, err
			}
			if has {
				continue
			}
		}
		return nil, envelope.Errorf(envelope.CodePermissionDenied, "payload.filter.session_id: names a session that is not yours")
	}
	return tokens, nil
}

// handleUnsubscribe ends a subscription, silently (open dialect SB-8). One that is not on is none of the session's.
func handleUnsubscribe(c *conn, s *session, msg *envelope.Envelope) {
	payload, err := envelope.DecodePayload[envelope.Unsubscribe](msg)
	if err != nil {
		c.receiveBad(s, err)
		return
	}
	if !s.subscribed(payload.SubscriptionID) {
		return
	}
	ended, err := s.unsubscribed(payload.SubscriptionID)
	if err != nil {
		s.notStored(msg.ID, err)
		return
	}
	s.write(s.subject, msg.ID, ended)
}
