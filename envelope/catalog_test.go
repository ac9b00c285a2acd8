package envelope

import (
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Section 2: 65 types and two of the reserved names, in order; countable is everything but session.*, ping
// and pong.
func Test_2_Catalogue(t *testing.T) {
	rows := Catalogue()
	require.Len(t, rows, 67)
	seen := map[Type]bool{}
	for _, row := range rows {
		name := string(row.Type)
		require.False(t, seen[row.Type], name)
		seen[row.Type] = true
		require.Equal(t, !strings.HasPrefix(name, "session.") && name != "ping" && name != "pong", row.Countable, name)
		require.NotZero(t, row.Direction, name)
		require.NotEmpty(t, row.Group, name)
		require.Contains(t, []string{"c>r", "r>c", "both"}, row.Direction.String())
		require.True(t, row.Direction.FromClient() || row.Direction.FromRuntime())

		payload := reflect.TypeOf(row.New())
		require.Equal(t, reflect.Pointer, payload.Kind(), name)
		require.Equal(t, reflect.Struct, payload.Elem().Kind(), name)
		want := strings.NewReplacer(".", "", "_", "").Replace(name)
		require.Equal(t, want, strings.TrimSuffix(strings.ToLower(payload.Elem().Name()), "message"))

		found, ok := Lookup(row.Type)
		require.True(t, ok)
		require.Equal(t, row.Type, found.Type)
	}
	require.Equal(t, TypeSessionOpen, rows[0].Type)
	require.Equal(t, TypeTraceSpan, rows[66].Type)
	_, ok := Lookup("no.such")
	require.False(t, ok)
}

func typesWhere(is func(Row) bool) []Type {
	var types []Type
	for _, row := range Catalogue() {
		if is(row) {
			types = append(types, row.Type)
		}
	}
	return types
}

func Test_2_Columns(t *testing.T) {
	require.Equal(t, []Type{TypeSessionOpen, TypeSessionChallenge, TypeSessionAuthenticate, TypeSessionAccepted,
		TypeSessionUnauthenticated, TypeSessionRejected, TypeSessionResume, TypeSessionResumed},
		typesWhere(func(r Row) bool { return r.Handshake }))
	require.Equal(t, []Type{TypeSessionClosed, TypeSessionResume, TypeSessionResumed, TypeJobCheckpoint, TypeJobSchedule},
		typesWhere(func(r Row) bool { return r.Later }))
	require.Equal(t, []Type{TypeJobCompleted, TypeJobFailed, TypeJobCancelled},
		typesWhere(func(r Row) bool { return r.Terminal }))
	require.Equal(t, []Type{TypeArtifactPut}, typesWhere(func(r Row) bool { return r.MaxBytes != 0 }))
	require.Len(t, typesWhere(func(r Row) bool { return r.Direction == Both }), 16)
}

func TestCatalogueIsACopy(t *testing.T) {
	Catalogue()[0].Type = "spoiled"
	require.Equal(t, TypeSessionOpen, Catalogue()[0].Type)
	Reserved()[0] = "spoiled"
	require.Equal(t, "checkpoint.create", Reserved()[0])
}

func TestNamesOfSmallEnums(t *testing.T) {
	require.Equal(t, "wire", Wire.String())
	require.Equal(t, "implemented", Implemented.String())
	require.Equal(t, "unimplemented", Unimplemented.String())
	require.Equal(t, "?", Direction(0).String())
}

// EX-1: the two forms of extension names.
func Test_EX_1_ExtensionNames(t *testing.T) {
	for _, good := range []string{
		"arcpx.acme.v1", "arcpx.a.b.c.v12", "arcpx.opentelemetry.tracecontext.v1", "arcpx.A-b_9.v0",
		"com.example.v1", "io.example.thing.v2", "museum.x.v1", "internal.x.v1",
	} {
		require.True(t, ValidExtension(good), good)
	}
	for _, bad := range []string{
		"", "arcpx", "arcpx.v1", "arcpx.acme", "arcpx.acme.v", "arcpx.acme.1", "arcpx.acme.v1x", "arcpx.acme.V1",
		"arcpx..v1", "arcpx.acme.v1.", ".acme.x.v1", "arcpx.ac me.v1", "arcpx.acmé.v1",
		"com.v1", "c.example.v1", "Com.example.v1", "c0m.example.v1", "ninechars.example.v1", "com.example.one",
	} {
		require.False(t, ValidExtension(bad), bad)
	}
}

// EX-2: the first match wins; the core list has every type of section 2 and
// the reserved names.
func Test_EX_2_Classify(t *testing.T) {
	for name, want := range map[string]Class{
		"": ClassMalformed, "x-": ClassExperimental, "x-foo": ClassExperimental, "x-com.example.v1": ClassExperimental,
		"X-foo": ClassMalformed, "ping": ClassCore, "Ping": ClassMalformed, "session.ping": ClassCore,
		"arcpx.acme.v1": ClassExtension, "com.example.v1": ClassExtension, "job.foo": ClassMalformed,
		"job.foo.v1": ClassExtension, "_session.held": ClassMalformed, "tool.invoke ": ClassMalformed,
	} {
		require.Equal(t, want, Classify(name), name)
	}
	for _, row := range Catalogue() {
		require.Equal(t, ClassCore, Classify(string(row.Type)))
	}
	require.Len(t, Reserved(), 6)
	for _, name := range Reserved() {
		require.Equal(t, ClassCore, Classify(name))
		_, ok := Lookup(Type(name))
		require.False(t, ok)
	}
	require.Equal(t, "malformed experimental core extension",
		strings.Join([]string{ClassMalformed.String(), ClassExperimental.String(), ClassCore.String(), ClassExtension.String()}, " "))
}

// EX-3: how a message of an unknown type is answered, if at all.
func Test_EX_3_UnknownTypes(t *testing.T) {
	for _, c := range []struct {
		typ, extensions string
		code            Code
		silent          bool
	}{
		{"checkpoint.create", "", CodeUnimplemented, false},
		{"agent.delegate", `{"optional":true}`, CodeUnimplemented, false},
		{"arcpx.acme.v1", "", CodeUnimplemented, false},
		{"arcpx.acme.v1", "null", CodeUnimplemented, false},
		{"arcpx.acme.v1", `{"optional":false}`, CodeUnimplemented, false},
		{"arcpx.acme.v1", `{"optional":"true"}`, CodeUnimplemented, false},
		{"arcpx.acme.v1", `{"Optional":true}`, CodeUnimplemented, false},
		{"arcpx.acme.v1", `[{"optional":true}]`, CodeUnimplemented, false},
		{"arcpx.acme.v1", `{"a":1, "optional" : true}`, CodeUnimplemented, true},
		{"com.example.v1", `{"optional":true}`, CodeUnimplemented, true},
		{"x-foo", "", CodeUnimplemented, true},
		{"", "", CodeInvalidArgument, false},
		{"job.foo", "", CodeInvalidArgument, false},
		{"no such type", `{"optional":true}`, CodeInvalidArgument, false},
	} {
		change := map[string]string{"type": `"` + c.typ + `"`, "extensions": c.extensions}
		fault := decodeFault(t, frame(change))
		require.Equal(t, "type", fault.Member, c)
		require.Equal(t, c.code, fault.Code, c)
		require.Equal(t, c.silent, fault.Silent, c)
		require.Equal(t, c.typ, fault.Type)
		require.Equal(t, MessageID("msg_1"), fault.ID)
		// Such a message need not have the members that we know.
		change["payload"] = ""
		require.Equal(t, fault, decodeFault(t, frame(change)))
	}
}
