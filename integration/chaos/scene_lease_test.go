package chaos

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/subjects"
)

// invokeUnder is invoke with a lease, for which a credential is issued.
func (s *scene) invokeUnder(session int, lease, job, tool, arguments string) {
	s.lease = json.RawMessage(lease)
	s.invoke(session, job, tool, arguments, "")
	who := s.e.Sessions[session]
	one := Issued{ID: "cred_" + job, Value: issuedMark + job, Job: job, Session: who.ID, Principal: who.Principal, Revoked: s.now.Add(time.Hour)}
	s.e.Issued = append(s.e.Issued, one)
	s.credits[job] = fmt.Sprintf(`"credentials":[{"id":%q,"value":%q}]`, one.ID, one.Value)
}

// charge is an amount that a job has spent, as an attempt says.
func (s *scene) charge(session int, job string, attempt int, dollars float64) {
	s.said(session, job, attempt, "metric", map[string]any{"name": chargeName, "value": dollars, "unit": "USD"})
}

func (s *scene) failed(session int, job, code string) {
	s.said(session, job, 1, "job.failed", map[string]any{"code": code, "message": "x"})
}

// permission asks for one, as an attempt says, and answer is what a session says to that.
func (s *scene) permission(session int, job string, attempt int) {
	s.said(session, job, attempt, "permission.request", map[string]any{"permission": "p", "resource": "r", "operation": "o"})
}

func (s *scene) answer(session int, job, typ string) {
	s.ask(session, Request{ID: "msg_answer_" + job, Type: typ, Job: job})
}

// child is a job that another one starts.
func (s *scene) child(session int, parent, job, tool, arguments string) {
	s.accept(session, "msg_"+parent, job, tool, arguments, "")
	s.e.Log[len(s.e.Log)-1].Parent = parent
}

// observe lets a session watch a job of another one from a position on, by job.subscribe.
func (s *scene) observe(session, owner int, job string, pos uint64, history bool) {
	request := fmt.Sprintf("msg_observe_%s_%d", job, session)
	s.ask(session, Request{ID: request, Type: "job.subscribe", Job: job, History: history})
	answer := s.envelope(session, "job.subscribed", request, job, map[string]any{"job_id": job, "replayed": history})
	watch := view.Watch{Subject: s.place(owner, job).String(), Pos: pos, Subscribed: true}
	if history {
		for _, r := range s.e.Log {
			for typ, line := range r.Lines() {
				if r.Subject.Lane == subjects.Invoke && r.Subject.Job == job && typ == "job.accepted" {
					watch.Accepted = line
				}
			}
		}
	}
	s.record(s.place(session, ""), 0, answer, s.envelope(session, string(view.TypeWatched), "", "", watch))
	s.mark(session, view.TypeShown, view.Shown{Job: job, To: uint64(len(s.e.Log))})
}

// honestLeases plays jobs that a lease bounds, that ask, that delegate, that listen and that are observed.
func (s *scene) honestLeases() {
	s.invokeUnder(bobOne, `{"cost_budget":["USD:2"]}`, "job_charge", "charge", `{"charges":[{"amount":0.5},{"amount":0.75}]}`)
	s.started(bobOne, "job_charge", 1)
	s.charge(bobOne, "job_charge", 1, 0.5)
	s.started(bobOne, "job_charge", 2) // the first worker was lost
	s.charge(bobOne, "job_charge", 2, 0.5)
	s.charge(bobOne, "job_charge", 1, 0.75) // and comes back: nobody counts that
	s.charge(bobOne, "job_charge", 2, 0.75)
	s.said(bobOne, "job_charge", 2, "job.completed", map[string]any{"value": map[string]any{"remaining": map[string]any{"USD": 0.25}}})
	s.invokeUnder(bobOne, `{"cost_budget":["USD:1"]}`, "job_poor", "charge", `{"charges":[{"amount":0.5},{"amount":0.75}]}`)
	s.started(bobOne, "job_poor", 1)
	s.charge(bobOne, "job_poor", 1, 0.5)
	s.failed(bobOne, "job_poor", "BUDGET_EXHAUSTED")
	s.invokeUnder(bobOne, `{"model_use":["fast-*"]}`, "job_model", "model", `{"model":"slow-1"}`)
	s.started(bobOne, "job_model", 1)
	s.failed(bobOne, "job_model", "PERMISSION_DENIED")
	s.invokeUnder(bobOne, s.until(20*time.Second), "job_expires", "sleep", `{"ms":600000}`)
	s.started(bobOne, "job_expires", 1)
	s.now = s.now.Add(20 * time.Second)
	s.failed(bobOne, "job_expires", "LEASE_EXPIRED")

	s.invoke(aliceOne, "job_ask", "ask", `{}`, "")
	s.started(aliceOne, "job_ask", 1)
	s.permission(aliceOne, "job_ask", 1)
	s.answer(aliceTwo, "job_ask", "permission.grant")
	s.said(aliceOne, "job_ask", 1, "lease.granted", map[string]any{"lease_id": "lease_1"})
	s.started(aliceOne, "job_ask", 2)
	s.said(aliceOne, "job_ask", 2, "job.completed", map[string]any{"value": map[string]any{"granted": true}})

	s.invoke(aliceOne, "job_parent", "delegate", `{"tool":"echo","arguments":{"n":1}}`, "")
	s.started(aliceOne, "job_parent", 1)
	s.child(aliceOne, "job_parent", "job_child", "echo", `{"n":1}`)
	s.started(aliceOne, "job_child", 1)
	s.completed(aliceOne, "job_child", `{"n":1}`)
	s.completed(aliceOne, "job_parent", `{"job_id":"job_child","value":{"n":1}}`)
	s.observe(aliceTwo, aliceOne, "job_child", 0, true)

	s.invoke(aliceOne, "job_collect", "collect", `{"chunks":2}`, "")
	s.started(aliceOne, "job_collect", 1)
	s.completed(aliceOne, "job_collect", `{"chunks":["0","1"]}`)
}

// until is a lease that ends after a time.
func (s *scene) until(d time.Duration) string {
	return fmt.Sprintf(`{"expires_at":%q}`, s.now.Add(d).Format(time.RFC3339Nano))
}

// TestCheckFindsInLeases feeds the judge failures of leases, permissions, credentials, children and observers.
func TestCheckFindsInLeases(t *testing.T) {
	charging := func(then func(s *scene)) func(s *scene) {
		return func(s *scene) {
			s.invokeUnder(bobOne, `{"cost_budget":["USD:1"]}`, "job_bad", "charge", `{"charges":[{"amount":0.5},{"amount":0.75}]}`)
			s.started(bobOne, "job_bad", 1)
			then(s)
		}
	}
	asking := func(then func(s *scene)) func(s *scene) {
		return func(s *scene) {
			s.invoke(aliceOne, "job_bad", "ask", `{}`, "")
			s.started(aliceOne, "job_bad", 1)
			s.permission(aliceOne, "job_bad", 1)
			then(s)
			s.said(aliceOne, "job_bad", 3, "job.completed", map[string]any{"value": map[string]any{"granted": false}})
		}
	}
	delegating := func(then func(s *scene)) func(s *scene) {
		return func(s *scene) {
			s.invoke(aliceOne, "job_bad", "delegate", `{"tool":"echo","arguments":{"n":1}}`, "")
			s.started(aliceOne, "job_bad", 1)
			then(s)
		}
	}
	echo := func(s *scene, job, arguments string) {
		s.child(aliceOne, "job_bad", job, "echo", arguments)
		s.started(aliceOne, job, 1)
		s.completed(aliceOne, job, arguments)
	}
	finds(t, map[string]failure{
		"more spent than there was": {rule: "outcome", detail: "125 cents were spent of 100", log: charging(func(s *scene) {
			s.charge(bobOne, "job_bad", 1, 0.5)
			s.charge(bobOne, "job_bad", 1, 0.75)
			s.completed(bobOne, "job_bad", `{"remaining":{"USD":-0.25}}`)
		})},
		"a charge that is not told of": {rule: "outcome", detail: "1 of 2 charges", log: charging(func(s *scene) {
			s.charge(bobOne, "job_bad", 1, 0.5)
			s.completed(bobOne, "job_bad", `{"remaining":{"USD":0.5}}`)
		})},
		"an amount that there was": {rule: "outcome", detail: "50 cents were refused", log: charging(func(s *scene) {
			s.failed(bobOne, "job_bad", "BUDGET_EXHAUSTED")
		})},
		"a model that is allowed": {rule: "outcome", detail: "the use of fast-1", log: func(s *scene) {
			s.invokeUnder(bobOne, `{"model_use":["fast-*"]}`, "job_bad", "model", `{"model":"fast-1"}`)
			s.started(bobOne, "job_bad", 1)
			s.failed(bobOne, "job_bad", "PERMISSION_DENIED")
		}},
		"a lease that ends late": {rule: "outcome", detail: "after its lease", log: func(s *scene) {
			s.invokeUnder(bobOne, s.until(time.Second), "job_bad", "sleep", `{"ms":1}`)
			s.started(bobOne, "job_bad", 1)
			s.now = s.now.Add(time.Hour)
			s.failed(bobOne, "job_bad", "LEASE_EXPIRED")
			s.e.Issued[len(s.e.Issued)-1].Revoked = s.now.Add(time.Hour)
		}},
		"a lease that ends early": {rule: "outcome", detail: "early", log: func(s *scene) {
			s.invokeUnder(bobOne, s.until(time.Hour), "job_bad", "sleep", `{"ms":1}`)
			s.started(bobOne, "job_bad", 1)
			s.failed(bobOne, "job_bad", "LEASE_EXPIRED")
		}},
		"a denial that nobody has said": {rule: "outcome", detail: "nobody has sent a permission.deny", log: asking(func(s *scene) {
			s.answer(bobOne, "job_bad", "permission.deny") // who is somebody else
			s.started(aliceOne, "job_bad", 3)
		})},
		"a grant that is asked for again": {rule: "outcome", detail: "attempt 2 asked for what attempt 1 had been granted", log: asking(func(s *scene) {
			s.answer(aliceOne, "job_bad", "permission.deny")
			s.said(aliceOne, "job_bad", 1, "lease.granted", map[string]any{})
			s.started(aliceOne, "job_bad", 2)
			s.permission(aliceOne, "job_bad", 2)
			s.started(aliceOne, "job_bad", 3)
		})},
		"a grant that was taken back": {rule: "outcome", detail: "though it had been granted", log: asking(func(s *scene) {
			s.answer(aliceOne, "job_bad", "permission.deny")
			s.said(aliceOne, "job_bad", 1, "lease.granted", map[string]any{})
			s.started(aliceOne, "job_bad", 3)
		})},
		"two children for one": {rule: "I1", detail: "has another child", log: delegating(func(s *scene) {
			echo(s, "job_one", `{"n":1}`)
			echo(s, "job_two", `{"n":1}`)
			s.completed(aliceOne, "job_bad", `{"job_id":"job_one","value":{"n":1}}`)
		})},
		"a child that nobody wanted": {rule: "I1", detail: "was started by delegate", log: delegating(func(s *scene) {
			echo(s, "job_one", `{"n":2}`)
			s.completed(aliceOne, "job_bad", `{"job_id":"job_one","value":{"n":2}}`)
		})},
		"a child that lives on": {rule: "I1", detail: "after its parent", log: delegating(func(s *scene) {
			s.cancel(aliceOne, "msg_stop", "job_bad", "cancel.accepted", "")
			s.child(aliceOne, "job_bad", "job_one", "echo", `{"n":1}`)
			s.said(aliceOne, "job_bad", 0, "job.cancelled", map[string]any{"reason": "chaos"})
			s.started(aliceOne, "job_one", 1)
			s.now = s.now.Add(time.Hour)
			s.completed(aliceOne, "job_one", `{"n":1}`)
		})},
		"another result than the child's": {rule: "outcome", detail: "the child gave", log: delegating(func(s *scene) {
			echo(s, "job_one", `{"n":1}`)
			s.completed(aliceOne, "job_bad", `{"job_id":"job_one","value":{"n":2}}`)
		})},
		"a chunk that was not heard": {rule: "outcome", detail: "1 chunks were heard of 2", log: func(s *scene) {
			s.invoke(aliceOne, "job_bad", "collect", `{"chunks":2}`, "")
			s.started(aliceOne, "job_bad", 1)
			s.completed(aliceOne, "job_bad", `{"chunks":["0"]}`)
		}},
		"a credential that stays good": {rule: "CR-4", detail: "was not revoked", seen: func(s *scene) { s.e.Issued[0].Revoked = time.Time{} }},
		"a credential that is revoked early": {rule: "CR-6", detail: "before the job ended", seen: func(s *scene) {
			s.e.Issued[0].Revoked = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		}},
		"a credential in the log": {rule: "CR-6", detail: "is in the log", log: func(s *scene) {
			s.said(bobOne, "job_poor", 0, "log", map[string]any{"message": issuedMark + "1"})
		}},
		"a credential for somebody else": {rule: "CR-6", detail: "shown to somebody else", log: func(s *scene) {
			s.credits["job_child"] = s.credits["job_charge"]
		}},
		"a credential in another message": {rule: "CR-6", detail: "shown in session.pong", seen: func(s *scene) {
			s.out(bobOne, 1, `{"id":"m","type":"session.pong","session_id":"sess_3","payload":{"nonce":"`+issuedMark+`1"}}`)
		}},
		"an observer that is not shown all": {rule: "JS", detail: "was due", log: func(s *scene) {
			s.observe(aliceTwo, aliceOne, "job_parent", s.eventOf("job_parent", 0), true)
		}},
		"an observer that is not shown the end": {rule: "JS", detail: "was not shown its end", log: func(s *scene) {
			end := s.eventOf("job_parent", 1)
			s.observe(aliceTwo, aliceOne, "job_parent", 0, false)
			mark := s.e.Log[len(s.e.Log)-1]
			shown := s.envelope(aliceTwo, string(view.TypeShown), "", "", view.Shown{Job: "job_parent", To: end - 1})
			mark.Types, mark.Body = []envelope.Type{shown.Type}, mustEncode(t, shown)
		}},
		"an observer of another principal": {rule: "JS", detail: "a job of alice was subscribed to", log: func(s *scene) {
			s.observe(bobOne, aliceOne, "job_parent", 0, false)
		}},
	})
}

// eventOf returns the position of the n-th record of a job's events.
func (s *scene) eventOf(job string, n int) uint64 {
	for _, r := range s.e.Log {
		if r.Subject.Lane == subjects.Event && r.Subject.Job == job {
			if n == 0 {
				return r.Seq
			}
			n--
		}
	}
	s.t.Fatal("no such event")
	return 0
}

func mustEncode(t *testing.T, e *envelope.Envelope) []byte {
	t.Helper()
	data, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}
