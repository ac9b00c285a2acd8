package envelope

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// frame is a good envelope with members replaced or, by "", left out.
func frame(change map[string]string) []byte {
	members := [][2]string{
		{"arcp", `"1.1"`}, {"id", `"msg_1"`}, {"timestamp", `"2026-07-01T09:00:00Z"`},
		{"type", `"ping"`}, {"payload", `{}`},
	}
	var parts []string
	for _, m := range members {
		value, changed := change[m[0]]
		if !changed {
			value = m[1]
		}
		if value != "" {
			parts = append(parts, fmt.Sprintf("%q:%s", m[0], value))
		}
	}
	for name, value := range change {
		if value != "" && !strings.Contains(" arcp id timestamp type payload ", " "+name+" ") {
			parts = append(parts, fmt.Sprintf("%q:%s", name, value))
		}
	}
	return []byte("{" + strings.Join(parts, ",") + "}")
}

func decodeFault(t *testing.T, data []byte) *DecodeError {
	t.Helper()
	e, err := Decode(data, Limits{})
	require.Nil(t, e)
	var fault *DecodeError
	require.ErrorAs(t, err, &fault, "%s", data)
	require.NotEmpty(t, fault.Reason)
	require.NotEmpty(t, fault.Code)
	return fault
}

// Every line of the worked examples (section 7) is read and written back.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "examples", "*.jsonl"))
	require.NoError(t, err)
	require.Len(t, files, 8)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		for line := range strings.Lines(string(data)) {
			e, err := Decode([]byte(line), Limits{})
			require.NoError(t, err, line)
			row, ok := Lookup(e.Type)
			require.True(t, ok)
			require.NoError(t, e.Decode(row.New()), line)
			again, err := e.Encode()
			require.NoError(t, err)
			require.Equal(t, mustCanonical(t, []byte(line)), mustCanonical(t, again))
		}
	}
}

// 1.1: the five required members; absence is a failure that names the member,
// and so is null.
func Test_1_1_RequiredMembers(t *testing.T) {
	for _, member := range []string{"arcp", "id", "timestamp", "type", "payload"} {
		for _, value := range []string{"", "null"} {
			fault := decodeFault(t, frame(map[string]string{member: value}))
			require.Equal(t, member, fault.Member)
			require.Equal(t, CodeInvalidArgument, fault.Code)
			require.False(t, fault.Silent)
			if member != "id" {
				require.Equal(t, MessageID("msg_1"), fault.ID)
			}
			if member != "type" {
				require.Equal(t, "ping", fault.Type)
			}
		}
		fault := decodeFault(t, frame(map[string]string{member: "7"}))
		require.Equal(t, member, fault.Member)
	}
}

// 1.1: the version is any string and is never compared.
func Test_1_1_AnyVersion(t *testing.T) {
	e, err := Decode(frame(map[string]string{"arcp": `"9.9"`}), Limits{})
	require.NoError(t, err)
	line, err := e.Encode()
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(line), `{"arcp":"1.1","id":"msg_1",`))
}

// 1.1: null and absent are the same for every optional member but priority.
func Test_1_1_OptionalNull(t *testing.T) {
	plain, err := Decode(frame(nil), Limits{})
	require.NoError(t, err)
	for _, member := range []string{
		"source", "target", "session_id", "job_id", "stream_id", "subscription_id", "trace_id",
		"span_id", "parent_span_id", "correlation_id", "causation_id", "idempotency_key",
		"extensions", "event_seq", "no_such_member",
	} {
		e, err := Decode(frame(map[string]string{member: "null"}), Limits{})
		require.NoError(t, err, member)
		require.Equal(t, plain, e, member)
	}
	fault := decodeFault(t, frame(map[string]string{"priority": "null"}))
	require.Equal(t, "priority", fault.Member)
}

func Test_1_1_BadMembers(t *testing.T) {
	for _, c := range []struct{ member, value string }{
		{"trace_id", `""`}, {"span_id", `""`}, {"parent_span_id", `""`}, {"idempotency_key", `""`},
		{"trace_id", `1`}, {"source", `{}`}, {"target", `[]`},
		{"session_id", `"msg_1"`}, {"job_id", `"job_"`}, {"stream_id", `"stream_1"`},
		{"subscription_id", `"SUB_1"`}, {"correlation_id", `"1"`}, {"causation_id", `""`},
		{"priority", `"urgent"`}, {"priority", `"Normal"`}, {"priority", `1`},
		{"event_seq", `1.0`}, {"event_seq", `-1`}, {"event_seq", `"1"`}, {"event_seq", `1e3`},
		{"event_seq", `18446744073709551616`}, {"event_seq", `-0`},
		{"timestamp", `"yesterday"`}, {"timestamp", `0`},
		{"payload", `[]`}, {"payload", `"{}"`},
	} {
		fault := decodeFault(t, frame(map[string]string{c.member: c.value}))
		require.Equal(t, c.member, fault.Member, c.value)
		require.Equal(t, CodeInvalidArgument, fault.Code)
		require.Equal(t, MessageID("msg_1"), fault.ID)
	}
}

func Test_1_1_PriorityNormalIsTheDefault(t *testing.T) {
	e, err := Decode(frame(map[string]string{"priority": `"normal"`}), Limits{})
	require.NoError(t, err)
	require.Empty(t, e.Priority)
	e.Priority = PriorityNormal
	line, err := e.Encode()
	require.NoError(t, err)
	require.NotContains(t, string(line), "priority")

	e, err = Decode(frame(map[string]string{"priority": `"critical"`}), Limits{})
	require.NoError(t, err)
	require.Equal(t, PriorityCritical, e.Priority)
}

// SB-2: low 0, normal 1, high 2, critical 3.
func Test_SB_2_PriorityRank(t *testing.T) {
	for want, p := range []Priority{PriorityLow, PriorityNormal, PriorityHigh, PriorityCritical} {
		require.Equal(t, want, p.Rank())
	}
	require.Equal(t, 1, Priority("").Rank())
}

// 1.4: order and white space mean nothing; names may be spelled with escapes,
// but their case counts.
func Test_1_4_SpellingOfJSON(t *testing.T) {
	e, err := Decode([]byte(" {\n\"payload\" : { \"nonce\" : \"a b\" ,\r\n \"x\":[ 1 , 2.50 ] } , \"type\":\"pi\\u006eg\",\n\t"+
		"\"timestamp\":\"2026-07-01T09:00:00Z\",\"\\u0069d\":\"msg_1\",\"arcp\":\"1.1\",\"ID\":7} \n"), Limits{})
	require.NoError(t, err)
	require.Equal(t, MessageID("msg_1"), e.ID)
	require.Equal(t, TypePing, e.Type)
	require.Equal(t, `{"nonce":"a b","x":[1,2.50]}`, string(e.Payload))
}

func TestDecodeRefusesWhatIsNoEnvelope(t *testing.T) {
	for _, data := range []string{
		"", " ", "null", "true", "7", `"x"`, "[]", "[1,2]", "{", `{"id"`, `{"id":`, `{"id":"msg_1"`,
		"\x00", "{]", "\xff", `{"id":"msg_1"]`, "not json",
	} {
		fault := decodeFault(t, []byte(data))
		require.Equal(t, CodeInvalidArgument, fault.Code, data)
	}
	fault := decodeFault(t, []byte(`[1]`))
	require.Empty(t, fault.Member)
	fault = decodeFault(t, append(frame(nil), frame(nil)...))
	require.Contains(t, fault.Reason, "more follows")
	require.Equal(t, MessageID("msg_1"), fault.ID)
}

// A name given twice has no meaning: it is refused at every level, and the
// error says where.
func TestDecodeRefusesDuplicateNames(t *testing.T) {
	for _, c := range []struct{ change, member string }{
		{`"type":"pong"`, "type"},
		{`"payload":{"nonce":"a","nonce":"b"}`, "payload.nonce"},
		{`"payload":{"list":[0,{"a":1,"\u0061":2}]}`, "payload.list[1].a"},
		{`"extensions":{"a":{},"a":{}}`, "extensions.a"},
		{`"unknown":{"a":{},"a":{}}`, "unknown.a"},
	} {
		data := `{"arcp":"1.1","timestamp":"2026-07-01T09:00:00Z","type":"ping",` + c.change + `,"id":"msg_7"}`
		fault := decodeFault(t, []byte(data))
		require.Equal(t, c.member, fault.Member)
		require.Contains(t, fault.Reason, "duplicate")
		require.Equal(t, MessageID("msg_7"), fault.ID, "the id comes after the fault")
		require.Equal(t, "ping", fault.Type)
	}
}

// Whatever is wrong, an id that can be read is in the error, before or after.
func TestDecodeErrorNamesTheMessage(t *testing.T) {
	for _, data := range []string{
		`{"id":"msg_9","arcp":7}`,
		`{"arcp":7,"payload":[],"id":"msg_9"}`,
		`{"type":"no such type","id":"msg_9"}`,
		`{"x":"` + "\xff" + `","id":"msg_9"}`,
		`{"id":"msg_9","payload":{`,
		`{"id":"msg_9","payload":` + strings.Repeat("[", 65) + strings.Repeat("]", 65) + `}`,
		`{"payload":` + strings.Repeat("[", 65) + strings.Repeat("]", 65) + `,"id":"msg_9"}`,
	} {
		require.Equal(t, MessageID("msg_9"), decodeFault(t, []byte(data)).ID, data)
	}
	require.Empty(t, decodeFault(t, []byte(`{"id":"sess_9"}`)).ID)
	require.Empty(t, decodeFault(t, []byte(`{"id":7}`)).ID)
	long := decodeFault(t, frame(map[string]string{"type": `"` + strings.Repeat("x", 10_000) + `"`}))
	require.LessOrEqual(t, len(long.Type), 128)
}

// No error repeats a value of the message: it might be a token.
func TestDecodeErrorsQuoteNoValues(t *testing.T) {
	const secret = "s3cr3t"
	for _, change := range []map[string]string{
		{"id": `"` + secret + `"`}, {"timestamp": `"` + secret + `"`}, {"priority": `"` + secret + `"`},
		{"session_id": `"` + secret + `"`}, {"event_seq": `"` + secret + `"`}, {"payload": `"` + secret + `"`},
		{"payload": `{"token":` + secret + `}`},
	} {
		require.NotContains(t, decodeFault(t, frame(change)).Error(), secret)
	}
	e := &Envelope{Type: TypeSessionOpen, Payload: json.RawMessage(
		`{"auth":{"scheme":"` + secret + `"},"client":{"kind":"k","version":"v"}}`)}
	_, err := DecodePayload[SessionOpen](e)
	requireFault(t, err, "payload.auth.scheme")
	require.NotContains(t, err.Error(), secret)
}

// nested is a payload that makes an envelope of so many levels in all.
func nested(levels int) string {
	return `{"x":` + strings.Repeat("[", levels-2) + strings.Repeat("]", levels-2) + `}`
}

func TestLimitsDepth(t *testing.T) {
	_, err := Decode(frame(map[string]string{"payload": nested(64)}), Limits{})
	require.NoError(t, err, "64 levels in all")
	fault := decodeFault(t, frame(map[string]string{"payload": nested(65)}))
	require.Equal(t, "MaxDepth", fault.Limit)
	require.Contains(t, fault.Reason, "MaxDepth = 64")
	require.Equal(t, CodeInvalidArgument, fault.Code)
	// Brackets in strings do not count.
	_, err = Decode(frame(map[string]string{"payload": `{"x":"` + strings.Repeat(`[{\"`, 100) + `"}`}), Limits{})
	require.NoError(t, err)
	// Deeper than any parser likes.
	fault = decodeFault(t, []byte(strings.Repeat(`{"a":`, 100_000)))
	require.Equal(t, "MaxDepth", fault.Limit)
	// Never closed, but within the limit.
	require.Empty(t, decodeFault(t, []byte(strings.Repeat(`{"a":`, 60))).Limit)
}

func TestLimitsKeys(t *testing.T) {
	object := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"k%d":0`, i)
		}
		return "{" + b.String()[1:] + "}"
	}
	_, err := Decode(frame(map[string]string{"payload": object(10_000 - 5)}), Limits{})
	require.NoError(t, err)
	fault := decodeFault(t, frame(map[string]string{"payload": object(10_000 - 4)}))
	require.Equal(t, "MaxKeys", fault.Limit)
	require.Equal(t, MessageID("msg_1"), fault.ID)
	_, err = Decode(frame(map[string]string{"payload": object(3)}), Limits{MaxKeys: 7})
	require.Error(t, err)
}

// A row of the catalogue may have a larger limit than the rest.
func TestLimitsBytes(t *testing.T) {
	pad := func(typ string, size int) []byte {
		shell := frame(map[string]string{"type": `"` + typ + `"`, "payload": `{"data":""}`})
		return frame(map[string]string{"type": `"` + typ + `"`,
			"payload": `{"data":"` + strings.Repeat("A", size-len(shell)) + `"}`})
	}
	_, err := Decode(pad("ping", 1<<20), Limits{})
	require.NoError(t, err)
	fault := decodeFault(t, pad("ping", 1<<20+1))
	require.Equal(t, "MaxBytes", fault.Limit)
	require.Equal(t, MessageID("msg_1"), fault.ID)
	require.Equal(t, "ping", fault.Type)

	_, err = Decode(pad("artifact.put", 6<<20), Limits{})
	require.NoError(t, err)
	fault = decodeFault(t, pad("artifact.put", 6<<20+1))
	require.Equal(t, "MaxBytes", fault.Limit)
	require.Equal(t, 6<<20, LargestMaxBytes(Limits{}))
	require.Equal(t, 8<<20, LargestMaxBytes(Limits{MaxBytes: 8 << 20}))
}

// The result shares no memory with the input, which readers use again.
func TestDecodeCopies(t *testing.T) {
	data := []byte(smallInvoke)
	e, err := Decode(data, Limits{})
	require.NoError(t, err)
	want, err := Decode([]byte(smallInvoke), Limits{})
	require.NoError(t, err)
	for i := range data {
		data[i] = '#'
	}
	require.Equal(t, want, e)
}

func TestDecodeStoredTakesAnyType(t *testing.T) {
	data := frame(map[string]string{"type": `"_session.held"`})
	e, err := DecodeStored(data)
	require.NoError(t, err)
	require.Equal(t, Type("_session.held"), e.Type)
	require.Equal(t, CodeInvalidArgument, decodeFault(t, data).Code)

	_, err = DecodeStored(frame(map[string]string{"payload": ""}))
	requireFault(t, err, "payload")
}

// Many goroutines share the pool of scanners.
func TestDecodeConcurrently(t *testing.T) {
	done := make(chan error)
	for range 8 {
		go func() {
			for range 200 {
				e, err := Decode([]byte(smallInvoke), Limits{})
				if err == nil {
					_, err = DecodePayload[ToolInvoke](e)
				}
				if err == nil {
					_, bad := Decode([]byte(smallInvoke[:100]), Limits{})
					if bad == nil {
						err = fmt.Errorf("half a message was read")
					}
				}
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 8 {
		require.NoError(t, <-done)
	}
}
