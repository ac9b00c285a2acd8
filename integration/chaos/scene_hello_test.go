package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/edge/dialect"
	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
)

// carolOne is a session of the hello dialect, in scenes that have one.
const carolOne = bobOne + 1

// helloScene is a session of the hello dialect that submits two jobs, one of them under a key and again, and cancels one.
func helloScene(t *testing.T) *scene {
	s := newScene(t)
	s.e.Sessions = append(s.e.Sessions, &Session{Client: "client-4", Principal: "carol", ID: "sess_4", Secret: "secret-of-carol", Dialect: dialectHello})
	s.invokeHello("job_count", "count", `{"to":2}`, "k")
	s.started(carolOne, "job_count", 1)
	for n := 1; n <= 2; n++ {
		s.said(carolOne, "job_count", 1, "job.progress", map[string]any{"current": n, "total": 2})
	}
	s.completed(carolOne, "job_count", `{"counted":2,"resumed_from":0}`)
	s.ask(carolOne, Request{ID: "msg_again", Type: "tool.invoke", Tool: "count", Arguments: json.RawMessage(`{"to":2}`), Key: "k"})
	s.reply(carolOne, "job.accepted", "msg_again", map[string]any{"job_id": "job_count", "agent": "count@1"}, "k", "job_count")
	end := s.e.Log[len(s.e.Log)-2]
	s.mark(carolOne, view.TypeWatched, view.Watch{Subject: end.Subject.String(), Pos: end.Seq - 1, Run: view.Run{Attempt: 1, Sender: "worker-1"}, Until: end.Seq})
	s.mark(carolOne, view.TypeShown, view.Shown{Job: "job_count", To: end.Seq})
	s.invokeHello("job_sleep", "sleep", `{"ms":1}`, "")
	s.started(carolOne, "job_sleep", 1)
	s.cancel(carolOne, "msg_cancel", "job_sleep", "cancel.accepted", "")
	s.said(carolOne, "job_sleep", 1, "job.cancelled", map[string]any{"reason": "chaos"})
	return s
}

// invokeHello is invoke in the dialect that names the agent in its acceptance.
func (s *scene) invokeHello(job, tool, arguments, key string) {
	s.invoke(carolOne, job, tool, arguments, key)
	r := s.e.Log[len(s.e.Log)-1]
	r.Body = bytes.Replace(r.Body, []byte(`"job_id":"`+job+`"}`), []byte(`"job_id":"`+job+`","agent":"`+tool+`@1"}`), 1)
}

// showHello lets the client see all that the log says, in its dialect: on one connection, and what is numbered on another from
// the third number on.
func (s *scene) showHello() {
	who := s.e.Sessions[carolOne]
	codec := dialect.Hello.NewCodec(dialect.Settings{})
	first := &Link{Edge: "edge-1", Frames: [][]byte{welcome(who.ID)}}
	for i := range who.Requests {
		r := &who.Requests[i]
		typ, job := "job.submit", ""
		if r.Type == "cancel" {
			typ, job = "job.cancel", r.Job
		}
		text := fmt.Appendf(nil, `{"arcp":"1.1","id":%q,"type":%q,"session_id":"sess_4","job_id":%q,"payload":{"agent":"a"}}`, r.ID, typ, job)
		_, err := codec.Decode(text, envelope.DefaultLimits(), nil)
		require.NoError(s.t, err)
		first.Sent = append(first.Sent, Sent{Text: text})
	}
	second := &Link{Edge: "edge-2", From: 2, Frames: [][]byte{welcome(who.ID)}}
	newIndex(s.e.Log).fold(who.ID, who.Dialect, func(f view.Frame) bool {
		for _, text := range codec.Render(nil, f, 0) {
			first.Frames = append(first.Frames, text.Data)
			if text.Seq > 2 {
				second.Frames = append(second.Frames, text.Data)
			}
		}
		return true
	})
	who.Links = []*Link{first, second}
}

func welcome(session string) []byte {
	return fmt.Appendf(nil, `{"arcp":"1.1","id":"w","type":"session.welcome","session_id":%q,"payload":{"runtime":{"name":"n","version":"1"},`+
		`"resume_token":"t","resume_window_sec":1,"capabilities":{"encodings":["json"],"features":[],"agents":[]}}}`, session)
}

// change replaces a text in the frames of a connection.
func (s *scene) change(link int, from, to string) {
	l := s.e.Sessions[carolOne].Links[link]
	for i, data := range l.Frames {
		l.Frames[i] = bytes.ReplaceAll(data, []byte(from), []byte(to))
	}
}

func TestCheckFindsNothingInAnHonestRunOfHello(t *testing.T) {
	s := helloScene(t)
	s.showHello()
	require.Empty(t, Check(s.e))
}

func TestCheckFindsInHello(t *testing.T) {
	for name, c := range map[string]struct {
		failure

		seen func(s *scene, l []*Link)
	}{
		"a number that was never shown": {failure{rule: "I2", detail: "was never shown"}, func(_ *scene, l []*Link) {
			for _, one := range l {
				one.Frames = one.Frames[:len(one.Frames)-1]
			}
		}},
		"a gap":                   {failure{rule: "I2", detail: "came where"}, func(_ *scene, l []*Link) { l[1].Frames = slices.Delete(l[1].Frames, 2, 3) }},
		"other bytes in a replay": {failure{rule: "I2", detail: "was shown as"}, func(s *scene, _ []*Link) { s.change(1, `"current":2`, `"current":1`) }},
		"other bytes than the log": {failure{rule: "I3", detail: "the log says"}, func(s *scene, _ []*Link) {
			s.change(0, `"current":2`, `"current":1`)
			s.change(1, `"current":2`, `"current":1`)
		}},
		"an acceptance of nothing": {failure{rule: "log first", detail: "an acceptance"}, func(s *scene, _ []*Link) { s.change(0, `"request_id":"msg_again"`, `"request_id":"msg_job_count"`) }},
		"what a client chokes on":  {failure{rule: "hello", detail: "7: lease"}, func(s *scene, _ []*Link) { s.change(0, `"lease":{}`, `"lease":null`) }},
		"a session given up": {failure{rule: "RE-3", detail: "given up"}, func(_ *scene, l []*Link) {
			l[1].Frames = [][]byte{[]byte(`{"arcp":"1.1","id":"e","type":"session.error","session_id":"sess_4","payload":{"code":"RESUME_WINDOW_EXPIRED","message":"m","retryable":false}}`)}
		}},
		"a session evicted": {failure{rule: "RE-6", detail: "evicted"}, func(_ *scene, l []*Link) {
			l[1].Frames = append(l[1].Frames, []byte(`{"arcp":"1.1","id":"e","type":"session.error","session_id":"sess_4","payload":{"code":"INVALID_REQUEST","message":"m","retryable":false}}`))
		}},
		"a frame of another session": {failure{rule: "I4", detail: "another session"}, func(_ *scene, l []*Link) {
			l[1].Frames = append(l[1].Frames, []byte(`{"arcp":"1.1","id":"e","type":"session.pong","session_id":"sess_1","payload":{"ping_nonce":"n","received_at":"2026-01-01T00:00:00Z"}}`))
		}},
		"a secret of another principal": {failure{rule: "I4", detail: "a secret of bob"}, func(_ *scene, l []*Link) {
			l[1].Frames = append(l[1].Frames, []byte(`{"arcp":"1.1","id":"e","type":"session.pong","session_id":"sess_4","payload":{"ping_nonce":"secret-of-bob","received_at":"2026-01-01T00:00:00Z"}}`))
		}},
		"a cancel of somebody else's job": {failure{rule: "CX", detail: "a job of another session", log: func(s *scene) {
			s.e.Sessions = append(s.e.Sessions, &Session{Client: "client-5", Principal: "carol", ID: "sess_5", Secret: "secret-of-carol"})
			s.invoke(carolOne+1, "job_other", "echo", `{}`, "")
			s.started(carolOne+1, "job_other", 1)
			s.completed(carolOne+1, "job_other", `{}`)
			s.cancel(carolOne, "msg_wrong", "job_other", "cancel.accepted", "")
		}}, nil},
		"a job without an end": {failure{rule: "I1", detail: "has no end", log: func(s *scene) { s.e.Log = s.e.Log[:len(s.e.Log)-1] }}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := helloScene(t)
			if c.log != nil {
				c.log(s)
			}
			s.showHello()
			if c.seen != nil {
				c.seen(s, s.e.Sessions[carolOne].Links)
			}
			found := Check(s.e)
			require.True(t, slices.ContainsFunc(found, func(v Violation) bool { return v.Rule == c.rule && strings.Contains(v.Detail, c.detail) }), "%v", found)
		})
	}
}
