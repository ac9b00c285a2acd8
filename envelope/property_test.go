package envelope

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// enums lists the values of each strict enum, as section 3 has them.
var enums = map[reflect.Type][]string{
	reflect.TypeFor[Scheme]():           {"bearer", "signed_jwt", "none", "mtls", "oauth2"},
	reflect.TypeFor[CancelTarget]():     {"job", "stream", "session"},
	reflect.TypeFor[JobState]():         {"accepted", "queued", "running", "blocked", "paused", "completed", "failed", "cancelled"},
	reflect.TypeFor[ChunkEncoding]():    {"utf8", "base64"},
	reflect.TypeFor[StreamKind]():       {"text", "binary", "event", "log", "metric", "thought"},
	reflect.TypeFor[LogLevel]():         {"trace", "debug", "info", "warn", "error", "critical"},
	reflect.TypeFor[CredentialScheme](): {"bearer"},
	reflect.TypeFor[Priority]():         {"low", "normal", "high", "critical"},
	reflect.TypeFor[Code]():             {"OK", "NOT_FOUND", "LEASE_SUBSET_VIOLATION"},
}

var idPrefixes = map[reflect.Type]string{
	reflect.TypeFor[MessageID](): "msg_", reflect.TypeFor[SessionID](): "sess_", reflect.TypeFor[JobID](): "job_",
	reflect.TypeFor[StreamID](): "str_", reflect.TypeFor[SubscriptionID](): "sub_",
	reflect.TypeFor[LeaseID](): "lease_", reflect.TypeFor[ArtifactID](): "art_",
}

func generate[T any](t *rapid.T) T {
	var v T
	fill(t, reflect.ValueOf(&v).Elem(), true)
	return v
}

// fill draws any value that the wire can carry. Optional fields are sometimes
// left at zero, required ones never where zero is no value.
func fill(t *rapid.T, v reflect.Value, needed bool) {
	if !needed && rapid.Bool().Draw(t, "absent") {
		return
	}
	if values, ok := enums[v.Type()]; ok {
		v.SetString(rapid.SampledFrom(values).Draw(t, "enum"))
		return
	}
	if prefix, ok := idPrefixes[v.Type()]; ok {
		v.SetString(prefix + rapid.StringN(1, 8, -1).Draw(t, "id"))
		return
	}
	switch into := v.Addr().Interface().(type) {
	case *Time:
		*into = At(time.Unix(rapid.Int64Range(0, 253402300799).Draw(t, "s"), rapid.Int64Range(0, 999999999).Draw(t, "ns")))
		return
	case *Amount:
		*into = Amount{
			Currency: rapid.StringMatching(`[^:]{1,4}`).Draw(t, "currency"),
			Value:    DecimalFromMillionths(rapid.Int64Min(0).Draw(t, "value")),
		}
		return
	case *json.RawMessage:
		*into = json.RawMessage(jsonText(t, 3))
		if !needed && string(*into) == "null" {
			*into = nil
		}
		return
	case *Agents:
		if rapid.Bool().Draw(t, "flat") {
			into.Flat = rapid.SliceOf(rapid.String()).Draw(t, "names")
		} else {
			fill(t, reflect.ValueOf(&into.Rich).Elem(), true)
		}
		return
	case *JobProgress:
		*into = JobProgress{Current: rapid.Float64Range(0, 1e9).Draw(t, "current"), Units: rapid.String().Draw(t, "units")}
		fill(t, reflect.ValueOf(&into.Total).Elem(), false)
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(rapid.String().Draw(t, "string"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Uint32:
		v.SetUint(uint64(rapid.Uint32().Draw(t, "u32")))
	case reflect.Uint64:
		v.SetUint(rapid.Uint64().Draw(t, "u64"))
	case reflect.Float64:
		v.SetFloat(rapid.Float64().Draw(t, "float"))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), true)
	case reflect.Slice:
		n := rapid.IntRange(0, 3).Draw(t, "n")
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(t, v.Index(i), true)
		}
	case reflect.Map: // Extra
		for range rapid.IntRange(0, 2).Draw(t, "n") {
			if v.IsNil() {
				v.Set(reflect.MakeMap(v.Type()))
			}
			name := "+" + rapid.String().Draw(t, "name")
			v.SetMapIndex(reflect.ValueOf(name), reflect.ValueOf(json.RawMessage(jsonText(t, 2))))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), strings.Contains(v.Type().Field(i).Tag.Get("arcp"), "!"))
		}
	default:
		t.Fatalf("no generator for %s", v.Type())
	}
}

// jsonText draws a JSON value as text.
func jsonText(t *rapid.T, depth int) string {
	quote := func(s string) string {
		raw, err := json.Marshal(s)
		require.NoError(t, err)
		return string(raw)
	}
	kind := rapid.IntRange(0, 6).Draw(t, "kind")
	if depth == 0 {
		kind %= 5
	}
	switch kind {
	case 0:
		return "null"
	case 1:
		return "true"
	case 2:
		return rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,5})?([eE][+-]?[0-9]{1,2})?`).Draw(t, "number")
	case 3, 4:
		return quote(rapid.String().Draw(t, "text"))
	case 5:
		var items []string
		for range rapid.IntRange(0, 3).Draw(t, "items") {
			items = append(items, jsonText(t, depth-1))
		}
		return "[ " + strings.Join(items, " , ") + "]"
	default:
		var members []string
		for i := range rapid.IntRange(0, 3).Draw(t, "members") {
			members = append(members, fmt.Sprintf("%s : %s", quote(fmt.Sprint(i, rapid.String().Draw(t, "name"))), jsonText(t, depth-1)))
		}
		return "{" + strings.Join(members, ",\n") + "}"
	}
}

// Any payload of any type survives the wire: written, read and written again
// it is the same bytes, on one line, and nothing of it is lost.
func TestPayloadRoundTrip(t *testing.T) {
	for _, row := range Catalogue() {
		t.Run(string(row.Type), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				payload := row.New()
				fill(t, reflect.ValueOf(payload).Elem(), true)
				e, err := New(row.Type, payload)
				require.NoError(t, err)
				line, err := e.Encode()
				require.NoError(t, err)
				require.NotContains(t, string(line), "\n")

				read, err := Decode(line, Limits{})
				require.NoError(t, err)
				require.Equal(t, e, read)
				back := row.New()
				require.NoError(t, read.Decode(back), "%s", line)
				again, err := New(row.Type, back)
				require.NoError(t, err)
				require.Equal(t, string(e.Payload), string(again.Payload))
			})
		})
	}
}

// Any envelope survives the wire.
func TestEnvelopeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e, err := New(TypePing, nil)
		require.NoError(t, err)
		v := reflect.ValueOf(e).Elem()
		for i := range v.NumField() {
			switch v.Type().Field(i).Name {
			case "Type", "Payload", "Extensions":
			case "ID", "Timestamp":
				fill(t, v.Field(i), true)
			default:
				fill(t, v.Field(i), false)
			}
		}
		if e.Priority == PriorityNormal {
			e.Priority = ""
		}
		line, err := e.Encode()
		require.NoError(t, err)
		back, err := Decode(line, Limits{})
		require.NoError(t, err)
		require.Equal(t, e, back)

		if e.EventSeq == 0 {
			e.EventSeq = rapid.Uint64Min(1).Draw(t, "seq")
			back, err = Decode(AppendSeq(nil, line, e.EventSeq), Limits{})
			require.NoError(t, err)
			require.Equal(t, e, back)
		}
	})
}

// Every member of every enum is read, and nothing near it.
func TestEnumsAreStrict(t *testing.T) {
	for typ, values := range enums {
		for _, value := range values {
			into := reflect.New(typ).Interface().(wireText)
			require.NoError(t, into.fromWire(value))
			require.Equal(t, value, reflect.ValueOf(into).Elem().String())
			for _, near := range []string{value + " ", strings.ToTitle(value) + "x", "", "no_such"} {
				require.Error(t, into.fromWire(near), "%s: %q", typ, near)
			}
		}
	}
}
