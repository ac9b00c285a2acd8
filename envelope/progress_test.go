package envelope

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// 3.5: both shapes of job.progress are read.
func Test_3_5_ProgressReadsBothShapes(t *testing.T) {
	for in, want := range map[string]JobProgress{
		`{"current":2,"total":8,"units":"steps","message":"m"}`: {Current: 2, Total: new(8.0), Units: "steps", Message: "m"},
		`{"current":2,"total":null}`:                            {Current: 2},
		`{"percent":12.5,"message":"m"}`:                        {Current: 12.5, Total: new(100.0), Units: "percent", Message: "m"},
		`{"percent":50,"current":1,"total":4}`:                  {Current: 1, Total: new(4.0)},
		`{"message":"m"}`:                                       {Message: "m"},
		`{"percent":null}`:                                      {},
		`{}`:                                                    {},
	} {
		p, err := DecodePayload[JobProgress](&Envelope{Type: TypeJobProgress, Payload: json.RawMessage(in)})
		require.NoError(t, err, in)
		require.Equal(t, want, *p, in)
	}
	for in, member := range map[string]string{
		`{"current":null}`: "payload.current", `{"current":"1"}`: "payload.current", `{"percent":"1"}`: "payload.percent",
		`{"current":1e999}`: "payload.current", `{"total":true,"current":1}`: "payload.total",
	} {
		_, err := DecodePayload[JobProgress](&Envelope{Type: TypeJobProgress, Payload: json.RawMessage(in)})
		requireFault(t, err, member)
	}
}

// 3.5: numbers are written, and percent beside them where it is known.
func Test_3_5_ProgressWritesBothShapes(t *testing.T) {
	for want, p := range map[string]JobProgress{
		`{"current":2,"total":8,"units":"steps","percent":25}`: {Current: 2, Total: new(8.0), Units: "steps"},
		`{"current":0}`:               {},
		`{"current":3,"message":"m"}`: {Current: 3, Message: "m"},
		`{"current":0,"total":0}`:     {Total: new(0.0)},
		`{"current":7.3,"total":100,"units":"percent","percent":7.3}`: {Current: 7.3, Total: new(100.0), Units: "percent"},
		`{"current":1e+300,"total":1e-300}`:                           {Current: 1e300, Total: new(1e-300)},
	} {
		e, err := New(TypeJobProgress, p)
		require.NoError(t, err)
		require.Equal(t, want, string(e.Payload))
	}
	_, err := New(TypeJobProgress, JobProgress{Current: math.NaN()})
	require.Error(t, err)
}

// 3.5: the limits are the producer's to keep.
func Test_3_5_ProgressCheck(t *testing.T) {
	for _, good := range []JobProgress{{}, {Current: 1}, {Current: 1, Total: new(1.0)}, {Total: new(0.0)}} {
		require.NoError(t, good.Check())
	}
	inf := math.Inf(1)
	for _, bad := range []JobProgress{
		{Current: -1}, {Current: math.NaN()}, {Current: inf}, {Total: new(-1.0)}, {Total: &inf},
		{Total: new(math.NaN())}, {Current: 2, Total: new(1.0)},
	} {
		require.ErrorIs(t, bad.Check(), &Error{Code: CodeInvalidRequest})
	}
}
