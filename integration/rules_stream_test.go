package integration_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/internal/wstest"
)

// A job streams to its client, to a subscriber of the principal on another edge, and to nobody else.
func TestStreamsOfJobs(t *testing.T) {
	w := newSubscribing(t)
	w.first.knows(t, "stream")
	sub := subscribe(t, w.listener, obj{"types": []string{"stream.open", "stream.chunk", "stream.close"}}, "")
	for kind, data := range map[string]any{
		"text": "chunk 1", "binary": "Y2h1bmsgMQ==", "event": obj{"chunk": 1.0}, "log": obj{"chunk": 1.0}, "metric": obj{"chunk": 1.0}, "thought": "chunk 1",
	} {
		w.speaker.Invoke("stream", obj{"kind": kind, "chunks": 2})
		all := w.speaker.Until("job.completed")
		require.Equal(t, []string{"job.accepted", "job.started", "stream.open", "stream.chunk", "stream.chunk", "stream.close", "job.completed"}, types(all))
		require.Equal(t, kind, all[2].Payload()["kind"])
		require.Equal(t, data, all[4].Payload()["data"])
		require.EqualValues(t, 1, all[4].Payload()["sequence"])
		require.EqualValues(t, 1, all[5].Payload()["final_sequence"])
		require.Equal(t, obj{"chunks": 2.0}, all[6].Payload()["value"])
		for _, m := range all[2:6] {
			require.Equal(t, all[2]["stream_id"], m["stream_id"])
			inner := event(t, w.listener, sub)
			require.Equal(t, m["id"], inner["id"])
		}
	}
}

// A client streams to a job: in the middle of it the session goes on at another edge, where the last chunk is sent again.
func TestStreamsToAJob(t *testing.T) {
	w := newSubscribing(t)
	w.first.knows(t, "collect")
	sub := subscribe(t, w.listener, obj{"types": []string{"stream.chunk"}}, "")
	w.speaker.Invoke("collect", nil)
	job := w.speaker.Expect("job.accepted").Str("job_id")
	w.speaker.Expect("job.started")
	say := func(p *wstest.Peer, typ string, payload obj) {
		p.Send(typ, payload, "job_id", job, "stream_id", "str_mine")
	}
	say(w.speaker, "stream.open", obj{"kind": "text"})
	for n := range 3 {
		say(w.speaker, "stream.chunk", obj{"sequence": n, "data": fmt.Sprint(n)})
		inner := event(t, w.listener, sub)
		require.Equal(t, w.speaking["session_id"], inner["session_id"], "the true session")
	}
	w.speaker.Drop()
	p := wstest.Dial(t, w.second.url)
	p.Resume(token(w.speaking), 2)
	say(p, "stream.chunk", obj{"sequence": 2, "data": "2"})
	say(p, "stream.chunk", obj{"sequence": 3, "data": "3"})
	say(p, "stream.close", obj{"final_sequence": 3})
	require.Equal(t, obj{"chunks": []any{"0", "1", "2", "3"}}, p.Expect("job.completed").Payload()["value"])
}

// What is no stream is refused, with the member that is at fault, and the session and the stream go on.
func TestStreamsThatAreRefused(t *testing.T) {
	w := newSubscribing(t)
	w.first.knows(t, "collect")
	w.speaker.Invoke("collect", nil)
	job := w.speaker.Expect("job.accepted").Str("job_id")
	w.speaker.Expect("job.started")
	bob := wstest.Dial(t, w.first.url)
	bob.Open(bobToken)
	refused := func(p *wstest.Peer, code, typ string, payload obj, extra ...any) {
		t.Helper()
		id := p.Send(typ, payload, extra...)
		m := p.Expect("nack")
		require.Equal(t, id, m["correlation_id"])
		require.Equal(t, code, m.Payload()["code"], m)
	}
	to := func(stream string) []any { return []any{"job_id", job, "stream_id", stream} }
	refused(w.speaker, "INVALID_ARGUMENT", "stream.open", obj{"kind": "text"}, "job_id", job)
	refused(w.speaker, "INVALID_ARGUMENT", "stream.open", obj{"kind": "smell"}, to("str_1")...)
	refused(w.speaker, "FAILED_PRECONDITION", "stream.chunk", obj{"sequence": 0, "data": "a"}, to("str_1")...)
	refused(bob, "PERMISSION_DENIED", "stream.open", obj{"kind": "text"}, to("str_1")...)
	refused(bob, "NOT_FOUND", "stream.open", obj{"kind": "text"}, "job_id", "job_none", "stream_id", "str_1")
	w.speaker.Send("stream.open", obj{"kind": "text"}, to("str_1")...)
	refused(w.speaker, "FAILED_PRECONDITION", "stream.open", obj{"kind": "text"}, to("str_1")...)
	refused(w.speaker, "OUT_OF_RANGE", "stream.chunk", obj{"sequence": 1, "data": "a"}, to("str_1")...)
	refused(w.speaker, "INVALID_ARGUMENT", "stream.chunk", obj{"sequence": 0, "data": 1}, to("str_1")...)
	refused(w.speaker, "INVALID_ARGUMENT", "stream.chunk", obj{"sequence": 0, "data": "a", "sha256": "00"}, to("str_1")...)
	refused(w.speaker, "INVALID_ARGUMENT", "stream.chunk", obj{"sequence": 0, "data": "a"}, "job_id", "job_other", "stream_id", "str_1")
	w.speaker.Send("stream.chunk", obj{"sequence": 0, "data": "a"}, to("str_1")...)
	for n := range 63 {
		w.speaker.Send("stream.open", obj{"kind": "text"}, to(fmt.Sprint("str_x", n))...)
	}
	refused(w.speaker, "RESOURCE_EXHAUSTED", "stream.open", obj{"kind": "text"}, to("str_65")...)
	w.speaker.Send("stream.close", obj{}, to("str_1")...)
	require.Equal(t, obj{"chunks": []any{"a"}}, w.speaker.Expect("job.completed").Payload()["value"])
	refused(w.speaker, "FAILED_PRECONDITION", "stream.open", obj{"kind": "text"}, to("str_2")...)
}

// A stream without a job is for the subscribers of the principal.
func TestStreamsForSubscribers(t *testing.T) {
	w := newSubscribing(t)
	sub := subscribe(t, w.listener, obj{"stream_id": []string{"str_mine"}}, "")
	for _, m := range []struct {
		typ     string
		payload obj
	}{{"stream.open", obj{"kind": "text"}}, {"stream.chunk", obj{"sequence": 0, "data": "a"}}, {"stream.close", obj{}}} {
		id := w.speaker.Send(m.typ, m.payload, "stream_id", "str_mine")
		inner := event(t, w.listener, sub)
		require.Equal(t, id, inner["id"])
		require.NotContains(t, inner, "job_id")
	}
	w.speaker.Quiet()
}

func TestCX6CancelOfAStream(t *testing.T) {
	w := newSubscribing(t)
	w.first.knows(t, "stream")
	bob := wstest.Dial(t, w.second.url)
	bob.Open(bobToken)
	for name, from := range map[string]*wstest.Peer{"its session": w.speaker, "another session": w.listener} {
		w.speaker.Invoke("stream", obj{"kind": "text", "chunks": 1000, "every_ms": 60_000})
		job := w.speaker.Expect("job.accepted").Str("job_id")
		w.speaker.Expect("job.started")
		stream := w.speaker.Expect("stream.open").Str("stream_id")
		cancel := func(p *wstest.Peer, id string, extra ...any) wstest.Message {
			p.Send("cancel", obj{"target": "stream", "target_id": id}, extra...)
			return p.Next()
		}
		require.Equal(t, "cancel.refused", cancel(bob, stream, "job_id", job).Type())
		require.Equal(t, "cancel.refused", cancel(bob, stream).Type())
		require.Equal(t, "cancel.refused", cancel(w.speaker, "str_none").Type())
		extra := []any{}
		if from == w.listener {
			require.Equal(t, "cancel.refused", cancel(from, stream).Type(), "which job is it?")
			extra = []any{"job_id", job}
		}
		from.Send("cancel", obj{"target": "stream", "target_id": stream}, extra...)
		var said []wstest.Message // what comes of it, and beside it, in any place, the answer
		answered := false
		if from != w.speaker {
			require.Equal(t, "cancel.accepted", from.Next().Type(), name)
			answered = true
		}
		for len(said) < 2 || !answered {
			m := w.speaker.Next()
			if m.Type() == "cancel.accepted" && !answered {
				answered = true
				continue
			}
			said = append(said, m)
		}
		require.Equal(t, "stream.error", said[0].Type(), name)
		end := said[0]
		require.Equal(t, stream, end["stream_id"])
		require.Equal(t, "CANCELLED", end.Payload()["code"])
		require.Equal(t, "job.completed", said[1].Type(), name)
		require.Equal(t, obj{"chunks": 0.0}, said[1].Payload()["value"])
		require.Equal(t, "cancel.refused", cancel(w.speaker, stream).Type())
	}
	// One of the client's own.
	sub := subscribe(t, w.listener, obj{"types": []string{"stream.error"}}, "")
	w.speaker.Send("stream.open", obj{"kind": "text"}, "stream_id", "str_mine")
	w.speaker.Send("cancel", obj{"target": "stream", "target_id": "str_mine"})
	w.speaker.Expect("cancel.accepted")
	require.Equal(t, "CANCELLED", event(t, w.listener, sub).Payload()["code"])
}
