package envelope

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// 3.8: what a budget amount may look like, and its normal form.
func Test_3_8_Amounts(t *testing.T) {
	for in, want := range map[string]string{
		"USD:5.00": "USD:5", "USD:1e3": "USD:1000", "USD:+5": "USD:5", "USD:5.": "USD:5", "USD:.5": "USD:0.5",
		"USD:0": "USD:0", "USD:0.0": "USD:0", "USD:00012.340": "USD:12.34", "USD:1E+2": "USD:100", "USD:1e-2": "USD:0.01",
		"USD:12.5e1": "USD:125", "USD:12.5e-1": "USD:1.25", "USD:.05e2": "USD:5", "USD:0e999999999999999999999": "USD:0",
		"credits:7": "credits:7", "U S D:1": "U S D:1", "€:1": "€:1",
		"USD:0.1000000000000000055": "USD:0.1000000000000000055", // exact, not the nearest float
		"USD:9007199254740993":      "USD:9007199254740993",
		"USD:1e308":                 "USD:1" + strings.Repeat("0", 308),
		"USD:5e-324":                "USD:0." + strings.Repeat("0", 323) + "5",
	} {
		got, err := ParseAmount(in)
		require.NoError(t, err, in)
		require.Equal(t, want, got.String(), in)
	}
	for _, in := range []string{
		"", "USD", "USD:", ":5", "USD:-5", "USD:-0", "USD:NaN", "USD:nan", "USD:inf", "USD:Infinity", "USD: 5", "USD:5 ",
		"USD:5:6", "USD::5", "USD:.", "USD:+", "USD:++5", "USD:e5", "USD:5e", "USD:5e+", "USD:5e1.0", "USD:5e--1", "USD:0x10",
		"USD:1_000", "USD:1,5", "USD:٥", "USD:5f", "USD:1.2.3", "USD:1e309", "USD:1e999999999999999999999", "USD:1e-400",
		"USD:1e-999999999999999999999", "USD:" + strings.Repeat("1", 2000), "USD:0." + strings.Repeat("0", 1080) + "1",
	} {
		_, err := ParseAmount(in)
		require.Error(t, err, in)
	}
}

func Test_3_8_BadAmountIsADecodeFailure(t *testing.T) {
	e := &Envelope{Type: TypeToolInvoke, Payload: json.RawMessage(`{"tool":"a","arguments":0,"lease_request":{"cost_budget":["USD:1","USD:-1"]}}`)}
	_, err := DecodePayload[ToolInvoke](e)
	requireFault(t, err, "payload.lease_request.cost_budget[1]")
	e.Payload = json.RawMessage(`{"tool":"a","arguments":0,"cost_budget":"USD:1"}`)
	_, err = DecodePayload[ToolInvoke](e)
	requireFault(t, err, "payload.cost_budget")
}

// Decimals agree with exact rational arithmetic.
func TestDecimalIsExact(t *testing.T) {
	draw := rapid.StringMatching(`\+?([0-9]{1,12}\.?[0-9]{0,12}|\.[0-9]{1,12})([eE][+-]?[0-9]{1,2})?`)
	rat := func(t *rapid.T, s string) *big.Rat {
		r, ok := new(big.Rat).SetString(strings.TrimSuffix(strings.Replace(s, ".e", "e", 1), "."))
		if !ok {
			r, ok = new(big.Rat).SetString(s)
		}
		require.True(t, ok, s)
		return r
	}
	rapid.Check(t, func(t *rapid.T) {
		sa, sb := draw.Draw(t, "a"), draw.Draw(t, "b")
		a, err := ParseDecimal(sa)
		require.NoError(t, err)
		b, err := ParseDecimal(sb)
		require.NoError(t, err)
		ra, rb := rat(t, sa), rat(t, sb)
		require.Zero(t, ra.Cmp(rat(t, a.String())), "%s became %s", sa, a)
		require.Regexp(t, `^(0|[1-9][0-9]*)(\.[0-9]*[1-9])?$`, a.String(), "shortest plain form")
		require.Equal(t, ra.Cmp(rb), a.Cmp(b))
		require.Equal(t, ra.Cmp(rb) == 0, a == b)
		again, err := ParseDecimal(a.String())
		require.NoError(t, err)
		require.Equal(t, a, again)
		diff, ok := a.Sub(b)
		require.Equal(t, ra.Cmp(rb) >= 0, ok)
		if ok {
			require.Zero(t, new(big.Rat).Sub(ra, rb).Cmp(rat(t, diff.String())))
		}
		if want, err := strconv.ParseFloat(a.String(), 64); err == nil {
			require.Equal(t, want, a.Float64())
		}
	})
}

// BG-1: budgets are counted in millionths, rounded to six decimals.
func Test_BG_1_Millionths(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "1": 1_000_000, "0.5": 500_000, "0.0000004": 0, "0.0000005": 1, "0.9999999": 1_000_000, "1.2345678": 1_234_568,
		"9223372036854.775807": math.MaxInt64, "9223372036854.7758074": math.MaxInt64,
	} {
		d, err := ParseDecimal(in)
		require.NoError(t, err)
		got, ok := d.Millionths()
		require.True(t, ok, in)
		require.Equal(t, want, got, in)
	}
	for _, in := range []string{"9223372036854.775808", "9223372036854.7758075", "1e300"} {
		d, err := ParseDecimal(in)
		require.NoError(t, err)
		_, ok := d.Millionths()
		require.False(t, ok, in)
	}
	for n, want := range map[int64]string{0: "0", -5: "0", 1: "0.000001", 500_000: "0.5", 1_000_000: "1", 1_250_000_000: "1250", 12_340_000: "12.34"} {
		require.Equal(t, want, DecimalFromMillionths(n).String())
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Min(0).Draw(t, "n")
		got, ok := DecimalFromMillionths(n).Millionths()
		require.True(t, ok)
		require.Equal(t, n, got)
	})
}

// 3.8: unknown lease members are echoed, and the dotted spellings are unknown.
func Test_3_8_LeaseKeepsExtraMembers(t *testing.T) {
	var l Lease
	require.NoError(t, json.Unmarshal([]byte(`{"model.use":["x"],"cost_budget":["USD:0.50"],"cost.budget":["USD:9"],"region":{"a": 1}}`), &l))
	require.Nil(t, l.ModelUse)
	require.Len(t, l.Budget, 1)
	require.Equal(t, `{"cost_budget":["USD:0.5"],"cost.budget":["USD:9"],"model.use":["x"],"region":{"a":1}}`, text(t, l))
}

// 3.8: an empty list means something, so it is not the same as none.
func Test_3_8_EmptyListsAreKept(t *testing.T) {
	for _, lease := range []string{`{}`, `{"model_use":[]}`, `{"cost_budget":[]}`, `{"cost_budget":[],"model_use":[]}`} {
		var l Lease
		require.NoError(t, json.Unmarshal([]byte(lease), &l))
		require.Equal(t, lease, text(t, l))
	}
	var l Lease
	require.NoError(t, json.Unmarshal([]byte(`{"model_use":null,"cost_budget":null,"expires_at":null}`), &l))
	require.Equal(t, Lease{}, l)
}

// Text that json.Unmarshal hands over is not kept.
func TestUnmarshalJSONCopies(t *testing.T) {
	data := []byte(`{"region":"eu"}`)
	var l Lease
	require.NoError(t, l.UnmarshalJSON(data))
	copy(data, `#############`)
	require.Equal(t, `{"region":"eu"}`, text(t, l))
	require.Error(t, l.UnmarshalJSON([]byte(`{"model_use":7}`)))
	require.Error(t, l.UnmarshalJSON([]byte(`{`)))
	var p JobProgress
	require.NoError(t, json.Unmarshal([]byte(`{"percent":5}`), &p))
	require.Equal(t, 5.0, p.Current)
	var a Agents
	require.NoError(t, json.Unmarshal([]byte(` [ "a" ]`), &a))
	require.Equal(t, []string{"a"}, a.Flat)
}

func TestLeaseEqual(t *testing.T) {
	parse := func(s string) *Lease {
		var l Lease
		require.NoError(t, json.Unmarshal([]byte(s), &l))
		return &l
	}
	a := parse(`{"cost_budget":["USD:5.00"],"x":{"b":1,"a":2}}`)
	require.True(t, a.Equal(parse(`{"x":{"a":2,"b":1},"cost_budget":["USD:5"]}`)))
	require.False(t, a.Equal(parse(`{"cost_budget":["USD:5"]}`)))
	require.False(t, a.Equal(nil))
	require.False(t, (*Lease)(nil).Equal(a))
	require.True(t, (*Lease)(nil).Equal(nil))
	require.False(t, parse(`{"model_use":[]}`).Equal(parse(`{}`)))
}

// TestCredentialsAreNotPrinted: by no verb, and by no log.
func TestCredentialsAreNotPrinted(t *testing.T) {
	c := Credential{ID: "cred_1", Value: "the secret", Endpoint: "https://models.example"}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("got", "credential", c, "pointer", &c, "list", []Credential{c})
	for _, text := range []string{
		fmt.Sprint(c), fmt.Sprint(&c), fmt.Sprintf("%v %+v %#v %s %q", c, c, c, c, c), fmt.Sprintf("%+v", []Credential{c}),
		fmt.Sprintf("%+v", JobAccepted{Credentials: []Credential{c}}), log.String(),
	} {
		require.NotContains(t, text, "the secret")
		require.Contains(t, text, "cred_1")
	}
}
