package envelope

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAppendRefusesHalfAnEnvelope(t *testing.T) {
	good := Envelope{ID: "msg_1", Type: TypePing, Timestamp: Now()}
	_, err := good.Encode()
	require.NoError(t, err)
	for name, spoil := range map[string]func(*Envelope){
		"id":         func(e *Envelope) { e.ID = "" },
		"type":       func(e *Envelope) { e.Type = "" },
		"timestamp":  func(e *Envelope) { e.Timestamp = Time{} },
		"year":       func(e *Envelope) { e.Timestamp = Time{time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)} },
		"payload":    func(e *Envelope) { e.Payload = json.RawMessage(`[]`) },
		"empty":      func(e *Envelope) { e.Payload = json.RawMessage(``) },
		"newline":    func(e *Envelope) { e.Payload = json.RawMessage("[\n]") },
		"broken":     func(e *Envelope) { e.Payload = json.RawMessage("{\n") },
		"extensions": func(e *Envelope) { e.Extensions = json.RawMessage(`{`) },
	} {
		bad := good
		spoil(&bad)
		out, err := bad.Append([]byte("kept"))
		require.Error(t, err, name)
		require.Equal(t, "kept", string(out), name)
	}
}

// A stored message is one line, whatever the payload was written with.
func TestAppendIsOneLine(t *testing.T) {
	e := Envelope{ID: "msg_1", Type: TypePing, Timestamp: Now(), Source: "a\nb",
		Payload: json.RawMessage("{\n \"nonce\" :\r\n \"x\"}"), Extensions: json.RawMessage("{\n}")}
	line, err := e.Encode()
	require.NoError(t, err)
	require.NotContains(t, string(line), "\n")
	back, err := DecodeStored(line)
	require.NoError(t, err)
	require.Equal(t, `{"nonce":"x"}`, string(back.Payload))
	require.Equal(t, "a\nb", back.Source)
}

func TestAppendNilPayloadIsEmptyObject(t *testing.T) {
	e, err := New(TypePing, nil)
	require.NoError(t, err)
	e.Payload = nil
	line, err := e.Encode()
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(string(line), `"payload":{}}`))
	require.NoError(t, e.Decode(new(Ping)))
}

func TestAppendSeqSplices(t *testing.T) {
	e, err := New(TypePing, Ping{Nonce: "n"})
	require.NoError(t, err)
	line, err := e.Encode()
	require.NoError(t, err)
	with := AppendSeq([]byte("x"), line, 18446744073709551615)
	require.Equal(t, `x{"event_seq":18446744073709551615,`+string(line[1:]), string(with))
	back, err := Decode(with[1:], Limits{})
	require.NoError(t, err)
	e.EventSeq = 18446744073709551615
	require.Equal(t, e, back)
	require.Empty(t, AppendSeq(nil, nil, 1))
}

func TestNew(t *testing.T) {
	e, err := New(TypePing, &Ping{Nonce: "n"})
	require.NoError(t, err)
	require.Equal(t, `{"nonce":"n"}`, string(e.Payload))
	_, err = ParseMessageID(string(e.ID))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), e.Timestamp.Time, time.Minute)

	for name, payload := range map[string]any{
		"array": []int{1}, "text": "x", "nil pointer": (*Ping)(nil),
		"broken raw":     ToolInvoke{Arguments: json.RawMessage(`{`)},
		"duplicate name": ToolInvoke{Arguments: json.RawMessage(`{"a":1,"a":2}`)},
		"empty currency": ToolInvoke{CostBudget: []Amount{{}}},
		"two shapes":     SessionOpen{Capabilities: Capabilities{Agents: &Agents{Flat: []string{"a"}, Rich: []Agent{{Name: "b"}}}}},
		"taken name":     JobAccepted{Lease: &Lease{Extra: map[string]json.RawMessage{"model_use": nil}}},
		"broken extra":   JobAccepted{Lease: &Lease{Extra: map[string]json.RawMessage{"x": json.RawMessage(`}`)}}},
	} {
		_, err := New(TypePing, payload)
		require.Error(t, err, name)
	}
}

// A tool that logs bytes which are no text still gets its line out.
func TestNewReplacesBadUTF8(t *testing.T) {
	e, err := New(TypeLog, Log{Level: LogInfo, Message: "a\xffb", Attributes: json.RawMessage(`{ "k" : "\u0041" }`)})
	require.NoError(t, err)
	line, err := e.Encode()
	require.NoError(t, err)
	back, err := Decode(line, Limits{})
	require.NoError(t, err)
	log, err := DecodePayload[Log](back)
	require.NoError(t, err)
	require.Equal(t, "a\ufffdb", log.Message)
	require.NotContains(t, string(back.Payload), " ")
}

// 3.4: arguments are any value and always written; null stands for none.
func Test_3_4_ArgumentsAreAlwaysWritten(t *testing.T) {
	e, err := New(TypeToolInvoke, ToolInvoke{Tool: "echo"})
	require.NoError(t, err)
	require.Equal(t, `{"tool":"echo","arguments":null}`, string(e.Payload))
}

// 3.1: next_cursor is the one member that is written as null.
func Test_3_1_NextCursorIsNull(t *testing.T) {
	e, err := New(TypeSessionJobs, SessionJobs{RequestID: "msg_1"})
	require.NoError(t, err)
	require.Equal(t, `{"request_id":"msg_1","jobs":[],"next_cursor":null}`, string(e.Payload))
}

// TI-1: a lease request replaces a cost budget, never merges with it.
func Test_TI_1_EffectiveLease(t *testing.T) {
	budget := []Amount{{Currency: "USD", Value: DecimalFromMillionths(1)}}
	require.Nil(t, (&ToolInvoke{}).EffectiveLease())
	require.Equal(t, &Lease{Budget: budget}, (&ToolInvoke{CostBudget: budget}).EffectiveLease())
	asked := &Lease{ModelUse: []string{"*"}}
	require.Same(t, asked, (&ToolInvoke{CostBudget: budget, LeaseRequest: asked}).EffectiveLease())
}
