package envelope

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// golden is testdata/golden/<type>.json: the same message twice. minimal has
// only what section 3 marks "!", full has every member that it names.
type golden struct {
	Minimal, Full json.RawMessage
}

func readGolden(t testing.TB, typ Type) golden {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "golden", string(typ)+".json"))
	require.NoError(t, err)
	var g golden
	require.NoError(t, json.Unmarshal(data, &g))
	return g
}

func forEachGolden(t *testing.T, check func(t *testing.T, row Row, g golden)) {
	for _, row := range Catalogue() {
		t.Run(string(row.Type), func(t *testing.T) { check(t, row, readGolden(t, row.Type)) })
	}
}

func mustCanonical(t testing.TB, raw []byte) string {
	t.Helper()
	c, err := Canonical(raw)
	require.NoError(t, err)
	return string(c)
}

func TestGoldenHasOneFileForEachType(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "golden", "*.json"))
	require.NoError(t, err)
	require.Len(t, files, len(Catalogue()))
}

// What is read from a golden message is written as the same message.
func TestGoldenRoundTrip(t *testing.T) {
	forEachGolden(t, func(t *testing.T, row Row, g golden) {
		for name, raw := range map[string]json.RawMessage{"minimal": g.Minimal, "full": g.Full} {
			e, err := Decode(raw, Limits{})
			require.NoError(t, err, name)
			require.Equal(t, row.Type, e.Type)
			require.NotContains(t, string(e.Payload), "\n", "payload is compact")

			payload := row.New()
			require.NoError(t, e.Decode(payload), name)
			again, err := New(row.Type, payload)
			require.NoError(t, err, name)
			// The one member that is written though it may be absent.
			if row.Type == TypeSessionJobs && name == "minimal" {
				require.Contains(t, string(again.Payload), `"next_cursor":null`)
				again.Payload = e.Payload
			}
			require.Equal(t, mustCanonical(t, e.Payload), mustCanonical(t, again.Payload), name)

			line, err := e.Encode()
			require.NoError(t, err, name)
			require.Equal(t, mustCanonical(t, raw), mustCanonical(t, line), name)
			stored, err := DecodeStored(line)
			require.NoError(t, err, name)
			require.Equal(t, e, stored, name)
		}
	})
}

// strictDefaults are the members that section 3 marks "?=v": null is refused.
// Every other optional member takes null for absent.
var strictDefaults = map[Type][]string{
	TypeSessionOpen:   {"capabilities"},
	TypeResume:        {"include_open_streams"},
	TypeJobAccepted:   {"credentials"},
	TypeStreamChunk:   {"redacted"},
	TypeSubscribe:     {"filter"},
	TypeJobSubscribe:  {"history"},
	TypeJobSubscribed: {"replayed"},
}

// anyValues are the required members for which null is a value.
var anyValues = map[Type]string{
	TypeToolInvoke:     "arguments",
	TypeStreamChunk:    "data",
	TypeSubscribeEvent: "event",
	TypeJobCheckpoint:  "data",
}

func payloadMembers(t *testing.T, raw json.RawMessage) map[string]json.RawMessage {
	t.Helper()
	e, err := Decode(raw, Limits{})
	require.NoError(t, err)
	members := map[string]json.RawMessage{}
	require.NoError(t, json.Unmarshal(e.Payload, &members))
	return members
}

func decodeMembers(t *testing.T, row Row, members map[string]json.RawMessage) error {
	t.Helper()
	raw, err := json.Marshal(members)
	require.NoError(t, err)
	e := &Envelope{ID: "msg_1", Type: row.Type, Payload: raw}
	return e.Decode(row.New())
}

func requireFault(t *testing.T, err error, member string) *DecodeError {
	t.Helper()
	var fault *DecodeError
	require.ErrorAs(t, err, &fault)
	require.Equal(t, member, fault.Member)
	require.NotEmpty(t, fault.Reason)
	return fault
}

// Section 3, "!": absence and null are decode failures that name the member.
func TestGoldenRequiredMembers(t *testing.T) {
	forEachGolden(t, func(t *testing.T, row Row, g golden) {
		minimal := payloadMembers(t, g.Minimal)
		for name := range minimal {
			if row.Type == TypeJobProgress && name == "current" {
				continue // the older shape has none
			}
			without := maps.Clone(minimal)
			delete(without, name)
			fault := requireFault(t, decodeMembers(t, row, without), "payload."+name)
			require.Equal(t, CodeInvalidArgument, fault.Code)
			require.Equal(t, MessageID("msg_1"), fault.ID)
			require.Equal(t, string(row.Type), fault.Type)

			null := maps.Clone(minimal)
			null[name] = json.RawMessage("null")
			err := decodeMembers(t, row, null)
			if anyValues[row.Type] == name {
				require.NoError(t, err, name)
			} else {
				requireFault(t, err, "payload."+name)
			}
		}
	})
}

// Section 3, "?" and "?=v": absent is fine; null is fine for the first only.
func TestGoldenOptionalMembers(t *testing.T) {
	forEachGolden(t, func(t *testing.T, row Row, g golden) {
		minimal, full := payloadMembers(t, g.Minimal), payloadMembers(t, g.Full)
		for name := range full {
			if _, needed := minimal[name]; needed {
				continue
			}
			without := maps.Clone(full)
			delete(without, name)
			require.NoError(t, decodeMembers(t, row, without), name)

			null := maps.Clone(full)
			null[name] = json.RawMessage("null")
			err := decodeMembers(t, row, null)
			if slices.Contains(strictDefaults[row.Type], name) {
				requireFault(t, err, "payload."+name)
			} else {
				require.NoError(t, err, name)
			}
		}
	})
}

// No member takes a value of another type, and the error says which it was.
func TestGoldenWrongTypes(t *testing.T) {
	anything := map[Type][]string{ // members of any type
		TypeNack: {"details"}, TypeToolInvoke: {"arguments"}, TypeToolResult: {"value"},
		TypeToolError: {"details"}, TypeJobCompleted: {"value"}, TypeJobFailed: {"details"},
		TypeStreamChunk: {"data"}, TypeSubscribeEvent: {"event"}, TypeJobCheckpoint: {"data"}, TypeEventEmit: {"data"},
		TypeLog: {"attributes"}, TypeMetric: {"dims"}, TypeTraceSpan: {"attributes"},
	}
	forEachGolden(t, func(t *testing.T, row Row, g golden) {
		full := payloadMembers(t, g.Full)
		for name, value := range full {
			if slices.Contains(anything[row.Type], name) {
				continue
			}
			for _, other := range []string{`[[]]`, `{"no":1}`, `"\u0000"`, `-1.5`, `true`} {
				if other[0] == value[0] || (value[0] == 'f' && other == "true") {
					continue
				}
				if other == `-1.5` && (row.Type == TypeMetric || row.Type == TypeJobProgress) &&
					value[0] >= '0' && value[0] <= '9' {
					continue
				}
				wrong := maps.Clone(full)
				wrong[name] = json.RawMessage(other)
				err := decodeMembers(t, row, wrong)
				var fault *DecodeError
				require.ErrorAs(t, err, &fault, "%s = %s", name, other)
				require.Contains(t, fault.Member, "payload."+name)
			}
		}
	})
}

func TestGoldenUnknownPayloadMembersAreIgnored(t *testing.T) {
	forEachGolden(t, func(t *testing.T, row Row, g golden) {
		members := payloadMembers(t, g.Minimal)
		members["no_such_member"] = json.RawMessage(`{"x":[1,2,{"y":null}]}`)
		require.NoError(t, decodeMembers(t, row, members))
	})
}
