package view_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
)

// TestSB2Filter: each condition alone, and all together.
func TestSB2Filter(t *testing.T) {
	full := envelope.Envelope{
		Type: "log", SessionID: "sess_1", TraceID: "t1", JobID: "job_1", StreamID: "str_1", Priority: envelope.PriorityHigh,
	}
	bare := envelope.Envelope{Type: "log"}
	all := envelope.SubscribeFilter{
		Types: []string{"log"}, SessionID: []envelope.SessionID{"sess_1"}, TraceID: []string{"t1"}, JobID: []envelope.JobID{"job_1"},
		StreamID: []envelope.StreamID{"str_1"}, MinPriority: envelope.PriorityHigh,
	}
	for name, c := range map[string]struct {
		filter     envelope.SubscribeFilter
		full, bare bool
	}{
		"empty":             {envelope.SubscribeFilter{}, true, true},
		"empty list":        {envelope.SubscribeFilter{Types: []string{}, JobID: []envelope.JobID{}}, true, true},
		"type":              {envelope.SubscribeFilter{Types: []string{"metric", "log"}}, true, true},
		"other type":        {envelope.SubscribeFilter{Types: []string{"metric"}}, false, false},
		"type exactly":      {envelope.SubscribeFilter{Types: []string{"lo", "Log", "log "}}, false, false},
		"session":           {envelope.SubscribeFilter{SessionID: []envelope.SessionID{"sess_2", "sess_1"}}, true, false},
		"other session":     {envelope.SubscribeFilter{SessionID: []envelope.SessionID{"sess_2"}}, false, false},
		"trace":             {envelope.SubscribeFilter{TraceID: []string{"t1"}}, true, false},
		"other trace":       {envelope.SubscribeFilter{TraceID: []string{"t2"}}, false, false},
		"empty text":        {envelope.SubscribeFilter{TraceID: []string{""}}, false, false},
		"job":               {envelope.SubscribeFilter{JobID: []envelope.JobID{"job_1"}}, true, false},
		"other job":         {envelope.SubscribeFilter{JobID: []envelope.JobID{"job_2"}}, false, false},
		"stream":            {envelope.SubscribeFilter{StreamID: []envelope.StreamID{"str_1"}}, true, false},
		"other stream":      {envelope.SubscribeFilter{StreamID: []envelope.StreamID{"str_2"}}, false, false},
		"low":               {envelope.SubscribeFilter{MinPriority: envelope.PriorityLow}, true, true},
		"normal":            {envelope.SubscribeFilter{MinPriority: envelope.PriorityNormal}, true, true},
		"high":              {envelope.SubscribeFilter{MinPriority: envelope.PriorityHigh}, true, false},
		"critical":          {envelope.SubscribeFilter{MinPriority: envelope.PriorityCritical}, false, false},
		"all":               {all, true, false},
		"all but one":       {func() envelope.SubscribeFilter { f := all; f.JobID = []envelope.JobID{"job_2"}; return f }(), false, false},
		"type and priority": {envelope.SubscribeFilter{Types: []string{"log"}, MinPriority: envelope.PriorityHigh}, true, false},
	} {
		require.Equal(t, c.full, view.Matches(&c.filter, &full), name)
		require.Equal(t, c.bare, view.Matches(&c.filter, &bare), name)
	}
	low := envelope.Envelope{Type: "log", Priority: envelope.PriorityLow}
	require.False(t, view.Matches(&envelope.SubscribeFilter{MinPriority: envelope.PriorityNormal}, &low))
	require.True(t, view.Matches(&envelope.SubscribeFilter{MinPriority: envelope.PriorityLow}, &low))
}

// anyOf draws a value of a small set, or none.
func anyOf[T ~string](r *rapid.T, name string, values ...T) T {
	return rapid.SampledFrom(append([]T{""}, values...)).Draw(r, name)
}

// someOf draws a list of a small set, often empty.
func someOf[T ~string](r *rapid.T, name string, values ...T) []T {
	if rapid.Bool().Draw(r, name+" empty") {
		return nil
	}
	return rapid.SliceOfN(rapid.SampledFrom(values), 0, 3).Draw(r, name)
}

func drawFilter(r *rapid.T) envelope.SubscribeFilter {
	return envelope.SubscribeFilter{
		Types:     someOf(r, "types", "log", "metric", "job.started"),
		SessionID: someOf[envelope.SessionID](r, "sessions", "sess_1", "sess_2"),
		TraceID:   someOf(r, "traces", "t1", "t2"),
		JobID:     someOf[envelope.JobID](r, "jobs", "job_1", "job_2"),
		StreamID:  someOf[envelope.StreamID](r, "streams", "str_1", "str_2"),
		MinPriority: anyOf(r, "least", envelope.PriorityLow, envelope.PriorityNormal, envelope.PriorityHigh,
			envelope.PriorityCritical),
	}
}

// TestSB2AllConditionsHold: a filter matches if and only if each of its conditions, alone, does; and adding a value to a
// list that is not empty never makes less match.
func TestSB2AllConditionsHold(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		f := drawFilter(r)
		e := envelope.Envelope{
			Type:      rapid.SampledFrom([]envelope.Type{"log", "metric", "nack"}).Draw(r, "type"),
			SessionID: anyOf[envelope.SessionID](r, "session", "sess_1", "sess_3"), TraceID: anyOf(r, "trace", "t1", "t3"),
			JobID: anyOf[envelope.JobID](r, "job", "job_1", "job_3"), StreamID: anyOf[envelope.StreamID](r, "stream", "str_1"),
			Priority: anyOf(r, "priority", envelope.PriorityLow, envelope.PriorityNormal, envelope.PriorityHigh),
		}
		alone := true
		for _, one := range []envelope.SubscribeFilter{
			{Types: f.Types}, {SessionID: f.SessionID}, {TraceID: f.TraceID}, {JobID: f.JobID}, {StreamID: f.StreamID},
			{MinPriority: f.MinPriority},
		} {
			alone = alone && view.Matches(&one, &e)
		}
		matches := view.Matches(&f, &e)
		require.Equal(t, alone, matches)
		if len(f.Types) > 0 {
			wider := f
			wider.Types = append(slices.Clone(f.Types), "nack")
			require.True(t, !matches || view.Matches(&wider, &e))
		}
	})
}
