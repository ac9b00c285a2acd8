package record_test

import (
	"bytes"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func message(t testing.TB, typ envelope.Type, payload string) *envelope.Envelope {
	t.Helper()
	return &envelope.Envelope{ID: envelope.NewMessageID(), Timestamp: envelope.Now(), Type: typ, Payload: []byte(payload)}
}

var subject = subjects.Subject{Lane: subjects.Invoke, Queue: "q", Tool: "echo@1", Feed: "f", Principal: "ann", Session: "s", Job: "j"}

func TestNewCarriesItsEnvelopesInOrder(t *testing.T) {
	accepted := message(t, envelope.TypeJobAccepted, `{"job_id":"job_1"}`)
	invoke := message(t, envelope.TypeToolInvoke, `{"tool":"echo@1","arguments":{"text":"a\nb"}}`)
	r, err := record.New(subject, accepted, invoke)
	require.NoError(t, err)
	require.Equal(t, string(accepted.ID), r.MsgID)
	require.Equal(t, "ann", r.Principal)
	require.NotEqual(t, byte('\n'), r.Body[len(r.Body)-1])

	var types []envelope.Type
	var lines [][]byte
	for typ, line := range r.Lines() {
		types, lines = append(types, typ), append(lines, line)
	}
	require.Equal(t, []envelope.Type{envelope.TypeJobAccepted, envelope.TypeToolInvoke}, types)
	for i, e := range []*envelope.Envelope{accepted, invoke} {
		want, err := e.Encode()
		require.NoError(t, err)
		require.Equal(t, string(want), string(lines[i]))
	}
	for range r.Lines() {
		break
	}
}

func TestNewRefusesWhatCannotBeStored(t *testing.T) {
	_, err := record.New(subject)
	require.ErrorContains(t, err, "no envelope")
	for _, typ := range []envelope.Type{"", "a,b", "a b", "a\nb", "ü"} {
		_, err := record.New(subject, message(t, typ, `{}`))
		require.ErrorContains(t, err, "bad type", "%q", typ)
	}
	// A payload with a newline, which Decode never leaves, is made compact or refused; it never makes a line of its own.
	if r, err := record.New(subject, message(t, envelope.TypeLog, "{\"a\":\n1}")); err == nil {
		require.NotContains(t, string(r.Body), "\n")
	}
	_, err = record.New(subject, message(t, "_session.held", `{}`))
	require.NoError(t, err, "internal markers are records")
}

func anyText() *rapid.Generator[string] {
	return rapid.OneOf(rapid.StringMatching(`[a-z0-9-]{0,9}`), rapid.String(), rapid.StringN(70, 90, -1))
}

func anyRecord() *rapid.Generator[*record.Record] {
	return rapid.Custom(func(t *rapid.T) *record.Record {
		r := &record.Record{
			Subject: subjects.Subject{
				Shard: rapid.IntRange(0, 9).Draw(t, "shard"), Lane: subjects.Lane(rapid.IntRange(0, 2).Draw(t, "lane")),
				Feed: anyText().Draw(t, "feed"), Principal: anyText().Draw(t, "principal"), Session: anyText().Draw(t, "session"), Job: anyText().Draw(t, "job"),
			},
			Attempt:     rapid.IntRange(0, 1000).Draw(t, "attempt"),
			Sender:      anyText().Draw(t, "sender"),
			Codes:       rapid.SampledFrom([]envelope.Vocabulary{"", envelope.Vocabulary20, envelope.Vocabulary11}).Draw(t, "codes"),
			Grant:       anyText().Draw(t, "grant"),
			TraceParent: anyText().Draw(t, "trace"),
			MaxRuntime:  time.Duration(rapid.Int64Range(0, 1<<40).Draw(t, "runtime")) * time.Millisecond,
			MsgID:       anyText().Draw(t, "id"),
			Types: rapid.SliceOfN(rapid.Map(rapid.StringMatching(`_?[a-z]{1,5}(\.[a-z_]{1,5}){0,2}`), func(s string) envelope.Type {
				return envelope.Type(s)
			}), 1, 5).Draw(t, "types"),
		}
		if r.Subject.Lane == subjects.Invoke {
			r.Subject.Queue, r.Subject.Tool = anyText().Draw(t, "queue"), anyText().Draw(t, "tool")
			if ms := rapid.Int64Range(0, 1<<42).Draw(t, "due"); ms > 0 {
				r.NotBefore = time.UnixMilli(ms).UTC()
			}
			r.Origin = anyText().Draw(t, "origin")
			r.Parent, r.Depth = anyText().Draw(t, "parent"), rapid.IntRange(0, 20).Draw(t, "depth")
			r.Detached = rapid.Bool().Draw(t, "detached")
		}
		r.Principal = r.Subject.Principal
		lines := make([][]byte, len(r.Types))
		for i := range lines {
			lines[i] = []byte(rapid.StringMatching(`\{[^\n]{0,9}\}`).Draw(t, "line"))
		}
		r.Body = bytes.Join(lines, []byte("\n"))
		return r
	})
}

func TestParseReadsWhatHeaderMakes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyRecord().Draw(t, "record")
		header := want.Header()
		// A header must survive the wire: one line a value, nothing to trim.
		var wire bytes.Buffer
		require.NoError(t, http.Header(header).Write(&wire))
		require.Equal(t, len(header), strings.Count(wire.String(), "\n"))
		for name, values := range header {
			require.Contains(t, wire.String(), name+": "+values[0]+"\r\n")
		}
		got, err := record.Parse(want.Subject.String(), maps.Clone(header), want.Body)
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}

func TestHeadersSayOnlyWhatIsNeeded(t *testing.T) {
	r, err := record.New(subject, message(t, envelope.TypeJobStarted, `{}`), message(t, envelope.TypeLog, `{}`))
	require.NoError(t, err)
	r.Attempt, r.Sender, r.Codes = 2, "worker-1", envelope.Vocabulary20
	r.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	require.Equal(t, map[string][]string{
		"Arcp-Types": {"job.started,log"}, "Arcp-Attempt": {"2"}, "Arcp-Sender": {"worker-1"}, "Arcp-Codes": {"2.0"},
		"traceparent": {r.TraceParent}, "Nats-Msg-Id": {r.MsgID},
	}, r.Header())

	r.Subject.Principal = strings.Repeat("ann.", 40)
	require.Equal(t, []string{strings.Repeat("ann=2E", 40)}, r.Header()["Arcp-Principal"])
}

func TestParseRefuses(t *testing.T) {
	valid := func() (string, map[string][]string, []byte) {
		return subject.String(), map[string][]string{"Arcp-Types": {"log"}}, []byte(`{}`)
	}
	text, header, body := valid()
	_, err := record.Parse(text, header, body)
	require.NoError(t, err)

	long := subject
	long.Principal = strings.Repeat("x", 99)
	for name, change := range map[string]func(text *string, header map[string][]string, body *[]byte){
		"subject":   func(text *string, _ map[string][]string, _ *[]byte) { *text = "arcp.0.event.f" },
		"no types":  func(_ *string, h map[string][]string, _ *[]byte) { delete(h, "Arcp-Types") },
		"no values": func(_ *string, h map[string][]string, _ *[]byte) { h["Arcp-Types"] = nil },
		"empty type": func(_ *string, h map[string][]string, b *[]byte) {
			h["Arcp-Types"], *b = []string{"log,"}, []byte("{}\n{}")
		},
		"fewer lines":      func(_ *string, h map[string][]string, _ *[]byte) { h["Arcp-Types"] = []string{"log,log"} },
		"more lines":       func(_ *string, _ map[string][]string, b *[]byte) { *b = []byte("{}\n{}") },
		"due 0":            func(_ *string, h map[string][]string, _ *[]byte) { h["Arcp-Not-Before-Ms"] = []string{"0"} },
		"depth x":          func(_ *string, h map[string][]string, _ *[]byte) { h["Arcp-Depth"] = []string{"x"} },
		"detached":         func(_ *string, h map[string][]string, _ *[]byte) { h["Arcp-Detached"] = []string{"no"} },
		"parent":           func(_ *string, h map[string][]string, _ *[]byte) { h["Arcp-Parent"] = []string{"a b"} },
		"attempt 0":        func(_ *string, h map[string][]string, _ *[]byte) { h["Arcp-Attempt"] = []string{"0"} },
		"attempt +1":       func(_ *string, h map[string][]string, _ *[]byte) { h["Arcp-Attempt"] = []string{"+1"} },
		"attempt x":        func(_ *string, h map[string][]string, _ *[]byte) { h["Arcp-Attempt"] = []string{"x"} },
		"sender":           func(_ *string, h map[string][]string, _ *[]byte) { h["Arcp-Sender"] = []string{"a b"} },
		"codes":            func(_ *string, h map[string][]string, _ *[]byte) { h["Arcp-Codes"] = []string{"2.0 "} },
		"other principal":  func(_ *string, h map[string][]string, _ *[]byte) { h["Arcp-Principal"] = []string{"bob"} },
		"hidden principal": func(text *string, _ map[string][]string, _ *[]byte) { *text = long.String() },
		"another's hash": func(text *string, h map[string][]string, _ *[]byte) {
			*text, h["Arcp-Principal"] = long.String(), []string{"ann"}
		},
		"principal escaped": func(_ *string, h map[string][]string, _ *[]byte) { h["Arcp-Principal"] = []string{"=" + "4"} },
	} {
		text, header, body := valid()
		change(&text, header, &body)
		_, err := record.Parse(text, header, body)
		require.Error(t, err, name)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(subject.String(), "log", "1", "worker", "ann", "2.0", "00-", "msg_1", []byte(`{}`))
	f.Add("arcp.0.event.f.~.s._", "a,b", "", "=", "=20", "", "", "", []byte("{}\n{}"))
	f.Fuzz(func(t *testing.T, text, types, attempt, sender, principal, codes, trace, id string, body []byte) {
		header := map[string][]string{
			"Arcp-Types": {types}, "Arcp-Attempt": {attempt}, "Arcp-Sender": {sender}, "Arcp-Principal": {principal},
			"Arcp-Codes": {codes}, "traceparent": {trace}, "Nats-Msg-Id": {id},
		}
		r, err := record.Parse(text, header, body)
		if err != nil {
			return
		}
		lines := 0
		for range r.Lines() {
			lines++
		}
		require.Len(t, r.Types, lines)
		again, err := record.Parse(r.Subject.String(), r.Header(), r.Body)
		require.NoError(t, err)
		require.Equal(t, r, again)
	})
}

func BenchmarkHeader(b *testing.B) {
	r := &record.Record{Subject: subject, Types: []envelope.Type{envelope.TypeLog}, Attempt: 1, Sender: "worker-1", MsgID: "msg_01K8Q2W0A00000000000M000B1"}
	b.ReportAllocs()
	for b.Loop() {
		_ = r.Header()
	}
}

func BenchmarkParse(b *testing.B) {
	r := &record.Record{Subject: subject, Types: []envelope.Type{envelope.TypeLog}, Attempt: 1, Sender: "worker-1", Body: []byte(`{}`)}
	text, header := subject.String(), r.Header()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := record.Parse(text, header, r.Body); err != nil {
			b.Fatal(err)
		}
	}
}
