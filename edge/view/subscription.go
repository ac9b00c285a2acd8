package view

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
)

// Marks of a session that subscribes to what its principal's sessions say. What matches is not copied: the marks name the
// positions, and where in the session's order they are shown. What was left out by the edge that wrote a mark is left out
// for ever, so every edge shows the same.
const (
	// TypeSubscribed says that a subscription begins here. It stands in one record with the answer that announces it. Its
	// payload is a Subscribed.
	TypeSubscribed envelope.Type = "_subscription.opened"
	// TypeQuoted says that the session is shown records that match a subscription. Its payload is a Quoted.
	TypeQuoted envelope.Type = "_subscription.shown"
	// TypeUnsubscribed says that a subscription ends here. Its payload is an Unsubscribed.
	TypeUnsubscribed envelope.Type = "_subscription.ended"
)

// Subscription is what a view knows of a subscription. It must not be changed, it may be shared.
type Subscription struct {
	Filter envelope.SubscribeFilter `json:"filter"`
	// Principals are the tokens of those whose records are looked at.
	Principals []string `json:"principals"`
	// Pos is, for each shard, the position up to which what matches has been shown, or that it began after. A shard that
	// is not here did not exist when the subscription began.
	Pos map[int]uint64 `json:"pos"`
	// Until is, for each shard, where history ends and the present begins. It is empty once the client has been told that
	// it has all of the history, and if it did not ask for any.
	Until map[int]uint64 `json:"until,omitempty"`
	// Checkpoints says that the subscriber has negotiated job.checkpoint.
	Checkpoints bool `json:"checkpoints,omitempty"`
	// Begin is the record in the middle of which the subscription begins.
	Begin Middle `json:"begin,omitzero"`
}

// Middle is a point between two envelopes of one record.
type Middle struct {
	Shard int    `json:"shard"`
	Pos   uint64 `json:"pos"`
	// Lines are those before the point.
	Lines int `json:"lines"`
}

// Matches reports whether something in a record is to be shown.
func (s *Subscription) Matches(rec *record.Record) bool {
	for range s.matching(rec) {
		return true
	}
	return false
}

// Subscribed is the payload of a TypeSubscribed mark.
type Subscribed struct {
	ID envelope.SubscriptionID `json:"id"`
	Subscription
}

// Quoted is the payload of a TypeQuoted mark.
type Quoted struct {
	ID    envelope.SubscriptionID `json:"id"`
	Shard int                     `json:"shard"`
	// At are the positions of the records that are shown, rising. What else matches up to To has been shown before.
	At []uint64 `json:"at,omitempty"`
	To uint64   `json:"to"`
	// Complete says that the history is complete.
	Complete bool `json:"complete,omitempty"`
}

// Unsubscribed is the payload of a TypeUnsubscribed mark.
type Unsubscribed struct {
	ID envelope.SubscriptionID `json:"id"`
}

// Quote names records of a shard that are shown to a subscriber.
type Quote struct {
	ID    envelope.SubscriptionID
	Shard int
	At    []uint64
}

// Subscriptions returns the session's subscriptions. The map is a copy.
func (v *View) Subscriptions() map[envelope.SubscriptionID]Subscription { return maps.Clone(v.subs) }

// Subscription returns one of the session's subscriptions.
func (v *View) Subscription(id envelope.SubscriptionID) (Subscription, bool) {
	s, on := v.subs[id]
	return s, on
}

// SubscriptionCount is len(Subscriptions()), without the copy.
func (v *View) SubscriptionCount() int { return len(v.subs) }

// Quotes returns the records that a record shows to a subscriber. They must be given to Apply with the record. It is false
// if the record shows none.
func (v *View) Quotes(rec *record.Record) (Quote, bool) {
	if !v.next(rec) {
		return Quote{}, false
	}
	var q Quoted
	if !markOf(rec, TypeQuoted, &q) {
		return Quote{}, false
	}
	at := unseen(v.subs[q.ID], q)
	return Quote{ID: q.ID, Shard: q.Shard, At: at}, len(at) > 0
}

// unseen returns the positions of a mark that no mark before it has covered.
func unseen(s Subscription, q Quoted) []uint64 {
	if s.Pos == nil {
		return nil // not on any more
	}
	first, _ := slices.BinarySearch(q.At, s.Pos[q.Shard]+1)
	return q.At[first:]
}

// subscribe begins a subscription, as the line of a record says.
func (v *View) subscribe(line []byte) {
	var body struct {
		Payload Subscribed `json:"payload"`
	}
	if err := json.Unmarshal(line, &body); err != nil || body.Payload.ID == "" || body.Payload.Pos == nil {
		return
	}
	if v.subs == nil {
		v.subs = make(map[envelope.SubscriptionID]Subscription)
	}
	v.subs[body.Payload.ID] = body.Payload.Subscription
}

// unsubscribe ends a subscription, as the line of a record says.
func (v *View) unsubscribe(line []byte) {
	var body struct {
		Payload Unsubscribed `json:"payload"`
	}
	if err := json.Unmarshal(line, &body); err == nil {
		delete(v.subs, body.Payload.ID)
	}
}

// quote renders what a mark shows: each matching envelope in a subscribe.event (open dialect SB-6), and the end of the
// history as a synthetic event in one (BF-2).
func (v *View) quote(rec *record.Record, records []*record.Record, emit func(Frame)) {
	var q Quoted
	s, on := Subscription{}, false
	if markOf(rec, TypeQuoted, &q) {
		s, on = v.subs[q.ID]
	}
	mark, err := envelope.DecodeStored(rec.Body)
	if !on || err != nil {
		return
	}
	w := wrapper{mark: mark, subscription: q.ID}
	at := unseen(s, q)
	for _, shown := range records {
		if _, named := slices.BinarySearch(at, shown.Seq); !named || shown.Subject.Shard != q.Shard {
			continue
		}
		for typ, line := range s.matching(shown) {
			v.wrap(&w, withoutSecrets(typ, line), emit)
		}
	}
	pos := maps.Clone(s.Pos)
	if q.To > pos[q.Shard] {
		pos[q.Shard] = q.To
	}
	s.Pos = pos
	if q.Complete && len(s.Until) > 0 {
		for shard, until := range s.Until {
			pos[shard] = max(pos[shard], until)
		}
		s.Until = nil
		v.wrap(&w, w.complete(), emit)
	}
	v.subs[q.ID] = s
}

// wrap renders an event in a wrapper, if there is one.
func (v *View) wrap(w *wrapper, event []byte, emit func(Frame)) {
	if event == nil {
		return
	}
	if line := w.around(event); line != nil {
		v.render(envelope.TypeSubscribeEvent, line, emit)
	}
}

// wrapper makes the subscribe.events of a mark. Their ids and times follow from the mark's, so that they are the same
// wherever they are made.
type wrapper struct {
	mark         *envelope.Envelope
	subscription envelope.SubscriptionID
	made         uint64
}

// around wraps an event.
func (w *wrapper) around(event []byte) []byte {
	payload := make([]byte, 0, len(event)+len(`{"event":}`))
	payload = append(append(append(payload, `{"event":`...), event...), '}')
	e := envelope.Envelope{
		ID: w.nextID(), Timestamp: w.mark.Timestamp, Type: envelope.TypeSubscribeEvent,
		SubscriptionID: w.subscription, Payload: payload,
	}
	line, err := e.Encode()
	if err != nil {
		return nil
	}
	return line
}

// complete makes the event that says that the history is complete.
func (w *wrapper) complete() []byte {
	e, err := envelope.New(envelope.TypeEventEmit, &envelope.EventEmit{Name: envelope.EventBackfillComplete})
	if err != nil {
		return nil
	}
	e.ID, e.Timestamp, e.SubscriptionID = w.nextID(), w.mark.Timestamp, w.subscription
	line, err := e.Encode()
	if err != nil {
		return nil
	}
	return line
}

// nextID derives an id from the mark's: its time, and what else is in it mixed with a number.
func (w *wrapper) nextID() envelope.MessageID {
	w.made++
	sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(w.mark.ID), w.made))
	return w.mark.ID.Derive(sum[:])
}
