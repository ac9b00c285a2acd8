package view_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// home is where the sessions of the tests begin.
var home = view.Place{Feed: "edge-1"}

// TestScripts runs testdata/*.txt. A script feeds records and shows what they render as:
//
//	new [pos=N] [extensions=(NAME,...)]   a fresh view, of a session that has negotiated extensions
//	record                      one record a line: POS invoke JOB
//	                                               POS event JOB|- [attempt=N] [by=NAME] TYPE[,TYPE...]
//	                                               POS input JOB
//	                                               POS moved FEED START
//	                                               POS watched JOB POS
//	                                               POS shown JOB POS
//	other                       the same, in the log of another session, whose jobs are watched
//	in FEED                     records from now on stand in this feed
//	state                       event_seq, position and open jobs
//	restart                     store the checkpoint as JSON and go on from it, as another edge would
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var v *view.View
		feed := home.Feed
		var others []*record.Record
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "new":
				var pos uint64
				d.MaybeScanArgs(t, "pos", &pos)
				var extensions []string
				if d.HasArg("extensions") {
					d.ScanArgs(t, "extensions", &extensions)
				}
				v = view.New(home, pos, extensions...)
				return ""
			case "record":
				var out strings.Builder
				for line := range strings.Lines(d.Input) {
					rec := parse(t, feed, line)
					v.Apply(rec, func(f view.Frame) {
						seq := "-"
						if f.Seq > 0 {
							seq = strconv.FormatUint(f.Seq, 10)
						}
						fmt.Fprintf(&out, "%s %s %s\n", seq, f.Type, id(t, f.Line))
						require.Equal(t, "sess_1", session(t, f.Line))
					}, shownBy(v, rec, others)...)
				}
				return out.String()
			case "other":
				for line := range strings.Lines(d.Input) {
					others = append(others, parseOf(t, "edge-9", "sess_9", line))
				}
				return ""
			case "in":
				feed = d.CmdArgs[0].Key
				return ""
			case "state":
				return describe(t, v)
			case "restart":
				data, err := json.Marshal(v.Checkpoint())
				require.NoError(t, err)
				var c view.Checkpoint
				require.NoError(t, json.Unmarshal(data, &c))
				v = view.Restore(c)
				return describe(t, v)
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
	})
}

func describe(t *testing.T, v *view.View) string {
	t.Helper()
	jobs, err := json.Marshal(v.Checkpoint().Jobs) // sorted by name
	require.NoError(t, err)
	watches := ""
	if v.WatchCount() > 0 {
		all, err := json.Marshal(v.Watches())
		require.NoError(t, err)
		watches = " watches=" + string(all)
	}
	return fmt.Sprintf("seq=%d feed=%s pos=%d open=%s%s\n", v.Seq(), v.Place().Feed, v.Pos(), jobs, watches)
}

// shownBy picks what a record shows.
func shownBy(v *view.View, rec *record.Record, others []*record.Record) (shown []*record.Record) {
	rng, ok := v.Shows(rec)
	for _, other := range others {
		if ok && other.Subject.String() == rng.Subject && other.Seq > rng.After && other.Seq <= rng.To {
			shown = append(shown, other)
		}
	}
	return shown
}

// parse reads a record of a script. Envelope ids are made from the position, so that the output shows which line
// was rendered.
func parse(t *testing.T, feed, line string) *record.Record {
	t.Helper()
	return parseOf(t, feed, "sess_1", line)
}

func parseOf(t *testing.T, feed, session, line string) *record.Record {
	t.Helper()
	words := strings.Fields(line)
	require.GreaterOrEqual(t, len(words), 3, line)
	pos, err := strconv.ParseUint(words[0], 10, 64)
	require.NoError(t, err)
	sub := subjects.Subject{Feed: feed, Principal: "alice", Session: session, Job: words[2]}
	if sub.Job == "-" {
		sub.Job = ""
	}
	var types []envelope.Type
	attempt, by, payload := 0, "", `{}`
	switch words[1] {
	case "invoke":
		sub.Lane, sub.Queue, sub.Tool = subjects.Invoke, "q", "echo@1"
		types = []envelope.Type{envelope.TypeJobAccepted, envelope.TypeToolInvoke}
	case "input":
		sub.Lane = subjects.Input
		types = []envelope.Type{envelope.TypeCancel}
	case "event":
		sub.Lane = subjects.Event
		for _, word := range words[3:] {
			switch name, value, _ := strings.Cut(word, "="); name {
			case "attempt":
				attempt, err = strconv.Atoi(value)
				require.NoError(t, err)
			case "by":
				by = value
			default:
				for typ := range strings.SplitSeq(word, ",") {
					types = append(types, envelope.Type(typ))
				}
			}
		}
	case "moved":
		sub.Lane, sub.Job = subjects.Event, ""
		types = []envelope.Type{view.TypeMoved}
		payload = fmt.Sprintf(`{"to":{"shard":0,"feed":%q},"start":%s}`, words[2], words[3])
	case "watched":
		sub.Lane, sub.Job = subjects.Event, ""
		types = []envelope.Type{view.TypeWatched}
		events := subjects.Subject{Lane: subjects.Event, Feed: "edge-9", Principal: "alice", Session: "sess_9", Job: words[2]}
		payload = fmt.Sprintf(`{"subject":%q,"pos":%s}`, events, words[3])
	case "shown":
		sub.Lane, sub.Job = subjects.Event, ""
		types = []envelope.Type{view.TypeShown}
		payload = fmt.Sprintf(`{"job":%q,"to":%s}`, words[2], words[3])
	default:
		t.Fatalf("unknown lane in %q", line)
	}
	envelopes := make([]*envelope.Envelope, len(types))
	for i, typ := range types {
		envelopes[i] = &envelope.Envelope{
			ID: envelope.MessageID(fmt.Sprintf("msg_%d.%d", pos, i+1)), Timestamp: envelope.Now(),
			Type: typ, SessionID: envelope.SessionID(session), Payload: json.RawMessage(payload),
		}
	}
	rec, err := record.New(sub, envelopes...)
	require.NoError(t, err)
	rec.Seq, rec.Attempt, rec.Sender = pos, attempt, by
	return rec
}

func id(t *testing.T, line []byte) string {
	t.Helper()
	return decoded(t, line).ID
}

func session(t *testing.T, line []byte) string {
	t.Helper()
	return decoded(t, line).SessionID
}

type ids struct {
	ID        string `json:"id"`
	SessionID string `json:"session_id"`
}

func decoded(t *testing.T, line []byte) (e ids) {
	t.Helper()
	require.NoError(t, json.Unmarshal(line, &e))
	return e
}
