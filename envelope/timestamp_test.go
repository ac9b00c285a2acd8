package envelope

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// 1.3: input in any offset, output in UTC with 0, 3, 6 or 9 digits.
func Test_1_3_Timestamps(t *testing.T) {
	for in, want := range map[string]string{
		"2026-07-01T09:00:00Z":                "2026-07-01T09:00:00Z",
		"2026-07-01T09:00:00+02:00":           "2026-07-01T07:00:00Z",
		"2026-07-01T23:30:00-01:30":           "2026-07-02T01:00:00Z",
		"2026-07-01 09:00:00Z":                "2026-07-01T09:00:00Z",
		"2026-07-01t09:00:00z":                "2026-07-01T09:00:00Z",
		"2026-07-01T09:00:00.5Z":              "2026-07-01T09:00:00.500Z",
		"2026-07-01T09:00:00.500000Z":         "2026-07-01T09:00:00.500Z",
		"2026-07-01T09:00:00.000001Z":         "2026-07-01T09:00:00.000001Z",
		"2026-07-01T09:00:00.0000010Z":        "2026-07-01T09:00:00.000001Z",
		"2026-07-01T09:00:00.123456789Z":      "2026-07-01T09:00:00.123456789Z",
		"2026-07-01T09:00:00.1234567899Z":     "2026-07-01T09:00:00.123456789Z",
		"2026-07-01T09:00:00.0Z":              "2026-07-01T09:00:00Z",
		"2026-06-30T23:59:60Z":                "2026-07-01T00:00:00Z",
		"2026-06-30T23:59:60.25+00:00":        "2026-07-01T00:00:00.250Z",
		"0000-01-01T00:00:00Z":                "0000-01-01T00:00:00Z",
		"9999-12-31T23:59:59.999999999Z":      "9999-12-31T23:59:59.999999999Z",
		"2024-02-29T00:00:00Z":                "2024-02-29T00:00:00Z",
		"2026-07-01T09:00:00-00:00":           "2026-07-01T09:00:00Z",
		"2026-07-01T09:00:00.000000000+00:00": "2026-07-01T09:00:00Z",
	} {
		got, err := ParseTime(in)
		require.NoError(t, err, in)
		require.Equal(t, want, got.String(), in)
		require.Equal(t, time.UTC, got.Location())
	}
}

func Test_1_3_RefusedTimestamps(t *testing.T) {
	for _, in := range []string{
		"", "now", "2026-07-01", "2026-07-01T09:00:00", "2026-07-01T09:00Z", "2026-07-01_09:00:00Z",
		"2026-07-01T09:00:00,5Z", "2026-07-01T09:00:00.Z", "2026-07-01T9:00:00Z", "2026-7-01T09:00:00Z",
		"2026-13-01T09:00:00Z", "2026-02-29T09:00:00Z", "2026-07-01T24:00:00Z", "2026-07-01T09:60:00Z",
		"2026-07-01T09:00:61Z", "2026-07-01T09:00:00+24:00", "2026-07-01T09:00:00+01:60", "2026-07-01T09:00:00+0100",
		"2026-07-01T09:00:00 Z", " 2026-07-01T09:00:00Z", "2026-07-01T09:00:00ZZ", "1751360400",
		"0000-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "+2026-07-01T09:00:00Z", "2026-07-01T09:00:00UTC",
		"２026-07-01T09:00:00Z", "2026-07-01T-9:00:00Z", "2026-07-01T09:00:60,5Z",
	} {
		_, err := ParseTime(in)
		require.Error(t, err, in)
	}
}

func TestTimeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := At(time.Unix(rapid.Int64Range(-62167219200, 253402300799).Draw(t, "s"), rapid.Int64Range(0, 999999999).Draw(t, "ns")))
		back, err := ParseTime(at.String())
		require.NoError(t, err)
		require.Equal(t, at, back)

		data, err := json.Marshal(at)
		require.NoError(t, err)
		var viaJSON Time
		require.NoError(t, json.Unmarshal(data, &viaJSON))
		require.Equal(t, at, viaJSON)
	})
}

func TestTimeJSON(t *testing.T) {
	var at Time
	require.NoError(t, json.Unmarshal([]byte("null"), &at))
	require.True(t, at.IsZero())
	require.Error(t, json.Unmarshal([]byte("7"), &at))
	require.Error(t, json.Unmarshal([]byte(`""`), &at))
	require.NoError(t, at.UnmarshalText([]byte("2026-07-01T09:00:00Z")))
	text, err := at.MarshalText()
	require.NoError(t, err)
	require.Equal(t, at.String(), string(text))
	_, err = json.Marshal(Time{time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)})
	require.Error(t, err)
}
