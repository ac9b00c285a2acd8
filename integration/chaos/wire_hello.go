package chaos

import (
	"encoding/json"
	"fmt"

	"github.com/arcp-nats/arcp/hello"
)

// dialectHello is what Session.Dialect is of clients of the hello dialect.
const dialectHello = "hello"

// helloWire is the hello dialect. It shares the names of features with the runtime, and no code that reads or writes.
type helloWire struct {
	session string
	greeted bool              // on this connection
	asked   map[string]string // types of all requests, by id
	// uuid makes the first message's id one, as one family of libraries does, which is not told of jobs that jobs start.
	uuid bool
}

func newHelloWire(uuid bool) *helloWire {
	return &helloWire{asked: make(map[string]string), uuid: uuid}
}

func (w *helloWire) greet(c *client) (m message, want string) {
	payload := map[string]any{
		"client": map[string]any{"name": "chaos", "version": "1"}, "auth": map[string]any{"scheme": "bearer", "token": c.token},
		"capabilities": map[string]any{"encodings": []string{"json"}, "features": hello.Features()},
	}
	w.greeted, want = false, "session.accepted"
	if c.resume != "" {
		payload["resume"] = map[string]any{"session_id": w.session, "resume_token": c.resume, "last_event_seq": c.seq}
	}
	m = message{Type: "session.hello", Payload: payload}
	if w.uuid {
		m.ID = fmt.Sprintf("01900000-0000-7000-8000-%012d", c.random.IntN(1e12))
	}
	return m, want
}

// helloMessage is a frame as a client writes it.
type helloMessage struct {
	Version string `json:"arcp"`
	ID      string `json:"id"`
	Type    string `json:"type"`
	Session string `json:"session_id,omitempty"`
	JobID   string `json:"job_id,omitempty"`
	Payload any    `json:"payload"`
}

func (w *helloWire) write(m *message) ([]byte, error) {
	h := helloMessage{Version: "1.1", ID: m.ID, Type: m.Type, Session: w.session, Payload: m.Payload}
	body, _ := m.Payload.(map[string]any)
	w.asked[m.ID] = m.Type
	switch m.Type {
	case "session.hello":
		h.Session = ""
	case "tool.invoke":
		h.Type, h.Payload = "job.submit", submitOf(body, m.Key)
	case "cancel":
		h.Type, h.JobID, h.Payload = "job.cancel", fmt.Sprint(body["target_id"]), map[string]any{"reason": body["reason"]}
	}
	data, err := json.Marshal(&h)
	if err != nil {
		return nil, fmt.Errorf("chaos: %w", err)
	}
	return data, nil
}

// submitOf is the payload of a tool.invoke as that of a job.submit.
func submitOf(invoke map[string]any, key string) map[string]any {
	submit := map[string]any{"agent": invoke["tool"], "input": invoke["arguments"]}
	if key != "" {
		submit["idempotency_key"] = key
	}
	if lease, leased := invoke["lease_request"].(json.RawMessage); leased {
		var open struct {
			Budget  []string `json:"cost_budget"`
			Models  []string `json:"model_use"`
			Expires string   `json:"expires_at"`
		}
		_ = json.Unmarshal(lease, &open) // the harness's own
		patterns := make(map[string][]string)
		if open.Budget != nil {
			patterns["cost.budget"] = open.Budget
		}
		if open.Models != nil {
			patterns["model.use"] = open.Models
		}
		submit["lease_request"] = patterns
		if open.Expires != "" {
			submit["lease_constraints"] = map[string]any{"expires_at": open.Expires}
		}
	}
	return submit
}

func (w *helloWire) vague() bool { return true }

// helloPayload holds the members of payloads that the harness reads.
type helloPayload struct {
	RequestID   string          `json:"request_id"`
	ResumeToken string          `json:"resume_token"`
	ParentJobID string          `json:"parent_job_id"`
	Code        string          `json:"code"`
	Message     string          `json:"message"`
	Retryable   bool            `json:"retryable"`
	FinalStatus string          `json:"final_status"`
	Kind        string          `json:"kind"`
	Result      json.RawMessage `json:"result"`
	Body        struct {
		Phase string `json:"phase"`
	} `json:"body"`
	Details struct {
		OpenCode string `json:"open_code"`
	} `json:"details"`
}

// code is the code as the open dialect has it.
func (p *helloPayload) code() string {
	if p.Details.OpenCode != "" {
		return p.Details.OpenCode
	}
	return p.Code
}

func (w *helloWire) hear(data []byte) *frame {
	f := decode(data)
	var p helloPayload
	if len(f.Payload) > 0 && json.Unmarshal(f.Payload, &p) != nil {
		return new(frame)
	}
	switch f.Type {
	case "session.welcome":
		w.greeted, w.session = true, f.SessionID
		f.Type = "session.accepted"
		f.Payload = compact(map[string]any{"session_id": f.SessionID, "resume_token": p.ResumeToken})
	case "session.error":
		w.problem(f, &p)
	case "job.accepted":
		f.CorrelationID, f.ParentJobID = p.RequestID, p.ParentJobID
	case "job.subscribed":
		f.CorrelationID = p.RequestID
	case "job.cancelled":
		f.Type = "cancel.accepted"
	case "job.event":
		if p.Kind == "status" && p.Body.Phase == "running" {
			f.Type = "job.started"
		}
	case "job.result":
		f.Type, f.Payload = "job.completed", compact(map[string]any{"value": p.Result})
	case "job.error":
		f.Type, f.Payload = "job.failed", compact(map[string]any{"code": p.code(), "message": p.Message, "retryable": p.Retryable})
		if p.FinalStatus == "cancelled" {
			f.Type, f.Payload = "job.cancelled", compact(map[string]any{"reason": p.Message})
		}
	}
	return f
}

// problem: what answers nothing is about the session.
func (w *helloWire) problem(f *frame, p *helloPayload) {
	f.CorrelationID = p.RequestID
	f.Payload = compact(map[string]any{
		"code": p.code(), "message": p.Message, "reason": p.Message, "retryable": p.Retryable, "details": map[string]any{"retryable": p.Retryable},
	})
	switch {
	case !w.greeted:
		f.Type = "session.rejected"
	case p.RequestID == "":
		f.Type = "session.evicted"
	case lacksLog(f.read()):
		f.Type = "nack"
	case w.asked[p.RequestID] == "tool.invoke":
		f.Type = "job.failed"
	case w.asked[p.RequestID] == "cancel":
		f.Type = "cancel.refused"
	default:
		f.Type = "nack"
	}
}

// compact writes what the harness has made itself.
func compact(v any) json.RawMessage {
	data, _ := json.Marshal(v) // texts and JSON that was read
	return data
}
