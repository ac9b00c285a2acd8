package hello

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcp-nats/arcp/envelope"
)

// Check reads a frame of a runtime as the strictest clients do, all at once, and says what one of them would choke on. The
// numbers in the errors are those of annex A where it has one.
func Check(text []byte) error {
	if len(text) > MaxFrameBytes {
		return fmt.Errorf("18: the frame has %d bytes", len(text))
	}
	var members map[string]jsontext.Value
	if err := jsonv2.Unmarshal(text, &members); err != nil || members == nil {
		return fmt.Errorf("17: not one JSON object: %w", err)
	}
	for name, raw := range members {
		want, known := memberKinds[name]
		if !known || raw.Kind() != want {
			return fmt.Errorf("17: member %s: %.40s", name, raw)
		}
	}
	if string(members["arcp"]) != `"1.1"` || members["payload"] == nil {
		return errors.New("17: arcp is not 1.1, or there is no payload")
	}
	if raw, numbered := members["event_seq"]; numbered && !wholeNumber.Match(raw) {
		return fmt.Errorf("17: event_seq is %s", raw)
	}
	f, err := Decode(text)
	if err != nil {
		return fmt.Errorf("17: %w", err)
	}
	check, known := checks[f.Type]
	switch {
	case !known:
		return fmt.Errorf("type %s is none that a runtime sends", f.Type)
	case f.EventSeq > 0 && !f.Type.Counted():
		return fmt.Errorf("16: %s has an event_seq", f.Type)
	case f.TraceID != "" && !IsTraceID(f.TraceID):
		return fmt.Errorf("10: trace_id is %q", f.TraceID)
	case f.SessionID == "" && f.Type != TypeError:
		return fmt.Errorf("6: %s without session_id", f.Type)
	case strings.HasPrefix(string(f.Type), "job.") && f.JobID == "":
		return fmt.Errorf("%s without job_id", f.Type)
	}
	var payload map[string]jsontext.Value
	if err := jsonv2.Unmarshal(f.Payload, &payload); err != nil {
		return fmt.Errorf("%s: the payload is no object", f.Type)
	}
	if err := check(f, payload); err != nil {
		return fmt.Errorf("%s: %w", f.Type, err)
	}
	return nil
}

var (
	wholeNumber = regexp.MustCompile(`^[1-9][0-9]*$`)
)

var memberKinds = map[string]jsontext.Kind{
	"arcp": '"', "id": '"', "type": '"', "session_id": '"', "job_id": '"', "trace_id": '"', "event_seq": '0', "payload": '{',
}

type members = map[string]jsontext.Value

var checks = map[Type]func(*Frame, members) error{
	TypeWelcome: checkWelcome, TypeError: checkError, TypeClosed: none, TypePing: checkPing, TypePong: checkPong,
	TypeJobs: checkJobs, TypeAccepted: checkAccepted, TypeEvent: checkEvent, TypeResult: checkResult,
	TypeJobError: checkJobError, TypeCancelled: checkCancelled, TypeSubscribed: checkSubscribed,
}

func none(*Frame, members) error { return nil }

// need checks that members are there and of their kinds: s text that is not empty, t a time, n a number, i a whole number,
// l a list, o an object, b a boolean. A question mark before it lets it be absent, a star be null as well.
func need(m members, kinds ...string) error {
	for _, rule := range kinds {
		name, kind, _ := strings.Cut(rule, " ")
		raw, there := m[name]
		optional := strings.HasPrefix(kind, "?")
		nullable := strings.HasPrefix(kind, "*")
		switch kind = strings.TrimLeft(kind, "?*"); {
		case !there && optional, there && nullable && raw.Kind() == 'n':
			continue
		case !there:
			return fmt.Errorf("%s is missing", name)
		case !fits(raw, kind):
			return fmt.Errorf("%s is %.60s", name, raw)
		}
	}
	return nil
}

func fits(raw jsontext.Value, kind string) bool {
	var text string
	switch kind {
	case "s":
		return raw.Kind() == '"' && string(raw) != `""`
	case "t":
		if jsonv2.Unmarshal(raw, &text) != nil {
			return false
		}
		_, err := time.Parse(time.RFC3339, text)
		return err == nil && strings.HasSuffix(text, "Z")
	case "n":
		return raw.Kind() == '0'
	case "i":
		return raw.Kind() == '0' && !strings.ContainsAny(string(raw), ".eE-")
	case "l":
		return raw.Kind() == '['
	case "o":
		return raw.Kind() == '{'
	case "b":
		return raw.Kind() == 't' || raw.Kind() == 'f'
	}
	return false
}

func checkWelcome(_ *Frame, m members) error {
	if err := need(m, "runtime o", "resume_token s", "resume_window_sec i", "heartbeat_interval_sec ?i", "capabilities o"); err != nil {
		return fmt.Errorf("5: %w", err)
	}
	if string(m["resume_window_sec"]) == "0" || string(m["heartbeat_interval_sec"]) == "0" {
		return errors.New("5: a window or an interval is 0")
	}
	var runtime, offer members
	_, _ = jsonv2.Unmarshal(m["runtime"], &runtime), jsonv2.Unmarshal(m["capabilities"], &offer) // objects
	if err := errors.Join(need(runtime, "name s", "version s"), need(offer, "features l", "encodings l", "agents l")); err != nil {
		return fmt.Errorf("5: %w", err)
	}
	var agents []members
	if jsonv2.Unmarshal(offer["agents"], &agents) != nil {
		return errors.New("4: agents are no objects")
	}
	for _, agent := range agents {
		if err := need(agent, "name s", "versions l", "default ?s"); err != nil {
			return fmt.Errorf("4: %w", err)
		}
	}
	return nil
}

// checkProblem is rule 104.
func checkProblem(m members) error {
	if err := need(m, "code s", "message s", "retryable b", "details ?o"); err != nil {
		return fmt.Errorf("13: %w", err)
	}
	var p Problem
	_ = jsonv2.Unmarshal(m["code"], &p.Code) // text
	retryable, known := codes[p.Code]
	if !known || retryable != (string(m["retryable"]) == "true") {
		return fmt.Errorf("13: code %s, retryable %s", p.Code, m["retryable"])
	}
	return nil
}

// checkError: what answers a submit beside a job.error is for those clients alone that read request_id, and has no
// session_id (rule 58).
func checkError(f *Frame, m members) error {
	if err := errors.Join(checkProblem(m), need(m, "request_id ?s", "job_id ?s")); err != nil {
		return err
	}
	if f.SessionID == "" && m["request_id"] == nil {
		return errors.New("3: neither session_id nor request_id")
	}
	return nil
}

func checkPing(_ *Frame, m members) error { return need(m, "nonce s", "sent_at t") }

func checkPong(_ *Frame, m members) error { return need(m, "ping_nonce s", "received_at t") }

func checkJobs(_ *Frame, m members) error {
	if err := need(m, "request_id s", "jobs l", "next_cursor *s"); err != nil {
		return fmt.Errorf("26: %w", err)
	}
	var jobs []members
	if jsonv2.Unmarshal(m["jobs"], &jobs) != nil {
		return errors.New("26: jobs are no objects")
	}
	for _, job := range jobs {
		err := need(job, "job_id s", "agent s", "status s", "lease o", "parent_job_id *s", "created_at t", "trace_id ?s", "last_event_seq i")
		if err = errors.Join(err, checkStatus(job["status"]), checkLease(job["lease"])); err != nil {
			return fmt.Errorf("26: %w", err)
		}
	}
	return nil
}

func checkStatus(raw jsontext.Value) error {
	switch Status(strings.Trim(string(raw), `"`)) {
	case StatusPending, StatusRunning, StatusSuccess, StatusError, StatusCancelled, StatusTimedOut:
		return nil
	}
	return fmt.Errorf("no status %s", raw)
}

func checkLease(raw jsontext.Value) error {
	var lease map[string]jsontext.Value
	if jsonv2.Unmarshal(raw, &lease) != nil || lease == nil {
		return fmt.Errorf("7: lease is %.40s", raw)
	}
	for name, patterns := range lease {
		var list []*string
		if jsonv2.Unmarshal(patterns, &list) != nil || list == nil {
			return fmt.Errorf("7: lease.%s is %.40s", name, patterns)
		}
		for _, pattern := range list {
			if pattern == nil || *pattern == "" {
				return fmt.Errorf("7: lease.%s has a pattern that is empty", name)
			}
		}
	}
	return nil
}

// checkGranted is what job.accepted and job.subscribed have in common.
func checkGranted(f *Frame, m members) error {
	var job string
	_ = jsonv2.Unmarshal(m["job_id"], &job) // compared
	if job == "" || job != f.JobID {
		return fmt.Errorf("job_id is %q", job)
	}
	if raw, there := m["trace_id"]; there && string(raw) != `"`+f.TraceID+`"` {
		return fmt.Errorf("10: trace_id is %s and %q", raw, f.TraceID)
	}
	if limits, there := m["lease_constraints"]; there {
		var constraints members
		if jsonv2.Unmarshal(limits, &constraints) != nil || need(constraints, "expires_at t") != nil {
			return fmt.Errorf("9: lease_constraints is %s", limits)
		}
	}
	var budget map[string]float64
	if raw, there := m["budget"]; there && (jsonv2.Unmarshal(raw, &budget) != nil || len(budget) == 0) {
		return fmt.Errorf("budget is %s", raw)
	}
	return errors.Join(checkLease(m["lease"]), need(m, "request_id ?s"))
}

func checkAccepted(f *Frame, m members) error {
	err := need(m, "job_id s", "agent s", "lease o", "lease_constraints ?o", "budget ?o", "credentials ?l", "accepted_at t",
		"parent_job_id ?s", "trace_id ?s")
	if err = errors.Join(err, checkGranted(f, m)); err != nil {
		return fmt.Errorf("7, 8, 9: %w", err)
	}
	return checkCredentials(m)
}

func checkCredentials(m members) error {
	raw, there := m["credentials"]
	var credentials []members
	if there && (jsonv2.Unmarshal(raw, &credentials) != nil || len(credentials) == 0) {
		return errors.New("27: credentials are no objects, or none")
	}
	for _, c := range credentials {
		if err := need(c, "id s", "scheme s", "value s", "endpoint s", "profile ?s", "constraints ?o"); err != nil {
			return fmt.Errorf("27: %w", err)
		}
		if string(c["scheme"]) != `"bearer"` {
			return errors.New("27: the scheme is not bearer")
		}
	}
	return nil
}

func checkSubscribed(f *Frame, m members) error {
	err := need(m, "job_id s", "current_status s", "agent s", "lease o", "lease_constraints ?o", "budget ?o", "parent_job_id *s",
		"trace_id ?s", "subscribed_from i", "replayed b")
	return errors.Join(err, checkGranted(f, m), checkStatus(m["current_status"]), checkCredentials(m))
}

func checkCancelled(f *Frame, m members) error {
	if string(m["job_id"]) != `"`+f.JobID+`"` {
		return fmt.Errorf("job_id is %s", m["job_id"])
	}
	return need(m, "job_id s", "reason ?s")
}

func checkResult(f *Frame, m members) error {
	if f.EventSeq == 0 || string(m["final_status"]) != `"success"` {
		return errors.New("16: not numbered, or final_status is not success")
	}
	result, inline := m["result"]
	output, alsoInline := m["output"]
	_, streamed := m["result_id"]
	switch {
	case inline != alsoInline || string(result) != string(output):
		return errors.New("14: result and output differ")
	case inline && streamed:
		return errors.New("15: a value beside result_id")
	}
	return need(m, "result_id ?s", "result_size ?i", "summary ?s", "completed_at ?t")
}

// checkJobError: a refusal that could not be stored has no number, anything else does.
func checkJobError(_ *Frame, m members) error {
	switch Status(strings.Trim(string(m["final_status"]), `"`)) {
	case StatusError, StatusCancelled, StatusTimedOut:
	default:
		return fmt.Errorf("final_status is %s", m["final_status"])
	}
	return errors.Join(checkProblem(m), need(m, "completed_at ?t"))
}

func checkEvent(f *Frame, m members) error {
	if f.EventSeq == 0 {
		return errors.New("16: not numbered")
	}
	if err := need(m, "kind s", "ts t", "body o"); err != nil {
		return fmt.Errorf("9: %w", err)
	}
	var event Event
	var body members
	if err := errors.Join(jsonv2.Unmarshal(f.Payload, &event), jsonv2.Unmarshal(m["body"], &body)); err != nil {
		return err
	}
	rules, known := bodies[event.Kind]
	switch {
	case strings.HasPrefix(string(event.Kind), vendorTypePrefix):
		return nil
	case !known:
		return fmt.Errorf("no kind %q", event.Kind)
	}
	if err := need(body, rules...); err != nil {
		return fmt.Errorf("%s: %w", event.Kind, err)
	}
	return checkBody(event.Kind, body)
}

// bodies are the rules of section 3.
var bodies = map[Kind][]string{
	KindLog: {"level s", "message s", "attributes ?o", "fields ?o"}, KindThought: {},
	KindToolCall:    {"tool s", "args ?o", "call_id s"},
	KindToolResult:  {"call_id s", "error ?o"},
	KindStatus:      {"phase s", "message ?s", "details ?o"},
	KindMetric:      {"name s", "value n", "unit ?s", "dimensions ?o", "dims ?o"},
	KindArtifactRef: {"uri s", "content_type s", "byte_size ?i", "sha256 ?s"},
	KindDelegate:    {"delegate_id s", "child_job_id s", "agent s"},
	KindProgress:    {"current i", "total ?i", "units ?s", "message ?s"},
	KindResultChunk: {"result_id s", "chunk_seq i", "encoding s", "more b"},
}

func checkBody(kind Kind, body members) error {
	switch kind {
	case KindLog:
		var level envelope.LogLevel
		_ = jsonv2.Unmarshal(body["level"], &level) // text
		switch level {
		case envelope.LogTrace, envelope.LogDebug, envelope.LogInfo, envelope.LogWarn, envelope.LogError, envelope.LogCritical:
			return nil
		}
		return fmt.Errorf("no level %q", level)
	case KindThought:
		if raw := body["text"]; raw == nil || raw.Kind() != '"' {
			return errors.New("no text")
		}
	case KindToolResult:
		result, problem := body["result"], body["error"]
		if (result == nil) == (problem == nil) || result != nil && result.Kind() == 'n' {
			return errors.New("neither a result nor an error, or both")
		}
		var p members
		if problem != nil && jsonv2.Unmarshal(problem, &p) == nil {
			return checkProblem(p)
		}
	case KindMetric:
		var dims, dimensions map[string]string
		if raw := body["dims"]; raw != nil && jsonv2.Unmarshal(raw, &dims) != nil ||
			body["dimensions"] != nil && jsonv2.Unmarshal(body["dimensions"], &dimensions) != nil || len(dims) != len(dimensions) {
			return errors.New("the dimensions are no texts, or not the same under both names")
		}
	case KindProgress:
		var p ProgressBody
		raw, err := jsonv2.Marshal(body)
		if err = errors.Join(err, jsonv2.Unmarshal(raw, &p)); err != nil || p.Total != nil && p.Current > *p.Total {
			return errors.New("current is above total")
		}
	case KindResultChunk:
		if raw := body["data"]; raw == nil || raw.Kind() != '"' {
			return errors.New("no data")
		}
		if e := string(body["encoding"]); e != `"utf8"` && e != `"base64"` {
			return fmt.Errorf("no encoding %s", e)
		}
	}
	return nil
}
