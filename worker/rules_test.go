package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
)

// Open dialect JB-3, with RS-2 and what section 6 asks for.
func TestConclude(t *testing.T) {
	cancelled := &CancelError{Reason: "enough"}
	yes := true
	for name, c := range map[string]struct {
		value      any
		err, cause error
		want       envelope.Type // "" for none
		code       envelope.Code
		text       string
		retryable  bool
	}{
		"value":                    {value: 1, want: envelope.TypeJobCompleted},
		"nil value":                {want: envelope.TypeJobCompleted},
		"value that is no JSON":    {value: func() {}, want: envelope.TypeJobFailed, code: envelope.CodeUnknown},
		"NaN":                      {value: math.NaN(), want: envelope.TypeJobFailed, code: envelope.CodeUnknown},
		"broken raw message":       {value: json.RawMessage(`{`), want: envelope.TypeJobFailed, code: envelope.CodeUnknown},
		"plain error":              {err: errHandler, want: envelope.TypeJobFailed, code: envelope.CodeInternal, text: "handler says no", retryable: true},
		"coded error":              {err: envelope.Errorf(envelope.CodeNotFound, "no such file"), want: envelope.TypeJobFailed, code: envelope.CodeNotFound, text: "no such file"},
		"wrapped coded error":      {err: fmt.Errorf("while: %w", envelope.Errorf(envelope.CodeNotFound, "gone")), want: envelope.TypeJobFailed, code: envelope.CodeNotFound, text: "gone"},
		"retryable by hand":        {err: &envelope.Error{Code: envelope.CodeNotFound, Retryable: &yes}, want: envelope.TypeJobFailed, code: envelope.CodeNotFound, text: "NOT_FOUND", retryable: true},
		"code OK is no failure":    {err: &envelope.Error{Code: envelope.CodeOK, Message: "odd"}, want: envelope.TypeJobFailed, code: envelope.CodeUnknown, text: "odd"},
		"cancelled by the handler": {err: envelope.Errorf(envelope.CodeCancelled, "nothing to do"), want: envelope.TypeJobCancelled, text: "nothing to do"},
		"someone's context":        {err: context.Canceled, want: envelope.TypeJobCancelled, text: "context canceled"},
		"someone's deadline":       {err: context.DeadlineExceeded, want: envelope.TypeJobFailed, code: envelope.CodeDeadlineExceeded, retryable: true, text: "context deadline exceeded"},
		"cancelled by the client":  {err: context.Canceled, cause: cancelled, want: envelope.TypeJobCancelled, text: "enough"},
		"cancelled, another error": {err: errHandler, cause: cancelled, want: envelope.TypeJobCancelled, text: "enough"},
		"cancelled, a value":       {value: 1, cause: cancelled, want: envelope.TypeJobCancelled, text: "enough"},
		"out of time":              {err: context.DeadlineExceeded, cause: ErrTimeout, want: envelope.TypeJobFailed, code: envelope.CodeDeadlineExceeded, retryable: false},
		"out of time, a value":     {value: 1, cause: ErrTimeout, want: envelope.TypeJobFailed, code: envelope.CodeDeadlineExceeded},
		"draining":                 {err: context.Canceled, cause: ErrDraining},
		"draining, another error":  {err: errHandler, cause: ErrDraining},
		"draining, a value":        {value: 1, cause: ErrDraining, want: envelope.TypeJobCompleted},
		"superseded":               {err: context.Canceled, cause: ErrSuperseded},
		"superseded, even a value": {value: 1, cause: ErrSuperseded},
	} {
		t.Run(name, func(t *testing.T) {
			e := conclude(c.value, c.err, c.cause)
			if c.want == "" {
				require.True(t, e.handedBack())
				return
			}
			require.False(t, e.handedBack())
			typ, p := e.event(envelope.Vocabulary20)
			require.Equal(t, c.want, typ)
			switch p := p.(type) {
			case *envelope.JobFailed:
				require.Equal(t, c.code, p.Code)
				require.NotEmpty(t, p.Message)
				if c.text != "" {
					require.Equal(t, c.text, p.Message)
					require.Equal(t, c.retryable, *p.Retryable)
				}
			case *envelope.JobCancelled:
				require.Equal(t, c.text, p.Reason)
			case *envelope.JobCompleted:
				require.NotEmpty(t, p.Value)
			}
			_, err := envelope.New(typ, p)
			require.NoError(t, err)
		})
	}
}

// TestRS2TheSentinel: open dialect RS-2. Whatever is not quite one is a value.
func TestRS2TheSentinel(t *testing.T) {
	size := uint64(7)
	for text, want := range map[string]*envelope.JobCompleted{
		`{"$arcp_streamed_result":{"result_id":"r1","result_size":7,"summary":"s"}}`: {ResultID: "r1", ResultSize: &size, Summary: "s"},
		`{"$arcp_streamed_result":{"result_id":"r1"}}`:                               {ResultID: "r1"},
		`{"$arcp_streamed_result":{"result_id":"r1","result_size":-7,"summary":3}}`:  {ResultID: "r1"},
		`{"$arcp_streamed_result":{"result_id":""}}`:                                 nil,
		`{"$arcp_streamed_result":{"result_id":5}}`:                                  nil,
		`{"$arcp_streamed_result":{}}`:                                               nil,
		`{"$arcp_streamed_result":"r1"}`:                                             nil,
		`{"$arcp_streamed_result":{"result_id":"r1"},"more":1}`:                      nil,
		`{"value":1}`: nil,
		`[]`:          nil,
		`7`:           nil,
	} {
		e := conclude(json.RawMessage(text), nil, nil)
		if want == nil {
			want = &envelope.JobCompleted{Value: json.RawMessage(text)}
		}
		require.Equal(t, want, e.completed, text)
	}
}

func TestClipKeepsTextSendable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOfN(rapid.Byte(), 0, 9000).Draw(t, "bytes"))
		clipped := clip(text)
		if len(clipped) > maxMessageBytes+3 || strings.ToValidUTF8(clipped, "") != clipped {
			t.Fatalf("%d bytes", len(clipped))
		}
	})
}

// past folds records given as "attempt sender types...".
func past(t *testing.T, records ...string) *history {
	t.Helper()
	h := &history{}
	for _, text := range records {
		words := strings.Fields(text)
		r := &record.Record{Sender: words[1]}
		_, err := fmt.Sscan(words[0], &r.Attempt)
		require.NoError(t, err)
		var lines []string
		for _, w := range words[2:] {
			r.Types = append(r.Types, envelope.Type(w))
			lines = append(lines, `{"by":"`+words[1]+`"}`)
		}
		r.Body = []byte(strings.Join(lines, "\n"))
		h.add(r)
	}
	return h
}

func TestJudge(t *testing.T) {
	for name, c := range map[string]struct {
		records        []string
		attempt, limit int
		want           verdict
	}{
		"first attempt":                    {nil, 1, 3, runIt},
		"first attempt, one only":          {nil, 1, 1, runIt},
		"delivered often, never started":   {nil, 9, 1, runIt},
		"lost once":                        {[]string{"1 w job.started job.progress"}, 2, 3, runIt},
		"lost for the last time":           {[]string{"1 w job.started", "2 w job.started", "3 w job.started"}, 4, 3, usedUp},
		"must not run twice":               {[]string{"1 w job.started"}, 2, 1, usedUp},
		"ended":                            {[]string{"1 w job.started job.completed"}, 2, 3, alreadyEnd},
		"ended, and no attempt left":       {[]string{"1 w job.started job.failed"}, 2, 1, alreadyEnd},
		"cancelled before the start":       {[]string{"1 w job.cancelled"}, 2, 3, alreadyEnd},
		"an end that came too late":        {[]string{"1 w job.started", "2 v job.started", "1 w job.completed"}, 3, 3, runIt},
		"an end before the next start":     {[]string{"1 w job.started", "1 w job.completed", "2 v job.started"}, 3, 3, alreadyEnd},
		"the runtime's own end":            {[]string{"1 w job.started", "0 edge job.failed"}, 2, 3, alreadyEnd},
		"a twin that started first":        {[]string{"1 w job.started", "1 v job.started", "1 w job.completed"}, 2, 3, runIt},
		"a twin that started last":         {[]string{"1 w job.started", "1 v job.started", "1 v job.completed"}, 2, 3, alreadyEnd},
		"handed back":                      {[]string{"1 w job.started _job.handed_back", "2 w job.started", "3 w job.started"}, 4, 3, runIt},
		"handed back, and then used up":    {[]string{"1 w job.started _job.handed_back", "2 w job.started", "3 w job.started", "4 w job.started"}, 5, 3, usedUp},
		"handed back, must not run twice":  {[]string{"1 w job.started _job.handed_back"}, 2, 1, usedUp},
		"only the runtime spoke, not once": {[]string{"0 edge log"}, 2, 1, runIt},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, past(t, c.records...).judge(c.attempt, c.limit))
		})
	}
}

func TestHistoryKeepsTheLastCheckpointThatCounts(t *testing.T) {
	h := past(t, "1 w job.started job.checkpoint", "2 v job.started", "1 w job.checkpoint", "2 v job.checkpoint", "1 w job.checkpoint")
	require.JSONEq(t, `{"by":"v"}`, string(h.checkpoint))
}

// The last record is all that a second attempt needs: the whole history says
// the same.
func TestLastRecordDecidesForASecondAttempt(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		limit := rapid.IntRange(1, 4).Draw(rt, "limit")
		if needsHistory(2, limit) {
			return
		}
		var records []string
		for range rapid.IntRange(0, 6).Draw(rt, "n") {
			records = append(records, "1 w "+rapid.SampledFrom([]string{"job.progress", "log log", "job.checkpoint"}).Draw(rt, "what"))
		}
		if rapid.Bool().Draw(rt, "ended") {
			records = append(records, "1 w log job.completed")
		}
		all := past(t, records...).judge(2, limit)
		last := past(t, records[max(0, len(records)-1):]...).judge(2, limit)
		if all != last {
			rt.Fatalf("%v: %v, by the last record %v", records, all, last)
		}
	})
}

func TestBindNamesTheMember(t *testing.T) {
	job := func(arguments string) *Job {
		return &Job{inv: invocation{call: &envelope.ToolInvoke{Arguments: []byte(arguments)}}}
	}
	var args struct {
		MS    int64 `json:"ms"`
		Outer struct {
			Name string `json:"name"`
		} `json:"outer"`
	}
	require.NoError(t, job(`{"ms":5,"unknown":true,"outer":{"name":"n"}}`).Bind(&args))
	require.EqualValues(t, 5, args.MS)
	require.NoError(t, job(`null`).Bind(&args))
	for text, where := range map[string]string{
		`{"ms":"soon"}`:         "arguments.ms: a JSON string is no int64",
		`{"outer":{"name":[]}}`: "arguments.outer.name",
		`[]`:                    "arguments: a JSON array",
		`{"ms":1e99}`:           "arguments.ms",
	} {
		err := job(text).Bind(&args)
		require.Equal(t, envelope.CodeInvalidArgument, envelope.CodeOf(err), text)
		require.ErrorContains(t, err, where)
		require.NotContains(t, err.Error(), "soon", "values are not repeated")
	}
}

func TestProgressAndMetricAreChecked(t *testing.T) {
	job := &Job{}
	for _, p := range []Progress{
		{Current: -1}, {Current: math.NaN()}, {Current: math.Inf(1)}, {Current: 2, Total: 1}, {Total: -1}, {Total: math.NaN()},
	} {
		require.Equal(t, envelope.CodeInvalidRequest, envelope.CodeOf(job.Progress(t.Context(), p)), p)
	}
	require.Error(t, job.Metric(t.Context(), "", 1, "u", nil))
	require.Error(t, job.Metric(t.Context(), "m", math.NaN(), "u", nil))
	require.Error(t, job.Metric(t.Context(), "m", 1, "u", func() {}))
	require.Error(t, job.Log(t.Context(), "loud", "text", nil))
	require.Error(t, job.Log(t.Context(), envelope.LogInfo, "text", func() {}))
}

func TestQueueNameIsTheToolSets(t *testing.T) {
	a := queueName([]string{"echo@1", "sleep@1"})
	require.Equal(t, a, queueName([]string{"echo@1", "sleep@1"}))
	require.NotEqual(t, a, queueName([]string{"echo@1", "sleep@2"}))
	require.True(t, strings.HasPrefix(a, "echo-sleep-"), a)
	require.Less(t, len(queueName([]string{strings.Repeat("x", 500) + "@1", "y@1", "z@1"})), 64)
}

func TestSlotsGiveWhatIsFree(t *testing.T) {
	s := newSlots(10)
	n, err := s.reserve(t.Context(), 4)
	require.NoError(t, err)
	require.Equal(t, 4, n)
	n, err = s.reserve(t.Context(), 100)
	require.NoError(t, err)
	require.Equal(t, 6, n)
	s.release(3)
	n, err = s.reserve(t.Context(), 100)
	require.NoError(t, err)
	require.Equal(t, 3, n)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.reserve(ctx, 1)
	require.Error(t, err)
}
