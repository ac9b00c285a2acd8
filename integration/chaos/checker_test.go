package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

func TestCheckFindsNothingInAnHonestRun(t *testing.T) {
	s := newScene(t)
	s.honest()
	s.show()
	s.out(aliceOne, 1, `{"id":"m","type":"nack","session_id":"sess_1","correlation_id":"msg_x","payload":{"code":"UNAVAILABLE","details":{"retryable":true}}}`)
	s.out(aliceOne, 1, `{"id":"m","type":"session.evicted","session_id":"sess_1","payload":{"code":"ABORTED"}}`)
	require.Empty(t, Check(s.e))
}

// TestCheckKnowsThatContentGoes: an artifact that was released after it was fetched may be gone when it is to be shown.
func TestCheckKnowsThatContentGoes(t *testing.T) {
	s := newScene(t)
	s.honest()
	s.ask(aliceTwo, Request{ID: "msg_release", Type: "artifact.release", Artifact: "art_1"})
	s.show()
	s.lose(aliceTwo)
	for _, v := range Check(s.e) {
		require.NotEqual(t, "I3", v.Rule, v.Detail)
	}
}

// TestCheckFinds feeds the judge each kind of failure by hand.
func TestCheckFinds(t *testing.T) {
	finds(t, map[string]failure{
		"a process that did not stop":       {rule: "I8", detail: "edge-1", seen: func(s *scene) { s.e.BadStops = []string{"edge-1"} }},
		"a gap":                             {rule: "I2", detail: "number 12 came where 11", seen: func(s *scene) { s.drop(aliceOne, 1, 1) }},
		"a gap at the end":                  {rule: "I2", detail: "number 21 was never shown", seen: func(s *scene) { s.forget(aliceOne) }},
		"a repeat":                          {rule: "I2", detail: "number 12 came where 13", seen: func(s *scene) { s.repeat(aliceOne, 1, 2) }},
		"numbers in another order":          {rule: "I2", detail: "number 3 came where 2", seen: func(s *scene) { s.swap(aliceOne, 2, 2, 3) }},
		"a resume from the wrong number":    {rule: "I2", detail: "number 11 came where 1", seen: func(s *scene) { s.e.Sessions[aliceOne].Links[1].From = 0 }},
		"other bytes in a replay":           {rule: "I2", detail: "number 3 was shown as", seen: func(s *scene) { s.rewrite(aliceOne, 2, 3, `"type"`, ` "type"`) }},
		"other bytes than the log's":        {rule: "I3", detail: "and the log says", seen: func(s *scene) { s.rewriteAll(aliceOne, "job_echo", `"n":1`, `"n":7`) }},
		"content gone that nobody released": {rule: "I3", detail: "artifact.put", seen: func(s *scene) { s.lose(aliceTwo) }},
		"more than the log has":             {rule: "log first", detail: "the log ends at", seen: func(s *scene) { s.e.Log = s.e.Log[:len(s.e.Log)-1] }},
		"a job that is not in the log": {rule: "log first", detail: "not in the log", log: func(s *scene) {
			s.ask(bobOne, Request{ID: "msg_ghost", Type: "tool.invoke", Tool: "echo"})
			s.reply(bobOne, "job.accepted", "msg_ghost", map[string]any{"job_id": "job_ghost"}, "", "job_ghost")
		}},
		"no envelope":         {rule: "wire", detail: "not an envelope", seen: func(s *scene) { s.out(aliceOne, 0, `{"id":`) }},
		"an event unnumbered": {rule: "FC-1", detail: "log without a number", seen: func(s *scene) { s.out(aliceOne, 0, `{"id":"m","type":"log","session_id":"sess_1"}`) }},
		"a pong with a number": {rule: "FC-1", detail: "session.pong with a number", seen: func(s *scene) {
			s.out(aliceOne, 1, `{"id":"m","type":"session.pong","session_id":"sess_1","event_seq":9}`)
		}},
		"a session given up": {rule: "RE-3", detail: "given up", seen: func(s *scene) {
			s.out(aliceOne, 1, `{"id":"m","type":"session.rejected","payload":{"code":"RESUME_WINDOW_EXPIRED"}}`)
		}},
		"a session evicted": {rule: "RE-6", detail: "evicted", seen: func(s *scene) {
			s.out(aliceOne, 1, `{"id":"m","type":"session.evicted","session_id":"sess_1","payload":{"code":"DATA_LOSS"}}`)
		}},
		"an envelope of another session": {rule: "I4", detail: "another session", seen: func(s *scene) {
			s.out(aliceOne, 1, `{"id":"m","type":"session.pong","session_id":"sess_3"}`)
		}},
		"a job of another principal": {rule: "I4", detail: "a job of bob", log: func(s *scene) {
			s.reply(aliceOne, "job.accepted", "msg_job_echo", map[string]any{"job_id": "job_count"}, "k", "job_count")
		}},
		"a secret of another principal": {rule: "I4", detail: "a secret of bob", seen: func(s *scene) {
			s.out(aliceOne, 1, `{"id":"m","type":"session.pong","session_id":"sess_1","payload":{"nonce":"secret-of-bob"}}`)
		}},
		"an answer to nothing": {rule: "answers", detail: "answers nothing", log: func(s *scene) {
			s.reply(aliceOne, "cancel.accepted", "msg_never", map[string]any{"target_id": "job_echo"}, "", "")
		}},
		"two answers": {rule: "answers", detail: "answer one request", log: func(s *scene) {
			s.reply(aliceOne, "cancel.refused", "msg_late", map[string]any{"target_id": "job_sleep", "reason": "job is no longer in-flight"}, "", "")
		}},
		"the answer to something else": {rule: "answers", detail: "job.accepted answers a cancel", log: func(s *scene) {
			s.ask(aliceOne, Request{ID: "msg_x", Type: "cancel", Job: "job_echo"})
			s.reply(aliceOne, "job.accepted", "msg_x", map[string]any{"job_id": "job_echo"}, "k", "job_echo")
		}},
		"a nack that must not be tried again": {rule: "nack", detail: "must not be tried again", seen: func(s *scene) { s.nack("RESOURCE_EXHAUSTED", "msg_x", false) }},
		"a nack of another code":              {rule: "nack", detail: "INTERNAL", seen: func(s *scene) { s.nack("INTERNAL", "msg_x", true) }},
		"refused and yet accepted":            {rule: "nack", detail: "and yet in it", seen: func(s *scene) { s.nack("RESOURCE_EXHAUSTED", "msg_job_echo", true) }},
		"a nack with a number": {rule: "TR-4", detail: "has a number", log: func(s *scene) {
			s.reply(aliceOne, "nack", "msg_job_echo", map[string]any{"code": "UNAVAILABLE", "details": map[string]any{"retryable": true}}, "", "")
		}},
		"a job without an end": {rule: "I1", detail: "has no end", log: func(s *scene) {
			s.invoke(aliceOne, "job_open", "sleep", `{"ms":1}`, "")
			s.started(aliceOne, "job_open", 1)
		}},
		"two ends of a job":      {rule: "I1", detail: "job.completed was shown after the end", seen: func(s *scene) { s.insert(aliceOne, "job_sleep", "job.completed") }},
		"an event after the end": {rule: "I1", detail: "job.progress was shown after the end", seen: func(s *scene) { s.insert(aliceOne, "job_echo", "job.progress") }},
		"an event before the start": {rule: "I1", detail: "before the start", log: func(s *scene) {
			s.invoke(aliceOne, "job_early", "log", `{"lines":1}`, "")
			s.said(aliceOne, "job_early", 1, "log", map[string]any{"level": "info", "message": "line 1 of 1"})
			s.completed(aliceOne, "job_early", `{"lines":1}`)
		}},
		"a job that was never shown": {rule: "I1", detail: "an accepted job was never shown", seen: func(s *scene) { s.hide(aliceTwo, "job_log") }},
		"a job that nobody asked for": {rule: "I1", detail: "nobody asked for echo", log: func(s *scene) {
			s.accept(aliceOne, "msg_none", "job_none", "echo", `1`, "")
			s.started(aliceOne, "job_none", 1)
			s.completed(aliceOne, "job_none", `1`)
		}},
		"a job of no session": {rule: "I4", detail: "a session that there is not", seen: func(s *scene) { s.e.Sessions = s.e.Sessions[:bobOne] }},
		"the wrong result": {rule: "outcome", detail: "gave", log: func(s *scene) {
			s.invoke(aliceOne, "job_wrong", "echo", `{"n":1}`, "")
			s.started(aliceOne, "job_wrong", 1)
			s.completed(aliceOne, "job_wrong", `{"n":2}`)
		}},
		"a missing step": {rule: "outcome", detail: "step 2 was shown where 1", log: func(s *scene) {
			s.invoke(aliceOne, "job_step", "count", `{"to":2}`, "")
			s.started(aliceOne, "job_step", 1)
			s.said(aliceOne, "job_step", 1, "job.progress", map[string]any{"current": 2, "total": 2})
			s.completed(aliceOne, "job_step", `{"counted":2}`)
		}},
		"a missing line": {rule: "outcome", detail: "the lines end at 1 of 2", log: func(s *scene) {
			s.invoke(aliceOne, "job_line", "log", `{"lines":2}`, "")
			s.started(aliceOne, "job_line", 1)
			s.said(aliceOne, "job_line", 1, "log", map[string]any{"level": "info", "message": "line 1 of 2"})
			s.completed(aliceOne, "job_line", `{"lines":2}`)
		}},
		"a missing chunk": {rule: "outcome", detail: "where 0 of 2", log: func(s *scene) {
			s.invoke(aliceOne, "job_cut", "chunks", `{"count":2,"bytes":1,"encoding":"base64"}`, "")
			s.started(aliceOne, "job_cut", 1)
			s.chunk(aliceOne, "job_cut", 1, false)
			s.said(aliceOne, "job_cut", 1, "job.completed", map[string]any{"result_id": "r", "result_size": 1})
		}},
		"a result without its chunks": {rule: "outcome", detail: "0 chunks", log: func(s *scene) {
			s.invoke(aliceOne, "job_cut", "chunks", `{"count":2,"bytes":1}`, "")
			s.started(aliceOne, "job_cut", 1)
			s.said(aliceOne, "job_cut", 1, "job.completed", map[string]any{"result_id": "r", "result_size": 2})
		}},
		"a stream without an end": {rule: "outcome", detail: "a stream of [stream.open]", log: func(s *scene) {
			s.invoke(aliceOne, "job_open", "stream", `{"chunks":0}`, "")
			s.started(aliceOne, "job_open", 1)
			s.said(aliceOne, "job_open", 1, "stream.open", map[string]any{"kind": "text"})
			s.completed(aliceOne, "job_open", `{"chunks":0}`)
		}},
		"another artifact": {rule: "outcome", detail: "the result is", log: func(s *scene) {
			s.invoke(aliceOne, "job_art", "artifact", `{"bytes":3}`, "")
			s.started(aliceOne, "job_art", 1)
			s.said(aliceOne, "job_art", 1, "artifact.ref", map[string]any{"artifact": map[string]any{"artifact_id": "art_8", "size": 3}})
			s.said(aliceOne, "job_art", 1, "job.completed", map[string]any{"result_ref": map[string]any{"artifact_id": "art_7", "size": 3}})
		}},
		"a failure that completed": {rule: "outcome", detail: "ended with job.completed", log: func(s *scene) {
			s.invoke(aliceOne, "job_f", "fail", `{"code":"NOT_FOUND"}`, "")
			s.started(aliceOne, "job_f", 1)
			s.completed(aliceOne, "job_f", `1`)
		}},
		"a cancel that nobody asked for": {rule: "outcome", detail: "nobody asked for that", log: func(s *scene) {
			s.invoke(aliceOne, "job_c", "sleep", `{"ms":1}`, "")
			s.said(aliceOne, "job_c", 0, "job.cancelled", map[string]any{"reason": "none"})
		}},
		"given up too early": {rule: "outcome", detail: "after 2 attempts of 3", log: func(s *scene) {
			s.invoke(aliceOne, "job_a", "sleep", `{"ms":1}`, "")
			s.started(aliceOne, "job_a", 1)
			s.said(aliceOne, "job_a", 2, "job.failed", map[string]any{"code": "ABORTED"})
		}},
		"events to a session that did not ask": {rule: "JS", detail: "did not ask", log: func(s *scene) {
			s.reply(aliceTwo, "job.progress", "msg_again", map[string]any{"current": 1}, "", "job_sleep")
		}},
		"a retry that is not shown the end": {rule: "JS", detail: "not shown its end", log: func(s *scene) {
			s.invoke(aliceOne, "job_far", "echo", `{"n":1}`, "far")
			s.started(aliceOne, "job_far", 1)
			s.completed(aliceOne, "job_far", `{"n":1}`)
			s.ask(aliceTwo, Request{ID: "msg_far", Type: "tool.invoke", Tool: "echo", Arguments: json.RawMessage(`{"n":1}`), Key: "far"})
			s.reply(aliceTwo, "job.accepted", "msg_far", map[string]any{"job_id": "job_far"}, "far", "job_far")
		}},
		"a watch without an end": {rule: "I1", detail: "watches has no end", log: func(s *scene) {
			s.watch(aliceTwo, aliceOne, "job_sleep", uint64(len(s.e.Log)))
		}},
		"an event after the end of a watched job": {
			rule: "JS", detail: "was shown after the end",
			seen: func(s *scene) { s.insert(aliceTwo, "job_echo", "job.progress") },
		},
		"an invocation twice": {rule: "ID-5", detail: "in the log 2 times", seen: func(s *scene) {
			first := slices.IndexFunc(s.e.Log, func(r *record.Record) bool { return r.Subject.Lane == subjects.Invoke })
			again := *s.e.Log[first]
			again.Seq = uint64(len(s.e.Log) + 1)
			s.e.Log = append(s.e.Log, &again)
		}},
		"two jobs of one key": {rule: "ID-5", detail: "stands for this job and for", log: func(s *scene) {
			s.invoke(aliceTwo, "job_second", "echo", `{"n":1}`, "k")
			s.started(aliceTwo, "job_second", 1)
			s.completed(aliceTwo, "job_second", `{"n":1}`)
		}},
		"two jobs of one request": {rule: "ID-5", detail: "one request made this job", log: func(s *scene) {
			s.accept(bobOne, "msg_job_count", "job_double", "count", `{"to":0}`, "")
			s.started(bobOne, "job_double", 1)
			s.completed(bobOne, "job_double", `{"counted":0}`)
		}},
		"a key that was never accepted": {rule: "ID-5", detail: "never accepted", log: func(s *scene) {
			s.ask(aliceOne, Request{ID: "msg_lost", Type: "tool.invoke", Tool: "echo", Arguments: json.RawMessage(`1`), Key: "lost", Owned: true})
		}},
		"a retry with another job": {rule: "ID-3", detail: "the key brought job_log", log: func(s *scene) {
			s.ask(aliceTwo, Request{ID: "msg_third", Type: "tool.invoke", Tool: "echo", Arguments: json.RawMessage(`{"n":1}`), Key: "k"})
			s.reply(aliceTwo, "job.accepted", "msg_third", map[string]any{"job_id": "job_log"}, "k", "job_log")
		}},
		"a retry with another acceptance": {rule: "ID-3", detail: "the first one said", log: func(s *scene) {
			s.ask(aliceTwo, Request{ID: "msg_third", Type: "tool.invoke", Tool: "echo", Arguments: json.RawMessage(`{"n":1}`), Key: "k"})
			s.reply(aliceTwo, "job.accepted", "msg_third", map[string]any{"job_id": "job_echo", "lease": map[string]any{}}, "k", "job_echo")
		}},
		"another request accepted under the key": {rule: "ID-3", detail: "was accepted under the key", log: func(s *scene) {
			s.ask(aliceTwo, Request{ID: "msg_third", Type: "tool.invoke", Tool: "echo", Arguments: json.RawMessage(`{"n":3}`), Key: "k"})
			s.reply(aliceTwo, "job.accepted", "msg_third", map[string]any{"job_id": "job_echo"}, "k", "job_echo")
		}},
		"the same request refused under the key": {rule: "ID-3", detail: "the same request was refused", log: func(s *scene) {
			s.ask(aliceTwo, Request{ID: "msg_third", Type: "tool.invoke", Tool: "echo", Arguments: json.RawMessage(`{"n":1}`), Key: "k"})
			s.reply(aliceTwo, "job.failed", "msg_third", map[string]any{"code": "FAILED_PRECONDITION"}, "k", "")
		}},
		"an end that a subscriber was not told": {rule: "SB", detail: "was not told", log: func(s *scene) {
			s.subscribe(aliceOne, "msg_deaf", terminals...)
			from := uint64(len(s.e.Log))
			for _, job := range []string{"job_heard", "job_missed"} {
				s.invoke(aliceTwo, job, "echo", `1`, "")
				s.started(aliceTwo, job, 1)
				s.completed(aliceTwo, job, `1`)
			}
			s.tell(aliceOne, "msg_deaf", from, terminals, "job_missed")
		}},
		"what was told twice":         {rule: "SB", detail: "told twice", seen: func(s *scene) { s.retell(func(e *frame) *frame { return e }) }},
		"what was not asked for":      {rule: "SB", detail: "job.progress was not asked for", seen: func(s *scene) { s.retell(func(e *frame) *frame { e.Type = "job.progress"; return e }) }},
		"what is not in the log":      {rule: "SB", detail: "is not in the log", seen: func(s *scene) { s.retell(func(e *frame) *frame { e.ID = "msg_none"; return e }) }},
		"what another principal said": {rule: "SB", detail: "of bob was told", seen: func(s *scene) { s.retell(func(e *frame) *frame { return s.lastEnd(bobOne) }) }},
		"a history nobody asked for": {rule: "SB", detail: "that nobody asked for", seen: func(s *scene) {
			s.retell(func(*frame) *frame { return &frame{Type: "event.emit", SubscriptionID: "sub_msg_listen"} })
		}},
		"a subscription that there is not": {rule: "SB", detail: "there is not", seen: func(s *scene) {
			s.rewriteAll(aliceTwo, "subscribe.accepted", "subscribe.accepted", "subscribe.lost")
		}},
		"a wrapper that names a session": {rule: "SB-6", detail: "names a session", seen: func(s *scene) {
			s.rewriteAll(aliceTwo, `"subscribe.event"`, `"type":"subscribe.event"`, `"session_id":"sess_2","type":"subscribe.event"`)
		}},
		"an artifact that was changed on its way in":  {rule: "AR", detail: "stored", log: func(s *scene) { s.put(aliceOne, "art_3", "abc", "abd") }},
		"an artifact that was changed on its way out": {rule: "AR", detail: "is not what was put", log: func(s *scene) { s.fetch(aliceOne, "art_1", "abd") }},
		"an artifact of another principal":            {rule: "AR", detail: `of "alice" was shown`, log: func(s *scene) { s.fetch(bobOne, "art_1", "abc") }},
		"an artifact that was lost":                   {rule: "AR", detail: "answered by nack", log: func(s *scene) { s.fetch(aliceOne, "art_1", "") }},
		"a cancel that had no effect": {rule: "CX", detail: "later the job ended", log: func(s *scene) {
			s.invoke(aliceOne, "job_deaf", "sleep", `{"ms":1}`, "")
			s.started(aliceOne, "job_deaf", 1)
			s.cancel(aliceOne, "msg_stop", "job_deaf", "cancel.accepted", "")
			s.now = s.now.Add(time.Minute)
			s.completed(aliceOne, "job_deaf", `{"slept_ms":1}`)
		}},
		"a cancelled job that started": {rule: "CX", detail: "later it started", log: func(s *scene) {
			s.now = s.now.Add(time.Minute)
			s.started(aliceOne, "job_sleep", 1)
		}},
		"a cancel of another's job": {rule: "CX", detail: "a job of alice", log: func(s *scene) {
			s.cancel(bobOne, "msg_bad", "job_sleep", "cancel.accepted", "")
		}},
		"a cancel of no job": {rule: "CX", detail: "not in the log", log: func(s *scene) {
			s.cancel(bobOne, "msg_bad", unknownJob, "cancel.accepted", "")
		}},
		"a refusal before the end": {rule: "CX", detail: "which it had not", log: func(s *scene) {
			s.invoke(aliceOne, "job_runs", "sleep", `{"ms":1}`, "")
			s.started(aliceOne, "job_runs", 1)
			s.cancel(aliceOne, "msg_bad", "job_runs", "cancel.refused", "job is no longer in-flight")
			s.completed(aliceOne, "job_runs", `{"slept_ms":1}`)
		}},
		"a refusal for the wrong reason": {rule: "CX", detail: "in place of", log: func(s *scene) {
			s.cancel(aliceOne, "msg_bad", "job_sleep", "cancel.refused", "no such in-flight job")
		}},
	})
}

// failure is something that goes wrong in an otherwise honest run.
type failure struct {
	log          func(s *scene) // changes what happened
	seen         func(s *scene) // changes what clients were shown of it
	rule, detail string
}

// finds expects that the judge finds each failure.
func finds(t *testing.T, all map[string]failure) {
	for name, c := range all {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.honest()
			if c.log != nil {
				c.log(s)
			}
			s.show()
			if c.seen != nil {
				c.seen(s)
			}
			found := Check(s.e)
			require.True(t, slices.ContainsFunc(found, func(v Violation) bool { return v.Rule == c.rule && strings.Contains(v.Detail, c.detail) }), "%v", found)
		})
	}
}

func TestViolationsAreTexts(t *testing.T) {
	v := Violation{Rule: "I1", Client: "client-1", Job: "job_1", Request: "msg_1", Detail: "no end"}
	require.Equal(t, "I1 client=client-1 job=job_1 request=msg_1: no end", v.String())
}

// drop, repeat, swap and rewrite change what was shown on one connection; frames count from 1, after the greeting.
func (s *scene) drop(session, link, frame int) {
	l := s.e.Sessions[session].Links[link]
	l.Frames = slices.Delete(l.Frames, frame, frame+1)
}

func (s *scene) repeat(session, link, frame int) {
	l := s.e.Sessions[session].Links[link]
	l.Frames = slices.Insert(l.Frames, frame, l.Frames[frame])
}

func (s *scene) swap(session, link, a, b int) {
	l := s.e.Sessions[session].Links[link]
	l.Frames[a], l.Frames[b] = l.Frames[b], l.Frames[a]
}

func (s *scene) rewrite(session, link, frame int, from, to string) {
	l := s.e.Sessions[session].Links[link]
	l.Frames[frame] = bytes.ReplaceAll(l.Frames[frame], []byte(from), []byte(to))
}

// retell tells aliceTwo's subscription one more thing, made of the last one.
func (s *scene) retell(change func(*frame) *frame) {
	heard := newTrial(s.e).sessions[aliceTwo]
	var last *frame
	for _, f := range heard.counted {
		if f.Type == "subscribe.event" {
			last = f
		}
	}
	event, err := json.Marshal(change(decode(last.read().Event)))
	require.NoError(s.t, err)
	s.out(aliceTwo, 2, fmt.Sprintf(`{"id":"m","type":"subscribe.event","subscription_id":"sub_msg_listen","event_seq":%d,"payload":{"event":%s}}`,
		heard.last+1, event))
}

// lastEnd is the last end of a job that a session was shown.
func (s *scene) lastEnd(session int) (end *frame) {
	for _, f := range newTrial(s.e).sessions[session].counted {
		if f.terminal() {
			end = f
		}
	}
	return end
}

// rewriteAll changes every frame that holds a text, wherever it was shown.
func (s *scene) rewriteAll(session int, text, from, to string) {
	for i, l := range s.e.Sessions[session].Links {
		for n, data := range l.Frames {
			if bytes.Contains(data, []byte(text)) {
				s.rewrite(session, i, n, from, to)
			}
		}
	}
}

// forget takes the last number off every connection.
func (s *scene) forget(session int) {
	for i, l := range s.e.Sessions[session].Links[1:] {
		s.drop(session, i+1, len(l.Frames)-1)
	}
}

// hide takes a job's frames off every connection.
func (s *scene) hide(session int, job string) {
	for _, l := range s.e.Sessions[session].Links {
		l.Frames = slices.DeleteFunc(l.Frames, func(data []byte) bool { return decode(data).JobID == job })
	}
}

// insert shows one more event of a job at the end of the last connection.
func (s *scene) insert(session int, job, typ string) {
	last := newTrial(s.e).sessions[session].last
	s.out(session, 2, fmt.Sprintf(`{"id":"m","type":%q,"session_id":%q,"job_id":%q,"event_seq":%d,"payload":{}}`,
		typ, s.e.Sessions[session].ID, job, last+1))
}

func (s *scene) nack(code, request string, retryable bool) {
	s.out(aliceOne, 1, fmt.Sprintf(`{"id":"m","type":"nack","session_id":"sess_1","correlation_id":%q,`+
		`"payload":{"code":%q,"details":{"retryable":%t}}}`, request, code, retryable))
}
