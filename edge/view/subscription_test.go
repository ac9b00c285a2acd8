package view_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// TestSubscriptionScripts runs subscriptions/*.txt. To the commands of TestScripts come lines of record:
//
//	POS opened SUB POS [until=N] [types=TYPE,TYPE...] [lines=N]
//	                                                     a subscription that begins after a position, and after N lines of
//	                                                     the record that comes next
//	POS quoted SUB TO [AT ...]                           a mark that shows records up to a position
//	POS complete SUB                                     a mark that ends the history
//	POS ended SUB
//
// What is shown is written as the number, the subscription and what is wrapped.
func TestSubscriptionScripts(t *testing.T) {
	datadriven.Walk(t, "subscriptions", func(t *testing.T, path string) {
		v := view.New(home, 0)
		var others []*record.Record
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var out strings.Builder
			switch d.Cmd {
			case "other":
				for line := range strings.Lines(d.Input) {
					others = append(others, parseOf(t, "edge-9", "sess_9", line))
				}
			case "record":
				for line := range strings.Lines(d.Input) {
					rec := parseMark(t, line)
					v.Apply(rec, func(f view.Frame) { fmt.Fprintf(&out, "%d %s\n", f.Seq, inner(t, f)) }, quotedBy(v, rec, others)...)
				}
			case "restart":
				data, err := json.Marshal(v.Checkpoint())
				require.NoError(t, err)
				var c view.Checkpoint
				require.NoError(t, json.Unmarshal(data, &c))
				v = view.Restore(c)
			case "state":
				all, err := json.Marshal(v.Subscriptions())
				require.NoError(t, err)
				fmt.Fprintf(&out, "seq=%d %s\n", v.Seq(), all)
			}
			return out.String()
		})
	})
}

// inner writes what a frame wraps.
func inner(t *testing.T, f view.Frame) string {
	t.Helper()
	var e struct {
		ids
		SubscriptionID string `json:"subscription_id"`
		Payload        struct {
			Event struct {
				ids
				Type           string `json:"type"`
				SubscriptionID string `json:"subscription_id"`
				Payload        struct {
					Name string `json:"name"`
				} `json:"payload"`
			} `json:"event"`
		} `json:"payload"`
	}
	require.NoError(t, json.Unmarshal(f.Line, &e))
	if f.Type != envelope.TypeSubscribeEvent {
		return string(f.Type) + " " + e.ID
	}
	require.Empty(t, e.SessionID)
	event := e.Payload.Event
	if event.Payload.Name != "" {
		require.Equal(t, e.SubscriptionID, event.SubscriptionID)
		return fmt.Sprintf("%s: %s %s", e.SubscriptionID, event.Type, event.Payload.Name)
	}
	return fmt.Sprintf("%s: %s %s of %s", e.SubscriptionID, event.Type, event.ID, event.SessionID)
}

// parseMark is parse with the lines of subscriptions.
func parseMark(t *testing.T, line string) *record.Record {
	t.Helper()
	words := strings.Fields(line)
	number := func(word string) uint64 {
		n, err := strconv.ParseUint(word, 10, 64)
		require.NoError(t, err)
		return n
	}
	id := envelope.SubscriptionID(words[2])
	var envelopes []*envelope.Envelope
	add := func(typ envelope.Type, payload any) {
		e, err := envelope.New(typ, payload)
		require.NoError(t, err)
		e.SessionID = "sess_1"
		envelopes = append(envelopes, e)
	}
	switch words[1] {
	case "opened":
		s := view.Subscription{Principals: []string{"alice"}, Pos: map[int]uint64{0: number(words[3])}}
		for _, word := range words[4:] {
			name, value, _ := strings.Cut(word, "=")
			switch name {
			case "until":
				s.Until = map[int]uint64{0: number(value)}
			case "lines":
				s.Begin = view.Middle{Pos: number(words[3]) + 1, Lines: int(number(value))}
			case "types":
				s.Filter.Types = strings.Split(value, ",")
			}
		}
		add(envelope.TypeSubscribeAccepted, &envelope.SubscribeAccepted{SubscriptionID: id})
		envelopes[0].ID = envelope.MessageID(fmt.Sprintf("msg_%s.1", words[0]))
		add(view.TypeSubscribed, &view.Subscribed{ID: id, Subscription: s})
	case "quoted":
		q := view.Quoted{ID: id, To: number(words[3])}
		for _, at := range words[4:] {
			q.At = append(q.At, number(at))
		}
		add(view.TypeQuoted, &q)
	case "complete":
		add(view.TypeQuoted, &view.Quoted{ID: id, Complete: true})
	case "ended":
		add(view.TypeUnsubscribed, &view.Unsubscribed{ID: id})
	default:
		return parse(t, home.Feed, line)
	}
	subject := subjects.Subject{Lane: subjects.Event, Feed: home.Feed, Principal: "alice", Session: "sess_1"}
	rec, err := record.New(subject, envelopes...)
	require.NoError(t, err)
	rec.Seq = number(words[0])
	return rec
}

// quotedBy picks what a record shows.
func quotedBy(v *view.View, rec *record.Record, others []*record.Record) (shown []*record.Record) {
	q, ok := v.Quotes(rec)
	for _, at := range q.At {
		for _, other := range others {
			if ok && other.Seq == at {
				shown = append(shown, other)
			}
		}
	}
	return shown
}

// TestI3QuotesAreTheSameAnywhere: however what matches is told in marks, by one edge or by two that know nothing of each
// other, it is shown once, in order, in numbers without a gap; and the bytes are the same from any checkpoint.
func TestI3QuotesAreTheSameAnywhere(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var others []*record.Record
		var all []uint64
		for n := range rapid.IntRange(0, 30).Draw(r, "others") {
			pos := uint64(2*n + 1)
			others = append(others, parseOf(t, "edge-9", "sess_9", fmt.Sprintf("%d event - nack,log", pos)))
			all = append(all, pos)
		}
		end := uint64(2 * len(all))
		records := []*record.Record{parseMark(t, "100 opened sub_1 0 types=log")}
		told := [2]uint64{} // two edges, each of which knows what it or the other has said, or a little less
		for pos := 101; told[0] < end || told[1] < end; pos++ {
			edge := rapid.IntRange(0, 1).Draw(r, "edge")
			to := min(end, told[edge]+uint64(rapid.IntRange(1, 20).Draw(r, "step")))
			line := fmt.Sprintf("%d quoted sub_1 %d", pos, to)
			for _, at := range all {
				if at > told[edge] && at <= to {
					line += fmt.Sprint(" ", at)
				}
			}
			told[edge] = to
			records = append(records, parseMark(t, line))
		}
		type frame struct {
			seq  uint64
			line string
		}
		fold := func(v *view.View, records []*record.Record) (frames []frame) {
			for _, rec := range records {
				v.Apply(rec, func(f view.Frame) { frames = append(frames, frame{f.Seq, string(f.Line)}) }, quotedBy(v, rec, others)...)
			}
			return frames
		}
		whole := fold(view.New(home, 0), records)
		require.Len(t, whole, len(all)+1)
		ids := map[string]bool{}
		for i, f := range whole {
			require.Equal(t, uint64(i+1), f.seq)
			require.False(t, ids[id(t, []byte(f.line))], "an id is used twice")
			ids[id(t, []byte(f.line))] = true
			if i > 0 {
				require.Contains(t, f.line, fmt.Sprintf(`"msg_%d.2"`, all[i-1]), "in log order")
			}
		}
		cut := rapid.IntRange(0, len(records)).Draw(r, "cut")
		v := view.New(home, 0)
		parts := fold(v, records[:cut])
		data, err := json.Marshal(v.Checkpoint())
		require.NoError(t, err)
		var c view.Checkpoint
		require.NoError(t, json.Unmarshal(data, &c))
		require.Equal(t, whole, append(parts, fold(view.Restore(c), records[rapid.IntRange(0, cut).Draw(r, "overlap"):])...))
	})
}

// TestI5NoCredentialIsShownToASubscriber: the submitter's job.accepted is shown without them, and otherwise as it is.
func TestI5NoCredentialIsShownToASubscriber(t *testing.T) {
	other := parseOf(t, "edge-9", "sess_9", "5 invoke job_1")
	e, err := envelope.New(envelope.TypeJobAccepted, json.RawMessage(
		`{"job_id":"job_1","credentials":[{"id":"c1","scheme":"bearer","value":"the-secret","endpoint":"https://x.test"}]}`))
	require.NoError(t, err)
	e.JobID, e.SessionID, e.CorrelationID = "job_1", "sess_9", "msg_7"
	rec, err := record.New(other.Subject, e)
	require.NoError(t, err)
	rec.Seq = 5

	v := view.New(home, 0)
	v.Apply(parseMark(t, "1 opened sub_1 0"), func(view.Frame) {})
	var lines []string
	v.Apply(parseMark(t, "6 quoted sub_1 5 5"), func(f view.Frame) { lines = append(lines, string(f.Line)) }, rec)
	require.Len(t, lines, 1)
	require.NotContains(t, lines[0], "the-secret")
	require.NotContains(t, lines[0], "credentials")
	require.Contains(t, lines[0], `"payload":{"job_id":"job_1"}`)
	require.Contains(t, lines[0], `"correlation_id":"msg_7"`)
}
