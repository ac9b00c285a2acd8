package envelope

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestCanonical(t *testing.T) {
	for in, want := range map[string]string{
		` { "b" : 1 , "a" : [ true , null ] } `: `{"a":[true,null],"b":1}`,
		`{"\u0061":"\u00e9\/\u000a"}`:           `{"a":"é/\n"}`,
		// Names in the order of UTF-16: the emoji's surrogates before U+FB33.
		"{\"\ufb33\":1,\"\U0001F600\":2,\"€\":3,\"\\r\":4,\"1\":5}": "{\"\\r\":4,\"1\":5,\"€\":3,\"\U0001F600\":2,\"\ufb33\":1}",
		// Numbers as ECMAScript prints them, but integers keep every digit.
		`[1,1.0,1e0,-0.0,1e21,0.1e-6,9007199254740993,9007199254740992]`: `[1,1,1,0,1e+21,1e-7,9007199254740993,9007199254740992]`,
	} {
		got, err := Canonical(json.RawMessage(in))
		require.NoError(t, err, in)
		require.Equal(t, want, string(got))
	}
	for _, bad := range []string{``, `{`, `{"a":1,"a":2}`, "\"\xff\"", `1 2`} {
		_, err := Canonical(json.RawMessage(bad))
		require.Error(t, err, bad)
	}
	in := json.RawMessage(`{"b":1,"a":2}`)
	_, err := Canonical(in)
	require.NoError(t, err)
	require.Equal(t, `{"b":1,"a":2}`, string(in), "the argument stays as it is")
}

// ID-2: the same tool and arguments give the same fingerprint, however they
// are spelled: 1 and 1.0 are one number (RFC 8785).
func Test_ID_2_Fingerprint(t *testing.T) {
	print := func(tool, arguments string, lease *Lease) string {
		f, err := Fingerprint(tool, json.RawMessage(arguments), lease)
		require.NoError(t, err)
		require.Len(t, f, 64)
		return f
	}
	one := print("report@2", `{"a":1,"b":[2]}`, nil)
	require.Equal(t, one, print("report@2", "{ \"b\" : [2.0],\n\"\\u0061\":1e0}", nil))
	different := []string{
		print("report@1", `{"a":1,"b":[2]}`, nil), print("report@2", `{"a":1.5,"b":[2]}`, nil),
		print("report@2", `{"a":1}`, nil), print("report@2", `{"a":1,"b":[2]}`, &Lease{}),
		print("report@2", `{"a":1,"b":[2]}`, &Lease{ModelUse: []string{}}),
		print("report@2", `9007199254740993`, nil), print("report@2", `9007199254740992`, nil),
	}
	for i, f := range different {
		require.NotEqual(t, one, f)
		require.NotContains(t, different[:i], f)
	}
	none, err := Fingerprint("report@2", nil, nil)
	require.NoError(t, err)
	require.Equal(t, print("report@2", `null`, nil), none)
	_, err = Fingerprint("report@2", json.RawMessage(`{`), nil)
	require.Error(t, err)
}

func TestCanonicalIsStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := json.RawMessage(jsonText(t, 3))
		once, err := Canonical(raw)
		require.NoError(t, err)
		twice, err := Canonical(once)
		require.NoError(t, err)
		require.Equal(t, string(once), string(twice))
	})
}
