package chaos

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// scene makes evidence by hand: first what the log says, then what clients that missed nothing were shown of it.
type scene struct {
	t   *testing.T
	e   *Evidence
	now time.Time

	lease   json.RawMessage   // of the next invocation
	credits map[string]string // what is put into the acceptances of jobs when they are shown first
}

// The sessions of a scene. The first two are alice's.
const (
	aliceOne = iota
	aliceTwo
	bobOne
)

func newScene(t *testing.T) *scene {
	s := &scene{t: t, credits: make(map[string]string), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), e: &Evidence{MaxAttempts: 3, Slack: 10 * time.Second}}
	for i, principal := range []string{"alice", "alice", "bob"} {
		s.e.Sessions = append(s.e.Sessions, &Session{
			Client: fmt.Sprintf("client-%d", i+1), Principal: principal, ID: fmt.Sprintf("sess_%d", i+1), Secret: "secret-of-" + principal,
		})
	}
	return s
}

// record appends a record to the log.
func (s *scene) record(sub subjects.Subject, attempt int, envelopes ...*envelope.Envelope) *record.Record {
	r, err := record.New(sub, envelopes...)
	require.NoError(s.t, err)
	r.Seq, r.Attempt, r.Time = uint64(len(s.e.Log)+1), attempt, s.now
	if attempt > 0 {
		r.Sender = "worker-1"
	}
	s.e.Log = append(s.e.Log, r)
	return r
}

func (s *scene) envelope(session int, typ, correlation, job string, payload any) *envelope.Envelope {
	s.now = s.now.Add(time.Second)
	e, err := envelope.New(envelope.Type(typ), payload)
	require.NoError(s.t, err)
	e.Timestamp = envelope.Time{Time: s.now}
	e.SessionID, e.JobID = envelope.SessionID(s.e.Sessions[session].ID), envelope.JobID(job)
	e.CorrelationID = envelope.MessageID(correlation)
	return e
}

func (s *scene) place(session int, job string) subjects.Subject {
	who := s.e.Sessions[session]
	return subjects.Subject{Lane: subjects.Event, Feed: "edge-1", Principal: who.Principal, Session: who.ID, Job: job}
}

func (s *scene) ask(session int, r Request) {
	who := s.e.Sessions[session]
	r.At = s.now
	who.Requests = append(who.Requests, r)
}

// invoke asks for a job, which is accepted.
func (s *scene) invoke(session int, job, tool, arguments, key string) {
	request := "msg_" + job
	s.ask(session, Request{
		ID: request, Type: "tool.invoke", Tool: tool, Arguments: json.RawMessage(arguments), Lease: s.lease, Key: key, Owned: key != "",
	})
	s.accept(session, request, job, tool, arguments, key)
}

// accept puts an invocation into the log.
func (s *scene) accept(session int, request, job, tool, arguments, key string) {
	sub := s.place(session, job)
	sub.Lane, sub.Queue, sub.Tool = subjects.Invoke, "demo", tool+"@1"
	asked := map[string]any{"tool": tool, "arguments": json.RawMessage(arguments)}
	if s.lease != nil {
		asked["lease_request"] = s.lease
		s.lease = nil
	}
	command := s.envelope(session, "tool.invoke", "", job, asked)
	command.ID, command.IdempotencyKey = envelope.MessageID(request), key
	s.record(sub, 0, s.envelope(session, "job.accepted", request, job, map[string]any{"job_id": job}), command)
}

// said is what a worker says about a job.
func (s *scene) said(session int, job string, attempt int, typ string, payload any) {
	s.record(s.place(session, job), attempt, s.envelope(session, typ, "msg_"+job, job, payload))
}

func (s *scene) started(session int, job string, attempt int) {
	s.said(session, job, attempt, "job.started", map[string]any{"attempt": attempt})
}

func (s *scene) completed(session int, job, value string) {
	s.said(session, job, 1, "job.completed", map[string]any{"value": json.RawMessage(value)})
}

// reply is an answer that is about no job of the session.
func (s *scene) reply(session int, typ, correlation string, payload any, key, job string) {
	e := s.envelope(session, typ, correlation, job, payload)
	e.IdempotencyKey = key
	s.record(s.place(session, ""), 0, e)
}

// watch lets a session watch a job of another one from a position on.
func (s *scene) watch(session, owner int, job string, pos uint64) {
	s.mark(session, view.TypeWatched, view.Watch{Subject: s.place(owner, job).String(), Pos: pos})
}

// mark is a mark in a session's log, which is not shown.
func (s *scene) mark(session int, typ envelope.Type, payload any) {
	s.record(s.place(session, ""), 0, s.envelope(session, string(typ), "", "", payload))
}

// subscribe lets a session subscribe from here on.
func (s *scene) subscribe(session int, request string, types ...string) {
	id := envelope.SubscriptionID("sub_" + request)
	s.ask(session, Request{ID: request, Type: "subscribe", Types: types})
	accepted := s.envelope(session, "subscribe.accepted", request, "", map[string]any{"subscription_id": id})
	accepted.SubscriptionID = id
	opened := s.envelope(session, string(view.TypeSubscribed), "", "", view.Subscribed{ID: id, Subscription: view.Subscription{
		Filter:     envelope.SubscribeFilter{Types: types},
		Principals: []string{subjects.PrincipalToken(s.e.Sessions[session].Principal)},
		Pos:        map[int]uint64{0: uint64(len(s.e.Log))},
	}})
	s.record(s.place(session, ""), 0, accepted, opened)
}

// tell shows a subscriber all that matches, from a position up to the end of the log, except what is left out.
func (s *scene) tell(session int, request string, from uint64, types []string, leftOut ...string) {
	q := view.Quoted{ID: envelope.SubscriptionID("sub_" + request), To: uint64(len(s.e.Log))}
	for _, r := range s.e.Log[from:] {
		matches := r.Principal == s.e.Sessions[session].Principal && !slices.Contains(leftOut, r.Subject.Job)
		for typ := range r.Lines() {
			if matches && slices.Contains(types, string(typ)) {
				q.At = append(q.At, r.Seq)
			}
		}
	}
	s.mark(session, view.TypeQuoted, q)
}

// emit is what a client says for others to hear.
func (s *scene) emit(session int, id string) {
	s.ask(session, Request{ID: id, Type: "event.emit", Note: 1})
	sub := s.place(session, "")
	sub.Lane = subjects.Input
	e := s.envelope(session, "event.emit", "", "", map[string]any{"name": noteName})
	e.ID = envelope.MessageID(id)
	s.record(sub, 0, e)
}

// chunk is a piece of a result of one byte each, in base64.
func (s *scene) chunk(session int, job string, seq int, more bool) {
	s.said(session, job, 1, "job.result_chunk", map[string]any{"result_id": "r", "chunk_seq": seq, "data": "YQ==", "encoding": "base64", "more": more})
}

// put stores an artifact, and says of it what the runtime does.
func (s *scene) put(session int, id, content, stored string) {
	request := "msg_put_" + id
	s.ask(session, Request{ID: request, Type: "artifact.put", Content: contentSum(content)})
	s.reply(session, "artifact.ref", request, map[string]any{"artifact": map[string]any{"artifact_id": id, "sha256": contentSum(stored)}}, "", "")
}

// fetch fetches an artifact. An empty content is a refusal.
func (s *scene) fetch(session int, id, content string) {
	request := fmt.Sprintf("msg_fetch_%s_%d", id, session)
	s.ask(session, Request{ID: request, Type: "artifact.fetch", Artifact: id})
	if content == "" {
		s.reply(session, "nack", request, map[string]any{"code": "NOT_FOUND"}, "", "")
		return
	}
	s.reply(session, "artifact.put", request, map[string]any{"data": base64.StdEncoding.EncodeToString([]byte(content))}, "", "")
}

func contentSum(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

// cancel asks for the end of a job, and is answered.
func (s *scene) cancel(session int, request, job, answer, reason string) {
	s.ask(session, Request{ID: request, Type: "cancel", Job: job})
	s.reply(session, answer, request, map[string]any{"target_id": job, "reason": reason}, "", "")
}

// show lets every client see all that the log says: half of it on a first connection, the rest on a second, and
// everything once more on a third.
func (s *scene) show() {
	log := newIndex(s.e.Log)
	for _, who := range s.e.Sessions {
		var all [][]byte
		var first [][]byte // as all was shown at first: with credentials
		log.fold(who.ID, who.Dialect, func(f view.Frame) bool {
			if f.Seq == 0 {
				return true
			}
			data := envelope.AppendSeq(nil, f.Line, f.Seq)
			all = append(all, data)
			e := decode(data)
			if credit := s.credits[e.JobID]; credit != "" && e.Type == "job.accepted" && e.IdempotencyKey == "" {
				data = bytes.Replace(data, []byte(`"payload":{`), []byte(`"payload":{`+credit+`,`), 1)
			}
			first = append(first, data)
			return true
		})
		half := len(all) / 2
		who.Links = nil
		for i, part := range []struct {
			from   int
			frames [][]byte
		}{{0, first[:half]}, {half, first[half:]}, {0, all}} {
			greeting := "session.resumed"
			if i == 0 {
				greeting = "session.accepted"
			}
			first := fmt.Appendf(nil, `{"id":"msg_%d","type":%q,"session_id":%q,"payload":{}}`, i, greeting, who.ID)
			who.Links = append(who.Links, &Link{
				Edge: "edge-1", From: uint64(part.from), Frames: append([][]byte{first}, slices.Clone(part.frames)...),
			})
		}
	}
}

// out is a frame without a number.
func (s *scene) out(session int, link int, text string) {
	l := s.e.Sessions[session].Links[link]
	l.Frames = append(l.Frames, []byte(text))
}

// honest plays a run in which every promise is kept.
func (s *scene) honest() {
	heard := append(slices.Clone(terminals), "event.emit")
	s.subscribe(aliceTwo, "msg_listen", heard...)
	defer func() { s.tell(aliceTwo, "msg_listen", 1, heard) }()
	s.emit(aliceOne, "msg_note")
	s.put(aliceTwo, "art_1", "abc", "abc")
	s.fetch(aliceTwo, "art_1", "abc")
	s.fetch(bobOne, "art_1", "")
	s.put(bobOne, "art_2", "abc", "abc")
	s.ask(bobOne, Request{ID: "msg_release", Type: "artifact.release", Artifact: "art_2"})
	s.fetch(bobOne, "art_2", "")
	s.invoke(aliceOne, "job_echo", "echo", `{"n":1}`, "k")
	s.started(aliceOne, "job_echo", 1)
	s.completed(aliceOne, "job_echo", `{"n":1}`)

	end := s.e.Log[len(s.e.Log)-1]
	s.ask(aliceTwo, Request{ID: "msg_again", Type: "tool.invoke", Tool: "echo", Arguments: json.RawMessage(`{"n":1}`), Key: "k"})
	s.reply(aliceTwo, "job.accepted", "msg_again", map[string]any{"job_id": "job_echo"}, "k", "job_echo")
	s.watch(aliceTwo, aliceOne, "job_echo", end.Seq-1)
	s.mark(aliceTwo, view.TypeShown, view.Shown{Job: "job_echo", To: end.Seq})
	s.ask(aliceTwo, Request{ID: "msg_other", Type: "tool.invoke", Tool: "echo", Arguments: json.RawMessage(`{"n":2}`), Key: "k"})
	s.reply(aliceTwo, "job.failed", "msg_other", map[string]any{"code": "FAILED_PRECONDITION", "retryable": false}, "k", "")

	s.invoke(bobOne, "job_count", "count", `{"to":2}`, "")
	s.started(bobOne, "job_count", 1)
	s.said(bobOne, "job_count", 1, "job.progress", map[string]any{"current": 1, "total": 2})
	s.started(bobOne, "job_count", 2) // the first worker was lost
	s.said(bobOne, "job_count", 2, "job.progress", map[string]any{"current": 1, "total": 2})
	s.said(bobOne, "job_count", 1, "job.progress", map[string]any{"current": 2, "total": 2}) // and comes back
	s.said(bobOne, "job_count", 2, "job.progress", map[string]any{"current": 2, "total": 2})
	s.said(bobOne, "job_count", 2, "job.completed", map[string]any{"value": map[string]any{"counted": 2}})

	s.invoke(aliceOne, "job_sleep", "sleep", `{"ms":1000}`, "")
	s.cancel(aliceTwo, "msg_cancel", "job_sleep", "cancel.accepted", "")
	s.said(aliceOne, "job_sleep", 0, "job.cancelled", map[string]any{"reason": "chaos"})
	s.cancel(aliceOne, "msg_late", "job_sleep", "cancel.refused", "job is no longer in-flight")
	s.cancel(bobOne, "msg_foreign", "job_sleep", "cancel.refused", "permission denied: not authorized to cancel this job")
	s.cancel(bobOne, "msg_unknown", unknownJob, "cancel.refused", "no such in-flight job")

	s.invoke(aliceTwo, "job_log", "log", `{"lines":1}`, "")
	s.started(aliceTwo, "job_log", 1)
	s.said(aliceTwo, "job_log", 1, "log", map[string]any{"level": "info", "message": "line 1 of 1"})
	s.completed(aliceTwo, "job_log", `{"lines":1}`)

	s.invoke(bobOne, "job_chunks", "chunks", `{"count":2,"bytes":1,"encoding":"base64"}`, "")
	s.started(bobOne, "job_chunks", 1)
	s.chunk(bobOne, "job_chunks", 0, true)
	s.chunk(bobOne, "job_chunks", 1, false)
	s.said(bobOne, "job_chunks", 1, "job.completed", map[string]any{"result_id": "r", "result_size": 2})
	s.invoke(bobOne, "job_stream", "stream", `{"chunks":1}`, "")
	s.started(bobOne, "job_stream", 1)
	s.said(bobOne, "job_stream", 1, "stream.open", map[string]any{"kind": "text"})
	s.said(bobOne, "job_stream", 1, "stream.chunk", map[string]any{"sequence": 0, "data": "a"})
	s.said(bobOne, "job_stream", 1, "stream.close", map[string]any{})
	s.completed(bobOne, "job_stream", `{"chunks":1}`)
	s.invoke(bobOne, "job_artifact", "artifact", `{"bytes":3}`, "")
	s.started(bobOne, "job_artifact", 1)
	s.said(bobOne, "job_artifact", 1, "artifact.ref", map[string]any{"artifact": map[string]any{"artifact_id": "art_9", "size": 3}})
	s.said(bobOne, "job_artifact", 1, "job.completed", map[string]any{"result_ref": map[string]any{"artifact_id": "art_9", "size": 3}})

	s.honestLeases()
	s.invoke(bobOne, "job_fail", "fail", `{"code":"NOT_FOUND"}`, "")
	s.started(bobOne, "job_fail", 1)
	s.said(bobOne, "job_fail", 1, "job.failed", map[string]any{"code": "NOT_FOUND", "message": "as asked"})

	s.invoke(bobOne, "job_lost", "sleep", `{"ms":5}`, "")
	s.started(bobOne, "job_lost", 3)
	s.said(bobOne, "job_lost", 3, "job.failed", map[string]any{"code": "ABORTED", "message": "used up"})
}

// lose makes a session hear that artifacts are gone where it was sent them.
func (s *scene) lose(session int) {
	for _, l := range s.e.Sessions[session].Links {
		for i, data := range l.Frames {
			if e := decode(data); e.Type == "artifact.put" {
				l.Frames[i] = fmt.Appendf(nil, `{"event_seq":%d,"arcp":"1.1","id":%q,"type":"nack","session_id":%q,"correlation_id":%q,"payload":{"code":"NOT_FOUND"}}`,
					e.EventSeq, e.ID, e.SessionID, e.CorrelationID)
			}
		}
	}
}
