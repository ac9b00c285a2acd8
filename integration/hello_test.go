package integration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/hello"
	"github.com/arcp-nats/arcp/internal/wstest"
	"github.com/arcp-nats/arcp/worker"
)

// helloPeer is a client of the hello dialect, all of whose traffic is read by the strictest clients' rules.
type helloPeer struct {
	t       *testing.T
	p       *wstest.Peer
	linter  hello.Linter
	session string
	token   string
	next    int
	last    int // event_seq
	// family makes the ids of messages, as the libraries do.
	family func(n int) string
}

// families are the forms of ids by which the libraries can be told apart.
var families = map[string]func(n int) string{
	"G":       func(n int) string { return fmt.Sprintf("01900000-0000-7000-8000-%012d", n) },
	"T":       func(n int) string { return fmt.Sprintf("msg_01J%023d", n) },
	"neutral": func(n int) string { return fmt.Sprintf("q-%d", n) },
}

// allFeatures are what the libraries offer.
var allFeatures = hello.Features()

func dialHello(t *testing.T, url, family string) *helloPeer {
	t.Helper()
	h := &helloPeer{t: t, p: wstest.Dial(t, url), family: families[family]}
	require.NotNil(t, h.family)
	return h
}

// opened dials and opens a session.
func openHello(t *testing.T, url, family, token string) *helloPeer {
	t.Helper()
	h := dialHello(t, url, family)
	welcome := h.hello(token, allFeatures, nil)
	require.Equal(t, "session.welcome", welcome.Type(), "%v", welcome)
	return h
}

// hello says the first message and returns the answer.
func (h *helloPeer) hello(token string, features []hello.Feature, resume obj) wstest.Message {
	h.t.Helper()
	payload := obj{
		"client": obj{"name": "demo", "version": "1.0.0"}, "auth": obj{"scheme": "bearer"},
		"capabilities": obj{"encodings": []string{"json"}, "features": features},
	}
	if token != "" {
		payload["auth"] = obj{"scheme": "bearer", "token": token}
	}
	if resume != nil {
		payload["resume"] = resume
		h.last = resume["last_event_seq"].(int)
	}
	h.linter.Connected(resume != nil, uint64(h.last))
	h.session = ""
	h.send("session.hello", payload)
	answer := h.read()
	if answer.Type() == "session.welcome" {
		h.session, h.token = answer.Str("session_id"), answer.Payload().Str("resume_token")
	}
	return answer
}

// helloWith opens a session with some features only.
func (h *helloPeer) helloWith(token string, features ...hello.Feature) {
	h.t.Helper()
	require.Equal(h.t, "session.welcome", h.hello(token, features, nil).Type())
}

// resume goes on with the session on a connection to an edge.
func (h *helloPeer) resume(url, token string, last int) wstest.Message {
	h.t.Helper()
	h.p.Drop()
	h.p = wstest.Dial(h.t, url)
	return h.hello(token, allFeatures, obj{"session_id": h.session, "resume_token": h.token, "last_event_seq": last})
}

func (h *helloPeer) send(typ string, payload any, members ...any) string {
	h.t.Helper()
	h.next++
	id := h.family(h.next)
	m := obj{"arcp": "1.1", "id": id, "type": typ, "payload": payload}
	if h.session != "" {
		m["session_id"] = h.session
	}
	for i := 0; i+1 < len(members); i += 2 {
		m[members[i].(string)] = members[i+1]
	}
	text, err := json.Marshal(m)
	require.NoError(h.t, err)
	h.linter.Sent(text)
	require.NoError(h.t, h.p.TryWrite(websocket.MessageText, text))
	return id
}

// read returns the next frame. Pings are answered, as the libraries do.
func (h *helloPeer) read() wstest.Message {
	h.t.Helper()
	for {
		m := h.p.Next()
		text := h.p.Raw[len(h.p.Raw)-1]
		require.NoError(h.t, h.linter.Received(text), "%s", text)
		if m.Seq() > 0 {
			h.last = m.Seq()
		}
		if m.Type() != "session.ping" {
			return m
		}
		h.send("session.pong", obj{"ping_nonce": m.Payload().Str("nonce"), "received_at": "0001-01-01T00:00:00Z"})
	}
}

func (h *helloPeer) expect(typ string) wstest.Message {
	h.t.Helper()
	m := h.read()
	require.Equal(h.t, typ, m.Type(), "%v", m)
	return m
}

// event returns the body of the next frame, which must be an event of a kind.
func (h *helloPeer) event(kind string) wstest.Message {
	h.t.Helper()
	m := h.expect("job.event")
	require.Equal(h.t, kind, m.Payload().Str("kind"), "%v", m)
	return wstest.Message(m.Payload()["body"].(obj))
}

// submit submits a job and returns its acceptance.
func (h *helloPeer) submit(payload obj, members ...any) wstest.Message {
	h.t.Helper()
	id := h.send("job.submit", payload, members...)
	m := h.expect("job.accepted")
	require.Equal(h.t, id, m.Payload().Str("request_id"))
	return m
}

// refused sends a submit, which must be refused in both forms, and returns what the second says.
func (h *helloPeer) refused(payload obj) wstest.Message {
	h.t.Helper()
	id := h.send("job.submit", payload)
	h.expect("job.error")
	m := h.expect("session.error")
	require.Equal(h.t, id, m.Payload().Str("request_id"))
	return m.Payload()
}

func newHelloStack(t *testing.T) (*cluster, *testEdge, *testEdge) {
	c := newCluster(t)
	c.worker("worker-1", nil)
	first, second := c.edge("edge-1", nil), c.edge("edge-2", nil)
	first.knows(t, "echo")
	second.knows(t, "echo")
	return c, first, second
}

func TestHelloConnectSubmitResult(t *testing.T) {
	_, e, _ := newHelloStack(t)
	for family := range families {
		t.Run(family, func(t *testing.T) {
			h := openHello(t, e.url, family, aliceToken)
			accepted := h.submit(obj{"agent": "echo", "input": obj{"a": 1}})
			require.Equal(t, "echo@1", accepted.Payload().Str("agent"))
			require.Equal(t, obj{}, accepted.Payload()["lease"])
			require.Len(t, accepted.Str("trace_id"), 32)
			require.Equal(t, "running", h.event("status").Str("phase"))
			result := h.expect("job.result")
			require.Equal(t, 2, result.Seq())
			require.Equal(t, obj{"a": 1.0}, result.Payload()["result"])
			require.Equal(t, obj{"a": 1.0}, result.Payload()["output"])
			require.Equal(t, accepted.Str("trace_id"), result.Str("trace_id"))
		})
	}
}

func TestHelloRefusals(t *testing.T) {
	_, e, _ := newHelloStack(t)
	for family := range families {
		t.Run(family, func(t *testing.T) {
			h := openHello(t, e.url, family, aliceToken)
			for code, payload := range map[string]obj{
				"AGENT_NOT_AVAILABLE":         {"agent": "nobody"},
				"AGENT_VERSION_NOT_AVAILABLE": {"agent": "echo@9"},
				"INVALID_REQUEST":             {"agent": "echo", "lease_request": obj{"no.such": []string{"x"}}},
			} {
				p := h.refused(payload)
				require.Equal(t, code, p.Str("code"))
				require.Equal(t, false, p["retryable"])
			}
			require.Equal(t, "INVALID_REQUEST", h.refused(obj{"agent": "No Such"}).Str("code"))
			require.Equal(t, "INVALID_REQUEST", h.refused(obj{"agent": 7}).Str("code"))
			require.Equal(t, "INVALID_REQUEST", h.refused(obj{"agent": "echo", "lease_constraints": obj{"expires_at": "2020-01-01T00:00:00Z"}}).Str("code"))
			h.submit(obj{"agent": "echo"})
			h.event("status")
			h.expect("job.result")
		})
	}
}

func TestHelloHandshakeIsRefused(t *testing.T) {
	_, e, _ := newHelloStack(t)
	h := dialHello(t, e.url, "G")
	m := h.hello("wrong", allFeatures, nil)
	require.Equal(t, "session.error", m.Type())
	require.NotEmpty(t, m.Str("session_id"))
	require.Equal(t, "UNAUTHENTICATED", m.Payload().Str("code"))
	require.Equal(t, 1008, h.p.Closed())
	h = dialHello(t, e.url, "T")
	h.linter.Connected(false, 0)
	h.send("session.hello", obj{"client": 1})
	require.Equal(t, "INVALID_REQUEST", h.expect("session.error").Payload().Str("code"))
	require.Equal(t, 1008, h.p.Closed())
}

func TestHelloResume(t *testing.T) {
	_, first, second := newHelloStack(t)
	h := openHello(t, first.url, "G", aliceToken)
	accepted := h.submit(obj{"agent": "count", "input": obj{"to": 200, "every_ms": 1}})
	h.event("status")
	h.event("progress")
	used := h.token
	require.Equal(t, "session.welcome", h.resume(second.url, aliceToken, h.last).Type())
	require.NotEqual(t, used, h.token)
	for {
		m := h.read()
		require.Equal(t, accepted.Str("job_id"), m.Str("job_id"))
		if m.Type() == "job.result" {
			break
		}
	}
	h.submit(obj{"agent": "echo", "input": 1})
	h.event("status")
	h.expect("job.result")
	// Again from the start: the same frames, and the acceptances are not said again.
	before := h.last
	require.Equal(t, "session.welcome", h.resume(first.url, aliceToken, 0).Type())
	for h.last < before {
		require.NotEqual(t, "job.accepted", h.read().Type())
	}
	// Somebody else, and with a token that was used.
	session, token := h.session, h.token
	other := dialHello(t, first.url, "T")
	m := other.hello(bobToken, allFeatures, obj{"session_id": session, "resume_token": token, "last_event_seq": 0})
	require.Equal(t, "RESUME_WINDOW_EXPIRED", m.Payload().Str("code"))
	require.Equal(t, session, m.Str("session_id"))
	other = dialHello(t, first.url, "T")
	m = other.hello(aliceToken, allFeatures, obj{"session_id": session, "resume_token": token, "last_event_seq": 10_000})
	require.Equal(t, "RESUME_WINDOW_EXPIRED", m.Payload().Str("code"))
}

func TestHelloCancel(t *testing.T) {
	_, first, second := newHelloStack(t)
	h := openHello(t, first.url, "T", aliceToken)
	other := openHello(t, second.url, "T", aliceToken)
	job := h.submit(obj{"agent": "sleep", "input": obj{"ms": 60_000}}).Str("job_id")
	h.event("status")
	id := other.send("job.cancel", obj{}, "job_id", job)
	m := other.expect("session.error")
	require.Equal(t, id, m.Payload().Str("request_id"))
	require.Equal(t, "PERMISSION_DENIED", m.Payload().Str("code"))
	h.send("job.cancel", obj{"reason": "user requested"}, "job_id", job)
	h.expect("job.cancelled")
	end := h.expect("job.error").Payload()
	require.Equal(t, "cancelled", end.Str("final_status"))
	require.Equal(t, "CANCELLED", end.Str("code"))
	require.Equal(t, "user requested", end.Str("message"))
	h.send("job.cancel", obj{}, "job_id", job)
	require.Equal(t, "JOB_NOT_FOUND", h.expect("session.error").Payload().Str("code"))
}

func TestHelloListAndSubscribe(t *testing.T) {
	_, first, second := newHelloStack(t)
	h := openHello(t, first.url, "G", aliceToken)
	lease := obj{"fs.read": []any{"/w/**"}, "cost.budget": []any{"USD:1"}}
	until := "2036-06-01T10:00:00Z"
	job := h.submit(obj{"agent": "sleep", "input": obj{"ms": 60_000}, "lease_request": lease, "lease_constraints": obj{"expires_at": until}})
	require.Equal(t, lease, job.Payload()["lease"])
	require.Equal(t, obj{"USD": 1.0}, job.Payload()["budget"])
	h.event("status")
	other := openHello(t, second.url, "T", aliceToken)
	id := other.send("session.list_jobs", obj{"filter": obj{"status": []string{"running"}, "agent": "sleep"}, "limit": 2})
	page := other.expect("session.jobs").Payload()
	require.Equal(t, id, page.Str("request_id"))
	require.Len(t, page["jobs"], 1)
	entry := wstest.Message(page["jobs"].([]any)[0].(obj))
	require.Equal(t, "sleep@1", entry.Str("agent"))
	require.Equal(t, lease, entry["lease"])
	require.Contains(t, entry, "last_event_seq")
	other.send("job.subscribe", obj{"job_id": job.Str("job_id"), "history": true})
	subscribed := other.expect("job.subscribed").Payload()
	require.Equal(t, lease, subscribed["lease"])
	require.Equal(t, obj{"expires_at": until}, subscribed["lease_constraints"])
	require.Equal(t, obj{"USD": 1.0}, subscribed["budget"])
	require.Equal(t, "running", subscribed.Str("current_status"))
	other.event("status")
	h.send("job.cancel", obj{}, "job_id", job.Str("job_id"))
	h.expect("job.cancelled")
	h.expect("job.error")
	require.Equal(t, "CANCELLED", other.expect("job.error").Payload().Str("code"))
	id = other.send("job.subscribe", obj{"job_id": "job_none"})
	m := other.expect("session.error")
	require.Equal(t, "JOB_NOT_FOUND", m.Payload().Str("code"))
	require.Equal(t, id, m.Payload().Str("request_id"))
	h.send("session.list_jobs", obj{"filter": obj{}})
	require.Empty(t, h.expect("session.jobs").Payload()["jobs"])
	h.send("session.list_jobs", obj{"filter": obj{"status": []string{"cancelled", "timed_out"}}})
	require.Len(t, h.expect("session.jobs").Payload()["jobs"], 1)
}

func TestHelloCloseAndBye(t *testing.T) {
	_, e, _ := newHelloStack(t)
	for typ, again := range map[string]string{"session.close": "session.error", "session.bye": "session.welcome"} {
		h := openHello(t, e.url, "T", aliceToken)
		h.submit(obj{"agent": "sleep", "input": obj{"ms": 300}})
		h.event("status")
		h.send(typ, obj{"reason": "client close"})
		require.Equal(t, "client close", h.expect("session.closed").Payload().Str("reason"))
		require.Equal(t, 1000, h.p.Closed())
		require.Equal(t, again, h.resume(e.url, aliceToken, 1).Type(), typ)
		if again == "session.welcome" {
			require.Equal(t, "job.result", h.read().Type())
		}
	}
}

func TestHelloIdempotency(t *testing.T) {
	_, first, second := newHelloStack(t)
	h := openHello(t, first.url, "T", aliceToken)
	submit := obj{"agent": "echo", "input": obj{"b": 1, "a": 2}, "idempotency_key": "w22"}
	job := h.submit(submit).Str("job_id")
	h.event("status")
	h.expect("job.result")
	for _, p := range []*helloPeer{h, openHello(t, second.url, "G", aliceToken)} {
		require.Equal(t, job, p.submit(submit).Str("job_id"))
		require.Equal(t, job, p.expect("job.result").Str("job_id"), "its end is said again")
		other := p.refused(obj{"agent": "echo", "input": 3, "idempotency_key": "w22"})
		require.Equal(t, "DUPLICATE_KEY", other.Str("code"))
	}
}

func TestHelloTimeout(t *testing.T) {
	_, e, _ := newHelloStack(t)
	h := openHello(t, e.url, "T", aliceToken)
	h.submit(obj{"agent": "sleep", "input": obj{"ms": 60_000}, "max_runtime_sec": 1})
	h.event("status")
	end := h.expect("job.error").Payload()
	require.Equal(t, "timed_out", end.Str("final_status"))
	require.Equal(t, "TIMEOUT", end.Str("code"))
}

// everyKind says everything that a job can say.
func everyKind(ctx context.Context, job *worker.Job) (any, error) {
	call, err := job.ToolCall(ctx, "search.web", obj{"q": "a"})
	result := job.Result(ctx, worker.AsText(), worker.WithSummary("a report"))
	_, failed := result.Write([]byte("partial report"))
	return nil, errors.Join(
		err, failed,
		job.ToolResult(ctx, obj{"hits": 3}, worker.ForCall(call)),
		job.ToolError(ctx, envelope.Errorf(envelope.CodeUnavailable, "away"), worker.ForCall("c2")),
		job.Status(ctx, "thinking", "a while", obj{"left": 2}),
		job.Think(ctx, "one"), job.Think(ctx, "two"),
		job.Log(ctx, envelope.LogWarn, "look out", obj{"a": 1}),
		job.Metric(ctx, "tokens.used", 7, "tokens", obj{"model": "m", "n": 2}),
		job.Charge(ctx, "cost.search", envelope.Amount{Currency: "USD", Value: envelope.DecimalFromMillionths(250_000)}),
		job.Progress(ctx, worker.Progress{Current: 1.5, Total: 4, Units: "files"}),
		job.Emit(ctx, "x-vendor.acme.progress", obj{"percent": 50}),
		job.Emit(ctx, "acme.other", "text"),
		result.Close(),
	)
}

// TestHelloKindsAcrossDialects: a job that was submitted in either dialect is watched through all that it says in both, in the
// words of each, and by its own client over two edges.
func TestHelloKindsAcrossDialects(t *testing.T) {
	c := newCluster(t)
	c.worker("worker-1", only(t, "kinds", everyKind))
	first, second := c.edge("edge-1", nil), c.edge("edge-2", nil)
	first.knows(t, "kinds")
	second.knows(t, "kinds")

	h := openHello(t, first.url, "T", aliceToken)
	job := h.submit(obj{"agent": "kinds", "lease_request": obj{"cost.budget": []string{"USD:1"}}}).Str("job_id")
	inHello := func(h *helloPeer) (said []string) {
		for {
			m := h.read()
			require.Equal(t, job, m.Str("job_id"))
			if m.Type() != "job.event" {
				require.Equal(t, "job.result", m.Type())
				require.NotContains(t, m.Payload(), "result")
				require.Equal(t, 14.0, m.Payload()["result_size"])
				require.Equal(t, "a report", m.Payload().Str("summary"))
				return said
			}
			body := m.Payload()["body"].(obj)
			kind := m.Payload().Str("kind")
			for _, member := range []string{"phase", "text", "name", "message"} {
				if text, has := body[member].(string); has {
					kind += " " + text
					break
				}
			}
			said = append(said, kind)
		}
	}
	want := []string{
		"status running", "tool_call", "tool_result", "tool_result", "status thinking", "thought one", "thought two", "log look out",
		"metric tokens.used", "metric cost.search", "metric cost.budget.remaining", "progress", "x-vendor.acme.progress",
		"x-vendor.arcp.event acme.other", "result_chunk",
	}
	said := inHello(h)
	require.ElementsMatch(t, want, said)

	// Once more, for somebody else of the principal, and in the other dialect.
	for _, e := range []*testEdge{first, second} {
		other := openHello(t, e.url, "G", aliceToken)
		other.send("job.subscribe", obj{"job_id": job, "history": true})
		subscribed := other.expect("job.subscribed").Payload()
		require.Equal(t, "success", subscribed.Str("current_status"))
		require.Equal(t, obj{"USD": 0.75}, subscribed["budget"])
		forwarded := inHello(other)
		require.Equal(t, slices.DeleteFunc(slices.Clone(said), func(s string) bool { return s == "x-vendor.arcp.event acme.other" }), forwarded)
	}
	o := wstest.Dial(t, second.url)
	o.Open(aliceToken)
	o.Send("job.subscribe", obj{"job_id": job, "history": true})
	o.Expect("job.subscribed")
	types := make(map[string]int)
	for _, m := range o.Until("job.completed") {
		types[m.Type()]++
	}
	require.Equal(t, map[string]int{
		"job.accepted": 1, "job.started": 1, "event.emit": 3, "tool.result": 1, "tool.error": 1, "stream.open": 1, "stream.chunk": 2,
		"stream.close": 1, "log": 1, "metric": 3, "job.progress": 1, "job.result_chunk": types["job.result_chunk"], "job.completed": 1,
	}, types)

	// And one of the open dialect.
	o.Invoke("kinds", nil)
	job = o.Expect("job.accepted").Str("job_id")
	o.Until("job.completed")
	h.send("job.subscribe", obj{"job_id": job, "history": true})
	h.expect("job.subscribed")
	require.NotEmpty(t, inHello(h))
}

// TestHelloHeartbeats: the edge asks whoever it has said nothing to for a while, whether or not they speak.
func TestHelloHeartbeats(t *testing.T) {
	c := newCluster(t)
	c.worker("worker-1", nil)
	e := c.edge("edge-1", func(cfg *edge.Config) { cfg.IdlePing = 300 * time.Millisecond })
	h := openHello(t, e.url, "T", aliceToken)
	for range 3 {
		ping := h.p.Next()
		require.Equal(t, "session.ping", ping.Type())
		require.NoError(t, h.linter.Received(h.p.Raw[len(h.p.Raw)-1]))
		h.send("session.pong", obj{"ping_nonce": ping.Payload().Str("nonce"), "received_at": "0001-01-01T00:00:00Z"})
	}
	// Without the feature there are no such pings.
	quiet := dialHello(t, e.url, "G")
	require.Equal(t, "session.welcome", quiet.hello(aliceToken, nil, nil).Type())
	quiet.send("session.list_jobs", obj{})
	require.Equal(t, "INVALID_REQUEST", quiet.expect("session.error").Payload().Str("code"))
	quiet.send("session.ack", obj{"last_processed_seq": 1})
	require.Equal(t, "INVALID_REQUEST", quiet.expect("session.error").Payload().Str("code"))
	quiet.send("session.ping", obj{"nonce": "n", "sent_at": "2026-01-01T00:00:00Z"})
	require.Equal(t, "n", quiet.expect("session.pong").Payload().Str("ping_nonce"))
}

// TestHelloWithoutAToken: whoever has no token is who it says it is, among others of that kind.
func TestHelloWithoutAToken(t *testing.T) {
	_, first, second := newHelloStack(t)
	h := openHello(t, first.url, "G", "")
	job := h.submit(obj{"agent": "echo", "input": 1}).Str("job_id")
	h.event("status")
	h.expect("job.result")
	other := openHello(t, second.url, "G", "")
	other.send("job.subscribe", obj{"job_id": job})
	other.expect("job.subscribed")
	require.Equal(t, "session.welcome", h.resume(second.url, "", h.last).Type())
	alice := openHello(t, second.url, "G", aliceToken)
	alice.send("job.subscribe", obj{"job_id": job})
	require.Equal(t, "PERMISSION_DENIED", alice.expect("session.error").Payload().Str("code"))
}

// TestHelloChildren: a client that can take it is told of jobs that its jobs start; the other's numbers go on all the same.
func TestHelloChildren(t *testing.T) {
	_, e, _ := newHelloStack(t)
	e.knows(t, "delegate")
	for family, told := range map[string]bool{"G": false, "T": true} {
		h := openHello(t, e.url, family, aliceToken)
		parent := h.submit(obj{"agent": "delegate", "input": obj{"tool": "echo", "arguments": 7}}).Str("job_id")
		child := ""
		for {
			m := h.read()
			if m.Type() == "job.accepted" {
				child = m.Str("job_id")
				require.Equal(t, parent, m.Payload().Str("parent_job_id"))
				require.Equal(t, "echo@1", m.Payload().Str("agent"))
			}
			if m.Type() == "job.result" && m.Str("job_id") == parent {
				break
			}
		}
		require.Equal(t, told, child != "", family)
	}
}

// TestHelloSessionsAreOfTheirDialect: a session that was opened in one cannot be resumed in the other.
func TestHelloSessionsAreOfTheirDialect(t *testing.T) {
	_, e, _ := newHelloStack(t)
	h := openHello(t, e.url, "G", aliceToken)
	o := wstest.Dial(t, e.url)
	o.Send("session.resume", obj{"resume_token": h.token, "last_event_seq": 0})
	require.Equal(t, "RESUME_WINDOW_EXPIRED", o.Expect("session.rejected").Payload().Str("code"))
	accepted := o.Open(aliceToken)
	other := dialHello(t, e.url, "T")
	m := other.hello(aliceToken, allFeatures, obj{
		"session_id": accepted.Str("session_id"), "resume_token": accepted.Str("resume_token"), "last_event_seq": 0,
	})
	require.Equal(t, "RESUME_WINDOW_EXPIRED", m.Payload().Str("code"))
}

// TestHelloBackPressure: a client that acknowledges nothing is told so, once, with a number of its own; it is advice, all comes
// all the same, and again after a resume.
func TestHelloBackPressure(t *testing.T) {
	_, first, second := newHelloStack(t)
	h := openHello(t, first.url, "T", aliceToken)
	h.submit(obj{"agent": "count", "input": obj{"to": 1500, "every_ms": 1}})
	count := func() (told int) {
		for {
			m := h.read()
			if m.Type() == "job.result" {
				return told
			}
			if body := m.Payload()["body"].(obj); m.Payload().Str("kind") == "status" && body["phase"] == "back_pressure" {
				require.Equal(t, 1000.0, body["details"].(obj)["threshold"])
				told++
			}
		}
	}
	require.Equal(t, 1, count())
	last := h.last
	require.Equal(t, "session.welcome", h.resume(second.url, aliceToken, 0).Type())
	require.Equal(t, 1, count())
	require.Equal(t, last, h.last)
}

// TestHelloRetriesHearTheEnd: who asks for a job again is told how it ended, also if it ends at that very moment.
func TestHelloRetriesHearTheEnd(t *testing.T) {
	_, first, second := newHelloStack(t)
	owner, other := openHello(t, first.url, "T", aliceToken), openHello(t, second.url, "T", aliceToken)
	for i := range 300 {
		payload := obj{"agent": "sleep", "input": obj{"ms": i % 3}, "idempotency_key": fmt.Sprint("k-", i)}
		job := owner.submit(payload).Str("job_id")
		other.send("job.submit", payload)
		owner.send("job.submit", payload)
		for _, h := range []*helloPeer{owner, other} {
			for accepted := false; ; {
				m := h.read()
				require.Equal(t, job, m.Str("job_id"), "%v", m)
				if m.Type() == "job.accepted" {
					accepted = true
				} else if m.Type() == "job.result" && accepted {
					break
				}
			}
		}
	}
}

// TestHelloChoosesNoSubprotocol: clients that offer none drop a connection for which one was chosen (annex A, 2).
func TestHelloChoosesNoSubprotocol(t *testing.T) {
	_, e, _ := newHelloStack(t)
	for _, offered := range [][]string{nil, {"arcp.v1"}} {
		conn, response, err := websocket.Dial(t.Context(), e.url, &websocket.DialOptions{Subprotocols: offered})
		require.NoError(t, err)
		require.Empty(t, response.Header.Values("Sec-WebSocket-Protocol"))
		require.NoError(t, conn.CloseNow())
	}
}
