package envelope

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	someTrace  = "0af7651916cd43dd8448eb211c80319c"
	someSpan   = "b7ad6b7169203331"
	someParent = "00-" + someTrace + "-" + someSpan + "-01"
)

// EX-5: trace context comes in extensions, or as the ids of the envelope, and what has another form is none.
func TestEX5TraceContext(t *testing.T) {
	in := func(value string) json.RawMessage {
		return json.RawMessage(`{"other":1,"` + TraceExtension + `":` + value + `}`)
	}
	for name, c := range map[string]struct {
		e    Envelope
		want TraceContext
	}{
		"none":                 {},
		"in extensions":        {Envelope{Extensions: in(`{"traceparent":"` + someParent + `","tracestate":"a=1"}`)}, TraceContext{someParent, "a=1"}},
		"before the ids":       {Envelope{TraceID: strings.Repeat("1", 32), SpanID: strings.Repeat("2", 16), Extensions: in(`{"traceparent":"` + someParent + `"}`)}, TraceContext{Parent: someParent}},
		"a later version":      {Envelope{Extensions: in(`{"traceparent":"01-` + someTrace + "-" + someSpan + `-01-more"}`)}, TraceContext{Parent: "01-" + someTrace + "-" + someSpan + "-01-more"}},
		"state for a terminal": {Envelope{Extensions: in(`{"traceparent":"` + someParent + `","tracestate":"a=\u001b"}`)}, TraceContext{Parent: someParent}},
		"by ids":               {Envelope{TraceID: someTrace, SpanID: someSpan}, TraceContext{Parent: someParent}},
		"ids of another form":  {Envelope{TraceID: "order-17", SpanID: someSpan}, TraceContext{}},
		"zeros":                {Envelope{TraceID: strings.Repeat("0", 32), SpanID: someSpan}, TraceContext{}},
		"a string":             {Envelope{Extensions: in(`"` + someParent + `"`)}, TraceContext{}},
		"upper case":           {Envelope{Extensions: in(`{"traceparent":"` + strings.ToUpper(someParent) + `"}`)}, TraceContext{}},
		"too much for 00":      {Envelope{Extensions: in(`{"traceparent":"` + someParent + `-x"}`)}, TraceContext{}},
		"forbidden version":    {Envelope{Extensions: in(`{"traceparent":"ff` + someParent[2:] + `"}`)}, TraceContext{}},
		"no object":            {Envelope{Extensions: json.RawMessage(`[1]`)}, TraceContext{}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, c.e.TraceContext()) })
	}
	e := Envelope{Extensions: TraceContext{Parent: someParent, State: "a=1"}.In()}
	require.Equal(t, TraceContext{someParent, "a=1"}, e.TraceContext())
}
