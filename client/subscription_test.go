package client_test

import (
	"context"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/envelope"
)

const subscriptionID = envelope.SubscriptionID("sub_1")

// sayOf is say for what belongs to a subscription.
func (p *peer) sayOf(seq uint64, to *envelope.Envelope, t envelope.Type, payload any) {
	e, err := envelope.Decode(frame(p.t, seq, to, "", t, payload), envelope.DefaultLimits())
	if err != nil {
		p.fail("%v", err)
	}
	e.SubscriptionID = subscriptionID
	raw, err := e.Encode()
	if err != nil {
		p.fail("%v", err)
	}
	if err := p.ws.WriteMessage(websocket.TextMessage, raw); err != nil {
		p.fail("write: %v", err)
	}
}

// subscribed accepts a subscription.
func (p *peer) subscribed(seq uint64) {
	p.sayOf(seq, p.expect(envelope.TypeSubscribe), envelope.TypeSubscribeAccepted, envelope.SubscribeAccepted{SubscriptionID: subscriptionID})
}

// event wraps an event.
func (p *peer) event(seq uint64, t envelope.Type, payload any) {
	p.sayOf(seq, nil, envelope.TypeSubscribeEvent, envelope.SubscribeEvent{Event: frame(p.t, 0, nil, jobID, t, payload)})
}

// heard collects the types of what a subscription is told, and how it ended.
func heard(ctx context.Context, sub *client.Subscription) (types []envelope.Type, err error) {
	for e, err := range sub.Events(ctx) {
		if err != nil {
			return types, err
		}
		types = append(types, e.Type)
	}
	return types, nil
}

// A subscription goes on over a lost connection, and ends when it is closed.
func TestSubscription(t *testing.T) {
	ctx := testContext(t)
	first := newEdge(t, func(p *peer) {
		p.open("t1")
		asked := p.expect(envelope.TypeSubscribe)
		payload, err := envelope.DecodePayload[envelope.Subscribe](asked)
		if err != nil || len(payload.Filter.Types) != 1 || payload.Since == nil || payload.Since.AfterMessageID != "msg_7" {
			p.fail("%+v %v", payload, err)
		}
		p.sayOf(1, asked, envelope.TypeSubscribeAccepted, envelope.SubscribeAccepted{SubscriptionID: subscriptionID})
		p.event(2, envelope.TypeLog, envelope.Log{Level: envelope.LogInfo, Message: "a"})
	}, func(p *peer) {
		p.resume("t1", 2, "t2")
		p.event(3, envelope.TypeMetric, envelope.Metric{Name: "m", Unit: "u"})
		said := p.expect(envelope.TypeLog)
		if said.SessionID != sessionID {
			p.fail("%+v", said)
		}
		p.sayOf(4, nil, envelope.TypeSubscribeEvent, envelope.SubscribeEvent{Event: []byte(
			`{"arcp":"1.1","id":"msg_9","timestamp":"2026-07-01T09:00:00Z","type":"event.emit","subscription_id":"sub_1","payload":{"name":"subscription.backfill_complete"}}`)})
		p.expect(envelope.TypeUnsubscribe)
		p.event(5, envelope.TypeLog, envelope.Log{Level: envelope.LogInfo, Message: "late"})
		p.closed()
	})
	s := dial(t, config(first))
	sub, err := s.Subscribe(ctx, envelope.SubscribeFilter{Types: []string{"log"}}, "msg_7")
	require.NoError(t, err)
	require.Equal(t, subscriptionID, sub.ID())
	said, err := envelope.New(envelope.TypeLog, envelope.Log{Level: envelope.LogInfo, Message: "to others"})
	require.NoError(t, err)
	var types []envelope.Type
	for e, err := range sub.Events(ctx) {
		require.NoError(t, err)
		types = append(types, e.Type)
		if e.Type == envelope.TypeMetric {
			require.Equal(t, jobID, e.JobID)
			require.NoError(t, s.Tell(ctx, said))
		}
		if client.IsBackfillComplete(e) {
			break
		}
	}
	require.Equal(t, []envelope.Type{envelope.TypeLog, envelope.TypeMetric, envelope.TypeEventEmit}, types)
	require.NoError(t, sub.Close(ctx))
	require.NoError(t, sub.Close(ctx), "again")
	types, err = heard(ctx, sub)
	require.NoError(t, err)
	require.Empty(t, types)
	require.NoError(t, s.Close(ctx))
}

func TestSubscriptionsThatEnd(t *testing.T) {
	ctx := testContext(t)
	s := dial(t, config(newEdge(t, func(p *peer) {
		p.open("t1")
		p.say(1, p.expect(envelope.TypeSubscribe), "", envelope.TypeNack, envelope.Nack{Code: envelope.CodeDataLoss, Message: "gone"})
		p.subscribed(2)
		p.event(3, envelope.TypeLog, envelope.Log{Level: envelope.LogInfo})
		p.sayOf(4, nil, envelope.TypeSubscribeClosed, envelope.SubscribeClosed{
			SubscriptionID: subscriptionID, Code: envelope.CodeDataLoss, Reason: "aged out",
		})
		p.subscribed(5)
		p.closed()
	})))
	_, err := s.Subscribe(ctx, envelope.SubscribeFilter{}, "")
	require.Equal(t, envelope.CodeDataLoss, envelope.CodeOf(err))
	sub, err := s.Subscribe(ctx, envelope.SubscribeFilter{}, "")
	require.NoError(t, err)
	types, err := heard(ctx, sub)
	require.Equal(t, []envelope.Type{envelope.TypeLog}, types)
	require.Equal(t, envelope.CodeDataLoss, envelope.CodeOf(err))
	require.ErrorContains(t, err, "aged out")
	sub, err = s.Subscribe(ctx, envelope.SubscribeFilter{}, "")
	require.NoError(t, err)
	require.NoError(t, s.Close(ctx))
	_, err = heard(ctx, sub)
	require.ErrorIs(t, err, client.ErrClosed)
}

func TestASubscriptionThatNobodyReadsOverflows(t *testing.T) {
	ctx := testContext(t)
	cfg := config(newEdge(t, func(p *peer) {
		p.open("t1")
		p.subscribed(1)
		for n := range uint64(20) {
			p.event(n+2, envelope.TypeLog, envelope.Log{Level: envelope.LogInfo, Message: string(make([]byte, 100))})
		}
		p.closed()
	}))
	cfg.JobBuffer = 4096
	s := dial(t, cfg)
	sub, err := s.Subscribe(ctx, envelope.SubscribeFilter{}, "")
	require.NoError(t, err)
	require.NoError(t, s.Close(ctx))
	_, err = heard(ctx, sub)
	var overflow *client.OverflowError
	require.ErrorAs(t, err, &overflow)
	require.Equal(t, "client: unread events of sub_1 exceed 4096 bytes", overflow.Error())
	require.Equal(t, uint64(1), s.Stats().Overflows)
}
