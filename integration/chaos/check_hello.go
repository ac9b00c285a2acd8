package chaos

import (
	"bytes"
	"fmt"

	"github.com/arcp-nats/arcp/edge/dialect"
	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/hello"
	"github.com/arcp-nats/arcp/subjects"
)

// A session of the hello dialect is judged in two steps: what it was shown is what the log says, in that dialect; and what the log
// says is judged as that of any other session.

// hearHello sorts what a session of the hello dialect has seen, and takes what the log has to show for what it was shown:
// checkShown makes sure of that.
func (c *trial) hearHello(t *testimony) {
	own := make(map[string]bool)
	for _, r := range c.index.sessions[t.ID] {
		if r.Subject.Lane == subjects.Invoke {
			own[r.Subject.Job] = true
		}
	}
	ended := make(map[string]bool)
	accepted := make(map[string]*frame)
	c.index.fold(t.ID, t.Dialect, func(f view.Frame) bool {
		e := decode(f.Line)
		e.EventSeq = f.Seq
		switch {
		case e.terminal() && own[e.JobID] && ended[e.JobID]:
			return true // it is said again to who asks for the job again
		case e.terminal():
			ended[e.JobID] = true
		case e.Type == "job.accepted":
			accepted[e.ID] = e
		}
		t.counted = append(t.counted, e)
		return true
	})
	w := newHelloWire(false)
	for id, r := range t.requests {
		w.asked[id] = r.Type
	}
	for _, l := range t.Links {
		var link []*frame
		w.greeted = false
		for _, data := range l.Frames {
			f := w.hear(data)
			if stored := accepted[f.ID]; stored != nil && f.Type == "job.accepted" {
				f.IdempotencyKey = stored.IdempotencyKey
			}
			link = append(link, f)
			t.note(data, f)
		}
		t.links = append(t.links, link)
	}
}

// checkHello judges what a client of the hello dialect would choke on, and what no session may see.
func (c *trial) checkHello(s *testimony) {
	c.checkShown(s)
	logged := make(map[string]*frame)
	for _, f := range s.counted {
		logged[f.ID] = f
	}
	for i, l := range s.Links {
		c.lint(s, i)
		for k, data := range l.Frames {
			f := s.links[i][k]
			v := Violation{Client: s.Client, Job: f.JobID}
			switch p := f.read(); {
			case f.Type == "session.rejected" && p.Code != "UNAVAILABLE" && p.Code != "RESOURCE_EXHAUSTED":
				v.Rule, v.Detail = "RE-3", fmt.Sprintf("the session was given up on connection %d to %s: %s", i+1, l.Edge, data)
			case f.Type == "session.evicted" && p.Code != "ABORTED" && p.Code != "HEARTBEAT_LOST":
				v.Rule, v.Detail = "RE-6", fmt.Sprintf("the session was evicted on connection %d to %s: %s", i+1, l.Edge, data)
			case f.Type != "session.rejected" && f.SessionID != s.ID && (f.CorrelationID == "" || f.SessionID != ""):
				v.Rule, v.Detail = "I4", fmt.Sprintf("a frame of another session: %s", data)
			case f.Type == "job.accepted":
				stored := logged[f.ID]
				if stored == nil || stored.JobID != f.JobID || f.ParentJobID == "" && stored.CorrelationID != f.CorrelationID {
					v.Rule, v.Detail = "log first", fmt.Sprintf("an acceptance that is not in the log: %s", data)
				}
			}
			if v.Rule != "" {
				c.blame(v)
			}
			c.checkPrivacy(s, f, data)
		}
	}
}

// lint reads a connection as the strictest clients do.
func (c *trial) lint(s *testimony, i int) {
	l := s.Links[i]
	var linter hello.Linter
	linter.Connected(i > 0, l.From)
	sent := l.Sent
	for k, data := range l.Frames {
		for len(sent) > 0 && sent[0].After <= k {
			linter.Sent(sent[0].Text)
			sent = sent[1:]
		}
		if err := linter.Received(data); err != nil {
			c.blame(Violation{Rule: "hello", Client: s.Client, Detail: fmt.Sprintf("connection %d to %s: %v: %s", i+1, l.Edge, err, data)})
			return // what follows is misread
		}
	}
}

// checkShown is I3 of the hello dialect: each number was shown as the log says, no less and no more.
func (c *trial) checkShown(s *testimony) {
	codec := dialect.Hello.NewCodec(dialect.Settings{})
	last := uint64(0)
	v := c.index.fold(s.ID, s.Dialect, func(f view.Frame) bool {
		last = max(last, f.Seq)
		for _, text := range codec.Render(nil, f, 0) {
			switch got, shown := s.seen[text.Seq]; {
			case text.Seq == 0:
			case !shown:
				c.blame(Violation{Rule: "I2", Client: s.Client, Detail: fmt.Sprintf("number %d was never shown: %s", text.Seq, text.Data)})
			case !bytes.Equal(got, text.Data):
				c.blame(Violation{Rule: "I3", Client: s.Client, Detail: fmt.Sprintf("number %d was shown as %s, and the log says %s", text.Seq, got, text.Data)})
			}
		}
		return true
	})
	c.checkEnds(s, v, last)
}

// refusedKey are the codes with which a key is refused that stands for another request.
func (s *testimony) refusedKey() string {
	if s.Dialect == dialectHello {
		return string(envelope.CodeDuplicateKey)
	}
	return "FAILED_PRECONDITION"
}
