package hello_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/hello"
)

// frames are good ones of every type that a runtime sends.
var frames = []string{
	`{"arcp":"1.1","id":"a","type":"session.welcome","session_id":"s","payload":{"runtime":{"name":"r","version":"1"},"resume_token":"t","resume_window_sec":600,"heartbeat_interval_sec":30,"capabilities":{"encodings":["json"],"features":[],"agents":[{"name":"echo","versions":["1"],"default":"1"}]}}}`,
	`{"arcp":"1.1","id":"a","type":"session.error","session_id":"s","payload":{"code":"UNAUTHENTICATED","message":"m","retryable":false}}`,
	`{"arcp":"1.1","id":"a","type":"session.jobs","session_id":"s","payload":{"request_id":"q","jobs":[{"job_id":"j","agent":"a","status":"running","lease":{"fs.read":["/w/**"]},"parent_job_id":null,"created_at":"2026-01-01T00:00:00Z","last_event_seq":5}],"next_cursor":null}}`,
	`{"arcp":"1.1","id":"a","type":"job.accepted","session_id":"s","job_id":"j","trace_id":"0af7651916cd43dd8448eb211c80319c","payload":{"job_id":"j","agent":"a@1","lease":{},"accepted_at":"2026-01-01T00:00:00Z","trace_id":"0af7651916cd43dd8448eb211c80319c","credentials":[{"id":"c","scheme":"bearer","value":"v","endpoint":"e"}]}}`,
	`{"arcp":"1.1","id":"a","type":"job.subscribed","session_id":"s","job_id":"j","payload":{"job_id":"j","current_status":"running","agent":"a@1","lease":{},"parent_job_id":null,"subscribed_from":2,"replayed":true}}`,
	`{"arcp":"1.1","id":"a","type":"job.event","session_id":"s","job_id":"j","event_seq":1,"payload":{"kind":"tool_result","ts":"2026-01-01T00:00:00Z","body":{"call_id":"c","error":{"code":"BUDGET_EXHAUSTED","message":"m","retryable":false}}}}`,
	`{"arcp":"1.1","id":"a","type":"job.event","session_id":"s","job_id":"j","event_seq":1,"payload":{"kind":"progress","ts":"2026-01-01T00:00:00Z","body":{"current":1,"total":2}}}`,
	`{"arcp":"1.1","id":"a","type":"job.event","session_id":"s","job_id":"j","event_seq":1,"payload":{"kind":"metric","ts":"2026-01-01T00:00:00Z","body":{"name":"n","value":1,"dims":{"a":"b"},"dimensions":{"a":"b"}}}}`,
	`{"arcp":"1.1","id":"a","type":"job.event","session_id":"s","job_id":"j","event_seq":1,"payload":{"kind":"log","ts":"2026-01-01T00:00:00Z","body":{"level":"info","message":"m"}}}`,
	`{"arcp":"1.1","id":"a","type":"job.event","session_id":"s","job_id":"j","event_seq":1,"payload":{"kind":"result_chunk","ts":"2026-01-01T00:00:00Z","body":{"result_id":"r","chunk_seq":0,"data":"","encoding":"utf8","more":false}}}`,
	`{"arcp":"1.1","id":"a","type":"job.result","session_id":"s","job_id":"j","event_seq":1,"payload":{"final_status":"success","result":7,"output":7}}`,
	`{"arcp":"1.1","id":"a","type":"job.error","session_id":"s","job_id":"j","event_seq":1,"payload":{"final_status":"error","code":"INTERNAL_ERROR","message":"m","retryable":true}}`,
	`{"arcp":"1.1","id":"a","type":"job.cancelled","session_id":"s","job_id":"j","payload":{"job_id":"j"}}`,
	`{"arcp":"1.1","id":"a","type":"session.ping","session_id":"s","payload":{"nonce":"n","sent_at":"2026-01-01T00:00:00Z"}}`,
	`{"arcp":"1.1","id":"a","type":"session.pong","session_id":"s","payload":{"ping_nonce":"n","received_at":"2026-01-01T00:00:00Z"}}`,
	`{"arcp":"1.1","id":"a","type":"session.closed","session_id":"s","payload":{}}`,
}

func TestCheckTakesWhatClientsTake(t *testing.T) {
	for _, frame := range frames {
		require.NoError(t, hello.Check([]byte(frame)), frame)
	}
}

// TestCheckFindsWhatClientsBreakAt: one change makes a good frame one that a client chokes on.
func TestCheckFindsWhatClientsBreakAt(t *testing.T) {
	for name, change := range map[string][2]string{
		"3 session.error without session_id": {`session.error","session_id":"s"`, `session.error"`},
		"4 agent without versions":           {`"versions":["1"],`, ``},
		"4 agent with a default of null":     {`"default":"1"`, `"default":null`},
		"5 no resume token":                  {`"resume_token":"t",`, ``},
		"5 a window of 0":                    {`"resume_window_sec":600`, `"resume_window_sec":0`},
		"5 half an interval":                 {`"heartbeat_interval_sec":30`, `"heartbeat_interval_sec":1.5`},
		"5 no version of the runtime":        {`"name":"r","version":"1"`, `"name":"r"`},
		"6 no session_id":                    {`welcome","session_id":"s"`, `welcome"`},
		"7 no lease":                         {`"agent":"a@1","lease":{},"accepted_at"`, `"agent":"a@1","accepted_at"`},
		"7 no lease in a listing":            {`"lease":{"fs.read":["/w/**"]},`, ``},
		"8 a parent of null":                 {`"accepted_at"`, `"parent_job_id":null,"accepted_at"`},
		"9 a malformed time":                 {`"accepted_at":"2026-01-01T00:00:00Z"`, `"accepted_at":"2026-01-01"`},
		"10 a trace of another form":         {`"trace_id":"0af7`, `"trace_id":"0AF7`},
		"13 no message":                      {`"message":"m","retryable":true`, `"message":"","retryable":true`},
		"13 another code":                    {`INTERNAL_ERROR`, `INTERNAL`},
		"13 another retryability":            {`"retryable":true`, `"retryable":false`},
		"13 in a body":                       {`BUDGET_EXHAUSTED","message":"m","retryable":false`, `BUDGET_EXHAUSTED","message":"m","retryable":true`},
		"14 the value in one place":          {`,"output":7`, ``},
		"15 a value beside a stream":         {`"output":7`, `"output":7,"result_id":"r"`},
		"16 a number where none belongs":     {`"job.cancelled",`, `"job.cancelled","event_seq":3,`},
		"16 no number":                       {`"event_seq":1,"payload":{"kind":"log"`, `"payload":{"kind":"log"`},
		"17 a number with a point":           {`"event_seq":1,"payload":{"final_status":"success"`, `"event_seq":1.0,"payload":{"final_status":"success"`},
		"17 an array of extensions":          {`"session.closed",`, `"session.closed","extensions":[],`},
		"17 no object":                       {`"payload":{}}`, `"payload":[]}`},
		"26 no cursor":                       {`,"next_cursor":null`, ``},
		"26 no number in a listing":          {`,"last_event_seq":5`, ``},
		"27 a credential of another scheme":  {`"scheme":"bearer"`, `"scheme":"basic"`},
		"progress beyond its total":          {`"current":1,`, `"current":3,`},
		"dimensions under one name":          {`,"dimensions":{"a":"b"}`, ``},
		"dimensions that are no texts":       {`"dims":{"a":"b"}`, `"dims":{"a":1}`},
		"no such level":                      {`"level":"info"`, `"level":"INFO"`},
		"no such kind":                       {`"kind":"log"`, `"kind":"logs"`},
		"no such encoding":                   {`"encoding":"utf8"`, `"encoding":"gzip"`},
		"neither a result nor an error":      {`,"error":{"code":"BUDGET_EXHAUSTED","message":"m","retryable":false}`, ``},
		"no such type":                       {`"session.closed"`, `"session.shut"`},
		"a job that is not named":            {`job.cancelled","session_id":"s","job_id":"j"`, `job.cancelled","session_id":"s"`},
		"another job in the payload":         {`"payload":{"job_id":"j"}`, `"payload":{"job_id":"k"}`},
		"success that is none":               {`"final_status":"success"`, `"final_status":"ok"`},
		"a status of the other dialect":      {`"current_status":"running"`, `"current_status":"completed"`},
		"18 too long":                        {`"payload":{}}`, `"payload":{"reason":"` + strings.Repeat("x", hello.MaxFrameBytes) + `"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			changed := 0
			for _, frame := range frames {
				bad := strings.Replace(frame, change[0], change[1], 1)
				if bad == frame {
					continue
				}
				changed++
				require.Error(t, hello.Check([]byte(bad)), bad)
				break
			}
			require.Equal(t, 1, changed, "no frame was changed")
		})
	}
}

// TestLinterFindsWhatFramesDoNotTell: what is wrong with a frame only after others.
func TestLinterFindsWhatFramesDoNotTell(t *testing.T) {
	const (
		accepted = `{"arcp":"1.1","id":"a","type":"job.accepted","session_id":"s","job_id":"j","payload":{"job_id":"j","agent":"a","lease":{},"accepted_at":"2026-01-01T00:00:00Z","request_id":"q-1"}}`
		result   = `{"arcp":"1.1","id":"a","type":"job.result","session_id":"s","job_id":"j","event_seq":1,"payload":{"final_status":"success","result":7,"output":7}}`
		refusal  = `{"arcp":"1.1","id":"a","type":"job.error","session_id":"s","job_id":"x","event_seq":1,"payload":{"final_status":"error","code":"INVALID_REQUEST","message":"m","retryable":false}}`
		bare     = `{"arcp":"1.1","id":"a","type":"session.error","payload":{"code":"INVALID_REQUEST","message":"m","retryable":false,"request_id":"q-1"}}`
		named    = `{"arcp":"1.1","id":"a","type":"session.error","session_id":"s","payload":{"code":"INVALID_REQUEST","message":"m","retryable":false,"request_id":"q-1"}}`
	)
	submit := []string{`{"id":"q-1","type":"job.submit"}`}
	welcome := frames[0]
	for name, story := range map[string]struct {
		sent     []string
		received []string
		ok       bool
	}{
		"a job":                             {submit, []string{welcome, accepted, result}, true},
		"again an end of before, a refusal": {submit, []string{welcome, result, strings.Replace(refusal, `"event_seq":1`, `"event_seq":2`, 1), bare}, true},
		"again refused in one form":         {submit, []string{welcome, result, bare}, false},
		"a refusal":                         {submit, []string{welcome, refusal, bare}, true},
		"1 something before the welcome":    {submit, []string{accepted}, false},
		"1 two welcomes":                    {submit, []string{welcome, welcome}, false},
		"11 refused in one form":            {submit, []string{welcome, refusal, result}, false},
		"11 refused by session.error alone": {submit, []string{welcome, named}, false},
		"12 refused by one with a session":  {submit, []string{welcome, refusal, named}, false},
		"16 a gap":                          {submit, []string{welcome, accepted, strings.Replace(result, `"event_seq":1`, `"event_seq":2`, 1)}, false},
		"20 accepted and not submitted":     {nil, []string{welcome, accepted}, false},
		"20 accepted out of order":          {append([]string{`{"id":"q-0","type":"job.submit"}`}, submit...), []string{welcome, accepted}, false},
		"accepted after its events":         {submit, []string{welcome, strings.Replace(refusal, "job.error", "job.result", 1)}, false},
		"12 a refused cancel with a session": {
			[]string{`{"id":"q-1","type":"job.cancel"}`}, []string{welcome, named}, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var l hello.Linter
			l.Connected(strings.HasPrefix(name, "again"), 0)
			for _, frame := range story.sent {
				l.Sent([]byte(frame))
			}
			var err error
			for i, frame := range story.received {
				if err = l.Received([]byte(frame)); err != nil {
					require.Equal(t, len(story.received)-1, i, "%v", err)
				}
			}
			require.Equal(t, story.ok, err == nil, "%v", err)
		})
	}
}

func FuzzDecode(f *testing.F) {
	for _, frame := range frames {
		f.Add([]byte(frame))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		frame, err := hello.Decode(text)
		if err != nil {
			return
		}
		again, err := frame.Encode()
		if err != nil {
			return
		}
		copied, err := hello.Decode(again)
		require.NoError(t, err)
		require.Equal(t, frame.ID, copied.ID)
		require.Equal(t, frame.Type, copied.Type)
		require.Equal(t, frame.EventSeq, copied.EventSeq)
		_ = hello.Check(text) // it may say what it likes, but not panic
	})
}
