package envelope

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func caps(t testing.TB, text string) Capabilities {
	t.Helper()
	var c Capabilities
	require.NoError(t, json.Unmarshal([]byte(text), &c))
	return c
}

func text(t require.TestingT, v any) string {
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	return string(raw)
}

var booleans = []string{
	"streaming", "durable_jobs", "checkpoints", "binary_streams", "agent_handoff", "model_use",
	"provisioned_credentials", "artifacts", "subscriptions", "scheduled_jobs", "interrupt", "anonymous",
}

// CP-2, the whole table, for each of the twelve booleans.
func Test_CP_2_BooleanIntersection(t *testing.T) {
	values := []string{"", "false", "true"}
	table := [3][3]string{ // runtime \ client
		{"", "false", "false"},
		{"false", "false", "false"},
		{"false", "false", "true"},
	}
	object := func(name, value string) Capabilities {
		if value == "" {
			return caps(t, "{}")
		}
		return caps(t, `{"`+name+`":`+value+`}`)
	}
	for _, name := range booleans {
		for r, runtime := range values {
			for c, client := range values {
				got := Negotiate(object(name, runtime), object(name, client))
				require.Equal(t, text(t, object(name, table[r][c])), text(t, got), "%s: %q and %q", name, runtime, client)
			}
		}
	}
}

// CP-1: extensions are what both list, in the runtime's order; the rest is the
// runtime's own; unknown members are dropped.
func Test_CP_1_Negotiate(t *testing.T) {
	runtime := caps(t, `{"heartbeat_recovery":"fail","binary_encoding":["base64"],"extensions":["arcpx.b.v1","arcpx.a.v1","arcpx.c.v1"],
		"artifact_retention":{"default_seconds":3600,"max_seconds":86400},"agents":[{"name":"report","versions":["1"]}],"colour":"red"}`)
	client := caps(t, `{"heartbeat_recovery":"block","binary_encoding":["sidecar"],"extensions":["arcpx.a.v1","arcpx.b.v1","arcpx.z.v1"],
		"artifact_retention":{"default_seconds":1,"max_seconds":2},"agents":["echo"],"colour":"blue","shape":1}`)
	got := Negotiate(runtime, client)
	require.Equal(t, `{"heartbeat_recovery":"fail","binary_encoding":["base64"],"extensions":["arcpx.b.v1","arcpx.a.v1"],`+
		`"artifact_retention":{"default_seconds":3600,"max_seconds":86400},"agents":[{"name":"report","versions":["1"]}]}`, text(t, got))

	// The result is a value of its own.
	got.Agents.Rich[0].Versions[0], got.BinaryEncoding[0], got.ArtifactRetention.MaxSeconds = "9", "x", 1
	require.Equal(t, "1", runtime.Agents.Rich[0].Versions[0])
	require.Equal(t, "base64", runtime.BinaryEncoding[0])
	require.EqualValues(t, 86400, runtime.ArtifactRetention.MaxSeconds)
}

// The first worked example (7.1).
func Test_7_1_Negotiation(t *testing.T) {
	got := Negotiate(caps(t, `{"streaming":true,"artifacts":true,"extensions":["arcpx.acme.v1","arcpx.other.v1"]}`),
		caps(t, `{"streaming":true,"interrupt":true,"extensions":["arcpx.acme.v1"],"colour":"blue"}`))
	require.Equal(t, `{"streaming":true,"artifacts":false,"interrupt":false,"extensions":["arcpx.acme.v1"]}`, text(t, got))
}

// Negotiating twice changes nothing more, and no true comes from nowhere.
func Test_CP_1_Idempotent(t *testing.T) {
	draw := rapid.Custom(func(t *rapid.T) Capabilities { return generate[Capabilities](t) })
	rapid.Check(t, func(t *rapid.T) {
		runtime, client := draw.Draw(t, "runtime"), draw.Draw(t, "client")
		once := Negotiate(runtime, client)
		require.Equal(t, text(t, once), text(t, Negotiate(runtime, once)))
		require.Empty(t, once.Extra)
		a, b, c := runtime.flags(), client.flags(), once.flags()
		for i := range c {
			if *c[i] != nil && **c[i] {
				require.True(t, **a[i] && **b[i])
			}
		}
	})
}

// 3.2: unknown members are kept and written back at the same level.
func Test_3_2_ExtraMembers(t *testing.T) {
	c := caps(t, `{"zebra":[1, 2],"streaming":false,"colour":null}`)
	require.Equal(t, map[string]json.RawMessage{"zebra": json.RawMessage(`[1, 2]`), "colour": json.RawMessage(`null`)}, c.Extra)
	require.Equal(t, `{"streaming":false,"colour":null,"zebra":[1,2]}`, text(t, c))
	require.Equal(t, `{"a\"b":null}`, text(t, Capabilities{Extra: map[string]json.RawMessage{`a"b`: nil}}))
}

// 3.2: the wrong type for a known member is a failure.
func Test_3_2_WrongTypes(t *testing.T) {
	for member, value := range map[string]string{
		"payload.capabilities.streaming":                          `{"streaming":1}`,
		"payload.capabilities.anonymous":                          `{"anonymous":"true"}`,
		"payload.capabilities.heartbeat_recovery":                 `{"heartbeat_recovery":true}`,
		"payload.capabilities.extensions":                         `{"extensions":null}`,
		"payload.capabilities.binary_encoding[1]":                 `{"binary_encoding":["a",null]}`,
		"payload.capabilities.artifact_retention.max_seconds":     `{"artifact_retention":{"default_seconds":1}}`,
		"payload.capabilities.artifact_retention.default_seconds": `{"artifact_retention":{"default_seconds":1.0,"max_seconds":1}}`,
		"payload.capabilities.agents":                             `{"agents":{}}`,
		"payload.capabilities.agents[1]":                          `{"agents":["echo",{"name":"x"}]}`,
		"payload.capabilities.agents[2]":                          `{"agents":[{"name":"x"},{"name":"y"},"echo"]}`,
		"payload.capabilities.agents[0].name":                     `{"agents":[{"versions":["1"]}]}`,
		"payload.capabilities.agents[0].versions":                 `{"agents":[{"name":"x","versions":null}]}`,
		"payload.capabilities.agents[0]":                          `{"agents":[null]}`,
	} {
		e := &Envelope{Type: TypeSessionOpen, Payload: json.RawMessage(
			`{"auth":{"scheme":"none"},"client":{"kind":"k","version":"v"},"capabilities":` + value + `}`)}
		_, err := DecodePayload[SessionOpen](e)
		requireFault(t, err, member)
	}
}

// 3.2: the shape of the inventory that was given is the shape sent back; an
// empty one counts as flat.
func Test_3_2_AgentShapes(t *testing.T) {
	for _, shape := range []string{
		`{"agents":[]}`, `{"agents":["echo","indexer"]}`, `{"agents":[{"name":"a"},{"name":"b","versions":["1"],"default":"1"}]}`,
	} {
		require.Equal(t, shape, text(t, caps(t, shape)))
	}
	require.Equal(t, `{"agents":[{"name":"a"}]}`, text(t, caps(t, `{"agents":[{"name":"a","versions":[],"default":null,"x":1}]}`)))
	require.Nil(t, caps(t, `{"agents":null}`).Agents)
	_, err := json.Marshal(Agents{Flat: []string{"a"}, Rich: []Agent{{Name: "b"}}})
	require.Error(t, err)
}

// TI-5: a flat inventory satisfies any version, a rich one must list it.
func Test_TI_5_Offers(t *testing.T) {
	flat := &Agents{Flat: []string{"echo"}}
	rich := &Agents{Rich: []Agent{{Name: "report", Versions: []string{"1.0.0", "2.0.0"}}}}
	for _, c := range []struct {
		agents *Agents
		ref    AgentRef
		want   bool
	}{
		{nil, AgentRef{"echo", "1"}, false}, {nil, AgentRef{"echo", ""}, false},
		{flat, AgentRef{"echo", "9"}, true}, {flat, AgentRef{"echo", ""}, true}, {flat, AgentRef{"other", "9"}, false},
		{rich, AgentRef{"report", "2.0.0"}, true}, {rich, AgentRef{"report", "9"}, false},
		{rich, AgentRef{"report", ""}, true}, {rich, AgentRef{"echo", ""}, false},
	} {
		require.Equal(t, c.want, c.agents.Offers(c.ref), c)
	}
}

// 3.4: the grammar of agent references.
func Test_3_4_AgentRef(t *testing.T) {
	for in, want := range map[string]AgentRef{
		"echo": {"echo", ""}, "echo@1": {"echo", "1"}, "0.a_b-c.@1.0.0+build_2-x.Y": {"0.a_b-c.", "1.0.0+build_2-x.Y"}, "a@.": {"a", "."},
	} {
		got, err := ParseAgentRef(in)
		require.NoError(t, err, in)
		require.Equal(t, want, got)
		require.Equal(t, in, got.String())
	}
	for in, want := range map[string]error{
		"": errAgentName, "@1": errAgentName, "Echo": errAgentName, ".a": errAgentName, "-a": errAgentName, "a b": errAgentName,
		"é": errAgentName, "A@@": errAgentName, "a@": errAgentVersion, "a@1@2": errAgentVersion, "a@1 ": errAgentVersion, "a@ü": errAgentVersion,
	} {
		_, err := ParseAgentRef(in)
		require.ErrorIs(t, err, want, in)
	}
}
