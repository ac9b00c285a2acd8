package integration_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/wstest"
)

// hidden is in all that alice says and stores. Nobody else may ever be shown it.
const hidden = "only-for-alice"

// belongings are the ids of what alice has: all that a stranger could know.
type belongings struct {
	session, job, blocked, ended, request, message, stream, subscription, artifact, lease string
}

// owner sets alice up: jobs that run, wait for a permission and have ended, a stream to a job, a subscription, an artifact
// and a lease.
func owner(t *testing.T, e *testEdge) (p *wstest.Peer, has belongings) {
	t.Helper()
	p = wstest.Dial(t, e.url)
	has.session = p.Open(aliceToken).Str("session_id")
	begin := func(tool string, arguments obj) string {
		p.Invoke(tool, arguments)
		job := p.Expect("job.accepted").Str("job_id")
		p.Expect("job.started")
		return job
	}
	p.Invoke("echo", obj{"say": hidden})
	has.ended = last(p.Until("job.completed")).Str("job_id")
	has.blocked = begin("ask", obj{"permission": hidden, "resource": hidden, "operation": "write", "hold_ms": 600_000})
	has.request = p.Expect("permission.request").Str("id")
	held := begin("ask", obj{"permission": "p", "resource": hidden, "operation": "write", "hold_ms": 600_000})
	request := p.Expect("permission.request").Str("id")
	p.Send("permission.grant", obj{"permission": "p", "resource": hidden, "operation": "write", "lease_seconds": 3600}, "correlation_id", request, "job_id", held)
	has.lease = p.Expect("lease.granted").Payload()["lease_id"].(string)
	has.job = begin("collect", obj{"say": hidden})
	has.stream = "str_of_alice"
	has.message = p.Send("stream.open", obj{"kind": "text"}, "job_id", has.job, "stream_id", has.stream)
	p.Send("artifact.put", obj{"media_type": "text/plain", "data": base64.StdEncoding.EncodeToString([]byte(hidden))})
	has.artifact = artifactOf(t, p.Next()).Str("artifact_id")
	has.subscription = subscribe(t, p, obj{"types": []string{"trace.span"}}, "")
	return p, has
}

func span(name string) obj {
	return obj{"name": name, "trace_id": "t", "span_id": "s", "start_time": "2026-07-01T09:00:00Z", "end_time": "2026-07-01T09:00:01Z"}
}

// TestI4StrangersHammer sends every message that a client can send, as bob, with every id of alice's in every place where an
// id can be, and finds that nothing can be read, ended, answered or counted (I4).
func TestI4StrangersHammer(t *testing.T) {
	c := newCluster(t)
	c.worker("worker-1", nil)
	first, second := c.edge("edge-1", nil), c.edge("edge-2", nil)
	first.knows(t, "ask")
	second.knows(t, "ask")
	alice, has := owner(t, first)
	ids := []string{has.session, has.job, has.blocked, has.ended, has.request, has.message, has.stream, has.subscription, has.artifact, has.lease}
	// What a stranger says with an id; nil for what would end his own session.
	says := map[envelope.Type]func(id string) obj{
		envelope.TypeSessionOpen:         func(string) obj { return open("bearer", bobToken, nil) },
		envelope.TypeSessionAuthenticate: func(id string) obj { return obj{"response": id} },
		envelope.TypeSessionClose:        nil,
		envelope.TypeSessionResume:       func(id string) obj { return obj{"resume_token": id, "last_event_seq": 1} },
		envelope.TypeSessionPing:         func(id string) obj { return obj{"nonce": id, "sent_at": "2026-07-01T09:00:00Z"} },
		envelope.TypeSessionPong:         func(id string) obj { return obj{"ping_nonce": id, "received_at": "2026-07-01T09:00:00Z"} },
		envelope.TypeSessionAck:          func(string) obj { return obj{"last_processed_seq": 0} },
		envelope.TypeSessionListJobs:     func(string) obj { return obj{} },
		envelope.TypePing:                func(id string) obj { return obj{"nonce": id} },
		envelope.TypePong:                func(id string) obj { return obj{"nonce": id} },
		envelope.TypeAck:                 func(id string) obj { return obj{"message_id": id} },
		envelope.TypeNack:                func(string) obj { return obj{"code": "INTERNAL", "message": "m"} },
		envelope.TypeCancel: func(id string) obj {
			prefix, _, _ := strings.Cut(id, "_")
			target := map[string]string{"job": "job", "sess": "session"}[prefix]
			if target == "" {
				target = "stream"
			}
			return obj{"target": target, "target_id": id}
		},
		envelope.TypeInterrupt:    func(id string) obj { return obj{"target": "job", "target_id": id, "prompt": "stop"} },
		envelope.TypeResume:       func(string) obj { return obj{"after_message_id": has.request} },
		envelope.TypeBackpressure: func(string) obj { return obj{"desired_rate_per_second": 1} },
		envelope.TypeToolInvoke:   func(id string) obj { return obj{"tool": "echo", "arguments": id} },
		envelope.TypeJobSchedule: func(id string) obj {
			return obj{"when": obj{"after": 3600}, "job": obj{"tool": "echo", "arguments": id}}
		},
		envelope.TypeStreamOpen:  func(string) obj { return obj{"kind": "text"} },
		envelope.TypeStreamChunk: func(string) obj { return obj{"sequence": 0, "data": "forged"} },
		envelope.TypeStreamClose: func(string) obj { return obj{} },
		envelope.TypeStreamError: func(string) obj { return obj{"code": "INTERNAL", "message": "m"} },
		envelope.TypePermissionGrant: func(string) obj {
			return obj{"permission": hidden, "resource": hidden, "operation": "write", "lease_seconds": 60}
		},
		envelope.TypePermissionDeny: func(string) obj { return obj{"permission": hidden, "reason": "no"} },
		envelope.TypeLeaseRefresh:   func(string) obj { return obj{"lease_id": has.lease, "additional_seconds": 60} },
		envelope.TypeSubscribe: func(string) obj {
			return obj{"filter": obj{"session_id": []string{has.session}, "job_id": []string{has.job}}, "since": obj{"after_message_id": has.request}}
		},
		envelope.TypeUnsubscribe:     func(string) obj { return obj{"subscription_id": has.subscription} },
		envelope.TypeJobSubscribe:    func(id string) obj { return obj{"job_id": id, "history": true} },
		envelope.TypeJobUnsubscribe:  func(id string) obj { return obj{"job_id": id} },
		envelope.TypeArtifactPut:     func(string) obj { return obj{"media_type": "text/plain", "data": "AAAA"} },
		envelope.TypeArtifactFetch:   func(string) obj { return obj{"artifact_id": has.artifact} },
		envelope.TypeArtifactRelease: func(string) obj { return obj{"artifact_id": has.artifact} },
		envelope.TypeEventEmit:       func(id string) obj { return obj{"name": id} },
		envelope.TypeLog:             func(id string) obj { return obj{"level": "info", "message": id} },
		envelope.TypeMetric:          func(id string) obj { return obj{"name": id, "value": 1, "unit": "u"} },
		envelope.TypeTraceSpan: func(id string) obj {
			return span(id)
		},
	}
	var types []envelope.Type
	for _, row := range envelope.Catalogue() {
		say, known := says[row.Type]
		require.Equal(t, row.Direction != envelope.RuntimeToClient, known, "%s: what would a stranger say?", row.Type)
		if say == nil {
			continue
		}
		types = append(types, row.Type)
		sent, err := envelope.New(row.Type, say(has.job))
		require.NoError(t, err)
		require.NoError(t, sent.Decode(row.New()), "%s: is no message at all", row.Type)
	}
	edges := []*testEdge{first, second}
	rapid.Check(t, func(r *rapid.T) {
		bob := wstest.Dial(t, rapid.SampledFrom(edges).Draw(r, "edge").url)
		mine := bob.Open(bobToken).Str("session_id")
		for range rapid.IntRange(1, 40).Draw(r, "messages") {
			typ := rapid.SampledFrom(types).Draw(r, "type")
			var members []any
			for _, name := range []string{"session_id", "job_id", "stream_id", "subscription_id", "correlation_id", "causation_id", "idempotency_key", "trace_id"} {
				if rapid.Bool().Draw(r, name) {
					members = append(members, name, rapid.SampledFrom(ids).Draw(r, "of"))
				}
			}
			bob.Send(string(typ), says[typ](rapid.SampledFrom(ids).Draw(r, "id")), members...)
		}
		nonce := fmt.Sprint("over-", rapid.Uint64().Draw(r, "nonce"))
		bob.Send("ping", obj{"nonce": nonce})
		for over := false; !over; {
			m := bob.Next()
			raw := bob.Raw[len(bob.Raw)-1]
			require.False(t, bytes.Contains(raw, []byte(hidden)), "%s", raw)
			require.NotContains(t, []any{"session.resumed", "artifact.put", "job.subscribed", "lease.granted", "lease.extended"}, m.Type(), "%s", raw)
			if m["session_id"] != nil {
				require.Equal(t, mine, m["session_id"], "%s", raw)
			}
			over = m.Type() == "pong" && m.Payload()["nonce"] == nonce
		}
		bob.Drop()
	})
	// Alice was shown nothing of it, and all that she has is as it was.
	alice.Quiet()
	alice.Send("session.list_jobs", obj{})
	states := map[string]any{}
	for _, job := range alice.Expect("session.jobs").Payload()["jobs"].([]any) {
		states[job.(map[string]any)["job_id"].(string)] = job.(map[string]any)["status"]
	}
	require.Len(t, states, 4)
	require.Equal(t, []any{"running", "blocked", "completed"}, []any{states[has.job], states[has.blocked], states[has.ended]})
	content := fetch(alice, has.artifact)
	require.Equal(t, base64.StdEncoding.EncodeToString([]byte(hidden)), content.Payload()["data"])
	alice.Send("trace.span", span("n"))
	require.Equal(t, "n", event(t, alice, has.subscription).Payload()["name"])
	alice.Send("stream.chunk", obj{"sequence": 0, "data": hidden}, "job_id", has.job, "stream_id", has.stream)
	alice.Send("stream.close", obj{}, "job_id", has.job, "stream_id", has.stream)
	require.Equal(t, obj{"chunks": []any{hidden}}, alice.Expect("job.completed").Payload()["value"])
	alice.Send("permission.deny", obj{"permission": hidden, "reason": "enough"}, "correlation_id", has.request, "job_id", has.blocked)
	alice.Expect("job.heartbeat")
	require.Equal(t, "enough", alice.Expect("job.completed").Payload()["value"].(map[string]any)["reason"])
}
